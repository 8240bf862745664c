"""A file, a pipe or a terminal of the user's behind a socket, whose other end others have.

The ring's operations take any offset, and any mode of writing: a regular file among its files could
be overwritten or made longer. And io_uring writes to a terminal that has a little room as a program
would, and waits with the ring's lock held: a socket is the one kind of stream for which it never
does. So the ring has a socket, as has a software host, and this process moves the bytes between
its other end and the file, waiting for neither.
"""

import _socket
import select

from vestige.host.backends.console import LOOK, Console
from vestige.host.files.failures import lost
from vestige.host.files.inlet import Inlet
from vestige.host.files.outlet import HANGUP, Outlet
from vestige.host.messages import tell
from vestige.signals import Watch

LIMIT = 64 * 1024  # bytes that wait for the file
PIECE = 64 * 1024
# What is read ahead of the guest is lost to whoever reads the same input after the run: so no more
# is sent than finds room in the least buffer that a socket can have, which is two of these.
INPUT_PIECE = 1024
STANDARD_OUTPUT = 1


class Relay(Console):
    """`console`, whose input and output are a socket here."""

    def __init__(self, console: Console) -> None:
        """Who opened `console` closes it."""
        self._near, self._far = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._near.setblocking(False)
        self._near.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, 0)
        self._ends_the_run = console.output == STANDARD_OUTPUT
        self._console = console
        self._outlet = Outlet(console.output)
        self._inlet = None if console.input is None else Inlet(console.input)
        self._for_guest = b""
        self._has_room = False  # for input: the guest has taken what was sent before
        self._told = False
        self._is_background = False  # of the terminal: to read it would stop us
        self._is_stalled = False  # poll(2) tells of the output that nobody is there to take it
        far = self._far.fileno()
        super().__init__(far, None if console.input is None else far, console.name)
        self.what = console.what

    def waits_for(self) -> dict[int, int]:
        """Both ends, as far as there is room."""
        near = select.POLLIN if self._outlet.waiting < LIMIT else 0
        events = {} if self._is_stalled else self._outlet.events()
        if self._for_guest or (self._inlet is not None and not self._has_room):
            near |= select.POLLOUT
        elif self._inlet is not None and not self._is_background:
            place = self._inlet.descriptor
            events[place] = events.get(place, 0) | select.POLLIN
        if near:
            events[self._near.fileno()] = near
        return events

    def serve(self, ready: dict[int, int]) -> None:
        """Move what can be moved."""
        near = ready.get(self._near.fileno(), 0)
        if near & select.POLLIN:
            self._take()
        self._write(ready)
        if near & select.POLLOUT:
            self._has_room = not self._for_guest
            if self._for_guest:
                self._send()
        if self._inlet is not None and self._has_room:
            self._read(self._inlet, ready)
        self.look = LOOK if self._is_background or self._is_stalled else None

    def _take(self) -> bool:
        """Take what the guest has written; False: there is nothing."""
        try:
            data = self._near.recv(PIECE)
        except (BlockingIOError, ConnectionResetError):
            return False
        if data:
            self._console.prepare()  # of a guest in a software host it is the first that is known
        self._outlet.put(data)
        return bool(data)

    def _write(self, ready: dict[int, int]) -> None:
        gone = ready.get(self._outlet.descriptor, 0) & HANGUP
        self._is_stalled = self._outlet.waiting > 0 and not self._outlet.flush() and gone != 0
        self._tell()

    def _tell(self) -> None:
        """The end of who reads standard output ends the run; any other end is told."""
        failure = self._outlet.failure
        if failure is None or self._told:
            return
        self._told = True
        if self._ends_the_run and isinstance(failure, BrokenPipeError):
            self.deserted = True
        else:
            tell(lost(self.name, failure.errno))

    def _read(self, inlet: Inlet, ready: dict[int, int]) -> None:
        came = ready.get(inlet.descriptor, 0) & ~select.POLLOUT
        self._is_background = (came != 0 or self._is_background) and inlet.is_anothers
        if not came or self._is_background:
            return
        self._for_guest = inlet.read(INPUT_PIECE)
        if self._for_guest:
            self._has_room = False
            self._send()
        if inlet.ended:
            self._inlet = None
            inlet.close()

    def _send(self) -> None:
        try:  # noqa: SIM105 - contextlib is slow to import
            self._for_guest = self._for_guest[self._near.send(self._for_guest) :]
        except BlockingIOError:
            pass

    def finish(self, watch: Watch, seconds: float) -> None:
        """The guest has gone: write what it left, as far as who reads it takes it in that time.

        Raises Ended as `watch` does.
        """
        while self._take():
            pass
        self._outlet.put_in_order()
        self._outlet.finish(watch, seconds)
        self._tell()

    def close(self) -> None:
        """Close the socket."""
        self._outlet.close()
        if self._inlet is not None:
            self._inlet.close()
            self._inlet = None
        self._near.close()
        self._far.close()
