"""A fork into namespaces of its own: clone(2), namespaces(7), user_namespaces(7), pivot_root(2).

Who may not make namespaces as such gets them in a user namespace, in which nobody but the caller
is there.
"""

import errno
import os
from _collections_abc import Callable

from vestige.host.capabilities import CAP_IPC_LOCK, CAP_SYS_ADMIN, has
from vestige.host.process.forks import Forks
from vestige.lang.foreign import addressof, c_uint64, create_string_buffer, get_errno, holding
from vestige.lang.intrinsics import syscall

SYS_CLONE, SYS_PRCTL = 56, 157
SYS_PIVOT_ROOT, SYS_MOUNT, SYS_UMOUNT2 = 155, 165, 166
SYS_UNSHARE = 272
PR_GET_TID_ADDRESS = 40
SIGCHLD = 17
CHILD_SETTID = 0x0100_0000
PARENT = 0x8000
PARENT_SETTID = 0x0010_0000
NEW_USER = 0x1000_0000
NEW_MOUNTS = 0x0002_0000
# Of host names, System V IPC, processes, networks.
NEW_ALL = 0x0400_0000 | 0x0800_0000 | 0x2000_0000 | 0x4000_0000
REFUSALS = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSPC, errno.EUSERS, errno.ENOSYS)
REASONS = {errno.ENOSPC: "no more of them may be made, by the sysctls user.max_*_namespaces"}
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_MOVE, MS_REC, MS_PRIVATE = 1 << 13, 1 << 14, 1 << 18
MNT_DETACH = 2
COVERED = b"/dev"  # any folder that is always there

# As os.fork, this holds the interpreter's lock while it calls.
_clone = holding("syscall", *[c_uint64] * 6)
_before, _behind_in_parent, _behind_in_child = (
    holding("PyOS_BeforeFork", result=None),
    holding("PyOS_AfterFork_Parent", result=None),
    holding("PyOS_AfterFork_Child", result=None),
)


class Forked:
    """What a fork answers. `pid`: 0 in the child; `flags`: by which clone(2) made it; `problem`:
    why there are no namespaces.
    """

    def __init__(self, pid: int, flags: int = 0, problem: str | None = None) -> None:
        self.pid, self.flags, self.problem = pid, flags, problem


def fork() -> Forked:
    """Fork into namespaces, or without where that is refused. Raises OSError where none can be.

    The caller has one thread, as for os.fork.
    """
    user, own = 0 if has(CAP_SYS_ADMIN) else NEW_USER, Own()
    if user and has(CAP_IPC_LOCK):  # which the caller wants, and would not have in there
        reason = "the right to lock memory (CAP_IPC_LOCK) would be lost in them"
        return Forked(os.fork(), problem=reason)
    pid = _fork(NEW_ALL | user)
    if pid == 0:
        own.enter(user)
    if -pid in REFUSALS:
        return Forked(os.fork(), problem=REASONS.get(-pid) or os.strerror(-pid))
    if pid < 0:
        raise OSError(-pid, os.strerror(-pid))
    return Forked(pid, NEW_ALL | user)


class Own:
    """Whose this process is; a fork asks before it is one."""

    def __init__(self) -> None:
        self._ids = os.geteuid(), os.getegid()

    def enter(self, flags: int) -> None:
        """In a fork that clone(2) made by these flags: be the same user in there."""
        if flags & NEW_USER:
            _map_users(*self._ids)


def _fork(flags: int) -> int:
    """Python's and the C library's work around a fork, and the kernel's with flags.

    PyOS_BeforeFork and the two behind it are there for whatever clones the process.
    """
    place = number_place()
    _before()
    pid: int = _clone(SYS_CLONE, flags | SIGCHLD | (place and CHILD_SETTID), 0, 0, place, 0)
    error = get_errno()
    if pid == 0:
        _behind_in_child()
    else:
        _behind_in_parent()
    return -error if pid < 0 else pid


def number_place() -> int:
    """Where the C library keeps the main thread's number, for CHILD_SETTID: the address that it
    once told the kernel; 0: unknown.
    """
    place = c_uint64()
    syscall(SYS_PRCTL, PR_GET_TID_ADDRESS, addressof(place), 0, 0, 0, 0)
    return place.value


def siblings(forks: Forks, serve: Callable[[Forks], bool], forked: Forked) -> bool:
    """Have forks like the one that was `forked`, children of this process's parent, by `serve`.

    True in each of them; False here, once there are no more.
    """
    own, place = Own(), number_place()
    forks.flags = forked.flags | PARENT | SIGCHLD | (place and CHILD_SETTID)
    forks.flags |= forks.last and PARENT_SETTID
    forks.thread = place
    _before()
    if serve(forks):
        _behind_in_child()
        own.enter(forked.flags)
        return True
    _behind_in_parent()
    return False


def _map_users(user: int, group: int) -> None:
    """Be the same user as outside, and the only one there is.

    Or nobody, which does as well: root without capabilities may not be mapped.
    """
    for name, line in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        try:
            descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:  # /proc is not mounted
            return
        try:
            os.write(descriptor, line.encode())
        except OSError:
            return
        finally:
            os.close(descriptor)


def leave_files() -> None:
    """Have an empty folder, that can't be written, as the root of all names of files.

    In a namespace of mounts of its own, which begins here: it holds up who unmounts something.
    Raises OSError.
    """
    _call(SYS_UNSHARE, NEW_MOUNTS)
    _call(SYS_MOUNT, 0, b"/", 0, MS_REC | MS_PRIVATE)
    flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
    _call(SYS_MOUNT, b"empty", COVERED, b"tmpfs", flags)
    os.chdir(COVERED)
    try:
        _call(SYS_PIVOT_ROOT, b".", b".")
        _call(SYS_UMOUNT2, b".", MNT_DETACH)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # The root is the kernel's first, in a software host, which stays where it is.
        _call(SYS_MOUNT, b".", b"/", 0, MS_MOVE)
        os.chroot(b".")
    os.chdir(b"/")


def _call(number: int, *arguments: bytes | int) -> None:
    """A system call, some of whose arguments are words. Raises OSError."""
    words = [create_string_buffer(each) for each in arguments if isinstance(each, bytes)]
    places = iter(words)
    values = [each if isinstance(each, int) else addressof(next(places)) for each in arguments]
    answer = syscall(number, *values, *[0] * (6 - len(values)))
    if answer < 0:
        raise OSError(-answer, os.strerror(-answer))
