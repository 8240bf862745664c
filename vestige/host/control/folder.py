"""Where the control sockets are: a file for each run, named as the run is.

Threat: any user may make a folder among the temporary files, and whoever may enter this one could
end its guests. One that is not this user's alone is refused.
"""
# This is on the way to every run: pathlib is slow to import.
# ruff: noqa: PTH116, PTH208

import _socket
import errno
import fcntl
import os
import select
import stat
import struct
from _collections_abc import Callable, Sequence

from vestige import threads, trust
from vestige.errors import UsageError
from vestige.host.options import is_name

TEMPORARY = "/tmp"  # what is made there is looked at
CURE = "set XDG_RUNTIME_DIR to a folder of yours"
OTHERS = 0o077
READ = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
BACKLOG = 16
AGENT = "@agent"  # behind a run's name, of the socket of its guest's agent: no run has such a name
PATIENCE = 2.0  # seconds for another process to take or remove a name
PATH_LIMIT = 107  # bytes: sun_path is 108 with its NUL, unix(7)
LOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, pid; fcntl(2)
LONGEST_OFFSET = (1 << 62) - 1

Identity = tuple[int, int] | None


class NameTakenError(UsageError):
    """A run has that name."""


class Folder:
    """The folder, also held by its descriptor: its path may be longer than a socket's may be.

    Who listens holds a record lock on the folder, at the offset that is its socket's inode. So the
    kernel says which process a run is, also while that takes no connection, and of none that has
    gone. A process that closes any descriptor of the folder loses them all (fcntl(2)): nothing here
    opens it a second time.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def address(self, name: str) -> str:
        """Of the socket of a run. There need be no /proc for a short one."""
        path = f"{self.path}/{name}"
        if len(os.fsencode(path)) <= PATH_LIMIT:
            return path
        return f"/proc/thread-self/fd/{self._descriptor}/{name}"

    def names(self) -> Sequence[str]:
        """Those of all runs, in order, of those that were killed, too."""
        return sorted(name for name in os.listdir(self._descriptor) if is_name(name))

    def identity(self, name: str) -> Identity:
        """What tells the socket of this name from all others; None: there is no such socket."""
        try:
            status = os.lstat(self.address(name))
        except OSError:
            return None
        return (status.st_dev, status.st_ino) if stat.S_ISSOCK(status.st_mode) else None

    def listen(self, name: str) -> tuple[_socket.socket, Identity]:
        """A socket of this name, in the place of a killed run's.

        Raises NameTakenError, UsageError, OSError.
        """
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
        try:
            self._lock()
            if not self._clear(name):
                raise NameTakenError(
                    f"--name {name}: a run has that name; give another, or end that one:"
                    f" vestige stop {name}"
                )
            listener.bind(self.address(name))
            identity = self.identity(name)
            if identity is not None:
                fcntl.lockf(self._descriptor, fcntl.LOCK_SH, 1, _offset(identity))
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return listener, identity

    def owner(self, name: str) -> int | None:
        """The process that listens at the socket of this name; None: no other one does."""
        identity = self.identity(name)
        if identity is None:
            return None
        asked = LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _offset(identity), 1, 0)
        kind, _, _, _, pid = LOCK.unpack(fcntl.fcntl(self._descriptor, fcntl.F_GETLK, asked))
        return None if kind == fcntl.F_UNLCK else pid

    def remove_stale(self, name: str) -> bool:
        """Remove the socket of this name, if its run is no more; False: it goes on."""
        self._lock()
        try:
            return self._clear(name)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def clear(self) -> None:
        """Remove what killed runs left, unless another process takes or removes a name just now.

        Raises OSError.
        """
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        try:
            for name in self.names():
                if self.owner(name) is None:
                    self._clear(name)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _lock(self) -> None:
        """From now on no other process takes or removes a name. Raises UsageError, OSError.

        Each of ours has it for a moment. One that keeps it is another program, which is not waited
        for: the thread that does so ends once the folder is closed and free.
        """
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not _in_time(lambda: fcntl.flock(self._descriptor, fcntl.LOCK_EX)):
                raise UsageError(
                    f"{self.path}: another process keeps it locked; end that one, or {CURE}"
                ) from None

    def _clear(self, name: str) -> bool:
        """Whether nobody has the name any more."""
        identity = self.identity(name)
        if identity is None:
            return True
        if _is_listened_to(self.address(name)):
            return False
        self.remove(name, identity)
        agent = f"{name}{AGENT}"
        if not _is_listened_to(self.address(agent)):
            self.remove(agent, self.identity(agent))
        return True

    def remove(self, name: str, identity: Identity) -> None:
        """Remove the socket of this name, if it is still that one."""
        if identity is not None and self.identity(name) == identity:
            os.unlink(name, dir_fd=self._descriptor)

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


def open_folder(*, make: bool) -> Folder | None:
    """This user's; None: there is none, and `make` did not ask for one.

    Raises UsageError where others may write there, or it can't be made, OSError where this process
    may open no more files.
    """
    above, name = _place()
    path = f"{above}/{name}"
    try:
        parent = trust.follow(above)
        try:
            entered = trust.enter(parent, name, path, make=make)
        finally:
            os.close(parent)
        try:
            descriptor = os.open(".", READ, dir_fd=entered)
        finally:
            os.close(entered)
    except FileNotFoundError:
        if not make:
            return None
        raise UsageError(f"{path}: can't be made; {CURE}") from None
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):  # that says nothing of the folder
            raise OSError(error.errno, error.strerror, path) from None
        named = str(error.filename or "")  # that of a call in a folder is but the last part
        where = named if named.startswith("/") else path
        raise UsageError(f"{where}: {error.strerror}; {CURE}") from None
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or status.st_mode & OTHERS:
        os.close(descriptor)
        raise UsageError(f"{path}: not a folder of this user alone; chmod 700 it, or {CURE}")
    return Folder(path, descriptor)


def _place() -> tuple[str, str]:
    """The folder above, and the name in it: in the user's runtime directory, where there is one."""
    user = os.geteuid()
    for above in (os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{user}"):
        try:
            if above.startswith("/") and os.stat(above).st_uid == user:
                return above, "vestige"
        except OSError:
            continue
    return TEMPORARY, f"vestige-runs-{user}"


def _in_time(function: Callable[[], object]) -> bool:
    """Whether `function` has returned within PATIENCE; a thread calls it. Raises OSError."""
    errors: list[OSError] = []
    done = os.eventfd(0, os.EFD_CLOEXEC)

    def body() -> None:
        try:
            function()
        except OSError as error:
            errors.append(error)
        os.eventfd_write(done, 1)

    threads.start(body)
    poll = select.poll()
    poll.register(done, select.POLLIN)
    if not poll.poll(1000 * PATIENCE):
        return False  # `done` stays open: the thread may yet write there
    os.close(done)
    if errors:
        raise errors[0]
    return True


def _offset(identity: tuple[int, int]) -> int:
    """Where the lock of this socket's run is."""
    return identity[1] & LONGEST_OFFSET


def _is_listened_to(address: str) -> bool:
    probe = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
    try:
        probe.connect(address)
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except BlockingIOError:  # its queue is full
        return True
    finally:
        probe.close()
    return True
