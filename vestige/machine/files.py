"""The files a guest starts from: open, and read straight into guest RAM; or what is wrong."""

import os
import stat

from vestige.errors import UsageError
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self


class InputFile:
    """A kernel or an initrd, open: the `size` bytes from `start` on of what `descriptor` is.

    `path` is its name in messages.
    """

    __slots__ = ("descriptor", "path", "size", "start")

    def __init__(self, path: str, descriptor: int, size: int, start: int = 0) -> None:
        self.path, self.descriptor, self.size, self.start = path, descriptor, size, start

    def read_at(self, offset: int, target: memoryview) -> None:
        """Fill `target` from `offset` on. Raises UsageError if the file ends first or fails."""
        done = 0
        while done < len(target):
            place = self.start + offset + done
            try:
                count = os.preadv(self.descriptor, [target[done:]], place)
            except OSError as error:
                raise UsageError(
                    f"{self.path}: reading failed: {error.strerror}; give a copy that can be read"
                ) from None
            if count == 0:
                raise UsageError(self._ended(offset + done, offset + len(target)))
            done += count

    def _ended(self, end: int, expected: int) -> str:
        """Why there are only `end` bytes. The size of a file below /sys is only a guess."""
        line = f"{self.path}: ended at byte {end} while being read, {expected} expected; "
        if os.fstat(self.descriptor).st_size >= self.start + expected:
            return line + "its size is not what its file system says; give a copy of it"
        return line + "don't change it while a guest starts"

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class Piece:
    """`size` bytes of a file from `offset` on, which has them."""

    __slots__ = ("file", "offset", "size")

    def __init__(self, file: InputFile, offset: int, size: int) -> None:
        self.file, self.offset, self.size = file, offset, size

    def __len__(self) -> int:
        """As bytes have it."""
        return self.size

    def read(self, target: memoryview) -> None:
        """Fill `target`, of that size. Raises UsageError as the file does."""
        self.file.read_at(self.offset, target)


def open_input(path: str, expected: str) -> InputFile:
    """The file at `path`. One that is no regular file has the size 0: its end is to be found.

    Raises UsageError, one line that names `expected`, for what can't be a kernel or an initrd.
    Waits for nothing.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path}: {str(reason).lower()}; give {expected}") from error
    status = os.fstat(descriptor)
    problem = None
    if stat.S_ISDIR(status.st_mode):
        problem = "a directory"
    elif stat.S_ISREG(status.st_mode) and status.st_size == 0:
        problem = "an empty file"
    elif not (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
        problem = "neither a regular file nor a pipe"
    if problem is not None:
        os.close(descriptor)
        raise UsageError(f"{path}: {problem}; give {expected}")
    return InputFile(path, descriptor, 0 if stat.S_ISFIFO(status.st_mode) else status.st_size)
