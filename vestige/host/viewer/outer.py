"""The viewer's process as the run's own sees it: started, given what it needs, and heard.

Threat: what it says is believed no more than the machine's process is. Keys and movements are those
of a keyboard and a mouse, and bounded; lines are text, and few; it can say nothing else. Where it
ends, one line says so, and the guest goes on without.
"""

import os
import select
from _collections_abc import Callable, Sequence

from vestige.abi import (
    EVENT_BUTTONS,
    EVENT_CODE,
    EVENT_SIZE,
    EVENT_WHEEL,
    EVENT_X,
    EVENT_Y,
    TABLET_END,
    EventKind,
)
from vestige.errors import UsageError
from vestige.host.backends.events import POINTERS, Events
from vestige.host.jail import seccomp
from vestige.host.keys import FARTHEST, NAMED, PLAIN, SHIFTED
from vestige.host.messages import in_one_line, tell
from vestige.host.process.link import Kind, Link
from vestige.host.process.outer import ProcessLines, fork
from vestige.host.viewer import memory
from vestige.host.viewer.inner import Locked, live
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # signal itself makes enumerations of all numbers, and imports enum

CODES = frozenset((*NAMED.values(), *PLAIN.values(), *SHIFTED.values()))  # of keys that there are
MOST_BUTTONS, MOST_WHEEL = 31, 127
WHOSE = "the viewer"
PATIENCE = 10.0  # seconds in which it takes what it is to see


class Lines(ProcessLines):
    """What it tells on standard error."""

    whose = WHOSE


class ViewerProcess:
    """One, from before the first start of the guest to the end of the run."""

    def __init__(self, events: Events, locked: Locked, body: Callable[[Link], object]) -> None:
        """Fork, and wait until it is locked in; then it does what `body` does with its end.

        Raises UsageError where it can't be.
        """
        self._events = events
        self._lines = Lines()
        self._listener = -1
        self._starts = False

        def work(link: Link, problem: str | None) -> None:
            live(link, locked, problem, body)

        self._link, self._pid = fork(work, WHOSE, WHOSE, jailed=locked.is_on)
        self._room = select.poll()
        self._room.register(self._link, select.POLLOUT)
        try:
            self._wait_for_start()
        except BaseException:
            self.close()
            raise

    def _wait_for_start(self) -> None:
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        while self._pid and not self._starts:
            poll.poll()
            self.serve({self._link.fileno(): select.POLLIN})
        if not self._pid:
            raise UsageError("the viewer could not be started; leave --display out")

    # ---- what it is given -------------------------------------------------------------------

    def sees(self, files: Sequence[int]) -> None:
        """From now on the screen is that of these files, which the machine has mapped."""
        memory.seal(files)
        for file in files:
            if not self._pid:
                return
            self._room.poll(1000 * PATIENCE)  # of many who look on, there may be none right now
            if not self._link.send_along(Kind.MEMORY, b"", file):
                self._end("the viewer takes nothing any more")

    def take_client(self, descriptor: int) -> None:
        """One looks on, by a socket that does not wait. It stays the caller's to be closed here.

        Where so many come that the process takes no more at once, that one is let go.
        """
        if self._pid:
            self._link.send_along(Kind.CLIENT, b"", descriptor)

    def tell_size(self, columns: int, rows: int) -> None:
        """Of the terminal where it draws."""
        sizes = columns.to_bytes(2, "little") + rows.to_bytes(2, "little")
        if self._pid:
            self._link.send(Kind.SIZE, sizes)

    # ---- what it says -----------------------------------------------------------------------

    def waits_for(self) -> dict[int, int]:
        """Descriptors to be watched, each with its poll events."""
        if not self._pid:
            return {}
        places = (self._link.fileno(), self._listener)
        return {place: select.POLLIN for place in places if place >= 0}

    def serve(self, ready: dict[int, int]) -> None:
        """Take what it has said. Raises UsageError where it could not be locked in as asked."""
        if not self._pid:
            return
        if self._listener in ready:
            self._ask_listener(ready[self._listener])
        if self._pid and self._link.fileno() in ready:
            for message in self._link.waiting():
                if message is None:
                    self._end(None)
                    return
                self._take(*message)

    def _ask_listener(self, events: int) -> None:
        call = seccomp.refused(self._listener) if events & select.POLLIN else None
        if call is None:
            os.close(self._listener)
            self._listener = -1
            return
        from vestige.host.jail.calls import name_of  # noqa: PLC0415 - its imports are slow

        self._end(
            f"the viewer made the system call {name_of(*call)}, which its jail does not allow"
        )

    def _take(self, kind: int, data: bytes, descriptor: int) -> None:
        if kind == Kind.LISTENER and self._listener < 0:
            self._listener, descriptor = descriptor, -1
        elif kind == Kind.EVENTS:
            self._events.put(believed(data))
        elif kind == Kind.LINES:
            for line in data.splitlines():
                self._lines.take(line)
        elif kind == Kind.STARTS:
            self._starts = True
        elif kind in (Kind.REFUSED, Kind.FAILED) and not self._starts:
            self._end("")
            raise UsageError(in_one_line(data.decode("utf-8", "replace")))
        if descriptor >= 0:
            os.close(descriptor)

    def _end(self, reason: str | None) -> None:
        """It is over, and is told of: why, or how it ended where that says nothing."""
        pid, self._pid = self._pid, 0
        if not pid:
            return
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if reason is None:
            reason = f"the viewer ended ({os.waitstatus_to_exitcode(status)})"
        if reason:
            tell(f"{reason}; the guest goes on without --display")

    def close(self) -> None:
        """End it; a second time does nothing."""
        self._end("")
        self._link.close()
        if self._listener >= 0:
            os.close(self._listener)
            self._listener = -1
        self._lines.close()


def believed(data: bytes) -> bytes:
    """Those of the records that a keyboard, a mouse and a tablet can make."""
    records = [data[at : at + EVENT_SIZE] for at in range(0, len(data), EVENT_SIZE)]
    return b"".join(each for each in records if _is_possible(each))


def _is_possible(record: bytes) -> bool:
    if len(record) != EVENT_SIZE:
        return False
    if record[0] in (EventKind.PRESS, EventKind.RELEASE):
        return _number(record, EVENT_CODE, signed=False) in CODES
    if record[0] not in POINTERS or record[EVENT_BUTTONS] > MOST_BUTTONS:
        return False
    if abs(_number(record, EVENT_WHEEL)) > MOST_WHEEL:
        return False
    if record[0] == EventKind.TABLET:
        places = (_number(record, at, signed=False) for at in (EVENT_X, EVENT_Y))
        return all(place <= TABLET_END for place in places)
    return all(abs(_number(record, at)) <= FARTHEST for at in (EVENT_X, EVENT_Y))


def _number(record: bytes, place: int, *, signed: bool = True) -> int:
    return int.from_bytes(record[place : place + 2], "little", signed=signed)
