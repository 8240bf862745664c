"""Standard error that holds nobody up: lines that nobody takes in time are dropped, and counted.

A run, and the end of a run, may not depend on who reads its messages: a pipe that is full, a
terminal that is stopped (Ctrl-S).
"""

import select
import sys
import time
from _contextvars import ContextVar
from _thread import allocate_lock

from vestige.host.files.outlet import Outlet

TYPE_CHECKING = False  # as typing has it, which takes 3 ms to import on the way to every run

if TYPE_CHECKING:
    from typing import Self, TextIO

PATIENCE = 1.0  # seconds that writers wait, all together, for a reader who takes nothing


class StandardError:
    """In the place of sys.stderr while it is open. What it lacks, the stream that was there has.

    Where that is Divided it is the stream of what runs in this context, and of no other.

    Any thread may write. Who reads has PATIENCE to make room; from then on nobody waits, until
    there is room again. No line is torn: one whose beginning has been written is kept.
    """

    def __init__(self) -> None:
        """Take the place, unless there is no file behind it."""
        self.lost = 0  # lines
        self._lock = allocate_lock()
        self._patience = PATIENCE
        self._outlet: Outlet | None = None
        self._is_one_of_many = isinstance(sys.stderr, Divided)
        self._stream: TextIO | None = getattr(sys.stderr, "rest", sys.stderr)
        try:
            self._outlet = Outlet(self._stream.fileno())
        except (AttributeError, OSError, ValueError):  # no stream, no file, or a closed one
            return
        if self._is_one_of_many:
            _OWN.set(self)
        else:
            sys.stderr = self

    def write(self, text: str) -> int:
        """Write `text` or drop it; how long it is, as a stream answers."""
        outlet, data = self._outlet, self._encoded(text)
        if outlet is None or not data:
            return len(text)
        with self._lock:
            outlet.flush()
            if self._wait(outlet):
                outlet.put(data)
                self._wait(outlet)
            else:
                self.lost += text.count("\n")
        return len(text)

    def flush(self) -> None:
        """Nothing: what could be written has been."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def _encoded(self, text: str) -> bytes:
        return text.encode(getattr(self._stream, "encoding", None) or "utf-8", "backslashreplace")

    def _wait(self, outlet: Outlet) -> bool:
        """Whether all is written; wait for that as long as patience lasts."""
        while outlet.waiting and self._patience > 0:
            began = time.monotonic()
            poll = select.poll()
            for descriptor, events in outlet.events().items():
                poll.register(descriptor, events)
            poll.poll(1000 * self._patience)
            outlet.flush()
            self._patience -= time.monotonic() - began
        if not outlet.waiting:
            self._patience = PATIENCE
        return not outlet.waiting

    def close(self) -> None:
        """Say how many lines were lost, where that can be said, and give the place back."""
        outlet, self._outlet = self._outlet, None
        if outlet is None:
            return
        if self._is_one_of_many:
            _OWN.set(None)
        else:
            sys.stderr = self._stream
        outlet.flush()
        if outlet.waiting:
            self.lost += 1
        elif self.lost:
            lines = "1 line was" if self.lost == 1 else f"{self.lost} lines were"
            outlet.put(self._encoded(f"vestige: {lines} lost here: nobody read them in time\n"))
        outlet.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class Divided:
    """In the place of sys.stderr, where a process has several runs: each has a stream of its own.

    What none of them tells goes to `rest`, the stream that was there.
    """

    def __init__(self) -> None:
        self.rest = sys.stderr

    def write(self, text: str) -> int:
        """Write it to the stream of who says so."""
        return (_OWN.get() or self.rest).write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(_OWN.get() or self.rest, name)


_OWN: ContextVar[StandardError | None] = ContextVar("standard_error", default=None)
