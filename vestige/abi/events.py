"""What is done at the keyboard and the mouse, as the host tells the monitor: a stream of records.

A record has EVENT_SIZE bytes, its numbers little-endian, two's complement where signed:

    0  u8   EventKind
    1  u8   of a POINTER or TABLET the buttons that are down: bit 0 left, 1 right, 2 middle, 3, 4
    2  u16  of a PRESS or RELEASE the key, by its make code in set 1, with 0xE000 where E0 comes
            before it; 0xE11D is Pause. Of a WAIT milliseconds
    4  i16  of a POINTER so much to the right, in quarters of a millimetre
    6  i16  away from the user
    4  u16  of a TABLET how far to the right it is, 0 to TABLET_END
    6  u16  how far down, likewise
    8  i16  of both turns of the wheel towards the user
"""

from vestige.lang.enumeration import IntEnum

EVENT_SIZE = 10
TABLET_END = 0x7FFF  # the right edge, and the bottom
EVENT_BUTTONS, EVENT_CODE, EVENT_X, EVENT_Y, EVENT_WHEEL = 1, 2, 4, 6, 8  # offsets


class EventKind(IntEnum):
    """The first byte. Others mean nothing, and are passed over."""

    PRESS = 1
    RELEASE = 2
    POINTER = 3
    WAIT = 4  # before the next
    TABLET = 5  # a pointer is at a place
