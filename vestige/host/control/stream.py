"""A machine in a software host, asked through a stream of bytes to the run inside."""

import _socket
import select
from _collections_abc import Callable, Mapping

from vestige.errors import GuestError, UsageError
from vestige.host.backends.drive import EJECT, INSERT
from vestige.host.control.answers import LONGEST, error_line, is_answer
from vestige.host.control.commands import FREEZE
from vestige.host.control.server import STARTED, Control
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

MOST = LONGEST + 64  # bytes of the line of an answer
PIECE = 64 << 10


class Inside:
    """One end of the stream; `output` is the other's descriptor. Requests go in as they came.

    It answers for the machine from the guest's first start on, of which `begins` is told.
    Threat: what comes out is a line of bounded length.
    """

    def __init__(self, control: Control, begins: "Callable[[], object]" = lambda: None) -> None:
        self._control, self._begins = control, begins
        self._near, self._far = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._near.setblocking(False)
        self.output = self._far.fileno()
        self._going, self._coming = b"", bytearray()
        self._is_too_long = False

    def ask(self, command: str, request: "Mapping[str, Any]", line: bytes) -> None:
        """Send it. Raises GuestError where the one before is not taken yet, and UsageError for what
        needs a file of this side's.
        """
        if command == FREEZE:
            raise UsageError(
                "a guest in a software host of its own can't be frozen; run both commands inside"
                " one: vestige softhost -- COMMAND"
            )
        if command == INSERT:
            raise UsageError(
                "a software host has all its files from its start on; `vestige eject` works there"
            )
        if self._going:
            raise GuestError("the software host takes nothing now; try again")
        if command == EJECT and self._control.drive is not None:
            self._control.drive.take(command, request)  # it is known out here what is in it
        self._going = line + b"\n"
        self._send()

    def waits_for(self) -> dict[int, int]:
        """The near end."""
        return {self._near.fileno(): select.POLLIN | (select.POLLOUT if self._going else 0)}

    def serve(self, ready: dict[int, int]) -> None:
        """Move what can be moved."""
        came = ready.get(self._near.fileno(), 0)
        if came & select.POLLOUT:
            self._send()
        if came & select.POLLIN:
            self._take()

    def _send(self) -> None:
        try:
            self._going = self._going[self._near.send(self._going) :]
        except BlockingIOError:
            return

    def _take(self) -> None:
        self._coming += self._near.recv(PIECE)
        while b"\n" in self._coming:
            line, _, rest = self._coming.partition(b"\n")
            self._coming = rest
            too_long, self._is_too_long = self._is_too_long, False
            if line == STARTED:
                self._started()
                continue
            answer = error_line("too long an answer") if too_long else bytes(line)
            if self._control.drive is not None:  # it may be of that
                self._control.drive.settle(is_in=is_answer(answer))
            self._control.answered(answer)
        if len(self._coming) > MOST:
            self._coming.clear()
            self._is_too_long = True

    def finish(self) -> None:
        """Nothing comes any more: take what has come, of a guest that began and ended at once."""
        poll = select.poll()
        poll.register(self._near, select.POLLIN)
        if poll.poll(0):
            self._take()

    def _started(self) -> None:
        if self._control.starts:
            self._control.started()
        else:
            self._begins()
            self._control.runs(self)

    def close(self) -> None:
        """Close both ends."""
        self._near.close()
        self._far.close()
