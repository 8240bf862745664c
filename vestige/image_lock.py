"""The lock on a disk image: one run that writes it, or several that read it.

It is flock's, on an open file that belongs to the process alone, so that it ends with the
process, however that ends. The operations that a killed process left in the kernel may take a
little longer: `wait_for_operations` waits for those.
"""

import fcntl
import os
import struct

from vestige.errors import UsageError
from vestige.signals import Watch

OPERATIONS = "hhqqi"  # struct flock, fcntl(2), with the compiler's padding
WHOLE_FILE = 0  # a length
OTHER_PLACE = "have it on a file system that has locks"
FIRST_BYTE = (0, 0, 1, 0)  # from the start, offset, length; an open file's locks name no process


BOTH_READ = "give both of them ,readonly"


def lock(descriptor: int, path: str, read_only: bool, otherwise: str = BOTH_READ) -> None:
    """Lock for this process: writers alone, readers together. Raises UsageError.

    `otherwise`: what a writer may do but end the other run.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if read_only else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(
            f"{path}: in use by another run; end that one first"
            + ("" if read_only else f", or {otherwise}")
        ) from None
    except OSError as error:
        raise UsageError(f"{path}: can't be locked: {error.strerror}; {OTHER_PLACE}") from None


def open_for_operations(claim: int, path: str, read_only: bool, watch: Watch | None = None) -> int:
    """Another open file of the one at `claim`, whatever has its name meanwhile, once nothing is
    under way there. Raises as `wait_for_operations`, and OSError.
    """
    access = os.O_RDONLY if read_only else os.O_RDWR
    descriptor = os.open(f"/proc/thread-self/fd/{claim}", access | os.O_CLOEXEC)
    try:
        wait_for_operations(descriptor, path, read_only, watch)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def wait_for_operations(
    descriptor: int, path: str, read_only: bool, watch: Watch | None = None
) -> None:
    """Wait until nothing is under way on files that other processes passed here and left.

    `descriptor` is the open file that operations will go through, which the kernel keeps open
    until the last of them is done: its own lock (F_OFD_SETLKW, fcntl(2)) is free only then.
    NFS and 9p make flock's lock one of this kind, of the whole file: it is not waited for, as it
    is our own. Raises UsageError where the file system has no such locks, and Ended where `watch`
    ends the wait.
    """
    kind = fcntl.F_RDLCK if read_only else fcntl.F_WRLCK
    wanted = struct.pack(OPERATIONS, kind, *FIRST_BYTE)
    try:
        found = struct.unpack(OPERATIONS, fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, wanted))
        if found[0] == fcntl.F_UNLCK or found[3] != WHOLE_FILE:
            _lock_part(descriptor, wanted, watch)
    except OSError as error:
        raise UsageError(f"{path}: can't be locked: {error.strerror}; {OTHER_PLACE}") from None


def _lock_part(descriptor: int, wanted: bytes, watch: Watch | None) -> None:
    """Lock what `wanted` says, at once where that is possible. Raises OSError."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
    except BlockingIOError:
        if watch is None:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLKW, wanted)
        else:
            watch.call(lambda: fcntl.fcntl(descriptor, fcntl.F_OFD_SETLKW, wanted))
