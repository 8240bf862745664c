"""The VGA's registers, and the DISPI ports of the Bochs VBE extension.

IBM Personal System/2 Hardware Interface Technical Reference (1988), "Video Subsystem". DISPI: QEMU,
docs/specs/standard-vga.rst.
"""

from vestige.abi import KIB
from vestige.lang.enumeration import IntEnum, IntFlag
from vestige.monitor.devices.vga.ports_spec import VIDEO_MEMORY

VENDOR = 0x1234
DEVICE = 0x1111
CLASS = 0x03  # display controller; subclass 0: compatible with VGA


class Miscellaneous(IntFlag):
    """Miscellaneous output."""

    COLOUR = 1 << 0  # registers are at 0x3D, not at 0x3B
    RAM = 1 << 1
    CLOCK = 3 << 2  # see CLOCKS
    PAGE = 1 << 5
    SYNC = 3 << 6  # polarities


MISCELLANEOUS_BITS = 0xFF & ~(1 << 4)
CLOCK_SHIFT = 2
CLOCKS = (25_175_000, 28_322_000, 25_175_000, 25_175_000)  # Hz; the last two are none of IBM's
FEATURE_BITS = 1 << 3  # vertical sync select


class Status1(IntFlag):
    """Input status 1."""

    NOT_DISPLAYING = 1 << 0
    VERTICAL_RETRACE = 1 << 3


# ---- the sequencer ------------------------------------------------------------------------------


class Sequencer(IntEnum):
    """Indexes of its registers."""

    RESET = 0
    CLOCKING_MODE = 1
    MAP_MASK = 2
    CHARACTER_MAP = 3
    MEMORY_MODE = 4


PLANES = 4
ALL_PLANES = 0x0F  # MAP_MASK
GLYPHS = 1 << 2  # MAP_MASK: the plane that has them, alone
SEQUENTIAL = 1 << 2  # MEMORY_MODE: odd and even addresses are no planes of their own
CHAINED = 1 << 3  # MEMORY_MODE: a byte for each address, planes by turns
SEQUENCER_PLACES = 8
SEQUENCER_BITS = (0x03, 0x3D, 0x0F, 0x3F, 0x0E, 0, 0, 0)  # by index: those that can be set
RUNNING = 3  # RESET: neither reset is asserted


class ClockingMode(IntFlag):
    """Sequencer, CLOCKING_MODE."""

    EIGHT_DOTS = 1 << 0  # of a character, not nine
    HALF_DOT_CLOCK = 1 << 3  # each dot is two wide
    SCREEN_OFF = 1 << 5


# ---- the CRT controller -------------------------------------------------------------------------


class Crtc(IntEnum):
    """Indexes of its registers."""

    HORIZONTAL_TOTAL = 0x00
    HORIZONTAL_DISPLAY_END = 0x01
    HORIZONTAL_BLANKING_START = 0x02
    HORIZONTAL_BLANKING_END = 0x03
    HORIZONTAL_RETRACE_START = 0x04
    HORIZONTAL_RETRACE_END = 0x05
    VERTICAL_TOTAL = 0x06
    OVERFLOW = 0x07
    PRESET_ROW_SCAN = 0x08
    MAXIMUM_SCAN_LINE = 0x09
    CURSOR_START = 0x0A
    CURSOR_END = 0x0B
    START_HIGH = 0x0C
    START_LOW = 0x0D
    CURSOR_HIGH = 0x0E
    CURSOR_LOW = 0x0F
    VERTICAL_RETRACE_START = 0x10
    VERTICAL_RETRACE_END = 0x11
    VERTICAL_DISPLAY_END = 0x12
    OFFSET = 0x13
    UNDERLINE = 0x14
    VERTICAL_BLANKING_START = 0x15
    VERTICAL_BLANKING_END = 0x16
    MODE_CONTROL = 0x17
    LINE_COMPARE = 0x18


CRTC_REGISTERS = 0x19
LAST_PROTECTED = Crtc.OVERFLOW
PROTECT = 1 << 7  # VERTICAL_RETRACE_END: registers 0 to 7 can't be written,
UNPROTECTED = 1 << 4  # but for bit 8 of LINE_COMPARE in OVERFLOW
RETRACE_LINES = 0x0F  # VERTICAL_RETRACE_END: of the line at which it ends
LINES = 0x1F  # MAXIMUM_SCAN_LINE, CURSOR_START, CURSOR_END: lines of a character
DOUBLED = 1 << 7  # MAXIMUM_SCAN_LINE: each line twice
CURSOR_OFF = 1 << 5  # CURSOR_START
RETRACES = 1 << 7  # MODE_CONTROL: there are horizontal and vertical retraces
ONE_AREA = 1 << 0  # MODE_CONTROL: odd lines are not from an area of their own


class Overflow(IntEnum):
    """OVERFLOW: by number, bits 8 and 9 of other registers."""

    VERTICAL_TOTAL_8 = 0
    VERTICAL_DISPLAY_END_8 = 1
    VERTICAL_RETRACE_START_8 = 2
    VERTICAL_TOTAL_9 = 5
    VERTICAL_DISPLAY_END_9 = 6
    VERTICAL_RETRACE_START_9 = 7


# ---- the graphics controller --------------------------------------------------------------------


