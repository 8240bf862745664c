"""What the registers make a screen of, for whoever shows it: abi.Screen."""

from vestige.abi import (
    CELL_SIZE,
    MAX_SCREEN_COLUMNS,
    MAX_SCREEN_ROWS,
    NO_CURSOR,
    PALETTE,
    Screen,
    ScreenKind,
)
from vestige.lang.types import u8, u16, u32
from vestige.monitor.devices.vga.dispi import DispiRegisters
from vestige.monitor.devices.vga.registers import Registers
from vestige.monitor.devices.vga.spec import (
    CHAINED,
    COLOURS,
    COLOURS_256,
    CURSOR_OFF,
    DOUBLED,
    FONT_MEMORY,
    FONT_OFFSETS,
    GRAPHICS_MODE,
    LINES,
    MEMORY_MAP_SHIFT,
    PALETTE_IN_USE,
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
PLANES = 4  # a character's address is one in each
DOTS_OF_CHARACTER = 4  # where a dot is two wide
CHAINED_SIZE = 0x1_0000  # bytes that chained planes have


def show(registers: Registers, dispi: DispiRegisters, screen: Screen) -> None:
    """Say how the screen looks. Of a mode with planes it is said only that it is graphics."""
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
        if screen.depth == EIGHT:
            for number in range(PALETTE):
                screen.palette[number] = registers.dac.colour(u8(number))


def show_graphics(registers: Registers, screen: Screen) -> None:
    """IBM's mode of 256 colours, with chained planes: dots are bytes of RAM, and two wide."""
    crtc = registers.crtc
    lines = crtc.registers[Crtc.MAXIMUM_SCAN_LINE]
    chained = registers.sequencer[Sequencer.MEMORY_MODE] & CHAINED
    wide = registers.graphics[Graphics.MODE] & COLOURS_256
    screen.depth = EIGHT if chained and wide else 0
    screen.region = 0
    screen.dot_width = 2
    screen.dot_height = ((lines & LINES) + 1) * (2 if lines & DOUBLED else 1)
    screen.width = (crtc.registers[Crtc.HORIZONTAL_DISPLAY_END] + 1) * DOTS_OF_CHARACTER
    screen.height = (crtc.display_end() + 1) // screen.dot_height
    window = registers.graphics[Graphics.MISCELLANEOUS] >> MEMORY_MAP_SHIFT & 3
    screen.window = WINDOWS[window]
    screen.window_size = min(WINDOW_SIZES[window], CHAINED_SIZE)
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
