"""The VGA's registers, what they make of the screen, and where the beam is."""

import pytest

from vestige.abi import NO_CURSOR, WINDOW_NOTHING, WINDOW_PARTS, Config, Screen, ScreenKind
from vestige.monitor.clock import SECOND
from vestige.monitor.devices.vga.model import Vga
from vestige.monitor.devices.vga.ports_spec import Register
from vestige.monitor.devices.vga.spec import (
    Attribute,
    Crtc,
    Dispi,
    Graphics,
    Sequencer,
    Status1,
)

FRAME = 14_268_000  # ns: 449 lines of 900 dots at 28.322 MHz
LINE = FRAME // 449


@pytest.fixture
def vga() -> Vga:
    """In text mode, as where a kernel starts without a firmware."""
    model = Vga()
    model.reset()
    model.configure(Config())
    return model


def write(vga: Vga, register: int, value: int) -> None:
    vga.write(register, 1, value, 0)


def read(vga: Vga, register: int, now: int = 0) -> int:
    return vga.read(register, 1, now)


def set_crtc(vga: Vga, index: int, value: int) -> None:
    write(vga, Register.CRTC_INDEX, index)
    write(vga, Register.CRTC_DATA, value)


def set_sequencer(vga: Vga, index: int, value: int) -> None:
    write(vga, Register.SEQUENCER_INDEX, index)
    write(vga, Register.SEQUENCER_DATA, value)


def set_graphics(vga: Vga, index: int, value: int) -> None:
    write(vga, Register.GRAPHICS_INDEX, index)
    write(vga, Register.GRAPHICS_DATA, value)


def set_attribute(vga: Vga, index: int, value: int) -> None:
    """The screen stays on."""
    read(vga, Register.STATUS_1)
    write(vga, Register.ATTRIBUTE, index | 0x20)
    write(vga, Register.ATTRIBUTE, value)


def shown(vga: Vga) -> Screen:
    screen = Screen()
    vga.registers.changed = 1
    vga.show_screen(screen)
    return screen


def test_after_power_on_the_screen_is_dark() -> None:
    model = Vga()
    model.reset()
    model.configure(Config(firmware_items=1))
    assert shown(model).kind == ScreenKind.BLANK


def test_a_kernel_without_a_firmware_finds_mode_3(vga: Vga) -> None:
    screen = shown(vga)
    assert screen.kind == ScreenKind.TEXT
    assert (screen.columns, screen.rows, screen.pitch) == (80, 25, 160)
    assert (screen.window, screen.window_size, screen.start) == (0xB8000, 0x8000, 0)
    assert (screen.character_width, screen.character_height) == (9, 16)
    assert list(screen.fonts) == [0xA0000, 0xA0000]
    assert (screen.blinks, screen.joins) == (1, 1)
    colours = [f"{colour:06x}" for colour in screen.colours]
    assert (colours[1], colours[6:9]) == ("0000aa", ["aa5500", "aaaaaa", "555555"])


def test_fifty_rows_are_characters_of_eight_lines(vga: Vga) -> None:
    set_crtc(vga, Crtc.MAXIMUM_SCAN_LINE, 0x47)
    assert shown(vga).rows == 50
    assert shown(vga).character_height == 8


def test_forty_columns_are_dots_of_twice_the_width(vga: Vga) -> None:
    set_crtc(vga, Crtc.VERTICAL_RETRACE_END, 0x0E)  # the others can be written
    set_crtc(vga, Crtc.HORIZONTAL_DISPLAY_END, 39)
    set_crtc(vga, Crtc.OFFSET, 20)
    set_sequencer(vga, Sequencer.CLOCKING_MODE, 0x09)
    screen = shown(vga)
    assert (screen.columns, screen.pitch) == (40, 80)
    assert (screen.dot_width, screen.character_width) == (2, 8)


def test_lines_shown_twice_make_half_the_rows(vga: Vga) -> None:
    set_crtc(vga, Crtc.MAXIMUM_SCAN_LINE, 0x87)
    assert (shown(vga).rows, shown(vga).dot_height) == (25, 2)


def test_the_start_moves_the_characters_and_the_cursor_s_row(vga: Vga) -> None:
    set_crtc(vga, Crtc.START_LOW, 160)
    set_crtc(vga, Crtc.CURSOR_HIGH, 1)
    set_crtc(vga, Crtc.CURSOR_LOW, 0x0A)
    screen = shown(vga)
    assert screen.start == 320
    assert (screen.cursor_row, screen.cursor_column) == (1, 0x10A - 160 - 80)


def test_a_cursor_can_be_off(vga: Vga) -> None:
    set_crtc(vga, Crtc.CURSOR_START, 0x2D)
    assert shown(vga).cursor_row == NO_CURSOR


def test_monochrome_text_is_at_b0000(vga: Vga) -> None:
    set_graphics(vga, Graphics.MISCELLANEOUS, 0x0A)
    assert (shown(vga).window, shown(vga).window_size) == (0xB0000, 0x8000)


