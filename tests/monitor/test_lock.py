"""The one lock, taken by threads that run compiled code at the same time."""

import threading

from vestige.lang.build import compile_functions
from vestige.lang.native import NativeImage
from vestige.lang.types import Struct, u32, u64
from vestige.monitor.core.lock import Lock

THREADS = 4
TIMES = 20_000


class Guarded(Struct):
    """A counter whose increments would be lost without the lock."""

    lock: Lock
    value: u64


def count(guarded: Guarded, times: u32) -> None:
    """Count under the lock."""
    for _ in range(times):
        guarded.lock.acquire()
        guarded.value = u64(guarded.value + 1)
        guarded.lock.release()


def test_no_increment_under_the_lock_is_lost() -> None:
    native = NativeImage(compile_functions([count], base=None, runtime="process"))
    guarded = Guarded()
    threads = [
        threading.Thread(target=lambda: native["count"](guarded, TIMES)) for _ in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert guarded.value == THREADS * TIMES
    assert guarded.lock.held == 0
