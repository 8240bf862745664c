"""The same 500 random sequences of accesses to our VGA's registers and to QEMU's."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.qtest.client import Qtest, qemu
from tests.qtest.vga_pair import (
    Access,
    Ours,
    PlanesSequences,
    Sequences,
    compare,
    dispi_put,
    get,
    index_next,
    put,
    run,
)
from vestige.abi import PORT_PCI_ADDRESS, PORT_PCI_DATA, WINDOW_NOTHING, WINDOW_PARTS
from vestige.monitor.devices.pci.spec import Register as PciRegister
from vestige.monitor.devices.vga.ports_spec import Register
from vestige.monitor.devices.vga.spec import Dispi

pytestmark = pytest.mark.qtest

SEQUENCES = 50
COLOUR = put(Register.MISCELLANEOUS, 1)
BOTH = 9  # bits of input status 1, which QEMU changes with each read


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Qtest]:
    """QEMU's pc has one at the same ports, and in the same slot."""
    with qemu(tmp_path_factory.mktemp("qemu"), ["-vga", "std"]) as machine:
        yield machine


@pytest.fixture(scope="module")
def ours() -> Ours:
    """Both begin as after a reset, and go on from sequence to sequence."""
    return Ours()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[tuple[Ours, Qtest]]:
    """A pair of a test's own."""
    with qemu(tmp_path, ["-vga", "std"]) as machine:
        yield Ours(), machine


@pytest.mark.parametrize("seed", range(10))
def test_both_answer_alike(ours: Ours, theirs: Qtest, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(SEQUENCES):
        difference = compare(ours, theirs, Sequences(chance).sequence())
        assert difference is None, difference


@pytest.mark.parametrize("seed", range(10))
def test_both_set_the_same_modes(fresh: tuple[Ours, Qtest], seed: int) -> None:
    """Registers of IBM's go by DISPI's with QEMU, so these come alone."""
    chance = random.Random(seed)
    for _ in range(SEQUENCES):
        difference = compare(*fresh, Sequences(chance).modes())
        assert difference is None, difference


@pytest.mark.parametrize("seed", range(10))
def test_both_have_the_same_memory(fresh: tuple[Ours, Qtest], seed: int) -> None:
    """Latches, write and read modes, odd and even, chained planes, banks."""
    chance = random.Random(seed)
    ours, _ = fresh
    for _ in range(SEQUENCES):
        difference = compare(*fresh, PlanesSequences(chance).memory())
        assert difference is None, difference
    assert ours.seen == {WINDOW_NOTHING, WINDOW_PARTS}


def test_both_have_the_frame_buffer_at_bar_0(fresh: tuple[Ours, Qtest]) -> None:
    ours, theirs = fresh
    chance = random.Random(11)
    theirs.write(PORT_PCI_ADDRESS, 1 << 31 | 2 << 11 | PciRegister.BAR0, 4)
    for size in (4, 2, 1) * 50:
        offset = chance.randrange(0, 4, size)
        value = chance.choice((chance.getrandbits(8 * size), (1 << 8 * size) - 1))
        ours.model.write_config(0, PciRegister.BAR0 + offset, size, value)
        theirs.write(PORT_PCI_DATA + offset, value, size)
        theirs.flush()
        theirs.read(PORT_PCI_DATA, 4)
        assert ours.model.read_config(0, PciRegister.BAR0, 4) == theirs.flush()[-1]


@pytest.mark.parametrize("register", [PciRegister.VENDOR, PciRegister.DEVICE, PciRegister.SUBCLASS])
def test_both_say_alike_who_they_are(theirs: Qtest, register: int) -> None:
    theirs.write(PORT_PCI_ADDRESS, 1 << 31 | 2 << 11 | register & ~3, 4)
    theirs.read(PORT_PCI_DATA + (register & 2), 2)
    assert Ours().model.read_config(0, register, 2) == theirs.flush()[-1] != 0


# Each row of the page: steps, and what our last answer and QEMU's are.
ROWS: dict[str, tuple[list[Access], int, int]] = {
    "index read between index and data": (
        [COLOUR, index_next(), put(Register.ATTRIBUTE, 0x12), get(Register.ATTRIBUTE)],
        *(0x12, 0),
    ),
    "PEL mask": ([put(Register.PEL_MASK, 0x5A), get(Register.PEL_MASK)], 0x5A, 0),
    "DAC, 8 bits": (
        [
            put(Register.DAC_WRITE, 0),
            *(put(Register.DAC_DATA, 0xFF) for _ in range(3)),
            *(put(Register.DAC_READ, 0), get(Register.DAC_DATA)),
        ],
        *(0x3F, 0xFF),
    ),
    "sequencer 7": (
        [
            put(Register.SEQUENCER_INDEX, 7),
            *(put(Register.SEQUENCER_DATA, 0xA5), get(Register.SEQUENCER_DATA)),
        ],
        *(0, 0xA5),
    ),
    "CRTC from 19 on": (
        [
            *(COLOUR, put(Register.CRTC_INDEX, 0x19)),
            *(put(Register.CRTC_DATA, 0xA5), get(Register.CRTC_DATA)),
        ],
        *(0, 0xA5),
    ),
    "feature control": (
        [COLOUR, put(Register.STATUS_1, 0x18), get(Register.FEATURE)],
        *(0x08, 0x10),
    ),
    "0x3C3": ([Access(0x3C3)], 0xFF, 0),
    "0x3CB": ([Access(0x3CB)], 0xFF, 0),
    "0x3CD": ([Access(0x3CD)], 0xFF, 0),
    "IBM's registers in a mode of DISPI's": (
        [
            *dispi_put(Dispi.ENABLE, 1),
            *(put(Register.GRAPHICS_INDEX, 6), get(Register.GRAPHICS_DATA)),
        ],
        *(0, 0x05),
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_the_rows_of_the_page_are_real_differences(fresh: tuple[Ours, Qtest], row: str) -> None:
    steps, mine, other = ROWS[row]
    ours, theirs = fresh
    assert ours.run(steps)[-1] == mine
    assert run(theirs, steps)[-1] == other


def test_input_status_1_is_the_beam_s_here(fresh: tuple[Ours, Qtest]) -> None:
    ours, theirs = fresh
    steps = [COLOUR, get(Register.STATUS_1), get(Register.STATUS_1)]
    _, first, second = ours.run(steps)
    assert first == second
    _, first, second = run(theirs, steps)
    assert first ^ second == BOTH
