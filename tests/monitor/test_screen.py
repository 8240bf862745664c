"""The screen of a PC, as the core tells it: from the guest's ports to what the host can read."""

import ctypes

from tests.monitor.rig import Rig
from vestige import abi

CRTC, SLOT = 0x3D4, 1 << 31 | 2 << 11
GRAPHICS = 0x3CE
SEQUENCER = (0x0F02, 0x0604)  # all planes can be written, none is chained
FRAME_BUFFER = 4 * abi.WINDOW_SIZE  # bytes of it that the test looks at


def pc(vga: int = 1, board: abi.Board = abi.Board.PC) -> Rig:
    """Started without a firmware."""
    rig = Rig()
    rig.shared.config.board = board
    rig.shared.config.vga = vga
    return rig.start()


def test_the_host_is_told_of_the_screen() -> None:
    rig = pc()
    rig.out(CRTC, 0x0D | 80 << 8, 2)
    screen = rig.shared.screen
    assert (screen.kind, screen.columns, screen.start) == (abi.ScreenKind.TEXT, 80, 160)


def test_a_pc_can_be_without_one() -> None:
    rig = pc(vga=0)
    assert rig.inp(0x3CC) == 0xFF
    rig.out(abi.PORT_PCI_ADDRESS, SLOT, 4)
    assert rig.inp(abi.PORT_PCI_DATA, 4) == 0xFFFF_FFFF
    assert rig.shared.screen.kind == abi.ScreenKind.ABSENT


def test_a_modern_machine_has_none() -> None:
    rig = pc(board=abi.Board.MODERN)
    assert rig.inp(0x3CC) == 0xFF
    assert rig.shared.screen.kind == abi.ScreenKind.ABSENT


def test_virtio_functions_of_a_pc_are_behind_it() -> None:
    rig = Rig(disks=[bytearray(1 << 20)], virtio=True)
    rig.shared.config.board = abi.Board.PC
    rig.shared.config.vga = 1
    rig.start()
    found = {}
    for slot in range(11):
        rig.out(abi.PORT_PCI_ADDRESS, 1 << 31 | slot << 11, 4)
        found[slot] = rig.inp(abi.PORT_PCI_DATA, 4)
    assert found[2] == 0x1111_1234
    assert found[3] == 0x1042_1AF4
    assert found[4] == 0xFFFF_FFFF


def test_a_string_instruction_to_dispi_is_one_access_for_each_of_its_words() -> None:
    rig = pc()
    rig.out(0x1CE, 0, 2)
    rig.port(0x1CF, 2, b"\xc1\xb0\xc2\xb0", write=True)
    assert rig.port(0x1CF, 2, bytes(4), write=False) == b"\xc2\xb0\xc2\xb0"


def bar(rig: Rig, address: int, command: int = 3) -> None:
    """Have the guest place the frame buffer, as a firmware does."""
    for register, value in ((0x04, 0), (0x10, address), (0x04, command)):
        rig.out(abi.PORT_PCI_ADDRESS, SLOT | register, 4)
        rig.out(abi.PORT_PCI_DATA, value, 4 if register == 0x10 else 2)


def with_memory() -> Rig:
    """One whose display adapter has its region."""
    rig = Rig()
    rig.shared.config.board = abi.Board.PC
    rig.shared.config.vga = 1
    rig.shared.config.regions[0] = 0x1000  # no mode is set, so nobody looks there
    return rig.start()


def test_the_host_is_told_where_the_frame_buffer_is() -> None:
    rig = with_memory()
    rig.inp(0x1CE, 2)
    assert rig.mapped == [(0, abi.VGA_MEMORY)]
    bar(rig, 0xE000_0000)
    assert rig.mapped[1:] == [(0, 0), (0, 0xE000_0000)]
    bar(rig, 0xE000_0000, command=1)
    assert rig.mapped[3:] == [(0, 0)]


def test_a_frame_buffer_is_nowhere_if_it_may_not_be_where_it_is_put() -> None:
    rig = with_memory()
    rig.inp(0x1CE, 2)
    rig.map_answer = 22
    before = len(rig.calls)
    bar(rig, 0x0000_0000)
    bar(rig, 0xFF00_0000)
    assert rig.calls[before:].count(abi.Call.MAP) == 4
    assert rig.mapped == [(0, abi.VGA_MEMORY)]


def in_graphics() -> tuple[Rig, "ctypes.Array[ctypes.c_uint8]"]:
    """With 16 colours in planes, whose memory it has; what a BIOS sets for them at 0xA0000."""
    rig, memory = Rig(), (ctypes.c_uint8 * FRAME_BUFFER)()
    rig.shared.config.board = abi.Board.PC
    rig.shared.config.vga = 1
    rig.shared.config.regions[0] = ctypes.addressof(memory)
    rig.start()
    rig.inp(0x3DA)
    for port, value in ((0x3C0, 0x30), (0x3C0, 0x01), *((0x3C4, value) for value in SEQUENCER)):
        rig.out(port, value, 1 if port == 0x3C0 else 2)
    rig.out(GRAPHICS, 0x0005, 2)
    rig.out(GRAPHICS, 0x0506, 2)
    return rig, memory


def test_the_host_is_told_what_is_at_the_window() -> None:
    rig, _ = in_graphics()
    window = [what for number, what in rig.mapped if number == abi.WINDOW_NUMBER]
    assert window == [abi.WINDOW_NOTHING]
    rig.out(GRAPHICS, 0x0E06, 2)
    assert rig.mapped[-1] == (abi.WINDOW_NUMBER, abi.WINDOW_RAM)


def test_planes_are_at_the_window() -> None:
    rig, memory = in_graphics()
    rig.write(abi.WINDOW + 1, 0x4321, 2)
    assert bytes(memory[4:12]) == bytes.fromhex("2121212143434343")
    rig.out(0x3C4, 0x0402, 2)
    rig.write(abi.WINDOW + abi.WINDOW_SIZE - 1, 0x5A, 1)
    assert bytes(memory[-4:]) == bytes.fromhex("00005a00")
    rig.out(GRAPHICS, 0x0204, 2)
    assert rig.read(abi.WINDOW + abi.WINDOW_SIZE - 2, 2) == 0x5A00
    assert rig.read(abi.WINDOW + 1, 2) == 0x4321
    assert rig.read(abi.WINDOW - 1, 2) == 0x00FF
    counted = {
        trap.kind: trap.count for trap in rig.shared.statistics.traps if trap.address == abi.WINDOW
    }
    assert counted == {abi.TrapKind.MEMORY: 2, abi.TrapKind.MEMORY | abi.TrapKind.WRITE: 2}


def test_without_a_screen_nobody_is_at_the_window() -> None:
    rig = pc(vga=0)
    assert rig.read(abi.WINDOW, 2) == 0xFFFF
