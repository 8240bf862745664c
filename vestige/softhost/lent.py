"""A file or terminal of the caller's, lent to who can't have it: the software host has a socket.

The bytes go between that socket's other end and the file, without waiting for either.
"""

import os
import select
import socket

from vestige.host.backends.console import Console
from vestige.host.files.failures import lost
from vestige.host.files.outlet import Outlet
from vestige.host.messages import tell
from vestige.signals import Watch

_LIMIT = 64 * 1024  # bytes that wait for the file, or for the guest
_PIECE = 16 * 1024
_GRACE = 10.0  # seconds for who reads the file to take what is left at the end


class Lent(Console):
    """`console`, whose input and output are a socket here."""

    def __init__(self, console: Console) -> None:
        """Who opened `console` closes it."""
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._outlet = Outlet(console.output)
        self._for_guest = bytearray()
        self._input = console.input
        self._told = False
        far = self._far.fileno()
        super().__init__(far, None if console.input is None else far, console.name)

    def waits_for(self) -> dict[int, int]:
        """Both ends, as far as there is room."""
        near = select.POLLOUT if self._for_guest else 0
        if self._outlet.waiting < _LIMIT:
            near |= select.POLLIN
        events = {self._near.fileno(): near} | self._outlet.events()
        if self._input is not None and len(self._for_guest) < _LIMIT:
            events[self._input] = events.get(self._input, 0) | select.POLLIN
        return events

    def serve(self, ready: dict[int, int]) -> None:
        """Move what can be moved."""
        near = ready.get(self._near.fileno(), 0)
        if near & select.POLLIN:
            self._take()
        if self._outlet.waiting:
            self._outlet.flush()
        if near & select.POLLOUT:
            del self._for_guest[: self._near.send(self._for_guest)]
        if self._input is not None and ready.get(self._input, 0) & ~select.POLLOUT:
            self._read(self._input)
        if self._outlet.failure is not None and not self._told:
            self._told = True
            tell(lost(self.name, self._outlet.failure.errno))

    def _take(self) -> bool:
        """Take what the guest has written; False: there is nothing."""
        try:
            data = self._near.recv(_PIECE)
        except (BlockingIOError, ConnectionResetError):
            return False
        self._outlet.put(data)
        return bool(data)

    def _read(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, _PIECE)
        except OSError:
            data = b""  # a terminal that has gone is an input that has ended
        self._for_guest += data
        if not data:
            self._input = None

    def finish(self, watch: Watch) -> None:
        """The software host has gone: write what it left, as far as who reads it takes it soon.

        Raises Ended as `watch` does.
        """
        while self._take():
            pass
        self._outlet.finish(watch, _GRACE)

    def close(self) -> None:
        """Close the socket."""
        self._outlet.close()
        self._near.close()
        self._far.close()
