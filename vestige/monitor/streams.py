"""What a character device's link to its files keeps to: when to write, when to try again."""

from vestige.lang.types import i32, u8
from vestige.monitor.clock import MILLISECOND
from vestige.monitor.drivers.ring.spec import Errno

PATIENCE = 10 * MILLISECOND  # how long output without an end of line may wait for more of it
RETRY = 10 * MILLISECOND  # after EAGAIN: the file is a terminal or pipe in non-blocking mode
END_OF_LINE = 10


def errno_of(result: i32) -> u8:
    """The errno in a completion's result; 0 bytes written: EIO."""
    return u8(min(-result, 255)) if result < 0 else Errno.EIO
