"""A software host for one command in the foreground: signals, the terminal, a clean end."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from vestige.softhost import terminal
from vestige.softhost.command import Command, SoftHostError
from vestige.softhost.host import SoftHost

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE = 10.0  # seconds for the command to end after a signal
_SIGNAL_BASE = 128  # a shell's exit status for what a signal ended


class _EndedError(BaseException):
    """A signal asked to end, and there is no command (any more) to pass it to."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Signals:
    """Passes signals to the command while there is one; the second ends the software host."""

    def __init__(self) -> None:
        self.command: Command | None = None
        self._number = 0  # of the signal that came

    def install(self) -> None:
        """Handle the signals that end programs, but those that nohup and the like ignore."""
        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._handle)

    def ignore(self) -> None:
        """Let nothing disturb the end."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.command is None or self._number:
            raise _EndedError(self._number or number)
        self._number = number
        self.command.signal(number)
        signal.signal(signal.SIGALRM, self._handle)
        signal.setitimer(signal.ITIMER_REAL, _GRACE)


def say(message: str) -> None:
    """Tell the person at standard error how it goes."""
    print(f"vestige: software host: {message}", file=sys.stderr, flush=True)


def run(host: SoftHost, argv: Sequence[str | Path], *, retry: bool = False) -> int:
    """Start `host`, run one command with the caller's streams, stop; the command's exit status.

    For the main thread of a program that ends afterwards: SIGINT, SIGTERM and SIGHUP are passed
    to the command, which has 10 s to end (a second one ends everything at once, status 128 + N),
    and are ignored from then on. On a terminal the command has one of its own. With `retry`, a
    command whose software host fails runs once more, from its beginning, in a fresh one.

    Raises UsageError and SoftHostError as SoftHost does.
    """
    signals = _Signals()
    signals.install()
    try:
        host.start(say)
        try:
            return _run_command(host, argv, signals)
        except SoftHostError as error:
            if not retry:
                raise
            say(f"{error}\nonce more, in a fresh one")
        signals.command = None
        host.stop()
        host.start(say)
        return _run_command(host, argv, signals)
    except _EndedError as ended:
        return _SIGNAL_BASE + ended.number
    finally:
        signals.ignore()
        host.stop()


def _run_command(host: SoftHost, argv: Sequence[str | Path], signals: _Signals) -> int:
    interactive = os.isatty(0) and os.isatty(1)
    command = host.spawn(argv, stdin=0, terminal=terminal.size() if interactive else None)
    signals.command = command
    if interactive:
        with terminal.raw(command):
            return command.wait()
    return command.wait()
