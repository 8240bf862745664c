"""The system calls that the machine's process may make: a table, and the filter made of it.

Only a process that builds the filter imports this; a run takes it from the cache (images.py).
"""

import tempfile
from collections.abc import Sequence
from typing import Any

from vestige.errors import UsageError
from vestige.host.backends.disks import PUNCH_HOLE
from vestige.host.backends.io_uring import REGISTER_BUFFERS_UPDATE, REGISTER_FILES_UPDATE
from vestige.host.kvm.api import Request
from vestige.host.loop.runloop import NUDGE
from vestige.host.process import link

Argument = tuple[int, int, int]  # its number, the bits of it that count, and their value
ALL_BITS = (1 << 64) - 1
PROT_EXEC, MAP_ANONYMOUS = 4, 0x20
MADV_DONTNEED, MADV_HUGEPAGE = 4, 14


def _is(number: int, value: int) -> Argument:
    return number, ALL_BITS, value


# By name: each with the arguments that it may have, in one way or several.
ALLOWED: dict[str, Sequence[Sequence[Argument]]] = {
    # The guest, the monitor, the ring.
    "ioctl": [
        [_is(1, Request.RUN)],
        [_is(1, Request.INTERRUPT)],  # INJECT
        [_is(1, Request.SET_GSI_ROUTING)],  # ROUTE
        [_is(1, Request.SET_USER_MEMORY_REGION)],  # MAP
        [_is(1, Request.IRQFD)],
        [_is(1, Request.IOEVENTFD)],
        [_is(1, Request.GET_REGS)],  # where a guest or its monitor stopped
    ],
    "io_uring_enter": [[]],  # KICK; the boot CPU's bell
    "io_uring_register": [
        [_is(1, REGISTER_BUFFERS_UPDATE)],  # PIN
        [_is(1, REGISTER_FILES_UPDATE)],  # another disc
    ],
    "eventfd2": [[]],  # ROUTE: a doorbell
    "fallocate": [[_is(1, PUNCH_HOLE)]],  # a hole that the monitor ordered
    "pread64": [[]],  # the ring's counters
    # Its threads: these are there before, and no more can be made.
    "futex": [[]],
    "sched_yield": [[]],
    "sched_setscheduler": [[_is(0, 0)]],  # a worker's patience
    "tgkill": [[_is(2, NUDGE)]],  # to make a thread leave KVM_RUN
    "rt_sigreturn": [[]],
    "rt_sigprocmask": [[]],
    "gettid": [[]],
    "getpid": [[]],
    "exit": [[]],
    "exit_group": [[]],
    # The run's process, at the other end of a socket; events; orders of holes.
    "poll": [[]],
    "read": [[]],
    "write": [[]],
    "sendto": [[_is(4, 0)]],  # to nobody but who is at the other end
    "sendmsg": [[_is(0, link.PLACE)]],  # where refused calls are asked about
    "recvfrom": [[]],
    "recvmsg": [[]],
    "close": [[]],
    "restart_syscall": [[]],
    # Memory of its own, none of it to be executed.
    "mmap": [[(2, PROT_EXEC, 0), (3, MAP_ANONYMOUS, MAP_ANONYMOUS)]],
    "mprotect": [[(2, PROT_EXEC, 0)]],
    "mremap": [[]],
    "munmap": [[]],
    "madvise": [[_is(2, MADV_DONTNEED)], [_is(2, MADV_HUGEPAGE)]],
    "brk": [[]],
    # What the C library asks.
    "clock_gettime": [[]],  # where the CPU's clock won't do
    "sched_getaffinity": [[_is(0, 0)]],  # for another arena of memory
    "prlimit64": [[_is(0, 0), _is(2, 0)]],  # to name the limit that was reached
}


def build() -> bytes:
    """The filter, instructions of struct sock_filter one behind the other, by libseccomp.

    Raises UsageError where that is not there.
    """
    library = _library()
    made = library.SyscallFilter(library.NOTIFY)
    made.set_attr(library.Attr.ACT_BADARCH, library.NOTIFY)  # x32's calls too
    for place, (name, ways) in enumerate(ALLOWED.items()):
        for arguments in ways:
            compared = [
                library.Arg(number, library.MASKED_EQ, mask, value)
                for number, mask, value in arguments
            ]
            made.add_rule_exactly(library.ALLOW, name, *compared)
        made.syscall_priority(name, 255 - place)
    with tempfile.TemporaryFile() as file:
        made.export_bpf(file)
        file.seek(0)
        return file.read()


def name_of(number: int, first: int) -> str:
    """What a system call is called, by its number and its second argument."""
    try:
        library = _library()
        name = library.resolve_syscall(library.Arch.NATIVE, number)
    except (UsageError, ValueError):  # neither has libseccomp every number
        return f"number {number}"
    words: str = name.decode() if isinstance(name, bytes) else name
    if words != "ioctl":
        return words
    known = {int(each): f"KVM_{name}" for name, each in Request.__members__.items()}
    return f"ioctl {known.get(first, f'{first:#x}')}"


def _library() -> Any:
    try:
        import pyseccomp  # noqa: PLC0415 - it fails to import without libseccomp
    except (ImportError, RuntimeError, OSError):
        raise UsageError(
            "libseccomp is not there; install it: sudo apt install libseccomp2, or make setup"
        ) from None
    return pyseccomp
