"""io_uring's system calls, as far as this process uses them.

Linux 6.1's include/uapi/linux/io_uring.h; io_uring_setup(2), io_uring_register(2).
"""

import mmap
from _collections_abc import Sequence

from vestige.host import steps
from vestige.host.backends.io_uring_records import (
    COMPLETION_SIZE,
    ENTRY_SIZE,
    Parameters,
    Restrictions,
)
from vestige.host.capabilities import unprivileged
from vestige.host.kvm.memory import Mapping
from vestige.lang.intrinsics import address_of, syscall
from vestige.lang.types import Struct

SYS_SETUP = 425
SYS_REGISTER = 427
SETUP_POLLED = 1 << 1  # SQPOLL: a kernel thread takes the entries
SETUP_DISABLED = 1 << 6
SETUP_SUBMIT_ALL = 1 << 7  # one refused entry does not hold up the rest
FAST_POLL = 1 << 5  # a feature: what waits for a file is done by the thread that submitted it
MAP_RING = 0
MAP_ENTRIES = 0x1000_0000

REGISTER_BUFFERS = 0
REGISTER_FILES = 2
REGISTER_EVENTFD = 4
REGISTER_FILES_UPDATE = 6
REGISTER_RESTRICTIONS = 11
REGISTER_ENABLE = 12
REGISTER_BUFFERS2 = 15
REGISTER_BUFFERS_UPDATE = 16
REGISTER_IOWQ_MAX_WORKERS = 19

RESTRICT_REGISTER, RESTRICT_OPERATION, RESTRICT_ALLOWED, RESTRICT_REQUIRED = 0, 1, 2, 3


def set_up(entries: int, flags: int, idle: int = 0) -> tuple[Parameters, int]:
    """io_uring_setup: what it filled in, and its answer, a descriptor or a negative errno.

    `idle`: milliseconds without an entry until the thread of a SETUP_POLLED ring sleeps.
    """
    parameters = Parameters(flags=flags, sq_thread_idle=idle)

    def ask() -> int:
        return syscall(SYS_SETUP, entries, address_of(parameters), 0, 0, 0, 0)

    # A thread of the kernel does what the one who made the ring may do.
    return parameters, steps.make(lambda: unprivileged(ask))


def register(descriptor: int, operation: int, argument: Struct | None, count: int) -> int:
    """io_uring_register: an errno, or 0."""
    address = 0 if argument is None else address_of(argument)
    answer = steps.call(SYS_REGISTER, descriptor, operation, address, count, kept=argument)
    return max(-answer, 0)


def restrict(descriptor: int, allowed: Sequence[tuple[int, int]]) -> int:
    """Have a ring that is not enabled yet do nothing else, (RESTRICT_…, value); an errno, or 0."""
    restrictions = Restrictions()
    for number, (kind, value) in enumerate(allowed):
        restrictions.entries[number].kind, restrictions.entries[number].value = kind, value
    return register(descriptor, REGISTER_RESTRICTIONS, restrictions, len(allowed))


def map_ring(descriptor: int, parameters: Parameters) -> tuple[Mapping, Mapping]:
    """Its heads, tails and completions; its entries. Raises OSError.

    The kernel has no ring at an address that it is told (Linux 6.18, io_uring_get_unmapped_area).
    """
    ring_end = max(
        parameters.sq.array + 4 * parameters.sq_entries,
        parameters.cq.cqes + COMPLETION_SIZE * parameters.cq_entries,
    )
    rings = Mapping(descriptor, _pages(ring_end), MAP_RING)
    entries = Mapping(descriptor, _pages(ENTRY_SIZE * parameters.sq_entries), MAP_ENTRIES)
    return rings, entries


def _pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
