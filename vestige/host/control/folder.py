"""Where the control sockets are: a file for each run, named as the run is.

Threat: any user may make a folder among the temporary files, and whoever may enter this one could
end its guests. One that is not this user's alone is refused.
"""
# This is on the way to every run: pathlib is slow to import.
# ruff: noqa: PTH116, PTH208

import _socket
import fcntl
import os
import stat
from _collections_abc import Sequence

from vestige import trust
from vestige.errors import UsageError

TEMPORARY = "/tmp"  # what is made there is looked at
CURE = "set XDG_RUNTIME_DIR to a folder of yours"
OTHERS = 0o077
BACKLOG = 16
PATH_LIMIT = 107  # bytes: sun_path is 108 with its NUL, unix(7)

Identity = tuple[int, int] | None


class Folder:
    """The folder, also held by its descriptor: its path may be longer than a socket's may be."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def address(self, name: str) -> str:
        """Of the socket of a run. There need be no /proc for a short one."""
        path = f"{self.path}/{name}"
        if len(os.fsencode(path)) <= PATH_LIMIT:
            return path
        return f"/proc/self/fd/{self._descriptor}/{name}"

    def names(self) -> Sequence[str]:
        """All that there are, in order, of runs that were killed, too."""
        listed = self._opened()
        try:
            return sorted(os.listdir(listed))
        finally:
            os.close(listed)

    def identity(self, name: str) -> Identity:
        """What tells the socket of this name from all others; None: there is no such socket."""
        try:
            status = os.lstat(self.address(name))
        except OSError:
            return None
        return (status.st_dev, status.st_ino) if stat.S_ISSOCK(status.st_mode) else None

    def listen(self, name: str) -> tuple[_socket.socket, Identity]:
        """A socket of this name, in the place of a killed run's. Raises UsageError, OSError."""
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
        lock = self._locked()
        try:
            if not self._clear(name):
                raise UsageError(
                    f"--name {name}: a run has that name; give another, or end that one:"
                    f" vestige stop {name}"
                )
            listener.bind(self.address(name))
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        finally:
            os.close(lock)
        return listener, self.identity(name)

    def remove_stale(self, name: str) -> bool:
        """Remove the socket of this name, if its run is no more; False: it goes on."""
        lock = self._locked()
        try:
            return self._clear(name)
        finally:
            os.close(lock)

    def _clear(self, name: str) -> bool:
        """Whether nobody has the name any more."""
        identity = self.identity(name)
        if identity is None:
            return True
        if _is_listened_to(self.address(name)):
            return False
        self.remove(name, identity)
        return True

    def remove(self, name: str, identity: Identity) -> None:
        """Remove the socket of this name, if it is still that one."""
        if identity is not None and self.identity(name) == identity:
            os.unlink(name, dir_fd=self._descriptor)

    def _opened(self) -> int:
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._descriptor)

    def _locked(self) -> int:
        """A descriptor; until it is closed no other process takes or removes a name here."""
        descriptor = self._opened()
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return descriptor

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


def open_folder(*, make: bool) -> Folder | None:
    """This user's; None: there is none, and `make` did not ask for one.

    Raises UsageError where others may write there, or it can't be made.
    """
    above, name = _place()
    path = f"{above}/{name}"
    try:
        parent = trust.follow(above)
        try:
            descriptor = trust.enter(parent, name, path, make=make)
        finally:
            os.close(parent)
    except FileNotFoundError:
        if not make:
            return None
        raise UsageError(f"{path}: can't be made; {CURE}") from None
    except OSError as error:
        raise UsageError(f"{error.filename or path}: {error.strerror}; {CURE}") from None
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
