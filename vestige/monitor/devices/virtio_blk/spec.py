"""The block device. Virtio 1.2, 5.2. Definitions only; sectors are of 512 bytes, always."""

from vestige.lang.enumeration import IntEnum

IDENTITY_SIZE = 20  # bytes of GET_ID's answer
HEADER_SIZE = 16  # bytes of a request before its data: type, reserved, sector
RANGE_SIZE = 16  # bytes of a range of DISCARD and WRITE_ZEROES: sector, sectors, flags
UNMAP = 1  # flag of a range: WRITE_ZEROES may give the sectors back


class Feature(IntEnum):
    """Feature bits, 5.2.3; bit numbers."""

    SIZE_MAX = 1
    SEG_MAX = 2
    RO = 5
    BLK_SIZE = 6
    FLUSH = 9
    MQ = 12
    DISCARD = 13
    WRITE_ZEROES = 14


class Request(IntEnum):
    """Types of requests, 5.2.6."""

    IN = 0
    OUT = 1
    FLUSH = 4
    GET_ID = 8
    DISCARD = 11
    WRITE_ZEROES = 13


class Answer(IntEnum):
    """The status byte, 5.2.6."""

    OK = 0
    IOERR = 1
    UNSUPP = 2


class Config(IntEnum):
    """Fields of the device configuration structure, 5.2.4; all RO here."""

    CAPACITY = 0  # 64 bits, sectors
    SIZE_MAX = 8  # 32, bytes of a segment
    SEG_MAX = 12  # 32, data segments of a request
    BLK_SIZE = 20  # 32
    NUM_QUEUES = 34  # 16
    MAX_DISCARD_SECTORS = 36  # 32
    MAX_DISCARD_SEG = 40  # 32
    DISCARD_SECTOR_ALIGNMENT = 44  # 32
    MAX_WRITE_ZEROES_SECTORS = 48  # 32
    MAX_WRITE_ZEROES_SEG = 52  # 32
    WRITE_ZEROES_MAY_UNMAP = 56  # 8
    SIZE = 60
