"""ATA registers, bits and commands. ATA/ATAPI-6 (T13 1410D revision 3b), clauses 7 and 8."""

from vestige.abi import SECTOR
from vestige.lang.enumeration import IntEnum, IntFlag

MULTIPLE_LIMIT = 16  # sectors a DRQ block may have: IDENTIFY DEVICE word 47
MULTIPLE_BUFFER = MULTIPLE_LIMIT * SECTOR
CHS_LIMIT = 16_514_064  # sectors CHS addresses reach: 16383 * 16 * 63
LBA28_LIMIT = (1 << 28) - 1  # IDENTIFY DEVICE words 60 and 61 say at most this
LBA28_MAXIMUM = LBA28_LIMIT - 1  # READ NATIVE MAX ADDRESS says at most this


class Register(IntEnum):
    """Offsets in the command block (0x1F0 primary, 0x170 secondary; native: BARs 0 and 2)."""

    DATA = 0  # RW, 16 bits
    ERROR = 1  # RO
    FEATURES = 1  # WO
    COUNT = 2  # RW: Sector Count
    LBA_LOW = 3  # RW
    LBA_MID = 4  # RW
    LBA_HIGH = 5  # RW
    DEVICE = 6  # RW
    STATUS = 7  # RO
    COMMAND = 7  # WO


DEVICE_CONTROL = 2  # offset in the control block (0x3F4, 0x374; BARs 1 and 3): WO
ALTERNATE_STATUS = 2  # RO


class Status(IntFlag):
    """7.15. Reading it acknowledges the interrupt; reading Alternate Status doesn't."""

    BSY = 1 << 7
    DRDY = 1 << 6
    DF = 1 << 5
    DSC = 1 << 4  # command dependent in ATA-6; seek complete before, and hosts still look
    DRQ = 1 << 3
    ERR = 1 << 0


class Error(IntFlag):
    """7.9, and the error outputs of each command in clause 8."""

    UNC = 1 << 6  # data could not be read
    IDNF = 1 << 4  # no such address
    ABRT = 1 << 2  # not supported, or could not be completed


DIAGNOSTIC_PASSED = 1  # Error register after a reset or EXECUTE DEVICE DIAGNOSTIC


class Device(IntFlag):
    """7.7. Bits 7 and 5 are obsolete and read as the ones older hosts wrote."""

    OBSOLETE = 1 << 7 | 1 << 5
    LBA = 1 << 6
    DEV = 1 << 4
    HEAD = 0x0F  # or LBA bits 24 to 27


class Control(IntFlag):
    """Device Control, 7.8."""

    HOB = 1 << 7  # read the previous content of the 16-bit registers
    SRST = 1 << 2
    NIEN = 1 << 1  # INTRQ is not driven


class Command(IntEnum):
    """Clause 8. Those with NO_RETRY are ATA-3's, and the same as those without.

    NOP (00h) is like every code not listed: aborted, which is all it ever does.
    """

    DATA_SET_MANAGEMENT = 0x06  # ACS-2 (T13 2015-D), 7.5
    DEVICE_RESET = 0x08  # a packet device's
    RECALIBRATE = 0x10  # ATA-3
    READ_SECTORS = 0x20
    READ_SECTORS_NO_RETRY = 0x21
    READ_SECTORS_EXT = 0x24
    READ_DMA_EXT = 0x25
    READ_NATIVE_MAX_EXT = 0x27
    READ_MULTIPLE_EXT = 0x29
    WRITE_SECTORS = 0x30
    WRITE_SECTORS_NO_RETRY = 0x31
    WRITE_SECTORS_EXT = 0x34
    WRITE_DMA_EXT = 0x35
    WRITE_MULTIPLE_EXT = 0x39
    READ_VERIFY = 0x40
    READ_VERIFY_NO_RETRY = 0x41
    READ_VERIFY_EXT = 0x42
    SEEK = 0x70  # ATA-5
    EXECUTE_DEVICE_DIAGNOSTIC = 0x90
    INITIALIZE_DEVICE_PARAMETERS = 0x91  # ATA-5, for CHS
    PACKET = 0xA0
    IDENTIFY_PACKET_DEVICE = 0xA1
    READ_MULTIPLE = 0xC4
    WRITE_MULTIPLE = 0xC5
    SET_MULTIPLE_MODE = 0xC6
    READ_DMA = 0xC8
    READ_DMA_NO_RETRY = 0xC9
    WRITE_DMA = 0xCA
    WRITE_DMA_NO_RETRY = 0xCB
    STANDBY_IMMEDIATE = 0xE0
    IDLE_IMMEDIATE = 0xE1
    STANDBY = 0xE2
    IDLE = 0xE3
    CHECK_POWER_MODE = 0xE5
    SLEEP = 0xE6
    FLUSH_CACHE = 0xE7
    FLUSH_CACHE_EXT = 0xEA
    IDENTIFY_DEVICE = 0xEC
    SET_FEATURES = 0xEF
    READ_NATIVE_MAX = 0xF8


class Feature(IntEnum):
    """Subcommands of SET FEATURES, in the Features register."""

    ENABLE_WRITE_CACHE = 0x02
    SET_TRANSFER_MODE = 0x03  # mode in the Sector Count register
    DISABLE_LOOK_AHEAD = 0x55
    KEEP_SETTINGS = 0x66  # SRST leaves settings as they are
    DISABLE_WRITE_CACHE = 0x82
    ENABLE_LOOK_AHEAD = 0xAA
    REVERT_SETTINGS = 0xCC  # SRST brings the defaults back


class DataSet(IntFlag):
    """Features register of DATA SET MANAGEMENT: what its ranges are told for."""

    TRIM = 1 << 0


TRIM_RANGES = 64  # in one sector of data: 48 bits of address, 16 of count; 0: not used


class TransferMode(IntEnum):
    """Sector Count values of SET FEATURES, set transfer mode; the mode's number is added."""

    PIO_DEFAULT = 0x00
    PIO_DEFAULT_NO_IORDY = 0x01
    PIO = 0x08
    MULTIWORD_DMA = 0x20
    ULTRA_DMA = 0x40


PIO_MODES = 5  # 0 to 4
MULTIWORD_DMA_MODES = 3  # 0 to 2
ULTRA_DMA_MODES = 3  # 0 to 2, for which a cable of 40 conductors will do


class PowerMode(IntEnum):
    """Sector Count after CHECK POWER MODE."""

    STANDBY = 0x00
    ACTIVE_OR_IDLE = 0xFF
