"""Where keyboard, mouse and tablet get their events: of whoever types, of a file, of a socket.

The ring's file is a socket, of which the monitor takes an event when the guest can take it. So what
is sent into it stays there until then, and what it has no room for stays here, and in the file.

The monitor takes a few events ahead, and more once all of these are done. So a mark, an event that
does nothing, follows what somebody types, when all of that has been taken: once the mark is taken,
all before it has been done.
"""

import _socket
import fcntl
import os
import select
import stat
import termios
import time
from _collections_abc import Callable, Sequence

from vestige.abi import EVENT_CODE, EVENT_SIZE, EVENT_WHEEL, EVENT_X, EventKind
from vestige.errors import GuestError, UsageError
from vestige.host.backends.console import Console
from vestige.host.keys import PC_DESK, Desk, Held, Typist
from vestige.host.messages import tell
from vestige.host.options import SOCKET

# Bytes sent at once, of whole records. The least buffer that a socket can have holds two such
# pieces, so that a piece goes whole or not at all.
PIECE = 100 * EVENT_SIZE
LONGEST_LINE = 4096  # bytes
LONGEST_FILE = 64 << 10  # bytes; each may become 40 of records, half a second's work in all
END = b"\0"  # a line's last byte where a client has gone, in its midst unless that is all of it
MOST_WAITING = 1 << 20  # bytes of records, and then what one more request makes
MOST_HELD = 4096 * EVENT_SIZE  # of what a viewer's user has typed and the guest has not taken
MARK = bytes((EventKind.WAIT,)).ljust(EVENT_SIZE, b"\0")
AHEAD = 16  # events that the monitor takes before they are done: monitor/events.py
MOST_TOLD = 16  # lines that mean nothing
BYTE_ORDER_MARK = "\ufeff".encode()  # that other systems' editors begin a file with
TOO_LONG = f"a line of more than {LONGEST_LINE} bytes"

POINTERS = (EventKind.POINTER, EventKind.TABLET)
NOTHING: Held = (0, None)

Done = Callable[[], object]
Dropped = tuple[int, int, int]  # events that are never done, of how many, and that had been taken


