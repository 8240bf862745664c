"""Every system call there is, in a process with the real filter: which are refused."""

import errno
import faulthandler
import mmap
import os
import select
import signal
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from vestige.errors import UsageError
from vestige.host.backends.io_uring import REGISTER_BUFFERS_UPDATE, REGISTER_FILES_UPDATE
from vestige.host.jail import calls, layers, seccomp
from vestige.host.kvm.api import Request
from vestige.host.kvm.cpu_state import SETTING
from vestige.host.loop.runloop import NUDGE
from vestige.host.process.link import PLACE, Kind, Link, pair
from vestige.lang.intrinsics import address_of, syscall
from vestige.lang.types import Struct, i32, i64, u32, u64

SEND = 0xC018_2101  # SECCOMP_IOCTL_NOTIF_SEND
LAST = 480  # behind the last that Linux 6.18 has
X32 = 0x4000_0000
# Uretprobe and uprobe: newer kernels ask no filter about them (kernel/seccomp.c). Outside of a
# probe they kill who calls them, or answer an error.
UNFILTERED = (335, 336)
PATIENCE = 20
PR_SET_NO_NEW_PRIVS = 38
SYS_IOCTL, SYS_MMAP, SYS_MPROTECT, SYS_SENDTO, SYS_SENDMSG, SYS_PRCTL = 16, 9, 10, 44, 46, 157
SYS_FALLOCATE, SYS_VMSPLICE = 285, 278
SYS_TGKILL, SYS_REGISTER, SYS_PRLIMIT, SYS_SCHEDULER, SYS_AFFINITY = 234, 427, 302, 144, 204
TIOCSTI = 0x5412
READ, WRITE, EXECUTE = 1, 2, 4
OWN = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
NOWHERE = (1 << 64) - 1
PAGE = mmap.PAGESIZE
Call = tuple[int, ...]


class Answer(Struct):
    """struct seccomp_notif_resp."""

    id: u64
    value: i64
    error: i32
    flags: u32


@pytest.fixture(scope="module")
def program() -> bytes:
    try:
        return calls.build()
    except UsageError as error:
        pytest.skip(str(error))


def unnamed() -> list[Call]:
    """All system calls that the table does not name, and numbers that none has."""
    library: Any = calls._library()
    allowed = {library.resolve_syscall(library.Arch.NATIVE, name) for name in calls.ALLOWED}
    assert len(allowed) == len(calls.ALLOWED)
    return [(number,) for number in range(LAST) if number not in {*allowed, *UNFILTERED}]


OF_A_RUN = (
    *(Request.RUN, Request.INTERRUPT, Request.SET_GSI_ROUTING, Request.IRQFD),
    *(Request.IOEVENTFD, Request.GET_REGS, Request.SET_USER_MEMORY_REGION),
    Request.KVMCLOCK_CTRL,
    *calls.OF_A_FREEZE,
)
FORBIDDEN: list[Call] = [
    *((SYS_IOCTL, number, int(each), 0) for each in calls.OF_A_THAW for number in (511, 1024)),
    *(
        (SYS_IOCTL, SETTING, int(each), 0)
        for each in Request
        if each not in (*OF_A_RUN, *calls.OF_A_THAW)
    ),
    *((SYS_IOCTL, PLACE, int(each), 0) for each in Request if each not in OF_A_RUN),
    *((SYS_IOCTL, PLACE, request, 0) for request in (0, TIOCSTI, 0x5401, 0x8912, 0xC050_2100)),
    (SYS_IOCTL, PLACE, Request.RUN | 1 << 32, 0),
    *((SYS_MMAP, 0, PAGE, access, OWN, NOWHERE, 0) for access in (4, 5, 6, 7, 1 << 32 | 4)),
    (SYS_MMAP, 0, PAGE, READ, mmap.MAP_PRIVATE, PLACE, 0),
    (SYS_MMAP, 0, PAGE, READ | WRITE, mmap.MAP_SHARED, PLACE, 0),
    *((SYS_MPROTECT, 0, PAGE, access) for access in (EXECUTE, READ | EXECUTE, 7)),
    *((SYS_TGKILL, 1, 1, number) for number in (0, 1, signal.SIGKILL, NUDGE + 1, NUDGE | 1 << 32)),
    *(
        (SYS_REGISTER, PLACE, operation, 0, 0)
        for operation in range(40)
        if operation not in (REGISTER_BUFFERS_UPDATE, REGISTER_FILES_UPDATE)
    ),
    *((SYS_FALLOCATE, PLACE, mode, 0, 0) for mode in (0, 1, 2, 8, 0x10, 0x11, 0x20, 0x40, 7)),
    (SYS_PRLIMIT, 0, 7, PAGE, 0),
    (SYS_PRLIMIT, 1, 7, 0, 0),
    (SYS_SENDTO, PLACE, 0, 0, 0, PAGE, 16),
    (SYS_SENDMSG, PLACE + 1, 0, 0),
    (SYS_SENDMSG, 0, 0, 0),
    *((SYS_VMSPLICE, PLACE, 0, *rest) for rest in ((0, 0), (2, 0), (1, 1), (1, 8))),
    (SYS_SCHEDULER, 1, 0, 0),
    (SYS_AFFINITY, 1, 0, 0),
]


