"""Locking a process into a filter of its system calls, and hearing of those that are refused.

seccomp(2), seccomp_unotify(2). The filter's answer to a call that it does not allow is a question
to who listens: the run's own process, which kills this one and says which call it was. Where
another program listens already, the kernel kills by itself.
"""

import errno
import os

from vestige.lang.foreign import addressof, create_string_buffer
from vestige.lang.intrinsics import address_of, syscall
from vestige.lang.types import Struct, u16, u32, u64

SYS_IOCTL, SYS_SECCOMP = 16, 317
SET_MODE_FILTER = 1
# TSYNC, all threads, with TSYNC_ESRCH, which lets it have a listener; SPEC_ALLOW: before Linux 5.16
# a filter would also switch mitigations on that make each KVM_RUN slower.
FLAGS = 1 << 0 | 1 << 4 | 1 << 2
NEW_LISTENER = 1 << 3
RECEIVE = 0xC050_2100  # SECCOMP_IOCTL_NOTIF_RECV
NOTIFY, KILL_PROCESS = 0x7FC0_0000, 0x8000_0000
INSTRUCTION = 8  # bytes of a struct sock_filter
RETURN = (6).to_bytes(4, "little")  # BPF_RET | BPF_K, and no jumps


class Program(Struct):
    """struct sock_fprog."""

    count: u16
    filter: u64


class Notification(Struct):
    """struct seccomp_notif."""

    id: u64
    pid: u32
    flags: u32
    number: u32
    architecture: u32
    instruction: u64
    arguments: u64[6]


def confine(program: bytes) -> int:
    """From now on no thread makes a call that `program` refuses; where to ask for such, or -1.

    All threads have PR_SET_NO_NEW_PRIVS. Raises OSError where the kernel does not do it.
    """
    answer = _load(program, FLAGS | NEW_LISTENER)
    asks = answer != -errno.EBUSY
    if not asks:
        answer = _load(_killing(program), FLAGS)
    if answer < 0:
        raise OSError(-answer, os.strerror(-answer))
    return answer if asks else -1


def _load(program: bytes, flags: int) -> int:
    instructions = create_string_buffer(program)
    loaded = Program(count=len(program) // INSTRUCTION, filter=addressof(instructions))
    return syscall(SYS_SECCOMP, SET_MODE_FILTER, flags, address_of(loaded), 0, 0, 0)


def _killing(program: bytes) -> bytes:
    """The same filter, which kills where it would ask."""
    asks, kills = (RETURN + each.to_bytes(4, "little") for each in (NOTIFY, KILL_PROCESS))
    pieces = [program[at : at + INSTRUCTION] for at in range(0, len(program), INSTRUCTION)]
    return b"".join(kills if each == asks else each for each in pieces)


def refused(listener: int) -> tuple[int, int] | None:
    """A call that was refused, its number and its second argument; None: there is none."""
    heard = Notification()
    if syscall(SYS_IOCTL, listener, RECEIVE, address_of(heard), 0, 0, 0) < 0:
        return None
    return heard.number, heard.arguments[1]