class Graphics(IntEnum):
    """Indexes of its registers."""

    SET_RESET = 0
    ENABLE_SET_RESET = 1
    COLOUR_COMPARE = 2
    DATA_ROTATE = 3
    READ_MAP = 4
    MODE = 5
    MISCELLANEOUS = 6
    COLOUR_DONT_CARE = 7
    BIT_MASK = 8


class WriteMode(IntEnum):
    """MODE, bits 0 and 1: what a byte that is written means."""

    DATA = 0  # eight dots of each plane, but where ENABLE_SET_RESET has SET_RESET's
    LATCHES = 1  # nothing: what was read last is written
    COLOUR = 2  # a bit of each plane, for all of eight dots
    MASK = 3  # which of eight dots become SET_RESET's


class Function(IntEnum):
    """DATA_ROTATE, bits 3 and 4: what becomes of data and latches."""

    NONE = 0
    AND = 1
    OR = 2
    XOR = 3


WRITE_MODE = 3  # MODE
COMPARES = 1 << 3  # MODE: a read tells which dots have a colour
ODD_EVEN = 1 << 4  # MODE: even addresses are planes 0 and 2, odd ones 1 and 3
INTERLEAVED = 1 << 5  # MODE: two bits make a dot
COLOURS_256 = 1 << 6  # MODE: 8 bits make a dot, two wide
ROTATION = 7  # DATA_ROTATE
FUNCTION_SHIFT = 3
GRAPHICS_PLACES = 16
GRAPHICS_BITS = (0x0F, 0x0F, 0x0F, 0x1F, 0x03, 0x7B, 0x0F, 0x0F, 0xFF, 0, 0, 0, 0, 0, 0, 0)
GRAPHICS_MODE = 1 << 0  # MISCELLANEOUS
MEMORY_MAP_SHIFT = 2  # MISCELLANEOUS: two bits, which of these the memory is at
WINDOWS = (0xA_0000, 0xA_0000, 0xB_0000, 0xB_8000)
WINDOW_SIZES = (0x2_0000, 0x1_0000, 0x8000, 0x8000)


# ---- the attribute controller -------------------------------------------------------------------


class Attribute(IntEnum):
    """Indexes of its registers."""

    PALETTE = 0x00  # to 0x0F
    MODE = 0x10
    OVERSCAN = 0x11
    PLANE_ENABLE = 0x12
    PANNING = 0x13
    COLOUR_SELECT = 0x14


COLOURS = 16
ATTRIBUTE_PLACES = 32
ATTRIBUTE_BITS = (
    *(0x3F for _ in range(COLOURS)),
    *(0xEF, 0xFF, 0x3F, 0x0F, 0x0F),
    *(0 for _ in range(ATTRIBUTE_PLACES - Attribute.COLOUR_SELECT - 1)),
)
ATTRIBUTE_INDEX = 0x3F
PALETTE_IN_USE = 1 << 5  # of the index: the palette drives the screen, which is dark otherwise


class AttributeMode(IntFlag):
    """Attribute controller, MODE."""

    GRAPHICS = 1 << 0
    LINE_GRAPHICS = 1 << 2  # the ninth dot of 0xC0 to 0xDF is as the eighth
    BLINK = 1 << 3  # bit 7 of an attribute, which is the background's intensity otherwise
    COLOUR_SELECT = 1 << 7  # bits 4 and 5 of a colour are COLOUR_SELECT's, not the palette's


# ---- the DAC ------------------------------------------------------------------------------------

DAC_PARTS = 3  # of an entry: red, green, blue
DAC_SIZE = 256 * DAC_PARTS
DAC_BITS = 0x3F  # of each of red, green and blue
WIDE_DAC_BITS = 0xFF  # the same, where DISPI says so
READING = 3  # DAC_STATE
WRITING = 0


# ---- fonts --------------------------------------------------------------------------------------

FONT_MEMORY = 0xA_0000  # plane 2, where the processor writes it
# By a map's number, which CHARACTER_MAP has in three bits: from there on.
FONT_OFFSETS = (0x0000, 0x4000, 0x8000, 0xC000, 0x2000, 0x6000, 0xA000, 0xE000)


# ---- DISPI --------------------------------------------------------------------------------------


class Dispi(IntEnum):
    """Indexes of its registers of 16 bits."""

    ID = 0  # RW
    X_RESOLUTION = 1  # RW, as those that follow
    Y_RESOLUTION = 2
    BITS_PER_PIXEL = 3
    ENABLE = 4
    BANK = 5
    VIRTUAL_WIDTH = 6
    VIRTUAL_HEIGHT = 7  # RO: how many lines there is memory for
    X_OFFSET = 8
    Y_OFFSET = 9
    VIDEO_MEMORY_64K = 10  # RO


class DispiEnable(IntFlag):
    """ENABLE."""

    ENABLED = 1 << 0
    GET_CAPABILITIES = 1 << 1  # resolution and bits read as the most that are possible
    WIDE_DAC = 1 << 5  # 8 bits of each of red, green and blue
    LINEAR = 1 << 6  # the frame buffer at BAR 0, where it is always
    KEEP_MEMORY = 1 << 7  # else what is shown is cleared


DISPI_REGISTERS = 10  # those that are kept
FIRST_ID = 0xB0C0  # the versions of the interface: one can be asked for
LAST_ID = 0xB0C5
UNIT = 64 * KIB  # of VIDEO_MEMORY_64K and BANK
BANK_MASK = VIDEO_MEMORY // UNIT - 1
MAX_WIDTH, MAX_HEIGHT, MAX_BITS = 16_000, 12_000, 32
