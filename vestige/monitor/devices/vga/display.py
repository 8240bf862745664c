"""What the registers make a screen of, for whoever shows it: abi.Screen."""

from vestige.abi import (
    CELL_SIZE,
    DOTS_OF_BYTE,
    MAX_SCREEN_COLUMNS,
    MAX_SCREEN_ROWS,
    NO_CURSOR,
    PALETTE,
    Screen,
    ScreenKind,
)
from vestige.lang.types import u8, u16, u32
from vestige.monitor.devices.vga.dispi import DispiRegisters
from vestige.monitor.devices.vga.ports_spec import REGION
from vestige.monitor.devices.vga.registers import Registers
from vestige.monitor.devices.vga.spec import (
    COLOURS,
    COLOURS_256,
    CURSOR_OFF,
    DOUBLED,
    FONT_MEMORY,
    FONT_OFFSETS,
    GRAPHICS_MODE,
    INTERLEAVED,
    LINES,
    MEMORY_MAP_SHIFT,
    ONE_AREA,
    PALETTE_IN_USE,
    PLANES,
    RETRACES,
    RUNNING,
    WINDOW_SIZES,
    WINDOWS,
    Attribute,
    AttributeMode,
    ClockingMode,
    Crtc,
    Graphics,
    Sequencer,
)

OFFSET_UNIT = 2  # characters
EIGHT = 8  # bits of a dot
DOTS_OF_CHARACTER = 4  # where a dot is two wide


def show(registers: Registers, dispi: DispiRegisters, screen: Screen) -> None:
    """Say how the screen looks. Of a mode whose dots are elsewhere: only that it is graphics."""
    screen.kind = kind_of(registers)
    if dispi.is_on():
        on = registers.attribute_index & PALETTE_IN_USE != 0
        screen.kind = ScreenKind.GRAPHICS if on else ScreenKind.BLANK
    if screen.kind == ScreenKind.TEXT:
        show_text(registers, screen)
    elif screen.kind == ScreenKind.GRAPHICS:
        if dispi.is_on():
            dispi.show(screen)
        else:
            show_graphics(registers, screen)
            if dispi.memory == 0:
                screen.depth = 0
        if screen.depth == EIGHT:
            for number in range(PALETTE):
                screen.palette[number] = registers.dac.colour(u8(number))
        elif screen.depth == PLANES:
            show_colours(registers, screen)


def show_graphics(registers: Registers, screen: Screen) -> None:
    """IBM's modes: a dot is a bit of each plane, or a byte and two wide.

    Those of a CGA, which have a dot's bits, or odd lines, elsewhere, are not told.
    """
    crtc = registers.crtc
    lines = crtc.registers[Crtc.MAXIMUM_SCAN_LINE]
    mode = registers.graphics[Graphics.MODE]
    characters = crtc.registers[Crtc.HORIZONTAL_DISPLAY_END] + 1
    if mode & COLOURS_256:
        screen.depth = EIGHT
        screen.width = characters * DOTS_OF_CHARACTER
        screen.dot_width = 2
    else:
        cga = mode & INTERLEAVED or crtc.registers[Crtc.MODE_CONTROL] & ONE_AREA == 0
        screen.depth = 0 if cga else PLANES
        screen.width = characters * DOTS_OF_BYTE
        half = registers.sequencer[Sequencer.CLOCKING_MODE] & ClockingMode.HALF_DOT_CLOCK
        screen.dot_width = 2 if half else 1
    screen.dot_height = ((lines & LINES) + 1) * (2 if lines & DOUBLED else 1)
    screen.height = (crtc.display_end() + 1) // screen.dot_height
    screen.region = REGION + 1
    screen.start = crtc.pair(Crtc.START_HIGH) * PLANES
    screen.pitch = crtc.registers[Crtc.OFFSET] * OFFSET_UNIT * PLANES


