"""Packet devices and what they are told. ATA/ATAPI-6 (T13 1410D), 8.23, for the way in; SFF-8020i
and MMC-3 (T10 1363-D) for the commands; SPC-2 (T10 1236-D) for sense data. Definitions only.
"""

from vestige.lang.enumeration import IntEnum, IntFlag

PACKET_SIZE = 12
BLOCK = 2048  # bytes of user data in a block of a disc
BLOCK_SECTORS = 4  # the same, of 512 bytes
SIGNATURE_MID, SIGNATURE_HIGH = 0x14, 0xEB  # ATA-6 9.12
MAX_BLOCKS = 1 << 30  # of a disc: their sectors have a number in 32 bits


class Reason(IntFlag):
    """Interrupt Reason, where disks have Sector Count: ATA-6 8.23."""

    COMMAND = 1 << 0  # a packet is asked for, or with TO_HOST the command is over
    TO_HOST = 1 << 1
    ALL = 7  # with REL; the others are a tag


class PacketFeature(IntFlag):
    """Features of PACKET: ATA-6 8.23."""

    DMA = 1 << 0
    OVERLAP = 1 << 1


class Packet(IntEnum):
    """The first byte of a packet: MMC-3, clause 6, and SPC-2, clause 7."""

    TEST_UNIT_READY = 0x00
    REQUEST_SENSE = 0x03
    INQUIRY = 0x12
    START_STOP_UNIT = 0x1B
    PREVENT_ALLOW = 0x1E
    READ_CAPACITY = 0x25
    READ_10 = 0x28
    SEEK_10 = 0x2B
    READ_TOC = 0x43
    GET_CONFIGURATION = 0x46
    GET_EVENT_STATUS = 0x4A
    READ_DISC_INFORMATION = 0x51
    MODE_SELECT_10 = 0x55
    MODE_SENSE_10 = 0x5A
    READ_12 = 0xA8
    SET_CD_SPEED = 0xBB
    MECHANISM_STATUS = 0xBD
    READ_CD = 0xBE


class SenseKey(IntEnum):
    """SPC-2, 7.20.2."""

    NO_SENSE = 0
    NOT_READY = 2
    MEDIUM_ERROR = 3
    ILLEGAL_REQUEST = 5
    UNIT_ATTENTION = 6


class Sense(IntEnum):
    """Additional sense code and its qualifier: SPC-2, 7.20.2; MMC-3, annex."""

    NONE = 0
    READ_ERROR = 0x1100  # unrecovered
    PARAMETER_LIST_LENGTH = 0x1A00
    INVALID_COMMAND = 0x2000
    OUT_OF_RANGE = 0x2100
    INVALID_FIELD_IN_PACKET = 0x2400
    INVALID_FIELD_IN_PARAMETERS = 0x2600
    MEDIUM_CHANGED = 0x2800  # may have been
    SAVING_NOT_SUPPORTED = 0x3900
    NO_MEDIUM_CLOSED = 0x3A01
    NO_MEDIUM_OPEN = 0x3A02
    REMOVAL_PREVENTED = 0x5302


SENSE_SIZE = 18
CURRENT_ERROR = 0x70


class MediaEvent(IntEnum):
    """GET EVENT STATUS NOTIFICATION, MMC-3 6.7.2.4."""

    NONE = 0
    NEW_MEDIA = 2
    MEDIA_REMOVAL = 3


MEDIA_CLASS = 4  # of an event
NO_EVENT = 1 << 7


class ModePage(IntEnum):
    """Of MODE SENSE and MODE SELECT: MMC-3, 5.5."""

    ERROR_RECOVERY = 0x01
    CAPABILITIES = 0x2A
    ALL = 0x3F


class PageControl(IntEnum):
    """Which values of a page MODE SENSE asks for: SPC-2, 7.8."""

    CURRENT = 0
    CHANGEABLE = 1
    DEFAULT = 2
    SAVED = 3


MODE_HEADER = 8
RECOVERY_SIZE, CAPABILITIES_SIZE = 8, 22
RETRIES = 5  # the default
SPEED = 7056  # kB/s, of 40 times


class Profile(IntEnum):
    """What a disc is, as GET CONFIGURATION has it: MMC-3, 5.3.1."""

    NONE = 0x0000
    CD_ROM = 0x0008
    DVD_ROM = 0x0010


LARGEST_CD = 80 * 60 * 75  # blocks; a disc that has more is a DVD
FRAMES_PER_SECOND, SECONDS_PER_MINUTE = 75, 60
PREGAP = 150  # frames before block 0
LEAD_OUT = 0xAA
DATA_TRACK = 0x14  # ADR 1: position; control: data, which can't be copied
LEAD_OUT_CONTROL = 0x16


class Feature(IntEnum):
    """What a drive can do: MMC-3, 5.3."""

    PROFILE_LIST = 0x0000
    CORE = 0x0001
    REMOVABLE_MEDIUM = 0x0003
    RANDOM_READABLE = 0x0010
    CD_READ = 0x001E
    DVD_READ = 0x001F