def test_two_fonts_are_chosen_by_two_numbers(vga: Vga) -> None:
    set_sequencer(vga, Sequencer.CHARACTER_MAP, 0x29)  # map A is 6, map B is 1
    assert list(shown(vga).fonts) == [0xA4000, 0xAA000]
    set_sequencer(vga, Sequencer.CHARACTER_MAP, 0x14)  # map A is 1, map B is 4
    assert list(shown(vga).fonts) == [0xA2000, 0xA4000]


def test_colours_go_by_the_palette_the_selected_bits_the_mask_and_the_dac(vga: Vga) -> None:
    write(vga, Register.DAC_WRITE, 0x95)
    for part in (0x3F, 0x20, 0x01):
        write(vga, Register.DAC_DATA, part)
    set_attribute(vga, 1, 0x05)
    assert shown(vga).colours[1] == 0xAA00AA
    set_attribute(vga, Attribute.COLOUR_SELECT, 0x09)
    assert shown(vga).colours[1] == 0
    set_attribute(vga, Attribute.MODE, 0x8C)
    assert shown(vga).colours[1] == 0xFF8204
    write(vga, Register.PEL_MASK, 0x07)
    assert shown(vga).colours[1] == 0xAA00AA
    set_attribute(vga, Attribute.PLANE_ENABLE, 0x0E)
    assert shown(vga).colours[1] == shown(vga).colours[0]


@pytest.mark.parametrize("how", ["screen off", "palette", "reset", "retraces"])
def test_a_screen_is_blank(vga: Vga, how: str) -> None:
    match how:
        case "screen off":
            set_sequencer(vga, Sequencer.CLOCKING_MODE, 0x20)
        case "palette":
            read(vga, Register.STATUS_1)
            write(vga, Register.ATTRIBUTE, 0)
        case "reset":
            set_sequencer(vga, Sequencer.RESET, 1)
        case _:
            set_crtc(vga, Crtc.MODE_CONTROL, 0x23)
    assert shown(vga).kind == ScreenKind.BLANK


def test_nothing_is_said_again_that_has_not_changed(vga: Vga) -> None:
    vga.show_screen(Screen())
    screen = Screen()
    read(vga, Register.STATUS_1)
    write(vga, Register.CRTC_INDEX, Crtc.START_LOW)
    write(vga, Register.DAC_WRITE, 0)
    write(vga, Register.DAC_DATA, 1)
    vga.show_screen(screen)
    assert screen.kind == ScreenKind.ABSENT
    write(vga, Register.CRTC_DATA, 1)
    vga.show_screen(screen)
    assert screen.start == 2


def test_timing_is_protected_but_for_a_bit_of_line_compare(vga: Vga) -> None:
    set_crtc(vga, Crtc.HORIZONTAL_TOTAL, 0)
    assert read(vga, Register.CRTC_DATA) == 0x5F
    set_crtc(vga, Crtc.OVERFLOW, 0)
    assert read(vga, Register.CRTC_DATA) == 0x0F
    set_crtc(vga, Crtc.VERTICAL_RETRACE_END, 0x0E)
    set_crtc(vga, Crtc.OVERFLOW, 0)
    assert read(vga, Register.CRTC_DATA) == 0


def test_reading_status_1_has_an_index_come_next(vga: Vga) -> None:
    write(vga, Register.ATTRIBUTE, 0x21)
    read(vga, Register.STATUS_1)
    write(vga, Register.ATTRIBUTE, 0x22)
    write(vga, Register.ATTRIBUTE, 0x3A)
    assert read(vga, Register.ATTRIBUTE_DATA) == 0x3A
    write(vga, Register.ATTRIBUTE, 0x21)
    assert read(vga, Register.ATTRIBUTE_DATA) == 1


def test_the_beam_is_in_the_last_lines_of_a_frame_in_vertical_retrace(vga: Vga) -> None:
    def status(now: int) -> int:
        return read(vga, Register.STATUS_1, now)

    for frame in range(3):
        begin = frame * FRAME + LINE // 2
        assert status(begin) == 0
        assert status(begin + 399 * LINE) == 0
        assert status(begin + 401 * LINE) == Status1.NOT_DISPLAYING
        retrace = Status1.NOT_DISPLAYING | Status1.VERTICAL_RETRACE
        assert [status(begin + line * LINE) for line in (411, 412, 413, 414)] == [
            Status1.NOT_DISPLAYING,
            *(retrace, retrace),
            Status1.NOT_DISPLAYING,
        ]
    assert status(LINE - 2000) == Status1.NOT_DISPLAYING  # horizontal retrace


def test_there_are_70_frames_a_second(vga: Vga) -> None:
    step = LINE
    count, before = 0, 0
    for now in range(5 * SECOND, 6 * SECOND, step):
        retrace = read(vga, Register.STATUS_1, now) & Status1.VERTICAL_RETRACE
        count += retrace > before
        before = retrace
    assert count == 70


