"""`--display text`: the screen at the terminal of who runs it.

The terminal is the run's process's, which moves bytes between it and a socket, as for a console;
the viewer's process has the other end, draws there, and types what comes from there.
"""

import _socket
import os
import select
import time
from _collections_abc import Callable
from contextlib import suppress

from vestige import abi
from vestige.host.backends.console import SCREEN, Console, Terminal, Together
from vestige.host.backends.relay import Relay
from vestige.host.process.link import Kind, Link
from vestige.host.viewer.inner import SHARE, Pace, Sight
from vestige.signals import Watch
from vestige.viewer.drawn import END, GRAPHICS, Drawn
from vestige.viewer.keyboard import Keyboard
from vestige.viewer.typed import Typed

PIECE = 4096
AMBIGUOUS = 0.1  # seconds in which what follows ESC belongs to it
NUMBER = 2  # bytes of a size


class TextDisplay(Together):
    """The terminal, in the run's process. `password`, `filter`: as any display has them."""

    password: bytes | None = None

    def __init__(self, terminal: Console, filter_: bytes | None = None) -> None:
        """What opened the terminal closes it."""
        terminal.name_as_screen()
        self.filter = filter_
        self._terminal = terminal
        self._relay = Relay(terminal)
        self._told = 0, 0
        self._started = False
        self.tell_size: Callable[[int, int], object] = lambda _columns, _rows: None
        super().__init__(terminal.output, terminal.input, SCREEN)

    def watched(self) -> tuple[Console, ...]:
        """The terminal, and what moves its bytes."""
        return self._terminal, self._relay

    def begin(self, taker: Callable[[int], object]) -> None:
        """Give the viewer the socket."""
        taker(self._relay.output)

    def serve(self, ready: dict[int, int]) -> None:
        """Move bytes, and tell of the terminal's size where that has changed."""
        super().serve(ready)
        self.tell_new_size()

    def tell_new_size(self) -> None:
        """As far as 16 bits tell it."""
        try:
            found = os.get_terminal_size(self.output)
        except OSError:  # no terminal, or one that has hung up
            return
        size = found.columns & 0xFFFF, found.lines & 0xFFFF
        if size != self._told:
            self._told = size
            self.tell_size(*size)

    def start(self) -> None:
        """The terminal is the screen's from now on."""
        self._terminal.start()
        self._started = True

    def drain(self, watch: Watch, seconds: float) -> None:
        """The guest has gone: write what is left, as far as the terminal takes it in that time."""
        self._relay.finish(watch, seconds)

    def close(self) -> None:
        """Put the terminal back, its cursor below the picture."""
        self._relay.close()
        if self._started:
            self._started = False
            with suppress(OSError):  # it takes nothing, or has hung up
                os.write(self.output, END.encode())
        self._terminal.close()


def open_text() -> TextDisplay:
    """At standard input and output."""
    return TextDisplay(Terminal())


class TextViewer:
    """In the viewer's process."""

    def __init__(self, link: Link, layout: str) -> None:
        self._link = link
        self._sight = Sight()
        self._socket: _socket.socket | None = None
        self._going = b""
        self._drawn = Drawn()
        self._typed = Typed(Keyboard(self._say, layout))
        self._pace = Pace(SHARE)
        self._typed_at = 0.0

    def _say(self, records: bytes) -> None:
        self._pace.enliven(time.monotonic())
        self._link.send(Kind.EVENTS, records)

    def serve(self) -> None:
        """Until the run's process has gone."""
        while True:
            poll = select.poll()
            poll.register(self._link, select.POLLIN)
            if self._socket is not None:
                poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._going else 0))
            ready = dict(poll.poll(1000 * self._patience(time.monotonic())))
            if self._link.fileno() in ready and not self._hear():
                return
            now = time.monotonic()
            if self._socket is not None:
                self._exchange(self._socket, ready.get(self._socket.fileno(), 0), now)
                self._show(now)

    def _patience(self, now: float) -> float:
        if self._socket is None or self._going:
            return 60.0
        due = self._pace.due
        if self._typed.waits:
            due = min(due, self._typed_at + AMBIGUOUS)
        return max(due - now, 0.0)

    def _hear(self) -> bool:
        for message in self._link.waiting():
            if message is None:
                return False
            kind, data, descriptor = message
            if kind == Kind.CLIENT and descriptor >= 0:
                socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
                self._socket = socket
            elif kind == Kind.MEMORY and descriptor >= 0:
                self._sight.take(descriptor)
            elif kind == Kind.SIZE:
                columns, rows = (
                    int.from_bytes(data[at : at + NUMBER], "little") for at in (0, NUMBER)
                )
                self._drawn.resize(columns, rows)
                self._pace.due = 0.0
        return True

    def _exchange(self, socket: _socket.socket, events: int, now: float) -> None:
        if events & select.POLLIN:
            try:
                data = socket.recv(PIECE, _socket.MSG_DONTWAIT)
            except BlockingIOError:
                data = b""
            if data:
                self._typed_at = now
                self._typed.take(data)
        if self._typed.waits and now >= self._typed_at + AMBIGUOUS:
            self._typed.end()
        self._send(socket)

    def _send(self, socket: _socket.socket) -> None:
        flags = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL
        while self._going:
            try:
                sent = socket.send(self._going[:PIECE], flags)
            except BlockingIOError:
                return
            self._going = self._going[sent:]

    def _show(self, now: float) -> None:
        """Look, if it is time, and what was drawn before has gone."""
        look = self._sight.look
        if self._socket is None or self._going or now < self._pace.due:
            return
        if look is not None:
            kind = look.take_kind()
            line = GRAPHICS if kind == abi.ScreenKind.GRAPHICS else ""
            self._going = self._drawn.show(look.text, line)
            if self._going:
                self._pace.enliven(now)
            self._send(self._socket)
        self._pace.looked(now)
