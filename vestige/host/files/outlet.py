"""A stream of the caller's that bytes are written to without ever waiting for who reads it.

The caller's own open file may be shared with other programs, which would be surprised to find it
in non-blocking mode: so a terminal or a pipe is opened once more. pipe(7), tty(4), proc(5).
"""

import os
import select
import stat
import time

from vestige.signals import Watch

_PIECE = 4096  # PIPE_BUF: what a pipe that is ready takes at once


class Outlet:
    """Writes to `descriptor` what `put` takes, as fast as that goes: see `events` and `flush`.

    `failure` is the OSError that ended it, from which on everything is dropped.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.failure: OSError | None = None
        self._waiting = bytearray()
        self._own = -1
        kind = os.fstat(descriptor).st_mode
        self._is_socket = stat.S_ISSOCK(kind)
        if stat.S_ISFIFO(kind) or os.isatty(descriptor):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            try:  # noqa: SIM105 - contextlib is slow to import
                self._own = os.open(f"/proc/self/fd/{descriptor}", flags)
            except OSError:
                pass  # another user's: its own open file, by pieces, has to do

    @property
    def waiting(self) -> int:
        """How many bytes have not been written yet."""
        return len(self._waiting)

    def put(self, data: bytes) -> int:
        """Take `data`; how many bytes, these or those before, have been written or dropped."""
        self._waiting += data
        return self.flush()

    def events(self) -> dict[int, int]:
        """What to poll for until `flush` is worth while."""
        return {self.descriptor: select.POLLOUT} if self._waiting else {}

    def flush(self) -> int:
        """Write what goes without waiting; how many bytes have gone, or have been dropped."""
        before = len(self._waiting)
        try:
            while self._waiting and self.failure is None:
                del self._waiting[: self._write()]
        except BlockingIOError:
            pass
        except OSError as error:
            self.failure = error
        if self.failure is not None:
            self._waiting.clear()
        return before - len(self._waiting)

    def _write(self) -> int:
        if self._own >= 0:
            return os.write(self._own, self._waiting)
        if self._is_socket:
            import socket  # noqa: PLC0415 - few outputs are one

            with socket.socket(fileno=os.dup(self.descriptor)) as end:
                return end.send(self._waiting, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        if not poll.poll(0):
            raise BlockingIOError
        return os.write(self.descriptor, self._waiting[:_PIECE])

    def finish(self, watch: Watch, seconds: float) -> None:
        """Write what is left, as far as who reads it takes it in that time, however slowly.

        Raises Ended as `watch` does.
        """
        end = time.monotonic() + seconds
        while self._waiting and watch.wait(self.events(), max(end - time.monotonic(), 0)):
            self.flush()

    def close(self) -> None:
        """Give back what was opened; the caller's own stays open."""
        if self._own >= 0:
            os.close(self._own)
            self._own = -1
