"""A software host for one command in the foreground: signals, the terminal, a clean end."""

import os
import select
import signal
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING

from vestige import terminal
from vestige.errors import UsageError
from vestige.host.backends.console import DESERTED, LOOK, Console
from vestige.host.files.failures import lost
from vestige.host.files.outlet import Outlet
from vestige.host.messages import tell
from vestige.signals import LONGEST, SIGNALLED, TIMED_OUT, Ended, Signals, Watch
from vestige.softhost import prepare, wire
from vestige.softhost.command import SoftHostError, status_of
from vestige.softhost.host import SoftHost, refuse_hidden
from vestige.softhost.prepare import say

if TYPE_CHECKING:
    from vestige.signals import Beside

STANDARD_OUTPUT, _ERRORS = 1, 2
_GRACE = 10.0  # seconds for the command to end after a signal


class Streams(Console):
    """The caller's own standard input and output, as a command of its own has them.

    On a terminal the command has one of its own, and every key; in the background none.
    """

    def __init__(self) -> None:
        background = os.isatty(0) and terminal.in_background(0)
        super().__init__(1, None if background else 0)
        self._raw = terminal.RawTerminal(0, terminal.all_keys)

    def start(self) -> None:
        """Give every key to the command's terminal."""
        if self.input is not None and os.isatty(self.input) and os.isatty(self.output):
            self._raw.start()

    def go_on(self) -> None:
        """The shell had the terminal meanwhile; it may still have it."""
        self.look = None if self._raw.take_again() else LOOK

    def serve(self, ready: dict[int, int]) -> None:
        """Look whether the terminal is ours again."""
        if self.look is not None:
            self.go_on()

    def close(self) -> None:
        """Restore the terminal."""
        self._raw.close()


def run(host: SoftHost, argv: Sequence[str | Path], *, retry: bool = False) -> int:
    """Start `host`, run one command with the caller's streams, stop; the command's exit status.

    For the main thread of a program that ends afterwards: SIGINT, SIGTERM and SIGHUP are passed
    to the command, which has 10 s to end (a second one ends everything at once, status 128 + N),
    and do nothing from then on. On a terminal the command has one of its own. With `retry`, a
    command whose software host fails runs once more, from its beginning, in a fresh one.

    Raises UsageError and SoftHostError as SoftHost does.
    """
    with Signals() as signals, closing(Streams()) as streams:
        refuse_hidden([Path.cwd()])
        try:
            return attend(host, argv, streams, Watch(signals), retry=retry)
        except Ended as ended:
            return ended.status


def attend(
    host: SoftHost,
    argv: Sequence[str | Path],
    console: Console,
    watch: Watch,
    *,
    guest: bool = False,
    retry: bool = False,
) -> int:
    """Run one command in `host`, its input and output those of `console`; its exit status.

    With `guest` the command is a guest's run: its terminal passes bytes as they are, and it ends
    when nobody reads its output any more. The deadline of `watch` ends it in order, with status
    TIMED_OUT. Raises Ended for a signal where there is no command to
    pass it to, or a second one; UsageError and SoftHostError as SoftHost does.
    """
    wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        prepare.ensure(watch)
        host.start(say, watch)
        try:
            return _Attended(host, argv, console, watch, wake, guest).to_the_end()
        except SoftHostError as error:
            if not retry:
                raise
            say(f"{error}\nonce more, in a fresh one")
        host.stop()
        host.start(say, watch)
        return _Attended(host, argv, console, watch, wake, guest).to_the_end()
    finally:
        host.stop()  # signals are noted meanwhile, and nobody looks
        os.close(wake)


