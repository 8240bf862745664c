"""A stream of the caller's that bytes are written to without ever waiting for who reads it."""

import os
import select
import time

from vestige.host.files.nonblocking import Nonblocking
from vestige.signals import Watch
from vestige.terminal import STANDARD_ERROR, Traces

_PIECE = 4096  # PIPE_BUF: what a pipe that is ready takes at once
HANGUP = select.POLLHUP | select.POLLERR


class Outlet:
    """Writes to `descriptor` what `put` takes, as fast as that goes: see `events` and `flush`.

    `failure` is the OSError that ended it, from which on everything is dropped.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.failure: OSError | None = None
        self._waiting = bytearray()
        self._is_in_line = False
        self._file = Nonblocking(descriptor, os.O_WRONLY)
        self._traces = Traces() if self._file.is_terminal else None

    @property
    def waiting(self) -> int:
        """How many bytes have not been written yet."""
        return len(self._waiting)

    def put(self, data: bytes) -> int:
        """Take `data`; how many bytes, these or those before, have been written or dropped."""
        self._waiting += data
        if data:
            self._is_in_line = not data.endswith(b"\n")
        if self._traces is not None:
            self._traces.note(data)
        return self.flush()

    def end_line(self) -> int:
        """As `put`, of the end of a line that has none, before others write there."""
        return self.put(self._line_end() if self._traces is None else self._traces.line_end())

    def put_in_order(self) -> int:
        """As `put`, of what undoes what the guest has done to a terminal, and the end of its line.

        It writes no more.
        """
        return self.put(self._line_end() if self._traces is None else self._traces.ending())

    def _line_end(self) -> bytes:
        """What has lines on standard error, if that is the same file, begin as lines."""
        try:
            is_same = self._is_in_line and os.path.sameopenfile(self.descriptor, STANDARD_ERROR)
        except OSError:
            is_same = False
        return b"\n" if is_same else b""

    def events(self) -> dict[int, int]:
        """What to poll for until `flush` is worth while."""
        return {self.descriptor: select.POLLOUT} if self._waiting else {}

    def flush(self) -> int:
        """Write what goes without waiting; how many bytes have gone, or have been dropped."""
        before = len(self._waiting)
        while self._waiting and self.failure is None:
            try:
                del self._waiting[: self._write()]
            except BlockingIOError:
                break
            except OSError as error:
                self.failure = error
        if self.failure is not None:
            self._waiting.clear()
        return before - len(self._waiting)

    def _write(self) -> int:
        if self._file.is_socket:
            import socket  # noqa: PLC0415 - few outputs are one

            with socket.socket(fileno=os.dup(self.descriptor)) as end:
                return end.send(self._waiting, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        if self._file.is_sure:
            return os.write(self._file.descriptor, self._waiting)
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
        while self._waiting and (
            ready := watch.wait(self.events(), max(end - time.monotonic(), 0))
        ):
            if not self.flush() and ready[self.descriptor] & HANGUP:
                return  # nobody is there to take it

    def close(self) -> None:
        """Give back what was opened; the caller's own stays open."""
        self._file.close()