def test_half_of_a_register_of_dispi_is_none(vga: Vga) -> None:
    vga.write(Register.DISPI_INDEX, 2, Dispi.ID, 0)
    assert vga.read(Register.DISPI_DATA, 2, 0) == 0xB0C5
    write(vga, Register.DISPI_DATA, 0xC0)
    assert read(vga, Register.DISPI_DATA) == 0xFF
    assert vga.read(Register.DISPI_DATA, 2, 0) == 0xB0C5


def test_without_memory_no_resolution_is_possible(vga: Vga) -> None:
    for index in range(Dispi.X_RESOLUTION, Dispi.VIDEO_MEMORY_64K + 1):
        vga.write(Register.DISPI_INDEX, 2, index, 0)
        vga.write(Register.DISPI_DATA, 2, 0x41, 0)
        assert vga.read(Register.DISPI_DATA, 2, 0) == 0


def set_mode_13h(vga: Vga) -> None:
    """What of it says how the screen looks; as a VGA's BIOS sets it."""
    set_sequencer(vga, Sequencer.CLOCKING_MODE, 0x01)
    set_sequencer(vga, Sequencer.MAP_MASK, 0x0F)
    set_sequencer(vga, Sequencer.MEMORY_MODE, 0x0E)
    set_crtc(vga, Crtc.MAXIMUM_SCAN_LINE, 0x41)
    set_crtc(vga, Crtc.OFFSET, 0x28)
    set_graphics(vga, Graphics.MODE, 0x40)
    set_graphics(vga, Graphics.MISCELLANEOUS, 0x05)
    set_attribute(vga, Attribute.MODE, 0x41)


def test_mode_13h_is_the_frame_buffer_each_dot_two_wide_and_two_high(vga: Vga) -> None:
    vga.dispi.memory = 1  # nobody looks there
    set_mode_13h(vga)
    screen = shown(vga)
    assert (screen.kind, screen.depth, screen.region) == (ScreenKind.GRAPHICS, 8, 1)
    assert (screen.width, screen.height, screen.pitch) == (320, 200, 320)
    assert (screen.dot_width, screen.dot_height) == (2, 2)
    assert vga.window == WINDOW_PARTS
    assert (screen.palette[1], screen.palette[7]) == (0x0000AA, 0xAAAAAA)
    set_crtc(vga, Crtc.START_LOW, 80)
    assert shown(vga).start == 320


def test_unchained_256_colours_look_the_same_and_are_written_by_planes(vga: Vga) -> None:
    vga.dispi.memory = 1
    set_mode_13h(vga)
    before = bytes(shown(vga))
    set_sequencer(vga, Sequencer.MEMORY_MODE, 0x06)
    assert bytes(shown(vga)) == before
    assert vga.window == WINDOW_NOTHING


def set_mode_0dh(vga: Vga) -> None:
    """320 by 200 in 16 colours; as a VGA's BIOS sets it."""
    set_sequencer(vga, Sequencer.CLOCKING_MODE, 0x09)
    set_sequencer(vga, Sequencer.MAP_MASK, 0x0F)
    set_sequencer(vga, Sequencer.MEMORY_MODE, 0x06)
    set_crtc(vga, Crtc.VERTICAL_RETRACE_END, 0x0E)
    set_crtc(vga, Crtc.HORIZONTAL_DISPLAY_END, 39)
    set_crtc(vga, Crtc.MAXIMUM_SCAN_LINE, 0xC0)
    set_crtc(vga, Crtc.OFFSET, 0x14)
    set_crtc(vga, Crtc.MODE_CONTROL, 0xE3)
    set_attribute(vga, Attribute.MODE, 0x01)
    set_graphics(vga, Graphics.MODE, 0x00)
    set_graphics(vga, Graphics.MISCELLANEOUS, 0x05)


def test_16_colours_are_a_bit_of_each_plane(vga: Vga) -> None:
    vga.dispi.memory = 1
    set_mode_0dh(vga)
    set_crtc(vga, Crtc.START_LOW, 40)
    screen = shown(vga)
    assert (screen.kind, screen.depth, screen.region) == (ScreenKind.GRAPHICS, 4, 1)
    assert (screen.width, screen.height, screen.pitch) == (320, 200, 160)
    assert (screen.dot_width, screen.dot_height, screen.start) == (2, 2, 160)
    assert (screen.colours[1], screen.colours[6]) == (0x0000AA, 0xAA5500)


@pytest.mark.parametrize("how", ["two bits a dot", "odd lines elsewhere", "no memory"])
def test_of_other_modes_no_dots_are_told(vga: Vga, how: str) -> None:
    vga.dispi.memory = 0 if how == "no memory" else 1
    set_mode_0dh(vga)
    if how == "two bits a dot":
        set_graphics(vga, Graphics.MODE, 0x30)
    elif how == "odd lines elsewhere":
        set_crtc(vga, Crtc.MODE_CONTROL, 0xC2)
    assert (shown(vga).kind, shown(vga).depth) == (ScreenKind.GRAPHICS, 0)
