"""The same 500 random sequences of accesses to our 8254 and to QEMU's."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.assembly import IS_THERE, WHY_NOT
from tests.qtest.client import qemu
from tests.qtest.i8254_pair import Machine, Script, Step, compare, machine, ours, sequences
from vestige.monitor.devices.i8254.spec import NmiStatus, Status

pytestmark = pytest.mark.qtest

SEQUENCES = 50


@pytest.fixture(scope="module")
def qemus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if not IS_THERE:
        pytest.skip(WHY_NOT)
    with machine(tmp_path_factory.mktemp("qemu")) as started:
        yield started


@pytest.mark.parametrize("seed", range(10))
def test_both_answer_alike(qemus: Machine, seed: int) -> None:
    difference = compare(qemus, sequences(random.Random(seed), SEQUENCES))
    assert difference is None, difference


class Row(NamedTuple):
    """Accesses after which the answers to the last reads are ours and QEMU's."""

    accesses: tuple[tuple[int, ...] | int, ...]  # a port and what to write; a port to read
    ours: tuple[int, ...]
    theirs: tuple[int, ...]


# Counts are of one byte, and small, where that is enough; counter 2 has its GATE.
ROWS = {
    "OUT in mode 2": Row(((0x43, 0x54), (0x41, 9), (0x43, 0xE4), 0x41), (0x94,), (0x14,)),
    "OUT in mode 4": Row(((0x43, 0x58), (0x41, 9), (0x43, 0xE4), 0x41), (0x98,), (0x18,)),
    "OUT in mode 5": Row(
        ((0x43, 0x9A), (0x42, 9), (0x61, 0, 1), (0x43, 0xE8), 0x42), (0x9A,), (0x1A,)
    ),
    "null count": Row(((0x43, 0x54), (0x41, 0), (0x43, 0x54, 0xE4), 0x41), (0xD4,), (0x14,)),
    "a control word stops": Row(
        ((0x43, 0x58), (0x41, 99), (0x43, 0x58), 0x41, 0x41), (99, 99), (98, 97)
    ),
    "a control word releases": Row(
        ((0x43, 0x58), (0x41, 99), (0x43, 0x40, 0x58), (0x41, 5), 0x41), (5,), (99,)
    ),
    "the first byte in mode 0 stops": Row(
        ((0x43, 0x70), (0x41, 99, 0, 1), (0x43, 0x40), 0x41, 0x41, (0x43, 0x40), 0x41),
        (99, 0, 99),
        (98, 0, 95),
    ),
    "a new count in mode 2": Row(((0x43, 0x54), (0x41, 99), (0x41, 9), 0x41), (98,), (9,)),
    "a new count in mode 3": Row(((0x43, 0x56), (0x41, 98), (0x41, 8), 0x41), (96,), (8,)),
    **{
        f"gate low in mode {mode}": Row(
            ((0x61, 1), (0x43, 0x90 | mode << 1), (0x42, 98), (0x61, 0), 0x42, 0x42), stands, goes
        )
        for mode, stands, goes in (
            (0, (98, 98), (97, 96)),
            (2, (98, 98), (97, 96)),
            (3, (98, 98), (96, 94)),
            (4, (98, 98), (97, 96)),
        )
    },
    "mode 1 without a trigger": Row(((0x43, 0x92), (0x42, 9), 0x42), (0,), (9,)),
    "mode 5 without a trigger": Row(((0x43, 0x9A), (0x42, 9), 0x42), (0,), (9,)),
    "an odd count in mode 3": Row(((0x43, 0x56), (0x41, 9), 0x41, 0x41), (8, 6), (9, 7)),
    "decimal": Row(((0x43, 0x55), (0x41, 0x10), 0x41, 0x41), (0x10, 0x09), (0x10, 0x0F)),
    "mode 6": Row(((0x43, 0x5C), (0x41, 9), (0x43, 0xE4), 0x41), (0x9C,), (0x1C,)),
    "mode 7": Row(((0x43, 0x5E), (0x41, 8), 0x41, 0x41), (8, 6), (8, 7)),
    "the control word is read": Row((0x43,), (0xFF,), (0,)),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_rows_of_the_page_are_real_differences(qemus: Machine, name: str) -> None:
    row = ROWS[name]
    script = Script()
    script.write(0x61, 0)
    for port in (0x40, 0x41, 0x42):
        for _ in range(3):  # no latch is left of another row
            script.read(port)
    for access in row.accesses:
        if isinstance(access, tuple):
            script.write(*access)
        else:
            script.read(access)
    mine, theirs = answers(qemus, script.steps)
    assert (mine[-len(row.ours) :], theirs[-len(row.theirs) :]) == ([*row.ours], [*row.theirs])


def test_out_in_mode_1_is_high_while_qemu_counts(qemus: Machine) -> None:
    script = Script()
    script.write(0x43, 0x92)
    script.write(0x42, 9)
    script.write(0x61, 0, 1)
    script.write(0x43, 0xE8)
    script.read(0x42)
    assert answers(qemus, script.steps) == ([0x12], [0x92])


def answers(qemus: Machine, steps: Sequence[Step]) -> tuple[list[int], list[int]]:
    """Ours and QEMU's to the reads."""
    theirs, times = qemus.run(steps)
    both = zip(steps, ours(steps, times), theirs, strict=True)
    reads = [(mine, other) for step, mine, other in both if step.value is None]
    return [mine for mine, _ in reads], [other for _, other in reads]


def test_the_refresh_bit_changes_with_each_of_qemu_s_reads(qemus: Machine) -> None:
    mine, theirs = answers(qemus, [Step(pulse, 0x61) for pulse in (1, 2, 3)])
    assert [answer & NmiStatus.REFRESH for answer in mine] == [0, 0, 0]
    assert theirs[0] == theirs[2] == theirs[1] ^ NmiStatus.REFRESH


def test_a_count_is_loaded_by_the_next_pulse_of_a_free_clock(qemus: Machine) -> None:
    """QEMU loads it when it is written, here 350 ns before it is read."""
    late = Step(5, 0x41, shift=219)
    mine, theirs = answers(qemus, [Step(1, 0x43, 0x58), Step(5, 0x41, 99, shift=-300), late])
    assert (mine, theirs) == ([0], [99])


def test_after_reset_qemu_counts(tmp_path: Path) -> None:
    """Mode 3 and 65,536, as a PC's firmware leaves it; a chip's data sheet says nothing of it."""
    steps = [Step(1, 0x43, 0xE2), Step(2, 0x40)]
    with qemu(tmp_path, []) as fresh:
        fresh.write(0x43, 0xE2)
        assert fresh.inb(0x40) == Status.OUT | 3 << 1
    assert ours(steps, [step.due for step in steps])[1] == Status.NULL_COUNT | 3 << 4
