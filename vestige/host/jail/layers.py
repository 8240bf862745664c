"""The layers of the jail, in the order in which the machine's process puts them on.

Each would keep a subverted process in by itself. A kernel, or a container around it, may refuse
one: that layer is off then, and a line says so.
"""

import os
from _collections_abc import Callable

from vestige.errors import UsageError
from vestige.host import capabilities
from vestige.host.jail import landlock, namespaces, seccomp, user
from vestige.lang.intrinsics import address_of, syscall
from vestige.lang.types import Struct, u64

SYS_PRCTL = 157
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SCHED_CORE = 1, 4, 38, 62
SCHED_CORE_GET, SCHED_CORE_CREATE = 0, 1
ONE_THREAD, ALL_THREADS = 0, 1
SIGKILL = 9
NAMESPACES, FILES, LANDLOCK, SECCOMP = "namespaces", "an empty file system", "Landlock", "seccomp"
CAPABILITIES = "dropped capabilities"


class Cookie(Struct):
    """What threads have in common that may share a core."""

    value: u64


class Layers:
    """Those of this process. `problems`: why one is off, by its name."""

    def __init__(self, namespaces_problem: str | None) -> None:
        """`namespaces_problem`: why the fork that made this process is in none of its own."""
        self.problems: dict[str, str] = {}
        if namespaces_problem is not None:
            self.problems |= {NAMESPACES: namespaces_problem, FILES: "it needs namespaces"}

    def leave_everything(self, ids: user.Ids | None = None) -> None:
        """All layers but the last. Of this thread, the only one, and of those that it starts.

        `ids`: the user to be from now on. Raises UsageError where that is refused, OSError where
        something is that every Linux has.
        """
        if NAMESPACES not in self.problems:
            self._try(FILES, namespaces.leave_files)
        if ids is not None:
            _become(ids)
            end_with_parent()  # another user's process is forgotten
        _prctl(PR_SET_NO_NEW_PRIVS, 1)
        self._try(LANDLOCK, landlock.refuse_all)
        self._try(CAPABILITIES, capabilities.drop_all)
        _prctl(PR_SET_DUMPABLE, 0)
        # Where the kernel schedules by cores, no other program is on the other half of one.
        syscall(SYS_PRCTL, PR_SCHED_CORE, SCHED_CORE_CREATE, 0, ALL_THREADS, 0, 0)

    def confine(self, program: bytes | None) -> int:
        """The last layer, of all threads: the filter of system calls.

        Where those are asked about that it refuses, or -1. `program` None: none could be made.
        """
        listener = -1
        if program is None:
            self.problems[SECCOMP] = "libseccomp is not there; install libseccomp2"
            return listener
        try:
            listener = seccomp.confine(program)
        except OSError as error:
            self.problems[SECCOMP] = error.strerror or str(error)
        return listener

    def _try(self, name: str, layer: Callable[[], None]) -> None:
        try:
            layer()
        except OSError as error:
            self.problems[name] = error.strerror or str(error)


def _become(ids: user.Ids) -> None:
    try:
        user.become(ids)
    except OSError as error:
        raise UsageError(
            f"--jail uid: {error.strerror}; root needs CAP_SETUID and CAP_SETGID to be another user"
        ) from None


def words(problems: dict[str, str]) -> str:
    """What is told of layers that are off."""
    return ", ".join(f"{name} ({reason})" for name, reason in problems.items())


def schedules_by_core() -> bool:
    """Whether the kernel can keep other programs off the other half of a core."""
    cookie = Cookie()
    arguments = (PR_SCHED_CORE, SCHED_CORE_GET, 0, ONE_THREAD, address_of(cookie))
    return syscall(SYS_PRCTL, *arguments, 0) == 0


def end_with_parent(number: int = SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent's main thread ends, however."""
    _prctl(PR_SET_PDEATHSIG, number)


def _prctl(operation: int, value: int) -> None:
    answer = syscall(SYS_PRCTL, operation, value, 0, 0, 0, 0)
    if answer < 0:
        raise OSError(-answer, os.strerror(-answer))
