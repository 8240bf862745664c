"""Planes: what an access to the window does, and what the guest finds there when."""

import mmap
from ctypes import addressof, c_uint8

import pytest

from tests.devices.vga.test_model import (
    set_attribute,
    set_crtc,
    set_graphics,
    set_sequencer,
    shown,
    write,
)
from vestige.abi import (
    WINDOW_NOTHING,
    WINDOW_PARTS,
    WINDOW_RAM,
    Config,
    Screen,
    ScreenKind,
)
from vestige.monitor.devices.vga.model import FRAME, Vga
from vestige.monitor.devices.vga.ports_spec import VIDEO_MEMORY, WINDOW_OFFSET, Register
from vestige.monitor.devices.vga.spec import Attribute, Crtc, Graphics, Sequencer
from vestige.monitor.line import NEVER

NOTHING = 0xFF


class Card:
    """A VGA in text mode, whose frame buffer a test can see."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, VIDEO_MEMORY)
        config = Config()
        config.regions[0] = addressof(c_uint8.from_buffer(self.memory))
        self.vga = Vga()
        self.vga.reset()
        self.vga.configure(config)

    def set_planes(self) -> None:
        """As a BIOS sets graphics of 16 colours."""
        set_attribute(self.vga, Attribute.MODE, 1)
        set_sequencer(self.vga, Sequencer.MAP_MASK, 0x0F)
        set_sequencer(self.vga, Sequencer.MEMORY_MODE, 0x06)
        set_graphics(self.vga, Graphics.MODE, 0)
        set_graphics(self.vga, Graphics.MISCELLANEOUS, 0x05)

    def store(self, place: int, value: int, size: int = 1) -> None:
        self.vga.write(WINDOW_OFFSET + place, size, value, 0)

    def load(self, place: int, size: int = 1) -> int:
        return self.vga.read(WINDOW_OFFSET + place, size, 0)

    def planes(self, place: int) -> bytes:
        return self.memory[4 * place : 4 * place + 4]


@pytest.fixture
def card() -> Card:
    """Its planes can be written."""
    card = Card()
    card.set_planes()
    return card


def test_a_byte_goes_to_the_planes_of_the_map_mask(card: Card) -> None:
    card.store(3, 0x5A)
    set_sequencer(card.vga, Sequencer.MAP_MASK, 0x05)
    card.store(3, 0x11)
    assert card.planes(3) == bytes.fromhex("115a115a")


def test_a_read_is_of_the_plane_that_the_read_map_says(card: Card) -> None:
    card.memory[:4] = b"\1\2\3\4"
    for plane in range(4):
        set_graphics(card.vga, Graphics.READ_MAP, plane)
        assert card.load(0) == plane + 1


def test_several_bytes_are_one_after_the_other(card: Card) -> None:
    card.store(0, 0x04030201, 4)
    assert [card.planes(place)[0] for place in range(5)] == [1, 2, 3, 4, 0]
    assert card.load(0, 4) == 0x04030201


def test_set_and_reset_take_the_place_of_data_in_enabled_planes(card: Card) -> None:
    set_graphics(card.vga, Graphics.SET_RESET, 0x02)
    set_graphics(card.vga, Graphics.ENABLE_SET_RESET, 0x03)
    card.store(0, 0x5A)
    assert card.planes(0) == bytes.fromhex("00ff5a5a")


def test_bits_that_are_not_in_the_bit_mask_are_the_latches(card: Card) -> None:
    card.memory[:4] = bytes.fromhex("00ff00ff")
    card.load(0)
    set_graphics(card.vga, Graphics.BIT_MASK, 0x0F)
    card.store(1, 0xAA)
    assert card.planes(1) == bytes.fromhex("0afa0afa")


@pytest.mark.parametrize(("function", "made"), [(0, "6060"), (1, "4040"), (2, "f1f1"), (3, "b1b1")])
def test_data_is_rotated_and_combined_with_the_latches(
    card: Card, function: int, made: str
) -> None:
    card.memory[:4] = bytes.fromhex("d1d1d1d1")
    card.load(0)
    set_graphics(card.vga, Graphics.DATA_ROTATE, function << 3 | 4)
    card.store(1, 0x06)
    assert card.planes(1)[:2] == bytes.fromhex(made)


def test_write_mode_1_copies_what_was_read(card: Card) -> None:
    card.memory[:4] = b"\1\2\3\4"
    set_graphics(card.vga, Graphics.MODE, 1)
    card.load(0)
    card.store(9, 0xFF)
    assert card.planes(9) == b"\1\2\3\4"


def test_write_mode_2_is_a_colour(card: Card) -> None:
    set_graphics(card.vga, Graphics.MODE, 2)
    set_graphics(card.vga, Graphics.BIT_MASK, 0x81)
    card.store(0, 0x09)
    assert card.planes(0) == bytes.fromhex("81000081")


def test_write_mode_3_is_a_mask_for_the_colour_of_set_and_reset(card: Card) -> None:
    set_graphics(card.vga, Graphics.MODE, 3)
    set_graphics(card.vga, Graphics.SET_RESET, 0x06)
    card.store(0, 0x3C)
    assert card.planes(0) == bytes.fromhex("003c3c00")


def test_read_mode_1_tells_which_dots_have_a_colour(card: Card) -> None:
    card.memory[:4] = bytes.fromhex("f0cc00aa")
    set_graphics(card.vga, Graphics.MODE, 8)
    set_graphics(card.vga, Graphics.COLOUR_COMPARE, 0x01)
    assert card.load(0) == 0x10
    set_graphics(card.vga, Graphics.COLOUR_DONT_CARE, 0x01)
    assert card.load(0) == 0xF0


def test_behind_the_frame_buffer_is_nothing(card: Card) -> None:
    for index, value in ((5, 64), (4, 0)):  # the first bank whose planes there is no memory for
        card.vga.write(Register.DISPI_INDEX, 2, index, 0)
        if index == 5:
            card.vga.write(Register.DISPI_DATA, 2, value, 0)
    card.store(0, 0x5A)
    assert card.load(0) == NOTHING
    assert card.memory[:] == bytes(VIDEO_MEMORY)


def test_without_memory_nothing_is_there() -> None:
    vga = Vga()
    vga.reset()
    vga.configure(Config())
    vga.write(WINDOW_OFFSET, 2, 0x1234, 0)
    assert vga.read(WINDOW_OFFSET, 2, 0) == 0xFFFF


# ---- what is at the window ----------------------------------------------------------------------


def test_text_is_in_ram_before_graphics_and_after_it() -> None:
    card = Card()
    assert card.vga.window == WINDOW_RAM
    card.set_planes()
    assert card.vga.window == WINDOW_NOTHING
    set_graphics(card.vga, Graphics.MISCELLANEOUS, 0x0E)
    assert card.vga.window == WINDOW_RAM


# Writes of the sequencer (0x3C4) and the graphics controller (0x3CE), in their order.
FONT_ACCESS = {
    "Linux": (  # drivers/video/console/vgacon.c, vgacon_do_font_op
        *((0x3C4, 0, 1), (0x3C4, 2, 4), (0x3C4, 4, 7), (0x3C4, 0, 3)),
        *((0x3CE, 4, 2), (0x3CE, 5, 0), (0x3CE, 6, 0)),
        None,
        *((0x3C4, 0, 1), (0x3C4, 2, 3), (0x3C4, 4, 3), (0x3C4, 0, 3)),
        *((0x3CE, 4, 0), (0x3CE, 5, 0x10), (0x3CE, 6, 0x0E)),
    ),
    "SeaVGABIOS": (  # vgasrc/stdvga.c, stdvga_get_font_access
        *((0x3C4, 0, 1), (0x3C4, 2, 4), (0x3C4, 4, 7), (0x3C4, 0, 3)),
        *((0x3CE, 4, 2), (0x3CE, 5, 0), (0x3CE, 6, 4)),
        None,
        *((0x3C4, 0, 1), (0x3C4, 2, 3), (0x3C4, 4, 3), (0x3C4, 0, 3)),
        *((0x3CE, 6, 0x0E), (0x3CE, 4, 0), (0x3CE, 5, 0x10)),
    ),
}


@pytest.mark.parametrize("whose", FONT_ACCESS)
def test_a_font_is_loaded_into_ram_and_the_host_is_asked_for_nothing(whose: str) -> None:
    card = Card()
    found = []
    for step in FONT_ACCESS[whose]:
        if step is not None:
            port, index, value = step
            (set_sequencer if port == 0x3C4 else set_graphics)(card.vga, index, value)
        found.append(card.vga.window)
    assert set(found) == {WINDOW_RAM}


def test_another_plane_is_read_in_text_modes_as_a_plane() -> None:
    """As drivers/video/fbdev/vgastate.c saves the second font."""
    card = Card()
    set_sequencer(card.vga, Sequencer.MEMORY_MODE, 0x06)
    set_graphics(card.vga, Graphics.MISCELLANEOUS, 0x05)
    set_sequencer(card.vga, Sequencer.MAP_MASK, 0x04)
    assert card.vga.window == WINDOW_RAM
    set_sequencer(card.vga, Sequencer.MAP_MASK, 0x08)
    assert card.vga.window == WINDOW_NOTHING


def test_chained_planes_are_the_frame_buffer_while_all_can_be_written(card: Card) -> None:
    set_sequencer(card.vga, Sequencer.MEMORY_MODE, 0x0E)
    assert card.vga.window == WINDOW_PARTS
    set_sequencer(card.vga, Sequencer.MAP_MASK, 0x07)
    assert card.vga.window == WINDOW_NOTHING
    card.store(0, 0x44332211, 4)
    assert card.planes(0) == bytes.fromhex("11223300")
    assert card.load(1) == 0x22


def test_what_is_there_stays_while_the_sequencer_is_in_reset(card: Card) -> None:
    set_sequencer(card.vga, Sequencer.RESET, 1)
    set_sequencer(card.vga, Sequencer.MEMORY_MODE, 0x0E)
    assert card.vga.window == WINDOW_NOTHING
    set_sequencer(card.vga, Sequencer.RESET, 3)
    assert card.vga.window == WINDOW_PARTS


def test_memory_that_is_disabled_is_ram(card: Card) -> None:
    write(card.vga, Register.MISCELLANEOUS, 0x65)
    assert card.vga.window == WINDOW_RAM


def test_a_viewer_sees_queued_writes_25_times_a_second() -> None:
    card = Card()
    assert card.vga.next_deadline() == NEVER
    card.set_planes()
    assert card.vga.next_deadline() == FRAME
    card.vga.expire(FRAME - 1)
    assert card.vga.next_deadline() == FRAME
    card.vga.expire(FRAME + 5)
    assert card.vga.next_deadline() == 2 * FRAME + 5
    set_graphics(card.vga, Graphics.MISCELLANEOUS, 0x0E)
    assert card.vga.next_deadline() == NEVER


def test_an_index_alone_moves_nothing(card: Card) -> None:
    card.vga.show_screen(Screen())
    for register in (Register.SEQUENCER_INDEX, Register.GRAPHICS_INDEX, Register.CRTC_INDEX):
        assert card.vga.is_quiet_write(register, 1, 7)
        assert not card.vga.is_quiet_write(register, 2, 7)
        write(card.vga, register, 7)
    screen = Screen()
    card.vga.show_screen(screen)
    assert screen.kind == ScreenKind.ABSENT
    set_crtc(card.vga, Crtc.MODE_CONTROL, 0xE3)
    assert shown(card.vga).depth == 4
