"""What the monitor tells the host of the guest's screen. Threat of all of it: wrong numbers.

The host copies characters and glyphs from where this says they are, inside SCREEN_MEMORY alone,
and draws nothing: whoever asked to see the screen does.
"""

from vestige.bounds import KIB
from vestige.lang.enumeration import IntEnum
from vestige.lang.types import Struct, u8, u16, u32

SCREEN_MEMORY = 0xA_0000  # guest RAM in which a screen's characters and fonts are
SCREEN_MEMORY_SIZE = 128 * KIB
MAX_SCREEN_COLUMNS = 256
MAX_SCREEN_ROWS = 128
CELL_SIZE = 2  # bytes: a character, and its attribute
GLYPHS = 256  # of a font
GLYPH_SIZE = 32  # bytes, one a line, the leftmost dot in bit 7
FONT_SIZE = GLYPHS * GLYPH_SIZE
FONTS = 2
SCREEN_COLOURS = 16
NO_CURSOR = 0xFFFF


MAX_SCREEN_WIDTH = 16_384  # dots of graphics
MAX_DOT = 64  # dots of the screen that one of these is wide or high
SCREEN_PLANES = 4
# Bits of a dot that there are: one of each plane; a number in the palette; blue, green, red.
DEPTHS = (SCREEN_PLANES, 8, 15, 16, 24, 32)
PALETTE = 256
DOTS_OF_BYTE = 8  # of a plane, the leftmost in bit 7


class ScreenKind(IntEnum):
    """What there is to see."""

    ABSENT = 0  # there is no screen
    BLANK = 1
    TEXT = 2
    GRAPHICS = 3


def line_size(width: int, depth: int) -> int:
    """Bytes of a line of graphics."""
    if depth == SCREEN_PLANES:
        return -(-width // DOTS_OF_BYTE) * SCREEN_PLANES
    return width * -(-depth // 8)


class Screen(Struct):
    """A screen. What is not said to be of graphics is a text screen's.

    Addresses are guest-physical. Row r begins at `window` + (`start` + r * `pitch`) %
    `window_size`, and goes on at `window` behind the window's end. So does line r of graphics, or
    the same in a region. In a line of planes are by turns a byte of each, the first one's first.
    """

    kind: u8  # ScreenKind
    columns: u16
    rows: u16
    pitch: u16  # bytes from one row to the next; of graphics, too, as are the next three
    window: u32
    window_size: u32
    start: u32  # bytes
    cursor_row: u16  # NO_CURSOR: there is none
    cursor_column: u16
    cursor_first: u8  # lines of a character; none if the first is behind the last
    cursor_last: u8
    character_width: u8  # dots, 8 or 9
    character_height: u8  # lines, 1 to GLYPH_SIZE
    dot_width: u8  # 1 or more: of one dot on the screen; of graphics, too
    dot_height: u8
    blinks: u8  # 1: bit 7 of an attribute; 0: that is the background's bit 3
    joins: u8  # 1: a ninth dot of characters 0xC0 to 0xDF is as their eighth, not background
    fonts: u32[FONTS]  # where each is; the second is that of attributes with bit 3
    colours: u32[SCREEN_COLOURS]  # 0xRRGGBB; of graphics, too, where a dot has 4 bits
    # Of graphics alone.
    width: u16  # dots
    height: u16  # lines
    depth: u8  # one of DEPTHS; 0: it is told of no memory that there are dots in
    region: u8  # r: in REGIONS[r - 1], as if that were the window; 0: in the window
    palette: u32[PALETTE]  # 0xRRGGBB, where a dot has 8 bits
