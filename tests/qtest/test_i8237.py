"""The same 500 random sequences of accesses to our DMA controllers and to QEMU's."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.qtest.client import Qtest, qemu
from tests.qtest.i8237_pair import Access, compare, ours, sequence, start, theirs
from vestige.monitor.devices.i8237.spec import PORT_PAGES, PORT_SECOND, Register

pytestmark = pytest.mark.qtest

SEQUENCES = 50
PAGE = Path(__file__).parents[2] / "docs" / "devices" / "i8237.md"


@pytest.fixture(scope="module")
def qtest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Qtest]:
    """QEMU's pc."""
    with qemu(tmp_path_factory.mktemp("qemu"), []) as started:
        yield started


@pytest.mark.parametrize("seed", range(10))
def test_both_answer_alike(qtest: Qtest, seed: int) -> None:
    chance = random.Random(seed)
    told = set[int]()
    for _ in range(SEQUENCES):
        steps = sequence(chance)
        difference = compare(qtest, steps)
        assert difference is None, difference
        told |= set(ours(steps))
    assert len(told) > 100  # it is not silence that agrees


REAL = {  # by row of the page: steps, the last answer of ours and of QEMU's
    "one byte of an address or count is written": (
        [Access(0, 0x34), Access(Register.CLEAR_FLIP_FLOP, 0), Access(0)],
        0x34,
        0,
    ),
    "ports 0xF and 0xDE are read": (
        [Access(Register.ALL_MASKS, 5), Access(Register.ALL_MASKS)],
        5,
        0,
    ),
    "ports 9 and 0xD2 are read": (
        [
            Access(PORT_SECOND + 2 * Register.ALL_MASKS, 5),
            Access(PORT_SECOND + 2 * Register.REQUEST),
        ],
        0,
        5,
    ),
    "ports 0x80, 0x84 to 0x86, 0x88, 0x8C to 0x8E": (
        [Access(PORT_PAGES + 4, 0x12), Access(PORT_PAGES + 4)],
        0x12,
        0xFF,
    ),
}


@pytest.mark.parametrize("row", REAL)
def test_the_rows_of_the_page_are_real_differences(qtest: Qtest, row: str) -> None:
    assert f"\n| {row} |" in PAGE.read_text()
    steps, mine, other = REAL[row]
    assert ours(start() + steps)[-1] == mine
    assert theirs(qtest, start() + steps)[-1] == other
