"""8254 registers and commands, and port 0x61. Intel 8254 data sheet (231164), Intel PIIX3's."""

from vestige.lang.enumeration import IntEnum, IntFlag

CLOCK = 1_193_182  # Hz, at CLK of each counter
COUNTERS = 3
REFRESH = 18  # pulses of CLK from one refresh cycle to the next: some 15 microseconds


class Register(IntEnum):
    """Offsets: counter n is at offset n. Control Word Format."""

    CONTROL = 3  # WO: a control word, or a command
    NMI_STATUS = 4  # RW, NmiStatus: port 0x61


SELECT_SHIFT = 6  # of a control word: a counter's number
READ_BACK = 3  # no number: the read-back command
ACCESS_SHIFT = 4
MODE_SHIFT = 1


class Control(IntFlag):
    """Of a control word what a counter keeps."""

    BCD = 1 << 0  # four decimal digits, not 16 bits
    MODE = 7 << MODE_SHIFT
    ACCESS = 3 << ACCESS_SHIFT
    KEPT = BCD | MODE | ACCESS


class Access(IntFlag):
    """Which bytes of a count are read and written, the low one first; none: latch the count."""

    LOW = 1 << 0
    HIGH = 1 << 1
    BOTH = LOW | HIGH


class Mode(IntEnum):
    """Mode Definitions. 6 and 7 are 2 and 3."""

    TERMINAL_COUNT = 0
    ONE_SHOT = 1
    RATE_GENERATOR = 2
    SQUARE_WAVE = 3
    SOFTWARE_STROBE = 4
    HARDWARE_STROBE = 5


class ReadBack(IntFlag):
    """Read-Back Command. Bit 1 + n selects counter n."""

    COUNTER_0 = 1 << 1
    NOT_STATUS = 1 << 4
    NOT_COUNT = 1 << 5


class Status(IntFlag):
    """Read-Back Command: the status byte. Bits 0 to 5 are those of the control word."""

    NULL_COUNT = 1 << 6  # the counter has not got yet what was written last
    OUT = 1 << 7


class NmiStatus(IntFlag):
    """PIIX3, NMI Status and Control Register."""

    GATE_2 = 1 << 0  # RW
    SPEAKER = 1 << 1  # RW
    REFRESH = 1 << 4  # RO: changes with each refresh cycle
    OUT_2 = 1 << 5  # RO
