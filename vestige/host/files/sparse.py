"""Files with holes: where they have data, and copies that have the same."""

import errno
import os
from _collections_abc import Iterator

PAGE = 4096


def data_of(descriptor: int, size: int, place: int = 0) -> Iterator[tuple[int, int]]:
    """(first byte, last + 1) of a file's data, from the page at `place` to `size`; whole pages."""
    while place < size:
        try:
            start = os.lseek(descriptor, place, os.SEEK_DATA)
        except OSError:  # ENXIO: no more
            return
        place = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start // PAGE * PAGE, min(-(-place // PAGE) * PAGE, size)


def copy(source: int, target: int) -> None:
    """Have an empty file be as another is. Raises OSError."""
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    for start, end in data_of(source, size):
        _copy_part(source, target, start, end)


def copy_part(source: int, first: int, size: int, target: int) -> None:
    """Have an empty file, as far as `size`, be as another is from its page at `first` on.

    Raises OSError.
    """
    for start, end in data_of(source, first + size, first):
        _copy_part(source, target, start, end, first)


def _copy_part(source: int, target: int, start: int, end: int, first: int = 0) -> None:
    place = start
    while place < end:
        try:
            done = os.copy_file_range(source, target, end - place, place, place - first)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            os.lseek(target, place - first, os.SEEK_SET)
            done = os.sendfile(target, source, place, end - place)
        if not done:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        place += done
