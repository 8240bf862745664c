"""The one lock: device state belongs to the CPU that holds it. And the fence, core/posted.py."""

from vestige.lang.intrinsics import (
    address_of,
    atomic_exchange32,
    load_acquire32,
    pause,
    store_release32,
)
from vestige.lang.types import Struct, u32


class Lock(Struct):
    """A spin lock. A trap is short, and nobody sleeps inside but in three rare calls."""

    held: u32

    def acquire(self) -> None:
        """Wait until it is free, and take it. Spinning only reads: the line stays shared."""
        place = address_of(self)
        while atomic_exchange32(place, 1):
            while load_acquire32(place):
                pause()

    def release(self) -> None:
        """Give it to whoever takes it first."""
        store_release32(address_of(self), 0)


class Fence(Struct):
    """What a CPU asks of the worker: to have done every start posted until now."""

    asked: u32  # 1 until the worker has
