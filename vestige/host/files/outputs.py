"""Files that a run writes: opened without being at the mercy of whoever reads them, and neither
made nor emptied before the guest starts.
"""

import errno
import fcntl
import os
import stat

from vestige.errors import UsageError
from vestige.host.messages import tell
from vestige.signals import Watch

OWN = "/proc/self/fd"
ACCESS = os.O_WRONLY | os.O_RDWR  # O_ACCMODE of fcntl(2)
LINKS = 40  # that Linux follows, path_resolution(7)


class OutputFile:
    """One of them. A run that is refused before `prepare` leaves what has its name as it was.

    A file that isn't there yet is one in memory until then. `descriptor` stays the same.
    """

    def __init__(
        self, path: str, words: str, cure: str, watch: Watch | None, access: int = os.O_WRONLY
    ) -> None:
        """`words` ask for it, and `cure` says what to do where it can't be had.

        Raises UsageError, and Ended as `watch` does.
        """
        self._words, self._cure, self._access = words, cure, access
        self._new: str | None = None  # the path at which it is to be made
        self._is_prepared = self._is_closed = False
        try:
            self._new = _place_of_new(path)
            if self._new is None:
                self.descriptor = open_output(path, watch, access)
            else:
                self.descriptor = os.memfd_create("output", os.MFD_CLOEXEC)
        except (OSError, ValueError) as error:
            raise self._refusal(error) from error
        if own_descriptor(path) is None and not _lock(self.descriptor):
            os.close(self.descriptor)
            raise UsageError(f"{words}: in use by another run; end that one first, or {cure}")

    @property
    def is_new(self) -> bool:
        """Whether it has to be made."""
        return self._new is not None

    def prepare(self) -> None:
        """The guest is about to run: make it, or empty it; a second time does nothing.

        Raises UsageError, also where somebody else has made one by now, which stays.
        """
        if self._is_prepared:
            return
        self._is_prepared = True
        try:
            if self._new is None:
                empty(self.descriptor)
                return
            flags = self._access | os.O_CREAT | os.O_EXCL | os.O_NOCTTY | os.O_CLOEXEC
            made = os.open(self._new, flags, 0o666)
        except FileExistsError:
            raise UsageError(
                f"{self._words}: somebody has made this file since the run began; {self._cure}"
            ) from None
        except OSError as error:
            raise self._refusal(error) from error
        _lock(made)
        os.dup2(made, self.descriptor, inheritable=False)
        os.close(made)

    def _refusal(self, error: OSError | ValueError) -> UsageError:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return UsageError(f"{self._words}: {reason}; {self._cure}")

    def close(self) -> None:
        """Close it; a second time does nothing."""
        if not self._is_closed:
            self._is_closed = True
            os.close(self.descriptor)


def open_output(path: str, watch: Watch | None, access: int = os.O_WRONLY) -> int:
    """Open what is written, made where it is missing; a FIFO as soon as somebody reads it. What is
    done with it never waits.

    One of this process's own descriptors, as /dev/stdout is, is itself, with its place in the file
    and its way of waiting.
    Raises OSError, ValueError for a name that can't be one, and Ended as `watch` does.
    """
    own = own_descriptor(path)
    if own is not None and not os.isatty(own):  # a terminal is opened for what we do with it
        return _again(own)
    flags = access | os.O_CREAT | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ENOENT and _is_lost(path):
            raise OSError(errno.ENOENT, "the working directory has been removed") from None
        if error.errno != errno.ENXIO or not _is_fifo(path):
            raise
        tell(f"{path}: waiting for somebody who reads it")
        descriptor = _when_read(path, flags, watch)
        os.set_blocking(descriptor, False)
    return descriptor


def empty(descriptor: int) -> None:
    """Make a file empty; what is no file has nothing to lose.

    Nor is one emptied that was opened by somebody else who has written into it, or appends to it.
    """
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return
    appends = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND
    if not appends and not os.lseek(descriptor, 0, os.SEEK_CUR):
        os.ftruncate(descriptor, 0)


def _lock(descriptor: int) -> bool:
    """Lock a file as runs lock the images of disks; False: another run has it, as whatever.

    Where there are no locks, it goes without one.
    """
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def own_descriptor(path: str) -> int | None:
    """The number of this process's descriptor that `path` names, as /dev/stdout and /dev/fd/3 do.

    None: it names something else, or a descriptor that isn't open.
    """
    for _ in range(LINKS):
        folder, name = os.path.split(path)
        try:
            target = os.readlink(path)  # noqa: PTH115
            if name.isdecimal() and os.path.realpath(folder) == os.path.realpath(OWN):
                return int(name)
        except (OSError, ValueError):  # no link: any other file
            return None
        path = os.path.join(folder, target)  # noqa: PTH118
    return None


def _place_of_new(path: str) -> str | None:
    """Where a file of this name would be made; None: something is there, or opening says what.

    Raises OSError where none can be made.
    """
    try:
        os.stat(path)  # noqa: PTH116 - pathlib is slow to import
    except FileNotFoundError:
        pass
    except OSError:
        return None
    else:
        return None
    if os.path.split(path)[1] in ("", ".", "..") or _is_lost(path):
        return None
    place = os.path.realpath(path)
    # Only making one tells, on any file system, whether that can be done.
    probe = f"{os.path.split(place)[0]}/.vestige-{os.urandom(8).hex()}"
    os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    os.unlink(probe)  # noqa: PTH108
    return place


def _again(own: int) -> int:
    """Another descriptor of the same open file, which must have been given to us to write to."""
    if not os.get_inheritable(own) or fcntl.fcntl(own, fcntl.F_GETFL) & ACCESS == os.O_RDONLY:
        raise OSError(errno.EBADF, "not open for writing")
    return os.dup(own)


def _when_read(path: str, flags: int, watch: Watch | None) -> int:
    if watch is None:
        return os.open(path, flags)
    return watch.call(lambda: os.open(path, flags))


def _is_fifo(path: str) -> bool:
    return stat.S_ISFIFO(os.stat(path).st_mode)  # noqa: PTH116 - pathlib is slow to import


def _is_lost(path: str) -> bool:
    """Whether `path` begins in a working directory that has been removed."""
    try:
        return not path.startswith("/") and not os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        return True