class _Attended:
    """A command, its streams, and the signals for it, served by one loop."""

    def __init__(
        self,
        host: SoftHost,
        argv: Sequence[str | Path],
        console: Console,
        watch: Watch,
        wake: int,
        guest: bool,
    ) -> None:
        self._console, self._wake, self._guest = console, wake, guest
        self._watch, self._signals, self._beside = watch, watch.signals, watch.beside
        self._size = self._now() if self._has_terminal() else None
        self._outlets = {wire.OUTPUT: Outlet(console.output), wire.ERRORS: Outlet(_ERRORS)}
        self._command = host.spawn(
            argv,
            stdin=console.input,
            terminal=self._size,
            raw=guest,
            wake=wake,
            cwd="/" if guest else "",  # a guest's run has no use for the caller's
        )
        self._signal: int | None = None  # the first that the command has been sent
        self._deadline: float | None = None  # of time.monotonic, from that signal on
        self._reason = 0  # the exit status where the command does not end by then
        self._patience: float | None = None  # until when its last output is waited for
        self._status: int | None = None
        self._deserted = False
        self._told = False  # that output is lost

    def _has_terminal(self) -> bool:
        """A guest's run has one where its output goes to one, any other command to be typed at."""
        is_typed_at = self._console.input is not None and os.isatty(self._console.input)
        return os.isatty(self._console.output) and (self._guest or is_typed_at)

    def _now(self) -> tuple[int, int]:
        return terminal.size(self._console.output)

    def to_the_end(self) -> int:
        """Serve until the command has ended and all it wrote is written; its exit status."""
        try:
            self._console.start()
            while self._goes_on():
                self._wait()
                self._take_signals()
                self._carry()
                if self._console.deserted:
                    self._nobody_reads()
            if self._guest and self._deserted:
                return SIGNALLED + signal.SIGPIPE
            if self._reason == TIMED_OUT and self._status == SIGNALLED + signal.SIGTERM:
                return TIMED_OUT
            return self._status or 0
        finally:
            if self._guest:  # the run inside has done so, unless it was ended with its host
                self._outlets[wire.OUTPUT].put_in_order()
            for outlet in self._outlets.values():
                outlet.close()

    def _goes_on(self) -> bool:
        """Whether the command runs, or what it wrote is not written yet.

        For who reads a guest's console that is over it waits no longer than natively.
        """
        if self._status is None:
            return True
        if not any(outlet.waiting for outlet in self._outlets.values()):
            return False
        if self._guest and self._patience is None:
            self._patience = time.monotonic() + _GRACE
        return self._patience is None or time.monotonic() < self._patience

    def _wait(self) -> None:
        """Wait for whatever comes next, and let the console do what it has to."""
        wanted = {self._signals.fileno(): select.POLLIN, self._wake: select.POLLIN}
        others: list[Beside] = [self._console, *self._beside]
        for each in (
            *(other.waits_for() for other in others),
            *(out.events() for out in self._outlets.values()),
        ):
            for descriptor, events in each.items():
                wanted[descriptor] = wanted.get(descriptor, 0) | events
        if self._deserted:  # poll would tell of it for ever
            wanted.pop(self._console.output, None)
        poll = select.poll()
        for descriptor, events in wanted.items():
            poll.register(descriptor, events)
        limits = [] if self._console.look is None else [self._console.look]
        left = self._watch.left()
        if left is not None and self._signal is None and self._status is None:
            limits.append(min(left, LONGEST))
        for moment in (self._deadline, self._patience):
            if moment is not None:
                limits.append(max(moment - time.monotonic(), 0.0))
        ready = dict(poll.poll(1000 * min(limits) if limits else None))
        for other in others:
            other.serve(ready)

    def _take_signals(self) -> None:
        number = self._signals.take()
        if self._signals.continued:
            self._signals.continued = False
            self._console.go_on()
        if self._size is not None and self._now() != self._size:
            self._size = self._now()
            self._command.resize(*self._size)
        late = self._deadline is not None and time.monotonic() >= self._deadline
        if late or (number is not None and (self._signal or self._status is not None)):
            raise Ended(self._reason or SIGNALLED + (number or 0))
        if number is not None:
            self._send(number, SIGNALLED + number)
        elif self._watch.left() == 0 and self._status is None:
            self._send(signal.SIGTERM, TIMED_OUT)

    def _send(self, number: int, reason: int) -> None:
        """Pass a signal on, once; the command has _GRACE to end for it."""
        if self._signal is None:
            self._signal, self._reason = number, reason
            self._deadline = time.monotonic() + _GRACE
            self._command.signal(number)

    def _nobody_reads(self) -> None:
        """End the command as it would end out here; a run ends by itself, with its statistics."""
        if not self._deserted and self._guest:
            tell(DESERTED.format(self._console.what))
        self._deserted = True
        number = signal.SIGTERM if self._guest else signal.SIGPIPE
        self._send(number, SIGNALLED + number)

    def _carry(self) -> None:
        """Take what the command has written, or its end; write what can be written."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        for kind, outlet in self._outlets.items():
            self._gone(kind, outlet.flush())
        while True:
            try:
                kind, payload = self._command.events.get_nowait()
            except Empty:
                return
            if kind == wire.ERRORS and self._guest:
                self._gone(wire.OUTPUT, self._outlets[wire.OUTPUT].end_line())
            if kind in self._outlets:
                self._gone(kind, self._outlets[kind].put(payload))
            else:
                self._status = status_of(kind, payload)

    def _gone(self, kind: int, count: int) -> None:
        """So much has been written; what can't be ends the command, as it would out here."""
        if not count:
            return
        self._command.taken(kind, count)
        failure = self._outlets[kind].failure
        if failure is None or kind == wire.ERRORS:
            return
        gone = isinstance(failure, BrokenPipeError)
        if self._guest:
            # The end of who reads standard output ends the run, and the console notices it.
            if not self._told and not (gone and self._console.output == STANDARD_OUTPUT):
                self._told = True
                tell(lost(self._console.name, failure.errno))
        elif gone:
            self._nobody_reads()
        else:
            raise UsageError(
                f"the command's output can't be written: {failure.strerror}; make room or send it "
                "elsewhere"
            )
