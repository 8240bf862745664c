"""DISPI: which modes there are, what a viewer is told of them, where the frame buffer is."""

import ctypes
import mmap

import pytest

from vestige.abi import (
    VGA_MEMORY,
    WINDOW_NOTHING,
    WINDOW_PARTS,
    WINDOW_RAM,
    Config,
    Screen,
    ScreenKind,
)
from vestige.monitor.devices.pci.spec import Command
from vestige.monitor.devices.pci.spec import Register as PciRegister
from vestige.monitor.devices.vga.model import Vga
from vestige.monitor.devices.vga.ports_spec import VIDEO_MEMORY, Register
from vestige.monitor.devices.vga.spec import Dispi

ON, LINEAR, KEEP, CAPABILITIES, WIDE = 1, 0x40, 0x80, 2, 0x20
RESOLUTION = (Dispi.X_RESOLUTION, Dispi.Y_RESOLUTION, Dispi.BITS_PER_PIXEL)


class Card:
    """A VGA with its frame buffer."""

    def __init__(self, firmware: bool = False) -> None:
        self.memory = mmap.mmap(-1, VIDEO_MEMORY)
        config = Config(firmware_items=int(firmware))
        config.regions[0] = ctypes.addressof(ctypes.c_uint8.from_buffer(self.memory))
        self.vga = Vga()
        self.vga.reset()
        self.vga.configure(config)

    def set(self, index: int, value: int) -> None:
        self.vga.write(Register.DISPI_INDEX, 2, index, 0)
        self.vga.write(Register.DISPI_DATA, 2, value, 0)

    def get(self, index: int) -> int:
        self.vga.write(Register.DISPI_INDEX, 2, index, 0)
        return self.vga.read(Register.DISPI_DATA, 2, 0)

    def set_mode(self, width: int, height: int, bits: int, more: int = LINEAR) -> None:
        self.set(Dispi.ENABLE, 0)
        for index, value in zip(RESOLUTION, (width, height, bits), strict=True):
            self.set(index, value)
        self.set(Dispi.ENABLE, ON | more)

    def mode(self) -> list[int]:
        return [self.get(index) for index in RESOLUTION]

    def shown(self) -> Screen:
        screen = Screen()
        self.vga.registers.changed = 1
        self.vga.show_screen(screen)
        return screen


@pytest.fixture
def card() -> Card:
    """As where a kernel starts without a firmware."""
    return Card()


@pytest.mark.parametrize(("bits", "bytes_of_a_dot"), [(8, 1), (15, 2), (16, 2), (24, 3), (32, 4)])
def test_a_mode_is_shown_from_the_frame_buffer(card: Card, bits: int, bytes_of_a_dot: int) -> None:
    card.set_mode(1024, 768, bits)
    screen = card.shown()
    assert (screen.kind, screen.depth, screen.region) == (ScreenKind.GRAPHICS, bits, 1)
    assert (screen.width, screen.height) == (1024, 768)
    assert (screen.pitch, screen.start) == (1024 * bytes_of_a_dot, 0)
    assert (screen.dot_width, screen.dot_height) == (1, 1)


def test_16_colours_are_in_planes(card: Card) -> None:
    card.set_mode(800, 600, 4)
    screen = card.shown()
    assert (screen.width, screen.depth, screen.region) == (800, 4, 1)
    assert (screen.pitch, screen.colours[7]) == (400, 0xAAAAAA)
    assert card.vga.window == WINDOW_NOTHING


def test_the_window_is_a_bank_of_the_frame_buffer_while_a_mode_is_on(card: Card) -> None:
    assert card.vga.window == WINDOW_RAM
    card.set_mode(640, 480, 8)
    assert card.vga.window == WINDOW_PARTS
    card.set(Dispi.BANK, 255)
    assert card.vga.window == WINDOW_PARTS + 255
    card.set(Dispi.ENABLE, 0)
    assert card.vga.window == WINDOW_RAM


def test_a_mode_that_is_left_shows_text_again(card: Card) -> None:
    card.set_mode(640, 480, 32)
    card.set(Dispi.ENABLE, 0)
    assert card.shown().kind == ScreenKind.TEXT


def test_a_screen_whose_palette_is_not_in_use_is_blank(card: Card) -> None:
    card.set_mode(640, 480, 32)
    card.vga.read(Register.STATUS_1, 1, 0)
    card.vga.write(Register.ATTRIBUTE, 1, 0, 0)
    assert card.shown().kind == ScreenKind.BLANK


