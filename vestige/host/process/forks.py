"""Forks of this process, one each time that somebody asks: typed Python, compiled for it.

A page that a process writes behind a fork is the fork's alone from then on, if no other has it. So
who makes many does not run Python between two: that would write hundreds.

Source: clone(2), cmsg(3), unix(7).
"""

from vestige.lang.intrinsics import address_of, syscall
from vestige.lang.types import Struct, i32, i64, u8, u32, u64

SYS_READ, SYS_CLOSE, SYS_SENDMSG, SYS_SOCKETPAIR, SYS_CLONE = 0, 3, 46, 53, 56
SYS_PIDFD_OPEN = 434
UNIX, SEQUENCED, CLOSED_BY_EXEC = 1, 5, 0o2000000
SOCKET_LEVEL, RIGHTS, NO_SIGNAL = 1, 1, 0x4000
EINTR = 4
ASKED_FOR = 64  # bytes that are read of what asks


class Answer(Struct):
    """The fork's number, 0: there is none; the errno for which it is none that can be had, or 0."""

    process: i64
    error: i64


class Vector(Struct):
    """struct iovec."""

    base: u64
    length: u64


class Header(Struct):
    """struct msghdr."""

    name: u64
    name_length: u32
    vectors: u64
    vector_count: u64
    control: u64
    control_length: u64
    flags: i32


class Rights(Struct):
    """struct cmsghdr, and the descriptors behind it."""

    length: u64
    level: i32
    type: i32
    descriptors: i32[2]


class Forks(Struct):
    """What `serve` works with. `requests`: a socket; `flags` of clone(2); `thread`: where the C
    library has the number of the main thread, 0: unknown; `last`: where the kernel writes a fork's
    number before that runs, if `flags` say so; `link`: in a fork its end of it.
    """

    requests: u64
    flags: u64
    thread: u64
    last: u64
    link: u64
    ends: i32[2]
    asked: u8[ASKED_FOR]
    answer: Answer
    vector: Vector
    header: Header
    rights: Rights


ANSWER_SIZE, RIGHTS_SIZE = 16, 24  # bytes


def serve(forks: Forks) -> bool:
    """Fork each time that a message comes, which gets an Answer, and descriptors where there is a
    fork: of a link to it, and of its pidfd. True in a fork; False once there is nobody any more who
    could ask.
    """
    while True:
        size = syscall(SYS_READ, forks.requests, address_of(forks.asked), ASKED_FOR, 0, 0, 0)
        if size == 0 or (size < 0 and size != -EINTR):
            return False
        if size > 0 and fork(forks):
            return True


def fork(forks: Forks) -> bool:
    """Once. Whether this is the fork."""
    kind: u64 = SEQUENCED | CLOSED_BY_EXEC
    made = syscall(SYS_SOCKETPAIR, UNIX, kind, 0, address_of(forks.ends), 0, 0)
    if made < 0:
        tell(forks, 0, made, 0)
        return False
    near, far = u64(forks.ends[0]), u64(forks.ends[1])
    forks.link = far
    process = syscall(SYS_CLONE, forks.flags, 0, forks.last, forks.thread, 0, 0)
    if process == 0:
        syscall(SYS_CLOSE, near, 0, 0, 0, 0, 0)
        return True
    if process < 0:
        tell(forks, 0, process, 0)
    else:
        life = syscall(SYS_PIDFD_OPEN, u64(process), 0, 0, 0, 0, 0)
        if life < 0:  # it ends, as its link does; who asked is its parent, and waits for it
            tell(forks, process, life, 0)
        else:
            forks.rights.descriptors[0] = forks.ends[0]
            forks.rights.descriptors[1] = i32(life)
            tell(forks, process, 0, RIGHTS_SIZE)
            syscall(SYS_CLOSE, u64(life), 0, 0, 0, 0, 0)
    syscall(SYS_CLOSE, near, 0, 0, 0, 0, 0)
    syscall(SYS_CLOSE, far, 0, 0, 0, 0, 0)
    return False


def tell(forks: Forks, process: i64, error: i64, rights_size: u64) -> None:
    """Send an Answer, its `error` negative here, with so many bytes of rights; to nobody, where the
    other side has gone.
    """
    forks.answer.process, forks.answer.error = process, -error
    forks.vector.base, forks.vector.length = address_of(forks.answer), ANSWER_SIZE
    forks.rights.length, forks.rights.level, forks.rights.type = RIGHTS_SIZE, SOCKET_LEVEL, RIGHTS
    header = forks.header
    header.vectors, header.vector_count = address_of(forks.vector), 1
    header.control, header.control_length = address_of(forks.rights), rights_size
    syscall(SYS_SENDMSG, forks.requests, address_of(header), NO_SIGNAL, 0, 0, 0)
