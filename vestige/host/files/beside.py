"""New files that are whole or not there: made beside their place, then given the name."""

import os
from _collections_abc import Callable


def made_beside(path: str, fill: Callable[[int], object], mode: int) -> tuple[int, str]:
    """A new file in the directory of `path`, filled and synchronised: open, and its own path.

    Raises OSError, and as `fill`, which has its descriptor; then there is none.
    """
    folder, name = os.path.split(path)
    place = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.part")  # noqa: PTH118
    new = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        fill(new)
        os.fsync(new)
    except BaseException:
        os.close(new)
        os.unlink(place)  # noqa: PTH108
        raise
    return new, place


def make(path: str, fill: Callable[[int], object]) -> None:
    """Have a file at `path`, as `fill` fills it, if there is none by then. Raises as `made_beside`.

    The others in the world that may read and write it are those that umask lets.
    """
    new, place = made_beside(path, fill, 0o666)
    os.close(new)
    try:
        os.link(place, path)
    except FileExistsError:
        return  # another run has been faster
    finally:
        os.unlink(place)  # noqa: PTH108


def synchronise_folder(path: str) -> None:
    """So that a name in the directory of `path` stays. Raises OSError."""
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # noqa: PTH120
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
