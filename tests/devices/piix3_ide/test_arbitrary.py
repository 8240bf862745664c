"""Arbitrary sequences on the IDE: every access is answered, the same when compiled."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.devices.piix3_ide.arbitrary import MODES, Driver, Step, random_step, state_of
from tests.devices.piix3_ide.compiled import compiled

STEPS = st.lists(st.integers(0, 1 << 32).map(lambda seed: random_step(random.Random(seed))))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(5))
def test_compiled_code_answers_as_cpython_does(seed: int, mode: str) -> None:
    chance = random.Random(seed)
    steps = [random_step(chance) for _ in range(400)]
    interpreted, native_code = Driver(mode=mode), Driver(compiled(), mode=mode)
    interpreted.run(steps)
    native_code.run(steps)
    assert native_code.answers == interpreted.answers
    assert native_code.rig.requests == interpreted.rig.requests
    assert native_code.rig.edges == interpreted.rig.edges
    assert state_of(native_code.rig) == state_of(interpreted.rig)


@settings(max_examples=100, deadline=None)
@given(steps=STEPS, mode=st.sampled_from(MODES))
def test_any_sequence_of_accesses_is_answered(steps: list[Step], mode: str) -> None:
    Driver(mode=mode).run(steps)


@pytest.mark.parametrize("mode", MODES)
def test_the_random_steps_reach_the_drives(mode: str) -> None:
    chance = random.Random(1)
    driver = Driver(mode=mode)
    driver.run(random_step(chance) for _ in range(3000))
    assert len({operation for operation, *_ in driver.rig.requests}) == 3
    assert len(driver.rig.requests) > 30
    assert all(driver.rig.edges)