class Prisoner:
    """A process behind the filter, which makes one call after the other and then ends."""

    def __init__(self, program: bytes, wanted: list[Call]) -> None:
        self.status = 0  # or minus a signal, how it ended
        self._near, far = pair()
        self._pid = os.fork()
        if self._pid == 0:
            _live(far, program, wanted)
        far.close()
        assert select.select([self._near], [], [], PATIENCE)[0]
        message = next(self._near.waiting())
        assert message is not None
        self._listener = message[2]

    def asked(self) -> Iterator[Call]:
        """The calls that were refused, with their arguments; each is answered EPERM then."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        while dict(poll.poll(1000 * PATIENCE))[self._listener] & select.POLLIN:
            heard = seccomp.Notification()
            self._ioctl(seccomp.RECEIVE, heard)
            yield heard.number, *heard.arguments
            self._ioctl(SEND, Answer(id=heard.id, error=-errno.EPERM))
        self.status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._pid = 0

    def _ioctl(self, request: int, argument: Struct) -> None:
        answer = syscall(SYS_IOCTL, self._listener, request, address_of(argument), 0, 0, 0)
        assert answer == 0, os.strerror(-answer)

    def close(self) -> None:
        """End it, unless it is over."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._listener)
        self._near.close()


def _live(far: Link, program: bytes, wanted: list[Call]) -> None:
    status = 1
    try:
        far.take_place()
        faulthandler.disable()  # pytest's, which would tell of a signal
        layers.end_with_parent()
        syscall(SYS_PRCTL, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
        listener = seccomp.confine(program)
        far.send_descriptor(Kind.LISTENER, listener)
        os.close(listener)
        for call in wanted:
            syscall(*(*call, 0, 0, 0, 0, 0, 0)[:7])
        status = 0
    finally:
        os._exit(status)


def whole(call: Call) -> Call:
    """With all six arguments."""
    return (*call, 0, 0, 0, 0, 0, 0)[:7]


def test_each_call_that_is_not_named_is_refused(program: bytes) -> None:
    wanted = unnamed()
    assert len(wanted) > LAST - 40
    with closing(Prisoner(program, wanted)) as prisoner:
        assert list(prisoner.asked()) == list(map(whole, wanted))


def test_arguments_that_are_not_named_are_refused(program: bytes) -> None:
    with closing(Prisoner(program, FORBIDDEN)) as prisoner:
        assert list(prisoner.asked()) == list(map(whole, FORBIDDEN))


@pytest.mark.parametrize("call", [(X32 | 1, 1, 0, 0), (X32 | 520, 0, 0, 0), (X32 | 57,)])
def test_calls_of_another_architecture_end_the_process(program: bytes, call: Call) -> None:
    """Be it that who is asked does so, or the kernel."""
    prisoner = Prisoner(program, [call])
    with closing(prisoner):
        asked = list(prisoner.asked())
    assert asked == [whole(call)] or (asked, prisoner.status) == ([], -signal.SIGSYS)


@pytest.mark.parametrize("number", UNFILTERED)
def test_calls_that_no_filter_sees_are_of_no_use(program: bytes, number: int) -> None:
    prisoner = Prisoner(program, [(number,)])
    with closing(prisoner):
        asked = list(prisoner.asked())
    assert asked in ([whole((number,))], [])
    assert prisoner.status in (0, -signal.SIGILL, -signal.SIGSEGV)


@pytest.mark.usefixtures("program")
def test_each_call_that_is_refused_has_a_name() -> None:
    for call in unnamed():
        assert calls.name_of(call[0], 0)
    assert calls.name_of(59, 0) == "execve"
    assert calls.name_of(SYS_IOCTL, Request.CREATE_VM) == "ioctl KVM_CREATE_VM"
    assert calls.name_of(SYS_IOCTL, TIOCSTI) == "ioctl 0x5412"
