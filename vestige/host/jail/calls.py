"""The system calls that the machine's process and the viewer's may make: tables, and the filters
made of them.

Only a process that builds the filter imports this; a run takes it from the cache (images.py).
"""

import errno
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from vestige.errors import UsageError
from vestige.host.backends.disks import PUNCH_HOLE
from vestige.host.backends.io_uring import REGISTER_BUFFERS_UPDATE, REGISTER_FILES_UPDATE
from vestige.host.kvm import cpu_state
from vestige.host.kvm.api import Request
from vestige.host.loop.runloop import NUDGE
from vestige.host.process import link
from vestige.host.viewer.memory import MAP_SHARED, PARTS, PROT_READ

Argument = tuple[int, int, int]  # its number, the bits of it that count, and their value
ALL_BITS = (1 << 64) - 1
PROT_EXEC, MAP_ANONYMOUS = 4, 0x20
MADV_DONTNEED, MADV_HUGEPAGE = 4, 14


def _is(number: int, value: int) -> Argument:
    return number, ALL_BITS, value


OF_A_FREEZE = (  # host/kvm/cpu_state.py
    Request.GET_DIRTY_LOG,  # changes.py
    Request.GET_CLOCK,
    Request.GET_DEVICE_ATTR,  # a TSC's offset
    Request.GET_TSC_KHZ,
    Request.GET_MP_STATE,
    Request.GET_SREGS,
    Request.GET_SREGS2,
    Request.GET_XSAVE,
    Request.GET_XCRS,
    Request.GET_DEBUGREGS,
    Request.GET_MSRS,
    Request.GET_LAPIC,
    Request.GET_VCPU_EVENTS,
)
OF_A_THAW = (  # the same; by descriptors of certain numbers, which are closed before the guest runs
    Request.SET_CLOCK,
    Request.SET_DEVICE_ATTR,
    Request.SET_MSRS,
    Request.SET_LAPIC,
    Request.SET_VCPU_EVENTS,
)
SETTING = 0, 0xFFFF_FFFF & -cpu_state.SETTING, cpu_state.SETTING
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
        [_is(1, Request.KVMCLOCK_CTRL)],  # behind a pause
        *([_is(1, request)] for request in OF_A_FREEZE),
        *([SETTING, _is(1, request)] for request in OF_A_THAW),
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
    "sched_setscheduler": [[_is(0, 0)]],  # a worker's patience; who waits for a held guest
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
    "vmsplice": [[_is(2, 1), _is(3, 0)]],  # into a freeze's pipe
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
    "clock_gettime": [[]],  # where the CPU's clock won't do; for a thaw that jumps, clocks.py
    "sched_getaffinity": [[_is(0, 0)]],  # for another arena of memory
    "prlimit64": [[_is(0, 0), _is(2, 0)]],  # to name the limit that was reached
}


# The viewer's.
OF_VIEWER: dict[str, Sequence[Sequence[Argument]]] = {
    # Those that look on, and the run's process, at the other ends of sockets that are there.
    "poll": [[]],
    "recvfrom": [[]],
    "sendto": [[_is(4, 0)]],  # to nobody but who is at the other end
    "recvmsg": [[]],
    "sendmsg": [[_is(0, link.PLACE)]],
    "getsockname": [[]],  # which Python asks of each socket
    "close": [[]],
    # The screen's memory, no more of it, and not to be written; else memory of its own.
    "mmap": [
        [(2, PROT_EXEC, 0), (3, MAP_ANONYMOUS, MAP_ANONYMOUS)],
        *(
            [_is(1, part.shown), _is(2, PROT_READ), _is(3, MAP_SHARED), _is(5, part.first)]
            for part in PARTS
        ),
    ],
    "munmap": [[]],
    "madvise": [[_is(2, MADV_DONTNEED)]],
    "brk": [[]],
    "mprotect": [[(2, PROT_EXEC, 0)]],
    "getrandom": [[]],  # a challenge
    "futex": [[]],
    "rt_sigreturn": [[]],
    "rt_sigprocmask": [[]],
    "getpid": [[]],
    "gettid": [[]],
    "exit": [[]],
    "exit_group": [[]],
    "restart_syscall": [[]],
    "clock_gettime": [[]],
}
# What the C library tries, and can do without: a mapping that grows might show more of a file.
REFUSED_TO_VIEWER = ("mremap",)


def build() -> bytes:
    """The filter of the machine's process, as `_built` has it. Raises UsageError."""
    return _built(ALLOWED)


def build_for_viewer() -> bytes:
    """The viewer's. Raises UsageError."""
    return _built(OF_VIEWER, REFUSED_TO_VIEWER)


def _built(
    allowed: Mapping[str, Sequence[Sequence[Argument]]], refused: Sequence[str] = ()
) -> bytes:
    """A filter, instructions of struct sock_filter one behind the other, by libseccomp.

    `refused`: calls that fail with ENOMEM, and end nothing. Raises UsageError where libseccomp is
    not there.
    """
    library = _library()
    made = library.SyscallFilter(library.NOTIFY)
    made.set_attr(library.Attr.ACT_BADARCH, library.NOTIFY)  # x32's calls too
    for name in refused:
        made.add_rule(library.ERRNO(errno.ENOMEM), name)
    for place, (name, ways) in enumerate(allowed.items()):
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
