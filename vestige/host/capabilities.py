"""What a thread of a privileged user's may not do for the monitor. capabilities(7), capset(2).

A ring's entry names the priority of its I/O, which no restriction of a ring limits. The kernel asks
who submits it, or who made a ring that a thread of the kernel looks after: whoever may, gets
real-time I/O, before all other programs of the machine. So neither has what allows that.
"""

import os
from _collections_abc import Callable

from vestige.lang.intrinsics import address_of, syscall
from vestige.lang.types import TYPE_CHECKING, Struct, i32, u32

if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")

SYS_CAPGET, SYS_CAPSET = 125, 126
VERSION_3 = 0x2008_0522
CAP_IPC_LOCK, CAP_SYS_ADMIN, CAP_SYS_NICE = 14, 21, 23
REAL_TIME_IO = 1 << CAP_SYS_ADMIN | 1 << CAP_SYS_NICE  # either allows it: ioprio_set(2)


class Header(Struct):
    """struct __user_cap_header_struct; `pid` 0 is the calling thread."""

    version: u32
    pid: i32


class Set(Struct):
    """struct __user_cap_data_struct: 32 capabilities of each kind."""

    effective: u32
    permitted: u32
    inheritable: u32


class Sets(Struct):
    """Those below 32, and all others."""

    sets: Set[2]


def drop_real_time_io() -> None:
    """The calling thread may ask for it no more. Raises OSError where the kernel refuses that."""
    held = _get()
    low = held.sets[0]
    low.effective &= ~REAL_TIME_IO
    low.permitted &= ~REAL_TIME_IO
    low.inheritable &= ~REAL_TIME_IO
    _call(SYS_CAPSET, held)


def has(capability: int) -> bool:
    """Whether the calling thread may do what a capability below 32 allows."""
    return bool(_get().sets[0].effective >> capability & 1)


def drop_all() -> None:
    """The calling thread has no capability any more, nor its children. Raises OSError."""
    _call(SYS_CAPSET, Sets())


def unprivileged(function: "Callable[[], T]") -> "T":
    """What `function` returns, called by a thread that has no privilege meanwhile but one.

    That is to lock memory beyond the user's limit, which a ring asks for once, when it is made.
    Raises OSError where the kernel refuses that.
    """
    held = _get()
    before = [each.effective for each in held.sets]
    held.sets[0].effective = before[0] & 1 << CAP_IPC_LOCK
    held.sets[1].effective = 0
    _call(SYS_CAPSET, held)
    try:
        return function()
    finally:
        for each, effective in zip(held.sets, before, strict=True):
            each.effective = effective
        _call(SYS_CAPSET, held)


def _get() -> Sets:
    held = Sets()
    _call(SYS_CAPGET, held)
    return held


def _call(number: int, sets: Sets) -> None:
    header = Header(version=VERSION_3)
    answer = syscall(number, address_of(header), address_of(sets), 0, 0, 0, 0)
    if answer < 0:
        raise OSError(-answer, os.strerror(-answer))
