"""The one lock, taken by threads that run compiled code at the same time, and turns left at it."""

import threading

from tests import compiling
from vestige.lang.intrinsics import (
    address_of,
    atomic_exchange32,
    load_acquire32,
    pause,
    store_release32,
)
from vestige.lang.types import Struct, u32, u64
from vestige.monitor.core.lock import Lock

THREADS = 4
TIMES = 20_000
PATIENCE = 1_000_000_000  # looks for a wake-up before it counts as lost


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


class Bell(Struct):
    """How the worker is woken."""

    rung: u32


class Shift(Struct):
    """A counter with a worker that rather sleeps than waits for the lock."""

    guarded: Guarded
    bell: Bell
    slept: u64
    lost: u64  # sleeps that nobody ended


def hold(shift: Shift, times: u32) -> None:
    """Count under the lock, and wake who came meanwhile."""
    for _ in range(times):
        shift.guarded.lock.acquire()
        shift.guarded.value = u64(shift.guarded.value + 1)
        if shift.guarded.lock.release():
            store_release32(address_of(shift.bell), 1)


def work(shift: Shift, times: u32) -> None:
    """The worker: count under the lock, each time it gets it."""
    bell = address_of(shift.bell)
    for _ in range(times):
        while not shift.guarded.lock.take_or_leave():
            shift.slept = u64(shift.slept + 1)
            looks: u32 = 0
            while load_acquire32(bell) == 0 and looks < PATIENCE:
                looks = u32(looks + 1)
                pause()
            if atomic_exchange32(bell, 0) == 0:
                shift.lost = u64(shift.lost + 1)
                return
        shift.guarded.value = u64(shift.guarded.value + 1)
        shift.guarded.lock.release()


def test_no_increment_under_the_lock_is_lost() -> None:
    native = compiling.native([count])
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


def test_whoever_leaves_a_turn_is_woken() -> None:
    native = compiling.native([hold, work])
    shift = Shift()
    threads = [threading.Thread(target=lambda: native["work"](shift, TIMES))]
    threads += [threading.Thread(target=lambda: native["hold"](shift, TIMES)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shift.lost == 0
    assert shift.guarded.value == 3 * TIMES


def test_a_turn_left_is_told_once_at_the_release() -> None:
    lock = Lock()
    lock.acquire()
    assert not lock.take_or_leave()
    assert lock.release()
    assert not lock.release()


def test_a_turn_left_can_be_taken_before_the_release() -> None:
    lock = Lock()
    lock.acquire()
    assert not lock.take_turn()
    assert not lock.take_or_leave()
    assert lock.take_turn()
    assert not lock.release()


def test_a_free_lock_is_taken_and_no_turn_left() -> None:
    lock = Lock()
    assert lock.take_or_leave()
    assert (lock.held, lock.left) == (1, 0)
    assert not lock.release()
