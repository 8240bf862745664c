"""The one lock: device state belongs to the CPU that holds it. And the fence, core/posted.py."""

from vestige.lang.intrinsics import (
    address_of,
    atomic_exchange32,
    load_acquire32,
    pause,
    store_release32,
)
from vestige.lang.types import Struct, u32, u64

LEFT = 4  # offset of Lock.left
SPINS = 50  # a few microseconds: as long as a trap takes


class Lock(Struct):
    """A spin lock. A trap is short, and nobody sleeps inside but in three rare calls."""

    held: u32
    left: u32  # 1: who found it taken has left its turn to whoever holds it

    def acquire(self) -> None:
        """Wait until it is free, and take it. Spinning only reads: the line stays shared."""
        place = address_of(self)
        while atomic_exchange32(place, 1):
            while load_acquire32(place):
                pause()

    def take_or_leave(self) -> bool:
        """Take it; where that would take long, leave one's turn, which `release` then tells.

        For who can sleep instead: the holder may be waiting for this very processor. The turn
        is left before the last look, and `release` looks for it after the lock is free: so
        either that look finds the lock free or the turn is found.
        """
        place = address_of(self)
        for _ in range(SPINS):
            if load_acquire32(place) == 0 and atomic_exchange32(place, 1) == 0:
                return True
            pause()
        store_release32(u64(place + LEFT), 1)
        if atomic_exchange32(place, 1):  # a full barrier
            return False
        self.left = 0
        return True

    def take_turn(self) -> bool:
        """Whether a turn was left; now it is the caller's to take, or to wake who left it."""
        place = u64(address_of(self) + LEFT)
        return load_acquire32(place) != 0 and atomic_exchange32(place, 0) != 0

    def release(self) -> bool:
        """Give it to whoever takes it first. True: wake who left its turn."""
        atomic_exchange32(address_of(self), 0)  # a full barrier
        return self.take_turn()


class Fence(Struct):
    """What a CPU asks of the worker: to have done every start posted until now."""

    asked: u32  # 1 until the worker has
