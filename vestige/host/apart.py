"""A thread that is as a process of its own to the kernel, but for its memory: unshare(2).

Descriptors, record locks, the working directory and the file mode mask are its own, as copies of
those of who starts it; threads that it starts share them. No signal comes to it.
"""

import os
from _collections_abc import Callable, Sequence
from _thread import allocate_lock, start_new_thread

from vestige.lang.intrinsics import syscall
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # signal itself makes enumerations of all numbers, and imports enum

SYS_UNSHARE, OWN_FILES, OWN_PLACES = 272, 0x400, 0x200  # CLONE_FILES, CLONE_FS
ALL_SIGNALS = signal.valid_signals()
STANDARD_FILES = 3
MOST_DESCRIPTORS = 1 << 20  # as fs.nr_open has it


class Apart:
    """One that is there, and calls `body` once it may go on: until then who starts it may close
    what is to be open there alone.
    """

    def __init__(self, body: Callable[[], object]) -> None:
        """Raises OSError, or RuntimeError, where there can be none."""
        self._goes, is_there = allocate_lock(), allocate_lock()
        self._goes.acquire()
        is_there.acquire()
        error = 0

        def live() -> None:
            nonlocal error
            error = -syscall(SYS_UNSHARE, OWN_FILES | OWN_PLACES, 0, 0, 0, 0, 0)
            is_there.release()
            if not error:
                self._goes.acquire()
                body()

        before = signal.pthread_sigmask(signal.SIG_BLOCK, ALL_SIGNALS)
        try:
            start_new_thread(live, ())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        is_there.acquire()
        if error:
            raise OSError(error, os.strerror(error))

    def go(self) -> None:
        """Let it."""
        self._goes.release()


def close_all_but(kept: Sequence[int]) -> None:
    """Have no other descriptors open, but standard files."""
    first = STANDARD_FILES
    for descriptor in sorted(kept):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, MOST_DESCRIPTORS)  # whatever the limit is now
