"""Arbitrary accesses to the small devices: always a defined answer, the same when compiled."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.devices.models import (
    MODELS,
    Model,
    Operation,
    Own,
    Step,
    execute,
    interpret,
    model_of,
    random_steps,
)
from vestige.place import MemoryRange, Place, Ports

EACH_MODEL = pytest.mark.parametrize("name", MODELS)


def steps_of(model: Model) -> st.SearchStrategy[list[Step]]:
    """Any sequence of operations; their times never go back."""

    def step(operation: Operation) -> st.SearchStrategy[Step]:
        arguments = st.tuples(*(st.sampled_from(values) for values in operation.arguments))
        return arguments.map(lambda values: Step(operation, values))

    def timed(steps: list[Step], pauses: list[int]) -> list[Step]:
        now = 0
        result = []
        for number, (operation, arguments) in enumerate(steps):
            now += pauses[number % len(pauses)]
            result.append(Step(operation, (*arguments, now) if operation.timed else arguments))
        return result

    operations = st.one_of(*map(st.sampled_from, model.choices()))
    steps = st.lists(operations.flatmap(step), max_size=60)
    return st.builds(timed, steps, st.lists(st.integers(0, 10**9), min_size=1, max_size=5))


def test_a_place_s_ports_memory_and_clock_are_driven() -> None:
    place = Place(
        "hpet",
        "hpet",
        ports=(Ports(0x40, 2), Ports(0x61, 1)),
        memory=MemoryRange(0xFED0_0000, 8),
        timed=True,
    )
    model = model_of(place, Own())
    driven = [
        (operation.method.__name__, *map(list, operation.arguments[:2]))
        for operation in model.operations
    ]
    halves = [0, 1, 2, 4, 5, 6]
    reads = [([0, 1, 0x21], [1]), (list(range(8)), [1]), (halves, [2]), ([0, 4], [4])]
    accesses = [(name, *access) for access in reads for name in ("read", "write")]
    assert driven == [*accesses, ("expire",), ("next_deadline",)]


@EACH_MODEL
def test_any_sequence_of_accesses_is_answered(name: str) -> None:
    model = MODELS[name]

    @settings(max_examples=60, deadline=None)
    @given(steps_of(model))
    def holds(steps: list[Step]) -> None:
        answers, _ = interpret(model, steps)
        assert all(0 <= answer < 1 << 64 for answer in answers)

    holds()


@EACH_MODEL
def test_compiled_code_answers_as_cpython_does(name: str) -> None:
    model = MODELS[name]
    for seed in range(20):
        steps = random_steps(model, 200, random.Random(seed))
        assert execute(model, steps) == interpret(model, steps)