def show_text(registers: Registers, screen: Screen) -> None:
    """Rows, the cursor, colours and fonts."""
    crtc = registers.crtc
    mode = registers.sequencer[Sequencer.CLOCKING_MODE]
    lines = crtc.registers[Crtc.MAXIMUM_SCAN_LINE]
    screen.character_width = 8 if mode & ClockingMode.EIGHT_DOTS else 9
    screen.character_height = (lines & LINES) + 1
    screen.dot_width = 2 if mode & ClockingMode.HALF_DOT_CLOCK else 1
    screen.dot_height = 2 if lines & DOUBLED else 1
    columns = crtc.registers[Crtc.HORIZONTAL_DISPLAY_END] + 1
    rows = (crtc.display_end() + 1) // ((lines & LINES) + 1) // screen.dot_height
    screen.columns = min(columns, MAX_SCREEN_COLUMNS)
    screen.rows = min(rows, MAX_SCREEN_ROWS)
    place(registers, screen)
    show_cursor(registers, screen)
    show_colours(registers, screen)
    maps = registers.sequencer[Sequencer.CHARACTER_MAP]
    screen.fonts[0] = FONT_MEMORY + FONT_OFFSETS[maps & 3 | maps >> 2 & 4]
    screen.fonts[1] = FONT_MEMORY + FONT_OFFSETS[maps >> 2 & 3 | maps >> 3 & 4]


def kind_of(registers: Registers) -> u8:
    """Text, graphics, or nothing: a screen whose monitor is switched off, too."""
    on = registers.attribute_index & PALETTE_IN_USE != 0
    on = on and registers.sequencer[Sequencer.CLOCKING_MODE] & ClockingMode.SCREEN_OFF == 0
    on = on and registers.sequencer[Sequencer.RESET] == RUNNING
    if not on or registers.crtc.registers[Crtc.MODE_CONTROL] & RETRACES == 0:
        return ScreenKind.BLANK
    if registers.graphics[Graphics.MISCELLANEOUS] & GRAPHICS_MODE:
        return ScreenKind.GRAPHICS
    return ScreenKind.TEXT


def place(registers: Registers, screen: Screen) -> None:
    """Where its characters are."""
    window = registers.graphics[Graphics.MISCELLANEOUS] >> MEMORY_MAP_SHIFT & 3
    screen.window = WINDOWS[window]
    screen.window_size = WINDOW_SIZES[window]
    screen.start = registers.crtc.pair(Crtc.START_HIGH) * CELL_SIZE
    screen.pitch = registers.crtc.registers[Crtc.OFFSET] * OFFSET_UNIT * CELL_SIZE


def show_cursor(registers: Registers, screen: Screen) -> None:
    """Where it is, and which lines of a character it has."""
    crtc = registers.crtc
    first = crtc.registers[Crtc.CURSOR_START]
    across = u32(crtc.registers[Crtc.OFFSET] * OFFSET_UNIT)
    screen.cursor_row = NO_CURSOR
    screen.cursor_column = 0
    screen.cursor_first = first & LINES
    screen.cursor_last = crtc.registers[Crtc.CURSOR_END] & LINES
    if first & CURSOR_OFF or across == 0:
        return
    cell = u16(crtc.pair(Crtc.CURSOR_HIGH) - crtc.pair(Crtc.START_HIGH))
    screen.cursor_row = cell // across
    screen.cursor_column = cell % across


def show_colours(registers: Registers, screen: Screen) -> None:
    """What the sixteen are, and what an attribute means."""
    mode = registers.attribute[Attribute.MODE]
    select = registers.attribute[Attribute.COLOUR_SELECT]
    for number in range(COLOURS):
        colour = registers.attribute[number & registers.attribute[Attribute.PLANE_ENABLE] % COLOURS]
        if mode & AttributeMode.COLOUR_SELECT:
            colour = colour & 0x0F | select << 4 & 0x30
        screen.colours[number] = registers.dac.colour(u8(colour & 0x3F | select << 4 & 0xC0))
    screen.blinks = mode & AttributeMode.BLINK != 0
    screen.joins = mode & AttributeMode.LINE_GRAPHICS != 0
