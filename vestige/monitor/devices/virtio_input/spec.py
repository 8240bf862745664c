"""The input device. Virtio 1.2, 5.8; types and codes of events are Linux's, input-event-codes.h.

Definitions only.
"""

from vestige.lang.enumeration import IntEnum


class Queue(IntEnum):
    """5.8.2."""

    EVENTS = 0
    STATUS = 1


QUEUES = 2


class Config(IntEnum):
    """Registers of the configuration structure, 5.8.4."""

    SELECT = 0  # RW, 8 bits: a Select
    SUBSELECT = 1  # RW, 8 bits
    SIZE = 2  # RO, 8 bits: bytes of what was selected, 0: it has none
    DATA = 8  # RO, 128 bytes


class Select(IntEnum):
    """What the driver asks for, 5.8.4."""

    NAME = 0x01
    SERIAL = 0x02
    DEVICE_IDS = 0x03
    PROPERTIES = 0x10
    EVENT_CODES = 0x11  # of the type SUBSELECT, a bit each
    RANGE = 0x12  # of the axis SUBSELECT


class Type(IntEnum):
    """Of an event."""

    SYN = 0
    KEY = 1
    REL = 2
    ABS = 3


X, Y = 0, 1  # of ABS
WHEEL = 8  # of REL
BUTTON_LEFT = 0x110  # of KEY; behind it those of the right, the middle, and two more
BUTTONS = 5

EVENT_SIZE = 8  # u16 type, u16 code, u32 value
