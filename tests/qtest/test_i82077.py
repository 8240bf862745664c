"""The same 500 random sequences of commands to our floppy disk controller and to QEMU's."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.devices.i82077.bench import FROM_MEMORY, TO_MEMORY, programmed
from tests.qtest.client import Qtest
from tests.qtest.i82077_pair import BUFFER, COMMANDS, Pair, started, theirs
from vestige.monitor.devices.i82077.place import PORT_FLOPPY

pytestmark = pytest.mark.qtest

SEQUENCES = 50
PAGE = Path(__file__).parents[2] / "docs" / "devices" / "i82077.md"
Started = tuple[Qtest, list[Path]]


@pytest.fixture(scope="module")
def qemu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """QEMU's pc with two floppy drives."""
    with started(tmp_path_factory.mktemp("qemu")) as both:
        yield both


@pytest.mark.parametrize("seed", range(10))
def test_both_do_alike(qemu: Started, seed: int) -> None:
    chance = random.Random(seed)
    told = set[tuple[int, ...]]()
    for _ in range(SEQUENCES):
        pair = Pair(*qemu)
        for _ in range(COMMANDS):
            pair.any_command(chance)
        pair.compare_images()
        told |= pair.told
    assert len(told) > 100  # it is not silence that agrees


SEEKS = (0x0F, 0, 5), (8,)


def named(code: int, *, unit: int = 0, cylinder: int = 0, sector: int = 1, size: int = 2) -> bytes:
    """A command that names a sector of the first head."""
    return bytes((code, unit, cylinder, 0, sector, size, 18, 0x1B, 0xFF))


REAL: dict[str, tuple[Sequence[Sequence[int]], Sequence[int], Sequence[int]]] = {
    # By row of the page: commands, the last one's result here and at QEMU's.
    "DUMPREG: what SPECIFY set": ([(0x0E,)], [0xDF, 2], [13, 3]),
    "PERPENDICULAR MODE: drives in DUMPREG": ([(0x12, 0x84), (0x0E,)], [4], [0x10]),
    "RECALIBRATE of a drive that isn't there": ([(7, 2), (8,)], [0x72, 0], [0x20, 0]),
    "SENSE DRIVE STATUS of a drive that isn't there": ([(4, 2)], [0x2A], [0x38]),
    "READ ID: the sector": ([*SEEKS, (0x4A, 4)], [1], [2]),
    "two seeks, then SENSE INTERRUPT STATUS": (
        [(0x0F, 1, 7), (0x0F, 0, 3), (8,), (8,)],
        [0x21, 7],
        [0x80],
    ),
    "PART ID and what else the 82078 has": ([(0x18,)], [0x80], [0x41]),
    "a command wants FM": ([named(0x06)], [0x40, 1, 0, 0, 0, 1, 2], [0, 0, 0, 0, 0, 2, 2]),
    "another cylinder than the head's": (
        [named(0x46, cylinder=5)],
        [0x40, 4, 0x10, 5, 0, 1, 2],
        [0x20, 0, 0, 5, 0, 2, 2],
    ),
    "a sector behind the track's last": ([named(0x46, sector=19)], [0x40, 4], [0x40, 0x80]),
    "sector 0": ([named(0x46, sector=0)], [0x40, 4, 0, 0, 0, 0, 2], [0, 0, 0, 0, 0, 1, 2]),
    "sectors of another size": ([named(0x46, size=3)], [0x40, 4], [0, 0]),
    "H is not the head": (
        [bytes((0x46, 4, 0, 0, 1, 2, 18, 0x1B, 0xFF))],
        [0x44, 4, 0, 0, 0, 1, 2],
        [0, 0, 0, 0, 0, 2, 2],
    ),
    "a read of a drive that isn't there": ([named(0x46, unit=2)], [0x42, 1], [0, 0]),
    "the track's end without TC": ([named(0x46, sector=17)], [0x40, 0x80], [0x20, 0]),
    "a transfer ends with a cylinder": ([named(0x46, sector=18)], [0, 0], [0x20, 0]),
    "VERIFY counts sectors": (
        [(0x56, 0x80, 0, 0, 1, 2, 18, 0x1B, 4)],
        [0, 0, 0, 0, 0, 5, 2],
        [0x20, 0, 0, 1, 0, 1, 2],
    ),
    "READ DELETED DATA": ([named(0x4C)], [0, 0, 0x40, 0, 0, 1, 2], [0x60, 0, 0, 0, 0, 1, 2]),
    "WRITE DELETED DATA": ([named(0x49)], [0, 0, 0, 0, 0, 2, 2], [0x60, 0, 0, 0, 0, 1, 2]),
    "a protected disk is written": ([named(0x45, unit=1)], [0x41, 2], [0x61, 2]),
    "a seek beyond the last track": ([(0x0F, 0, 90), (8,)], [0x20, 83], [0x20, 0]),
}


@pytest.mark.parametrize("row", REAL)
def test_the_rows_of_the_page_are_real_differences(qemu: Started, row: str) -> None:
    assert f"\n| {row} |" in PAGE.read_text()
    commands, mine, other = REAL[row]
    pair = Pair(*qemu)
    writes = commands[0][0] & 0xF in (5, 9)
    length = 512 if "TC" not in row else 0x4000
    for port, value in programmed(BUFFER, length, FROM_MEMORY if writes else TO_MEMORY):
        pair.write(port, value)
    for command in commands:
        answers = pair.bench.command(*command), theirs(pair.qtest, command)
    first = {"DUMPREG: what SPECIFY set": 4, "PERPENDICULAR MODE: drives in DUMPREG": 7}.get(row, 0)
    if row == "READ ID: the sector":
        first = 5
    assert answers[0][first : first + len(mine)] == list(mine)
    assert answers[1][first : first + len(other)] == list(other)
    pair.files[0].write_bytes(bytes(image.data) if (image := pair.bench.images[0]) else b"")


REGISTERS = {  # by row: offset of the port, its value here and at QEMU's
    "0x3F1": (1, 0xFF, 0xC0),
    "0x3F3 and 0x3F7, bits that aren't driven": (3, 0xFC, 0),
}


@pytest.mark.parametrize("row", REGISTERS)
def test_so_are_those_of_registers(qemu: Started, row: str) -> None:
    assert f"\n| {row} |" in PAGE.read_text()
    offset, mine, other = REGISTERS[row]
    pair = Pair(*qemu)
    values = pair.bench.read(offset), qemu[0].inb(PORT_FLOPPY + offset)
    assert values == (mine, other)
