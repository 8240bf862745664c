"""The 82077AA's registers and commands, in PC-AT mode. Intel 82077AA data sheet (290166).

Sections are the data sheet's. 0x3F0 and 0x3F1, status registers A and B, are those of PS/2 mode.
"""

from vestige.lang.enumeration import IntEnum, IntFlag

UNITS = 4  # that a command can name
DRIVES = 2  # that there may be
SECTOR_CODE = 2  # N of 512 bytes: 128 << N
COMMAND_BYTES = 9  # of the longest
RESULT_BYTES = 10
FORMAT_ID = 4  # bytes that FORMAT TRACK wants for each sector: C, H, R, N
CYLINDER_LIMIT = 84  # positions of a drive's head, of which the last ones have no track


class Register(IntEnum):
    """Offsets from the first port; 2.1."""

    STATUS_A = 0  # not in PC-AT mode
    STATUS_B = 1  # likewise
    OUTPUT = 2  # RW: DOR
    TAPE = 3  # RW: TDR
    MAIN_STATUS = 4  # RO: MSR
    RATE_SELECT = 4  # WO: DSR
    DATA = 5  # RW: the FIFO
    INPUT = 7  # RO: DIR
    CONFIGURATION = 7  # WO: CCR


FLOATING = 0xFF  # what a port reads that the chip doesn't drive
TAPE_FLOATING = 0xFC  # the bits of TDR that it doesn't, in PC-AT mode


class Output(IntFlag):
    """DOR, 2.1.3."""

    DRIVE = 3
    RESET = 1 << 2  # 0: the chip is in reset
    GATE = 1 << 3  # DMAGATE#: 1: INT and DRQ are driven
    MOTOR = 1 << 4  # of drive 0; those of the others follow


class MainStatus(IntFlag):
    """MSR, 2.1.6."""

    BUSY = 1 << 4  # CMD BSY: a command's bytes, execution or result
    NON_DMA = 1 << 5  # execution that moves bytes by the data register
    TO_HOST = 1 << 6  # DIO
    REQUEST = 1 << 7  # RQM: the data register may be accessed


class RateSelect(IntFlag):
    """DSR, 2.1.5; of CCR RATE alone."""

    RATE = 3
    RESET = 1 << 7  # ends by itself


class Rate(IntEnum):
    """RATE."""

    KBPS_500 = 0
    KBPS_300 = 1
    KBPS_250 = 2
    KBPS_1000 = 3


CHANGED = 1 << 7  # DIR, DSKCHG: the disk may be another than before the latest step
INPUT_FLOATING = 0x7F


class Command(IntEnum):
    """Table 5-1: the first byte, but for the bits that are a command's options."""

    READ_TRACK = 0x02
    SPECIFY = 0x03
    SENSE_DRIVE_STATUS = 0x04
    WRITE_DATA = 0x05
    READ_DATA = 0x06
    RECALIBRATE = 0x07
    SENSE_INTERRUPT_STATUS = 0x08
    WRITE_DELETED_DATA = 0x09
    READ_ID = 0x0A
    READ_DELETED_DATA = 0x0C
    FORMAT_TRACK = 0x0D
    DUMPREG = 0x0E
    SEEK = 0x0F  # and RELATIVE SEEK
    VERSION = 0x10
    PERPENDICULAR_MODE = 0x12
    CONFIGURE = 0x13
    LOCK = 0x14
    VERIFY = 0x16


NUMBER = 0x1F  # of the first byte: which command
MULTI_TRACK = 1 << 7  # MT
MFM = 1 << 6
SKIP = 1 << 5  # SK
LOCKS = 1 << 7  # LOCK
RELATIVE = 1 << 7  # of SEEK
INWARD = 1 << 6  # DIR of RELATIVE SEEK: to higher cylinders

# By NUMBER: bytes of the command, 0 where there is none; and which bits above it may be set.
LENGTHS = (
    0, 0, 9, 3, 2, 9, 9, 2, 1, 9, 2, 0, 9, 6, 1, 3,
    1, 0, 2, 4, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0,
)  # fmt: skip
OPTIONS = (
    0, 0, 0x60, 0, 0, 0xC0, 0xE0, 0, 0, 0xC0, 0x40, 0, 0xE0, 0x40, 0, 0xC0,
    0, 0, 0, 0, 0x80, 0, 0xE0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
)  # fmt: skip


class Unit(IntFlag):
    """The second byte of most commands."""

    DRIVE = 3  # DS1, DS0
    HEAD = 1 << 2  # HDS
    COUNTED = 1 << 7  # EC of VERIFY: its last byte is how many sectors


class Byte(IntEnum):
    """Where the bytes are, of a command that names a sector, and of its result."""

    UNIT = 1
    CYLINDER = 2
    HEAD = 3
    SECTOR = 4
    SIZE = 5
    LAST = 6  # EOT
    COUNT = 8  # DTL; of VERIFY with EC the sectors
    FORMAT_SIZE = 2  # of FORMAT TRACK
    FORMAT_SECTORS = 3
    FORMAT_FILL = 5


class Specified(IntFlag):
    """The third byte of SPECIFY."""

    NON_DMA = 1 << 0


class Configured(IntFlag):
    """The third byte of CONFIGURE, 5.2.7."""

    THRESHOLD = 0xF
    NO_POLLING = 1 << 4
    NO_FIFO = 1 << 5  # EFIFO
    IMPLIED_SEEK = 1 << 6  # EIS


CONFIGURED = 0x7F  # all of them


class Perpendicular(IntFlag):
    """The second byte of PERPENDICULAR MODE, 5.2.11."""

    MODE = 3  # WGATE, GAP
    DRIVES = 0xF << 2
    OVERWRITE = 1 << 7  # OW: DRIVES count


class Status0(IntFlag):
    """ST0, 6.1. Its bits 0 to 2 are the command's drive and the head."""

    NO_TRACK_0 = 1 << 4  # EC
    SEEK_END = 1 << 5  # SE
    ABNORMAL = 1 << 6  # IC
    INVALID = 2 << 6
    POLLED = 3 << 6  # a drive's ready signal changed: so after a reset


class Status1(IntFlag):
    """ST1, 6.2."""

    NO_MARK = 1 << 0  # MA
    PROTECTED = 1 << 1  # NW
    NO_DATA = 1 << 2  # ND
    DATA_ERROR = 1 << 5  # DE
    END = 1 << 7  # EN: behind the last sector of a track, without TC


class Status2(IntFlag):
    """ST2, 6.3."""

    WRONG_CYLINDER = 1 << 4  # WC
    DATA_ERROR = 1 << 5  # DD
    MARK = 1 << 6  # CM: the data mark was the other one


class Status3(IntFlag):
    """ST3, 6.4. Its bits 0 to 2 are the command's drive and head."""

    ONES = 1 << 3 | 1 << 5
    TRACK_0 = 1 << 4
    PROTECTED = 1 << 6


VERSION_ENHANCED = 0x90
LOCKED = 1 << 4  # the result of LOCK
