"""The same 500 random sequences of accesses and lines to our pair of 8259A and to QEMU's."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.qtest.i8259_pair import (
    MASTER_BASE,
    POLL,
    SLAVE_BASE,
    Action,
    Qemu,
    Step,
    compare,
    ours,
    running,
    sequence,
    start,
    theirs,
    words,
    write,
)
from vestige.monitor.devices.i8259.spec import Icw4, Ocw2, Ocw3, Register

pytestmark = pytest.mark.qtest

SEQUENCES = 50
PAGE = Path(__file__).parents[2] / "docs" / "devices" / "i8259.md"
MASTER, MASTER_DATA = Register.MASTER_COMMAND, Register.MASTER_DATA
SLAVE, SLAVE_DATA = Register.SLAVE_COMMAND, Register.SLAVE_DATA
MASTER_ELCR = Register.MASTER_ELCR
EOI = Ocw2.NON_SPECIFIC_EOI << 5
SPECIAL_MASK = Ocw3.OCW3 | Ocw3.ESMM | Ocw3.SMM
READ_ISR = Ocw3.OCW3 | Ocw3.RR | Ocw3.RIS


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Qemu]:
    """QEMU's pc."""
    with running(tmp_path_factory.mktemp("qemu")) as started:
        yield started


@pytest.mark.parametrize("seed", range(10))
def test_both_answer_and_interrupt_alike(machine: Qemu, seed: int) -> None:
    chance = random.Random(seed)
    taken = set[int]()
    for _ in range(SEQUENCES):
        steps = sequence(chance)
        difference = compare(machine, steps)
        assert difference is None, difference
        answers = zip(steps, ours(steps), strict=True)
        taken |= {answer for step, answer in answers if step.action is Action.ACKNOWLEDGE}
    assert len(taken) > 12  # of 15 lines and 2 that are spurious: it is not silence that agrees


def high(irq: int) -> Step:
    return Step(Action.LINE, irq, 1)


def low(irq: int) -> Step:
    return Step(Action.LINE, irq, 0)


def polled(chip: int) -> list[Step]:
    return [write(chip, POLL), Step(Action.READ, chip)]


def in_service(chip: int) -> list[Step]:
    return [write(chip, READ_ISR), Step(Action.READ, chip)]


def requested(chip: int) -> list[Step]:
    return [Step(Action.READ, chip)]


def nested(icw3: int) -> list[Step]:
    """The master, in special fully nested mode."""
    return words(MASTER, 0x11, (MASTER_BASE, icw3, 1 | Icw4.SFNM))


REAL = {  # by row of the page: steps, the last answer of ours and of QEMU's
    "non-specific EOI of a masked input in special mask mode": (
        [
            *(high(3), *polled(MASTER), write(MASTER_DATA, 8), write(MASTER, SPECIAL_MASK)),
            *(write(MASTER, EOI), *in_service(MASTER)),
        ],
        8,
        0,
    ),
    "special mask mode in the slave": (
        [
            *(high(11), *polled(MASTER), *polled(SLAVE), write(MASTER, EOI), high(12)),
            *(write(SLAVE_DATA, 8), write(SLAVE, SPECIAL_MASK), *requested(MASTER)),
        ],
        4,
        0,
    ),
    "IRQ 3 to 7 in special fully nested mode": (
        [*nested(4), high(12), *polled(MASTER), *polled(SLAVE), high(3), *polled(MASTER)],
        0,
        0x83,
    ),
    "ICW3": (
        [*nested(0), high(12), *polled(MASTER), *polled(SLAVE), high(9), *polled(MASTER)],
        0,
        0x82,
    ),
    "automatic EOI in the slave": (
        [
            *words(SLAVE, 0x11, (SLAVE_BASE, 2, 1 | Icw4.AEOI)),
            *(high(9), high(10), *polled(MASTER), *polled(SLAVE), write(MASTER, EOI)),
            *polled(MASTER),
        ],
        0x82,
        0,
    ),
    "ELCR bit set over an edge": (
        [high(4), low(4), write(MASTER_ELCR, 0x10), *requested(MASTER)],
        0,
        0x10,
    ),
    "ELCR bit cleared under a high line": (
        [write(MASTER_ELCR, 0x10), high(4), write(MASTER_ELCR, 0), *requested(MASTER)],
        0,
        0x10,
    ),
    "master's ICW1 while the slave asks": (
        [high(12), *words(MASTER, 0x11, (MASTER_BASE, 4, 1)), *requested(MASTER)],
        4,
        0,
    ),
    "high edge input after ICW1, raised again": (
        [high(4), *words(MASTER, 0x11, (MASTER_BASE, 4, 1)), high(4), *requested(MASTER)],
        0,
        0x10,
    ),
}


@pytest.mark.parametrize("row", REAL)
def test_the_rows_of_the_page_are_real_differences(machine: Qemu, row: str) -> None:
    assert f"\n| {row} |" in PAGE.read_text()
    steps, mine, other = REAL[row]
    assert ours(start() + steps)[-1] == mine
    assert theirs(machine, start() + steps)[-1] == other
