"""What the monitor logs, told on standard error, up to a quota of a run."""

from vestige.host.loop.failure import escaped
from vestige.host.messages import tell

MOST_LINES = 256  # of a run
MOST_BYTES = 32 << 10  # before they are escaped, which makes up to four of one


class Lines:
    """Lines of all machines of one run, where the guest restarts.

    Threat: the text is the monitor's, or the machine's process's, and so are how much there is of
    it and how often: what is beyond the quota is counted, and `dropped`.
    """

    whose = ""

    def __init__(self) -> None:
        self.dropped = 0
        self._lines, self._bytes = MOST_LINES, MOST_BYTES  # that may still come

    def tell(self, text: bytes) -> None:
        """Tell it, escaped."""
        raise NotImplementedError

    def take(self, text: bytes) -> None:
        """Tell a line, or count it; an empty one is none."""
        if not text:
            return
        if self._lines > 0 and len(text) <= self._bytes:
            self._lines -= 1
            self._bytes -= len(text)
            self.tell(text)
        else:
            self.dropped += 1

    def close(self) -> None:
        """Say how many were dropped."""
        if self.dropped:
            tell(f"{self.dropped} more lines of {self.whose} were dropped: a run has {MOST_LINES}")


class MonitorLog(Lines):
    """What the monitors log."""

    whose = "the monitor"

    def tell(self, text: bytes) -> None:
        """One line, whatever is in it."""
        tell(f"monitor: {escaped(text)}")
