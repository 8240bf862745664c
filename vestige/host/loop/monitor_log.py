"""What the monitor logs, told on standard error, up to a quota of a run.

Threat: the text is the monitor's, and so are how much there is of it and how often. It is escaped;
what is beyond the quota is counted, and dropped.
"""

from _thread import allocate_lock

from vestige.host.loop.failure import escaped
from vestige.host.messages import tell

MOST_LINES = 256  # of a run
MOST_BYTES = 32 << 10  # before they are escaped, which makes up to four of one


class MonitorLog:
    """The lines of one run's monitors: of all machines, where the guest restarts."""

    def __init__(self) -> None:
        self.dropped = 0  # lines
        self._lines, self._bytes = MOST_LINES, MOST_BYTES  # that may still come
        self._lock = allocate_lock()  # any vCPU's thread may log

    def take(self, text: bytes) -> None:
        """Tell a line, or count it."""
        if not text:
            return
        with self._lock:
            told = self._lines > 0 and len(text) <= self._bytes
            if told:
                self._lines -= 1
                self._bytes -= len(text)
            else:
                self.dropped += 1
        if told:
            tell(f"monitor: {escaped(text)}")

    def close(self) -> None:
        """Say how many were dropped."""
        if self.dropped:
            tell(f"{self.dropped} more lines of the monitor were dropped: a run has {MOST_LINES}")
