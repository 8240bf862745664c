"""What a character device's link to its files keeps to: when to write, when to try again."""

from vestige.monitor.clock import MILLISECOND

PATIENCE = 10 * MILLISECOND  # how long output without an end of line may wait for more of it
RETRY = 10 * MILLISECOND  # after EAGAIN, which says that it is for later
END_OF_LINE = 10