class Source:
    """Where bytes come from that somebody else opened, and what they mean: records, as they are."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.ended = False

    def read(self) -> bytes:
        """The records that have come."""
        try:
            data = os.read(self.descriptor, PIECE)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        self.ended = not data
        return self.records(data)

    def records(self, data: bytes) -> bytes:
        """What this means."""
        return data


class Lines(Source):
    """Lines of keys.py. One that means nothing is told, and passed over.

    The last needs no end, as in a file; but one that ends with END is not whole.
    """

    def __init__(self, descriptor: int, option: str, desk: Desk = PC_DESK) -> None:
        super().__init__(descriptor)
        self._option = option
        self._typist = Typist(desk)
        self._coming = b""
        self._passes = False  # over the rest of a line that is too long
        self._told = 0

    def records(self, data: bytes) -> bytes:
        """Of all lines that have come whole."""
        *lines, self._coming = (self._coming + data).split(b"\n")
        if self.ended:
            lines.append(self._coming)
            self._coming = b""
        if self._passes and lines:
            del lines[0]
            self._passes = False
        if len(self._coming) > LONGEST_LINE:
            self._tell(TOO_LONG)
            self._passes = True
        if self._passes:
            self._coming = b""
        return b"".join(map(self._meaning, lines))

    def _meaning(self, line: bytes) -> bytes:
        try:
            if len(line) > LONGEST_LINE:
                raise UsageError(TOO_LONG)
            if line.endswith(END):
                if line != END:
                    raise UsageError(
                        "a client went in the midst of a line; end each with a newline"
                    )
                return b""
            return meaning(self._typist, line)
        except UsageError as error:
            self._tell(str(error))
        return b""

    def _tell(self, problem: str) -> None:
        self._told += 1
        if self._told <= MOST_TOLD:
            tell(f"{self._option}: {problem}")


def meaning(typist: Typist, line: bytes) -> bytes:
    """The records of a line. Raises UsageError."""
    text = line.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "replace").rstrip("\r\n")
    return typist.records(text) if text.strip() and not text.startswith("#") else b""


class Request:
    """Records that wait; `done` is called when the last has been done, None: nobody asks.

    `size` is theirs, in bytes, of which `sent` are in the socket or taken from there. `marked`: its
    mark is there.
    """

    __slots__ = ("begun", "done", "going", "held", "marked", "sent", "size")

    def __init__(self, records: bytes, held: Held, done: Done | None) -> None:
        """`held`: how the pointer is before it."""
        self.going = bytearray(records)
        self.held, self.done = held, done
        self.size, self.sent = len(records), 0
        self.begun = self.marked = False

    def give_up(self) -> None:
        """Do no more of it than let go of what it holds: its keys, and its buttons in the end."""
        records, self.going = self.going, bytearray()
        seen, last = set(), b""
        for place in range(0, len(records), EVENT_SIZE):
            kind, code = records[place], bytes(records[place + EVENT_CODE :][:2])
            if kind == EventKind.RELEASE and code not in seen:
                self.going += records[place : place + EVENT_SIZE]
            if kind in (EventKind.PRESS, EventKind.RELEASE):
                seen.add(code)
            if kind in POINTERS:
                last = bytes(records[place : place + EVENT_SIZE])
        if last:
            still = EVENT_X if last[0] == EventKind.POINTER else EVENT_WHEEL
            self.going += last[:still].ljust(EVENT_SIZE, b"\0")


class Events:
    """What waits to be done. `output`: the descriptor that the ring has."""

    def __init__(
        self,
        source: Source | None = None,
        console: Console | None = None,
        first: bytes = b"",
        desk: Desk = PC_DESK,
    ) -> None:
        """`console` is served for the `source`; `first`: records that wait from the beginning;
        `desk`: what `type` has.

        Both descriptors are closed here.
        """
        self._near, self._far = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._near.setblocking(False)
        self._near.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, 0)
        self.output = self._far.fileno()
        self._source, self._console = source, console
        self._waiting: list[Request] = []
        self._sent = bytearray()  # what is in the socket
        self._taken = 0  # bytes from there since all was done
        self._moved = 0.0  # of time.monotonic: when some were, and the waits among these are over
        self._typist = Typist(desk)
        # Told by its level, the near end would be ready while there is nothing to send. So it is
        # told once each time, when what is in the socket has been taken.
        self._room = select.epoll()
        self._room.register(self._near, select.EPOLLOUT | select.EPOLLET)
        self._add(first)

    def type(self, lines: Sequence[str], done: Done) -> Callable[[], Dropped | None]:
        """Do what the lines mean, behind all that waits; `done` is called when that has been done.

        So it is where the guest ends and nothing is left but keys to be released. Returns what
        gives it up, for when nobody waits for it any more: that says what it has dropped, None
        where all has been done. Raises UsageError for what means nothing, GuestError where too much
        waits, and then nothing of it is done.
        """
        size = sum(len(each.going) for each in self._waiting)
        if size > MOST_WAITING:
            raise GuestError(f"the guest takes no keys: {size} bytes of them wait")
        held = self._typist.held
        try:
            records = b"".join(map(self._typist.records, list(lines)))
        except UsageError:
            self._typist.held = held
            raise
        if not records:
            done()
            return lambda: None
        request = self._add(records, held, done)
        self._send()
        return lambda: self._give_up(request)

    def put(self, records: bytes) -> None:
        """Do these, behind all that waits, for nobody who asks; where too much waits, none of them.

        Where much waits, keys that are let go alone.
        """
        size = sum(len(each.going) for each in self._waiting)
        if size > MOST_HELD:
            pieces = (records[at : at + EVENT_SIZE] for at in range(0, len(records), EVENT_SIZE))
            records = b"".join(each for each in pieces if each[0] == EventKind.RELEASE)
        if records and size <= MOST_WAITING:
            self._add(records)
            self._send()

    def waits(self) -> tuple[int, int, float]:
        """How many events wait, at most, of how many, and for how long the guest has taken none.

        Seconds; a wait that was typed is none of these.
        """
        self._send()
        if not self._waiting and not self._sent:
            return 0, 0, 0.0
        marks = EVENT_SIZE * any(each.marked for each in self._waiting)
        left = len(self._sent) + sum(len(each.going) for each in self._waiting) - marks
        most = min(left + AHEAD * EVENT_SIZE, left + self._taken)
        seconds = max(time.monotonic() - self._moved, 0.0)
        return most // EVENT_SIZE, (left + self._taken) // EVENT_SIZE, seconds

    def _add(self, records: bytes, held: Held = NOTHING, done: Done | None = None) -> Request:
        request = Request(records, held, done)
        if not self._waiting and not self._sent:
            self._taken, self._moved = 0, time.monotonic()
        if records:
            self._waiting.append(request)
        return request

    def _give_up(self, request: Request) -> Dropped | None:
        """Nobody waits for it: what the machine has not taken of it must not wait for ever."""
        before = self._take_back(request) if request in self._waiting else b""
        if request not in self._waiting:
            return None
        request.done = None
        if request.begun:
            request.give_up()
        elif request is self._waiting[-1]:
            self._typist.held = request.held
        taken = -(-request.sent // EVENT_SIZE)
        goes = len(request.going) // EVENT_SIZE if request.begun else 0
        request.going[:0] = before
        if not request.begun or not request.going:
            self._waiting.remove(request)
        self._send()
        size = request.size // EVENT_SIZE
        return max(size - taken - goes, 0), size, taken

    def _take_back(self, request: Request) -> bytes:
        """Have what is in the socket of a request wait here again, but for the rest of a record.

        Returns that rest, and what was sent before it, which are to be sent again.
        """
        if not request.begun:
            return b""
        back = bytearray()
        try:
            while data := self._far.recv(PIECE, _socket.MSG_DONTWAIT):
                back += data
        except BlockingIOError:
            pass  # no more is there
        self._count(len(self._sent) - len(back))
        self._sent.clear()
        if request.marked and not back and not request.going:  # the mark has been taken
            self._send()
            return b""
        first = max(len(back) - request.sent, -self._taken % EVENT_SIZE)
        before, own = bytes(back[:first]), back[first:]
        request.sent -= len(own)
        request.going[:0] = own
        request.marked = False
        return before

    def waits_for(self) -> dict[int, int]:
        """The near end while something waits there, else the source."""
        events = {} if self._console is None else self._console.waits_for()
        if self._waiting:
            events[self._room.fileno()] = select.POLLIN
        elif self._source is not None:
            events[self._source.descriptor] = select.POLLIN
        return events

    def serve(self, ready: dict[int, int]) -> None:
        """Move what can be moved."""
        if self._console is not None:
            self._console.serve(ready)
        source = self._source
        if source is not None and not self._waiting and source.descriptor in ready:
            self._add(source.read())
            if source.ended:
                self._end_source()
        if self._room.fileno() in ready:
            self._room.poll(0)
        self._send()

    def _send(self) -> None:
        self._take()
        while self._waiting:
            request = self._waiting[0]
            if not request.going and request.done is not None:
                if self._sent:
                    return
                if not request.marked:
                    request.going += MARK
                    request.marked = True
            if request.going:
                try:
                    sent = self._near.send(request.going[:PIECE])
                except BlockingIOError:
                    return
                request.begun = True
                request.sent += sent
                self._sent += request.going[:sent]
                del request.going[:sent]
            else:
                del self._waiting[0]
                if request.done is not None:
                    request.done()

    def _take(self) -> None:
        """Look what has been taken from the socket."""
        left = bytearray(4)
        fcntl.ioctl(self._far, termios.FIONREAD, left)
        self._count(len(self._sent) - int.from_bytes(left, "little"))

    def _count(self, taken: int) -> None:
        """So many bytes of the socket have been taken."""
        if taken > 0:
            waits = sum(_wait(self._sent, at) for at in range(0, taken, EVENT_SIZE))
            self._moved = time.monotonic() + waits / 1000
            self._taken += taken
            del self._sent[:taken]

    def _end_source(self) -> None:
        source, self._source = self._source, None
        if source is not None and self._console is None:
            os.close(source.descriptor)

    def close(self) -> None:
        """Close all; a second time does nothing."""
        self._end_source()
        if self._console is not None:
            self._console.close()
        if not self._room.closed:
            self._take()
        waiting, self._waiting = self._waiting[:1], []
        for request in waiting:
            left = self._sent + request.going
            does = {EventKind.PRESS, *POINTERS} & set(left[::EVENT_SIZE])
            if request.done is not None and not does:
                request.done()
        self._room.close()
        self._near.close()
        self._far.close()


def _wait(data: bytearray, at: int) -> int:
    """Milliseconds of the record there, if it is a WAIT."""
    if data[at] != EventKind.WAIT:
        return 0
    return int.from_bytes(data[at + EVENT_CODE : at + EVENT_CODE + 2], "little")


def open_events(words: str | None, desk: Desk = PC_DESK) -> Events:
    """Those of `--keys` unix:PATH or a file's path, or of whoever types, at a desk. Raises
    UsageError.

    A regular file is read whole, and refused for a line that means nothing; of a FIFO or a
    terminal lines are taken as they come. Anything else is refused.
    """
    if words is None:
        return Events(desk=desk)
    option = f"--keys {words}"
    if words.startswith(SOCKET):
        from vestige.host.backends.console_socket import Socket  # noqa: PLC0415 - imports socket

        console = Socket(words.removeprefix(SOCKET), option, END + b"\n")
        return Events(Lines(console.output, option, desk), console, desk=desk)
    try:
        descriptor, first = _opened(words, option, desk)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{option}: {reason}; give a file of keys, or unix:PATH") from error
    lines = None if descriptor is None else Lines(descriptor, option, desk)
    return Events(lines, first=first, desk=desk)


def _opened(path: str, option: str, desk: Desk) -> tuple[int | None, bytes]:
    """A descriptor to be read further, or None, and what is there from the beginning."""
    flags = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    is_fifo = stat.S_ISFIFO(os.stat(path).st_mode)  # noqa: PTH116 - pathlib is slow to import
    # Open for writing too, a FIFO does not end when those who write there go.
    descriptor = os.open(path, flags | (os.O_RDWR if is_fifo else os.O_RDONLY))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(mode) or os.isatty(descriptor):
        return descriptor, b""
    if not stat.S_ISREG(mode):  # /dev/zero has no end
        os.close(descriptor)
        raise UsageError(
            f"{option}: neither a file, a FIFO nor a terminal; give one of these, or unix:PATH"
        )
    with open(descriptor, "rb") as file:  # noqa: PTH123
        data = file.read(LONGEST_FILE + 1)
    if data is None:  # /proc/kmsg is a regular file, and waits
        raise UsageError(f"{option}: a file that has nothing to be read now; give it by a FIFO")
    if len(data) > LONGEST_FILE:
        raise UsageError(f"{option}: more than {LONGEST_FILE} bytes; give it by a FIFO")
    typist, records = Typist(desk), []
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            records.append(meaning(typist, line))
        except UsageError as error:
            raise UsageError(f"{option}, line {number}: {error}") from None
    return None, b"".join(records)
