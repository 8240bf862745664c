"""Two Intel 8237A and their page registers, as an AT has them.

Intel 8237A data sheet (231466); Intel 82371SB (PIIX3) data sheet (290550), 2.5.1, for ports and
pages, and for the register of all masks, which it lets be read.
"""

from vestige.lang.enumeration import IntEnum, IntFlag

PORT_FIRST = 0x00  # channels 0 to 3: a register at each port
PORT_PAGES = 0x80
PORT_SECOND = 0xC0  # channels 4 to 7: a register at every second port, and again at the next
FIRST_PORTS = 16
SECOND_PORTS = 32
CHANNELS = 4  # of each
PAGES = 16


class Register(IntEnum):
    """Of each controller. Below these, in turn, a channel's address and its count."""

    STATUS = 8  # RO: Status; reading clears what has ended
    COMMAND = 8  # WO
    REQUEST = 9  # WO: Bit for one channel
    MASK = 10  # WO: Bit for one channel
    MODE = 11  # WO: of the channel in its bits 0 and 1
    CLEAR_FLIP_FLOP = 12  # WO, any value
    TEMPORARY = 13  # RO: the last byte from memory to memory; 0 after a master clear
    MASTER_CLEAR = 13  # WO, any value: as a reset
    CLEAR_MASK = 14  # WO, any value
    ALL_MASKS = 15  # RW: a bit a channel


class Command(IntFlag):
    """COMMAND."""

    DISABLE = 1 << 2  # nothing is transferred


class Mode(IntFlag):
    """MODE."""

    TYPE = 3 << 2  # a Transfer
    INITIALIZE = 1 << 4  # autoinitialization: begin again at the end of the count
    DOWN = 1 << 5  # the address is decremented
    SERVICE = 3 << 6
    CASCADE = 3 << 6  # of SERVICE: the channel is another controller's


class Transfer(IntEnum):
    """Mode.TYPE, and what there is beside."""

    VERIFY = 0 << 2  # nothing is moved
    WRITE = 1 << 2  # from the device to memory
    READ = 2 << 2  # from memory to the device


# By channel of the first controller: where in the page registers its page is.
PAGE_OF = (7, 3, 1, 2)
PAGE_SHIFT = 16


class Bit(IntFlag):
    """A value written to REQUEST or to MASK."""

    CHANNEL = 3  # which
    SET = 1 << 2  # 1: set, 0: clear


REQUESTS_SHIFT = 4  # in STATUS: a bit for each channel that requests service
ALL = (1 << CHANNELS) - 1
