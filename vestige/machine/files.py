"""Opens the files a user names and reads them straight into guest RAM, or says what is wrong."""

import io
import os
import stat

from vestige.errors import UsageError


def open_regular(path: str, expected: str) -> tuple[io.FileIO, int]:
    """The file at `path`, unbuffered, and its size in bytes (at least 1).

    Raises UsageError, one line that names `expected`, for anything but a readable regular file
    with something in it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path}: {str(reason).lower()}; give {expected}") from None
    status = os.fstat(descriptor)
    problem = None
    if stat.S_ISDIR(status.st_mode):
        problem = "a directory"
    elif not stat.S_ISREG(status.st_mode):
        problem = "not a regular file"
    elif status.st_size == 0:
        problem = "an empty file"
    if problem is not None:
        os.close(descriptor)
        raise UsageError(f"{path}: {problem}; give {expected}")
    return io.FileIO(descriptor, "r"), status.st_size


def read_at(file: io.FileIO, path: str, offset: int, target: memoryview) -> None:
    """Fill `target` from `offset` on. Raises UsageError if the file ends first or fails."""
    done = 0
    while done < len(target):
        try:
            count = os.preadv(file.fileno(), [target[done:]], offset + done)
        except OSError as error:
            raise UsageError(f"{path}: reading failed: {error.strerror}") from None
        if count == 0:
            raise UsageError(
                f"{path}: ended at byte {offset + done} while being read, "
                f"{offset + len(target)} expected; don't change it while a guest starts"
            )
        done += count
