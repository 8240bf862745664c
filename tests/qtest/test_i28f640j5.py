"""The same 500 random sequences of accesses to our flash memory and to QEMU's."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.qtest.client import Qtest, qemu
from tests.qtest.i28f640j5_pair import FIRST, SIZE, Access, Ours, Sequences, compare, run
from vestige.monitor.devices.i28f640j5.spec import BLOCK, CONFIRM, Command, Status

pytestmark = pytest.mark.qtest

SEQUENCES = 50
CONTENTS = random.Random(0).randbytes(SIZE)
FAILED = Status.READY | Status.ERASE_ERROR | Status.PROGRAM_ERROR


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Ours, Qtest]]:
    """Both with the same contents."""
    image = tmp_path / "flash"
    image.write_bytes(CONTENTS)
    with qemu(tmp_path, ["-drive", f"if=pflash,unit=0,format=raw,file={image}"]) as machine:
        yield Ours(CONTENTS), machine


@pytest.mark.parametrize("seed", range(10))
def test_both_answer_alike(pair: tuple[Ours, Qtest], seed: int) -> None:
    sequences = Sequences(random.Random(seed), CONTENTS)
    for _ in range(SEQUENCES):
        difference = compare(*pair, sequences.sequence())
        assert difference is None, difference
    assert bytes(pair[0].memory) == whole(pair[1]) == sequences.array


def whole(theirs: Qtest) -> bytes:
    """QEMU's array."""
    theirs.send(f"writeb {FIRST:#x} {Command.READ_ARRAY:#x}")
    theirs.send(f"read {FIRST:#x} {SIZE:#x}")
    return theirs.flush()[-1].to_bytes(SIZE, "big")


# Each row of the page: what is written and read at offset 0 or where said, our answer and QEMU's.
ERASED = [Access(0, Command.ERASE), Access(0, CONFIRM)]
ROWS: dict[str, tuple[list[Access], int, int]] = {
    "a program sets no bits": (
        [
            *(Access(0, Command.PROGRAM), Access(0, 0x0F)),
            *(Access(0, Command.PROGRAM), Access(0, 0xF0)),
            *(Access(0, Command.READ_ARRAY), Access(0)),
        ],
        *(0x00, 0xF0),
    ),
    "an erase waits for its confirmation": (
        [Access(0, Command.ERASE), Access(0, Command.READ_ARRAY), Access(0, 0xFF), Access(0)],
        *(CONTENTS[0], 0xFF),
    ),
    "a sequence that can't be is an error": (
        [
            *(Access(0, Command.LOCK), Access(0, 0x55)),
            *(Access(0, Command.READ_STATUS), Access(0)),
        ],
        *(FAILED, Status.READY),
    ),
    "manufacturer": ([Access(0, Command.READ_IDENTIFIERS), Access(0)], 0x89, 0),
    "device": ([Access(0, Command.READ_IDENTIFIERS), Access(1)], 0x15, 0),
    "protection registers": ([Access(0, Command.QUERY), Access(0x3F)], 0, 1),
    "buffer": ([Access(0, Command.QUERY), Access(0x2A)], 5, 8),
}


@pytest.mark.parametrize("row", ROWS)
def test_the_rows_of_the_page_are_real_differences(pair: tuple[Ours, Qtest], row: str) -> None:
    steps, mine, other = ROWS[row]
    ours, theirs = pair
    assert ours.run(steps)[-1] == mine
    assert run(theirs, steps)[-1] == other


def test_a_size_that_is_no_power_of_two_is_rounded_up_and_qemu_s_is_its_lowest_bit(
    tmp_path: Path,
) -> None:
    image, size = tmp_path / "flash", 132 * BLOCK
    image.write_bytes(bytes(size))
    where = (1 << 32) - size
    with qemu(tmp_path, ["-drive", f"if=pflash,unit=0,format=raw,file={image}"]) as machine:
        machine.send(f"writeb {where:#x} {Command.QUERY:#x}")
        machine.send(f"readb {where + 0x27:#x}")
        assert machine.flush()[-1] == 14
    ours = Ours(CONTENTS)
    ours.model.size = size
    ours.model.address = where
    ours.model.write(where - 0xFF80_0000, 1, Command.QUERY, 0)
    assert ours.model.read(where - 0xFF80_0000 + 0x27, 1, 0) == 20
