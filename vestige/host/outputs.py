"""Files that a run writes: opened without being at the mercy of whoever reads them."""

import errno
import os
import stat

from vestige.host.messages import tell
from vestige.signals import Watch


def open_output(path: str, watch: Watch | None, access: int = os.O_WRONLY) -> int:
    """Open what is written, made where it is missing; a FIFO as soon as somebody reads it.

    Raises OSError, ValueError for a name that can't be one, and Ended as `watch` does.
    """
    flags = access | os.O_CREAT | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno != errno.ENXIO or not _is_fifo(path):
            raise
        tell(f"{path}: waiting for somebody who reads it")
        descriptor = _when_read(path, flags, watch)
    os.set_blocking(descriptor, True)
    return descriptor


def empty(descriptor: int) -> None:
    """Make a file empty; what is no file has nothing to lose."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.ftruncate(descriptor, 0)


def _when_read(path: str, flags: int, watch: Watch | None) -> int:
    if watch is None:
        return os.open(path, flags)
    return watch.call(lambda: os.open(path, flags))


def _is_fifo(path: str) -> bool:
    return stat.S_ISFIFO(os.stat(path).st_mode)  # noqa: PTH116 - pathlib is slow to import
