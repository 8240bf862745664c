"""New files that are whole or not there: made beside their place, then given the name."""

import errno
import fcntl
import os
from _collections_abc import Callable

# Of a file system, or a kernel, that makes no file without a name, open(2).
NO_NAMELESS = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)

Fill = Callable[[int], object]


def made_beside(path: str, fill: Fill, mode: int) -> tuple[int, str]:
    """A new file in the directory of `path`, filled and synchronised: open, and its own path.

    Raises OSError, and as `fill`, which has its descriptor; then there is none.
    """
    folder, name = os.path.split(path)
    place = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.part")  # noqa: PTH118
    new = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        _complete(new, fill)
    except BaseException:
        os.unlink(place)  # noqa: PTH108
        raise
    return new, place


def nameless(folder: str, fill: Fill, mode: int) -> int | None:
    """The same without a name; None: there can be none there. Raises as `made_beside`."""
    try:
        new = os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno in NO_NAMELESS:
            return None
        raise
    _complete(new, fill)
    return new


def temporary(folder: str, fill: Fill) -> int:
    """The same, this user's alone, which ends with its last descriptor. Raises as `made_beside`."""
    new = nameless(folder, fill, 0o600)
    if new is None:
        new, place = made_beside(f"{folder}/temporary", fill, 0o600)
        os.unlink(place)  # noqa: PTH108
    return new


def make(path: str, fill: Fill) -> int | None:
    """A new file at `path`, as `fill` fills it, and locked before it has the name: open.

    None: there is one by now. The others that may read and write it are those that umask lets.
    Raises as `made_beside`.
    """
    place = None
    new = nameless(os.path.dirname(path) or ".", fill, 0o666)  # noqa: PTH120
    if new is None:
        new, place = made_beside(path, fill, 0o666)
    try:
        fcntl.flock(new, fcntl.LOCK_EX)
        # With a folder's descriptor, which is not looked at, Python follows the link in /proc.
        os.link(place or f"/proc/thread-self/fd/{new}", path, src_dir_fd=new)
        synchronise_folder(path)
    except BaseException as error:
        os.close(new)
        if isinstance(error, FileExistsError):
            return None
        raise
    finally:
        if place is not None:
            os.unlink(place)  # noqa: PTH108
    return new


def _complete(new: int, fill: Fill) -> None:
    """Fill and synchronise it. It is closed where that fails."""
    try:
        fill(new)
        os.fsync(new)
    except BaseException:
        os.close(new)
        raise


def remove_spare(path: str, claim: int) -> None:
    """Have a file that nobody has used go, unless another one has its name by now.

    It is locked since it was made. Where it can't go it stays: it is whole.
    """
    try:
        if os.path.samestat(os.fstat(claim), os.stat(path)):  # noqa: PTH116
            os.unlink(path)  # noqa: PTH108
    except OSError:
        return


def synchronise_folder(path: str) -> None:
    """So that a name in the directory of `path` stays. Raises OSError."""
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # noqa: PTH120
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
