"""The signals that end a run, as bytes of a pipe that can be waited for."""

import os

from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    from types import FrameType
    from typing import Any
else:
    import _signal as signal  # signal itself makes enumerations of all numbers, and imports enum

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _ignore(_number: int, _frame: "FrameType | None") -> None:
    """A handler that only makes system calls return; the wake-up pipe tells of the signal."""


class Signals:
    """While open, ENDING, a terminal's new size and the vCPU threads' nudge do nothing but fill
    the pipe.
    """

    def __init__(self) -> None:
        """Main thread only."""
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._handlers: dict[signal.Signals, Any] = {
            number: signal.signal(number, _ignore)
            for number in (*ENDING, signal.SIGUSR1, signal.SIGWINCH)
        }

    def fileno(self) -> int:
        """Readable when a signal came."""
        return self._read

    def take(self) -> int | None:
        """The first ending signal that came since last time."""
        try:
            numbers = os.read(self._read, 4096)
        except BlockingIOError:
            return None
        return next((number for number in numbers if number in ENDING), None)

    def close(self) -> None:
        """Put the handlers back as they were."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._read)
        os.close(self._write)