def test_a_mode_begins_with_what_it_shows_cleared(card: Card) -> None:
    card.memory[:] = b"\xff" * VIDEO_MEMORY
    card.set_mode(640, 480, 16, LINEAR | KEEP)
    assert card.memory[:1] == b"\xff"
    card.set(Dispi.ENABLE, ON)  # it has begun before
    assert card.memory[:1] == b"\xff"
    card.set_mode(640, 480, 16)
    size = 640 * 480 * 2
    assert card.memory[:size] == bytes(size)
    assert card.memory[size:] == b"\xff" * (VIDEO_MEMORY - size)


def test_what_can_not_be_becomes_what_can(card: Card) -> None:
    card.set_mode(0xFFFF, 0xFFFF, 7)
    assert card.mode() == [16_000, VIDEO_MEMORY // 16_000, 8]
    card.set_mode(0, 0, 32)
    assert card.mode() == [8, 1, 32]
    card.set_mode(1023, 768, 24)
    assert card.mode() == [1016, 768, 24]


def test_a_wider_line_has_room_for_fewer_lines(card: Card) -> None:
    card.set_mode(1024, 768, 32)
    assert card.get(Dispi.VIRTUAL_WIDTH) == 1024
    assert card.get(Dispi.VIRTUAL_HEIGHT) == 4096
    card.set(Dispi.VIRTUAL_WIDTH, 2048)
    assert card.get(Dispi.VIRTUAL_HEIGHT) == 2048
    assert card.shown().pitch == 8192
    card.set(Dispi.VIRTUAL_HEIGHT, 7)
    assert card.get(Dispi.VIRTUAL_HEIGHT) == 2048


def test_offsets_move_the_screen_as_far_as_there_is_memory(card: Card) -> None:
    card.set_mode(1024, 768, 32)
    card.set(Dispi.X_OFFSET, 5)
    card.set(Dispi.Y_OFFSET, 768)
    assert card.shown().start == 768 * 4096 + 20
    card.set(Dispi.Y_OFFSET, 4096 - 768)
    assert card.get(Dispi.Y_OFFSET) == 0  # 20 bytes too many
    card.set(Dispi.X_OFFSET, 0)
    card.set(Dispi.Y_OFFSET, 4096 - 768)
    assert card.get(Dispi.Y_OFFSET) == 4096 - 768


def test_what_is_possible_can_be_asked_for(card: Card) -> None:
    card.set(Dispi.ENABLE, CAPABILITIES)
    assert card.mode() == [16_000, 12_000, 32]
    assert card.get(Dispi.VIDEO_MEMORY_64K) == 256
    assert card.shown().kind == ScreenKind.TEXT


def test_a_bank_is_one_that_there_is(card: Card) -> None:
    card.set(Dispi.BANK, 0x1FF)
    assert card.get(Dispi.BANK) == 0xFF


def test_the_dac_can_have_eight_bits(card: Card) -> None:
    for more, colour in ((WIDE, 0xFE8101), (0, 0xFB0404)):
        card.set_mode(640, 480, 8, more)
        card.vga.write(Register.DAC_WRITE, 1, 9, 0)
        for part in (0xFE, 0x81, 0x01):
            card.vga.write(Register.DAC_DATA, 1, part, 0)
        assert card.shown().palette[9] == colour


def test_the_guest_finds_the_frame_buffer_where_bar_0_says(card: Card) -> None:
    assert card.vga.region_address() == VGA_MEMORY
    assert card.vga.read_config(0, PciRegister.BAR0, 4) == VGA_MEMORY | 8
    card.vga.write_config(0, PciRegister.BAR0, 4, 0xFFFF_FFFF)
    assert card.vga.read_config(0, PciRegister.BAR0, 4) == 0xFF00_0008
    card.vga.write_config(0, PciRegister.BAR0, 4, 0xFD00_0000)
    assert card.vga.region_address() == 0xFD00_0000
    card.vga.write_config(0, PciRegister.COMMAND, 2, Command.IO)
    assert card.vga.region_address() == 0


def test_a_firmware_places_it() -> None:
    card = Card(firmware=True)
    assert card.vga.region_address() == 0
    assert card.vga.read_config(0, PciRegister.BAR0, 4) == 8
