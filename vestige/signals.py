"""Signals and deadlines: noted when they come, acted upon where a program waits.

A handler that raises does so wherever the program happens to be, in the middle of a clean-up as
well, and what it raises may be swallowed there. So the handlers here do nothing: the interpreter
writes each signal's number into a pipe (signal.set_wakeup_fd), and every wait of the program looks
at that pipe beside what it waits for.
"""

import os
import select
import time
from _collections_abc import Callable

from vestige import threads
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    from types import FrameType
    from typing import Any, Protocol, Self, TypeVar

    T = TypeVar("T")

    class Beside(Protocol):
        """What is served whatever else a program waits for."""

        def waits_for(self) -> dict[int, int]:
            """Descriptors to be watched, each with its poll events."""

        def serve(self, ready: dict[int, int]) -> None:
            """Do what the poll events in `ready` allow."""
else:
    import _signal as signal  # signal itself makes enumerations of all numbers, and imports enum

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Those that interrupt a system call, so that whoever waits looks again: a vCPU thread's nudge, the
# terminal's new size, and the end of a stop.
NOTED = (signal.SIGUSR1, signal.SIGWINCH, signal.SIGCONT)

TIMED_OUT = 124  # exit statuses, as timeout(1) and shells have them
SIGNALLED = 128  # and the signal's number

LONGEST = 1e6  # seconds


class Ended(Exception):
    """A signal or the deadline ended what was waited for; `status` is the exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def note(_number: int, _frame: "FrameType | None") -> None:
    """A handler that only makes system calls return; the pipe tells of the signal."""


def pipe() -> tuple[int, int]:
    """One for numbers of signals. Raises OSError."""
    return os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)


class Told:
    """What ends one run of a process that may have several: who writes the number of a signal into
    a pipe. SIGKILL stays: whatever the run waits for then, it waits no more.
    """

    def __init__(self, read: int, write: int) -> None:
        """The pipe's ends, which are closed by `close`."""
        self.continued = self.is_killed = False  # the process was stopped, and goes on
        self._read, self._write = read, write

    def fileno(self) -> int:
        """Readable when a signal came."""
        return self._read

    def take(self) -> int | None:
        """The first ending signal that came since last time."""
        if self.is_killed:
            return int(signal.SIGKILL)
        try:
            numbers = os.read(self._read, 4096)
        except BlockingIOError:
            return None
        self.is_killed = signal.SIGKILL in numbers
        self.continued |= signal.SIGCONT in numbers
        if self.is_killed:
            return int(signal.SIGKILL)
        return next((number for number in numbers if number in ENDING), None)

    def end(self) -> None:
        """As SIGTERM does, also where that is ignored."""
        os.write(self._write, bytes((signal.SIGTERM,)))

    def close(self) -> None:
        """Nobody is to be heard any more."""
        os.close(self._read)
        os.close(self._write)

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class Signals(Told):
    """While open, ENDING and NOTED do nothing but fill the pipe.

    Of ENDING, those that were ignored stay so: nohup(1) asks for that.
    """

    def __init__(self) -> None:
        """Main thread only."""
        super().__init__(*pipe())
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._handlers: dict[signal.Signals, Any] = {
            number: signal.signal(number, note)
            for number in (*ENDING, *NOTED)
            if number in NOTED or signal.getsignal(number) != signal.SIG_IGN
        }

    def close(self) -> None:
        """Put the handlers back as they were."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        super().close()


class Watch:
    """Waits that `signals` end, and the deadline `timeout` seconds from now, where there is one.

    `beside`: what is served while it waits.
    """

    def __init__(self, signals: Told, timeout: float | None = None) -> None:
        self.signals = signals
        self.beside: list[Beside] = []
        self.timeout = timeout
        self.deadline: float | None = None  # of time.monotonic
        self.has_begun = False
        self._count()

    def patient(self) -> "Watch":
        """The same without a deadline."""
        patient = Watch(self.signals)
        patient.beside = self.beside
        return patient

    def hold(self) -> None:
        """There is no deadline until `begin`."""
        self.deadline = None

    def begin(self) -> None:
        """What the timeout is for begins: the deadline counts from now."""
        self.has_begun = True
        self._count()

    def _count(self) -> None:
        self.deadline = None if self.timeout is None else time.monotonic() + self.timeout

    def left(self) -> float | None:
        """Seconds until the deadline, 0 once it has passed; None: there is none."""
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0.0)

    def wait(
        self, wanted: dict[int, int], seconds: float | None = None, *, noted: bool = False
    ) -> dict[int, int]:
        """Descriptors with the poll events that came, of those `wanted`; {} after `seconds`.

        With `noted`, {} also when a signal came that ends nothing. Raises Ended where one that
        does, or the deadline, comes first.
        """
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            ready = self._poll(wanted, self._patience(end))
            if (number := self.signals.take()) is not None:
                raise Ended(SIGNALLED + number)
            if self.left() == 0:
                raise Ended(TIMED_OUT)
            came = ready.pop(self.signals.fileno(), None) is not None
            ready = {each: events for each, events in ready.items() if each in wanted}
            if ready or (noted and came) or (end is not None and time.monotonic() >= end):
                return ready

    def _poll(self, wanted: dict[int, int], milliseconds: float | None) -> dict[int, int]:
        poll = select.poll()
        poll.register(self.signals, select.POLLIN)
        for each in (wanted, *(each.waits_for() for each in self.beside)):
            for descriptor, events in each.items():
                poll.register(descriptor, events)
        ready = dict(poll.poll(milliseconds))
        for beside in self.beside:
            beside.serve(ready)
        return ready

    def check(self) -> None:
        """Raise Ended where a signal or the deadline has come."""
        self.wait({}, 0)

    def _patience(self, end: float | None) -> float | None:
        """Milliseconds for poll(2), which takes an int of them: at most LONGEST, and then again."""
        limits = [each for each in (end, self.deadline) if each is not None]
        if not limits:
            return None
        return 1000 * min(max(min(limits) - time.monotonic(), 0.0), LONGEST)

    def call(self, function: "Callable[[], T]", *, whole: bool = False) -> "T":
        """What `function` returns or raises, which may block: a thread calls it meanwhile.

        Raises Ended where a signal or the deadline comes first; the thread is left to itself then,
        but with `whole` its end is waited for before.
        """
        outcome: list[tuple[T | None, Exception | None]] = []
        done = os.eventfd(0, os.EFD_CLOEXEC)

        def body() -> None:
            try:
                outcome.append((function(), None))
            except Exception as error:  # noqa: BLE001 - raised again below
                outcome.append((None, error))
            os.eventfd_write(done, 1)

        threads.start(body)
        watch, ended = self, None
        while not outcome:
            try:
                watch.wait({done: select.POLLIN})
            except Ended as came:
                if not whole:
                    raise
                watch, ended = self.patient(), ended or came
        os.close(done)
        if ended is not None:
            raise ended
        result, error = outcome[0]
        if error is not None:
            raise error
        return result  # type: ignore[return-value] # what `function` returned
