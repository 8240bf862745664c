"""What the limits on this process refuse it, in words: the limit, and what raises it. getrlimit(2).

Every start opens files, maps memory and makes threads in many places. What fails there with one of
these errors failed for no reason of its own.
"""

import errno
import os
import resource

from vestige.errors import GuestError, UsageError

NO_THREAD = "can't start new thread"  # Python's RuntimeError, which has no errno


class Limit:
    """One of a process's limits, what it is counted in, and how a shell raises it."""

    __slots__ = ("command", "name", "number", "unit")

    def __init__(self, number: int, name: str, unit: str, command: str) -> None:
        self.number, self.name, self.unit, self.command = number, name, unit, command

    @property
    def value(self) -> str | None:
        """The limit with its unit; None: there is none."""
        soft = resource.getrlimit(self.number)[0]
        if soft == resource.RLIM_INFINITY:
            return None
        number = f"{soft >> 10} KiB" if self.unit.startswith("of ") else f"{soft}"
        return f"{number} {self.unit}"


FILES = Limit(resource.RLIMIT_NOFILE, "RLIMIT_NOFILE", "open files", "ulimit -n 4096")
LOCKED = Limit(resource.RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", "of locked memory", "ulimit -l 8192")
ADDRESSES = Limit(resource.RLIMIT_AS, "RLIMIT_AS", "of addresses", "ulimit -v unlimited")
DATA = Limit(resource.RLIMIT_DATA, "RLIMIT_DATA", "of data", "ulimit -d unlimited")
PROCESSES = Limit(resource.RLIMIT_NPROC, "RLIMIT_NPROC", "threads", "ulimit -u unlimited")
LENGTH = Limit(resource.RLIMIT_FSIZE, "RLIMIT_FSIZE", "of a file", "ulimit -f unlimited")

ALL = FILES, LOCKED, ADDRESSES, DATA, PROCESSES, LENGTH

BY_ERROR = {
    errno.EMFILE: (FILES,),
    errno.ENOMEM: (ADDRESSES, DATA),
    errno.EAGAIN: (ADDRESSES, DATA, PROCESSES),  # of a thread or a process
    errno.EFBIG: (LENGTH,),
}
OTHERWISE = {
    errno.ENFILE: "the machine has all files open that it may; as root: sysctl fs.file-max",
    errno.ENOMEM: "no memory is left here; end other programs or give the guest less --memory",
    errno.EAGAIN: "the machine or a control group of it has all threads that it may; end others",
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room, or have the user's quota raised",
}


def present(process: int = 0) -> list[tuple[int, int]]:
    """What a process, 0: this one, may have, and raise that to, of each. Raises OSError where there
    is none of this user's.
    """
    return [resource.prlimit(process, limit.number) for limit in ALL]


def cure(error: int, *limits: Limit) -> str:
    """What to do about errno `error`, with `limits` or those it is known for; "" if nothing."""
    found = [
        f"{limit.name} allows {value}, raise it: {limit.command}"
        for limit in limits or BY_ERROR.get(error, ())
        if (value := limit.value) is not None
    ]
    return ", or ".join(found) or OTHERWISE.get(error, "")


def with_cure(words: str, error: int) -> str:
    """`words`, and behind them what to do about errno `error`, if anything."""
    remedy = cure(error)
    return f"{words}; {remedy}" if remedy else words


def refusal(what: str, error: int) -> UsageError | GuestError:
    """The error for `what`, which the kernel answered with errno `error`.

    It is the user's where a limit explains it, else that of the guest.
    """
    return _error(f"{what}: {os.strerror(error)}", cure(error))


def ring_refusal(what: str, error: int) -> UsageError | GuestError:
    """The same where io_uring answered: it locks memory, and says no more than ENOMEM."""
    remedy = cure(error, *((LOCKED,) if error == errno.ENOMEM else ()))
    return _error(f"{what}: {os.strerror(error)}", remedy)


def _error(words: str, remedy: str) -> UsageError | GuestError:
    return UsageError(f"{words}; {remedy}") if remedy else GuestError(words)


def line_of(error: Exception) -> str | None:
    """What to tell of an error that ends a command; None: it is a bug, and its traceback tells.

    A UsageError raised `from` an OSError gets the cure of the limit behind that in place of its
    own; one raised `from None` says all there is to say.
    """
    if isinstance(error, GuestError):
        return str(error)
    if isinstance(error, UsageError):
        line = str(error)
        cause = error.__cause__ if error.__suppress_context__ else error.__context__
        remedy = cure(cause.errno or 0) if isinstance(cause, OSError) else ""
        return line if not remedy or remedy in line else f"{line.partition('; ')[0]}; {remedy}"
    if isinstance(error, OSError):
        number = error.errno or 0
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        words = ": ".join([*names, error.strerror or str(error)])
        if number == errno.ENOENT and not names and not _has_working_directory():
            words = "the working directory is gone; change into one that exists"
    elif isinstance(error, MemoryError):
        number, words = errno.ENOMEM, "no memory"
    elif str(error) == NO_THREAD:
        number, words = errno.EAGAIN, "no thread can be started"
    else:
        return None
    return with_cure(words, number)


def _has_working_directory() -> bool:
    """Whether relative paths mean anything; where they don't, asking for it fails, unnamed."""
    try:
        os.getcwd()  # noqa: PTH109 - pathlib is slow to import
    except FileNotFoundError:
        return False
    return True


def require_files(least: int, who: str) -> None:
    """Raise UsageError where this process may open fewer than `least` files, which `who` needs."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft != resource.RLIM_INFINITY and soft < least:
        raise UsageError(f"{who} needs {least} open files; {cure(errno.EMFILE)}")
