"""The lines that say why a run's files fail. The guest goes on; of a disk it learns an I/O error.

Threat: which operation failed, and with which errno, is what the monitor says.
"""

import os
import stat
from _collections_abc import Iterable, Iterator, Mapping, Sequence
from _thread import allocate_lock

from vestige import abi
from vestige.host.backends.disks import DiskImage
from vestige.host.messages import tell

OPERATIONS = ("read", "write", "flush", "discard")  # the fields of abi.DiskReport
EIO, EFBIG, ENOSPC, EOPNOTSUPP, EDQUOT = 5, 27, 28, 95, 122
MAKE_ROOM = "; make room"
CURES = {
    ENOSPC: MAKE_ROOM,
    EDQUOT: MAKE_ROOM,
    EFBIG: "; raise the limit on the size of files (ulimit -f), or take another file system",
}
Failure = tuple[int, int, int]  # a disk's number, the index of one of OPERATIONS, an errno
MOST_REASONS = 16
LEAST_ROOM = 1 << 20  # bytes: a file system with less may fail any write


class FileFailures:
    """Tells of each file and reason once, whichever domains say so and however often.

    A monitor that a guest has taken over may name any reason: of each file MOST_REASONS are told.
    """

    def __init__(self, images: Mapping[int, DiskImage]) -> None:
        """`images` by the numbers of their disks."""
        self._images = images
        self._told: dict[int, set[int]] = {}  # errnos, by the disk
        self._lock = allocate_lock()

    def tell(self, failures: Iterable[Failure]) -> None:
        """Tell what is new. Any thread may ask."""
        with self._lock:
            for number, operation, error in failures:
                image = self._images.get(number)
                if image is not None and operation < len(OPERATIONS):
                    self._tell(number, image, OPERATIONS[operation], error)

    def _tell(self, number: int, image: DiskImage, operation: str, error: int) -> None:
        # A file system without holes is the guest's to hear of: that request is UNSUPP.
        unsupported = operation == "discard" and error == EOPNOTSUPP
        if not unsupported and self._is_new(number, error):
            tell(line(image, operation, error))

    def _is_new(self, file: int, error: int) -> bool:
        told = self._told.setdefault(file, set())
        if not error or error in told or len(told) == MOST_REASONS:
            return False
        told.add(error)
        return True


def reported(reports: Sequence[abi.Statistics]) -> Iterator[Failure]:
    """What the domains report of failures."""
    for each in reports:
        for number, report in enumerate(each.disks):
            for operation, name in enumerate(OPERATIONS):
                if error := getattr(report, name):
                    yield number, operation, error


def lost(words: str, error: int | None) -> str:
    """What is told of the file of a console or a port that takes no more."""
    return f"{words}: {os.strerror(error or EIO)}; what else is written there is lost"


def line(image: DiskImage, operation: str, error: int) -> str:
    """Why an operation on an image failed, and what to do."""
    reason, cure = os.strerror(error), CURES.get(error, "")
    if error == EIO and operation == "read" and _is_shorter(image):
        reason = "the file has become shorter than the disk"
    elif error == EIO and operation != "read" and image.written and lacks_room(image.written):
        # A file system over another's file says no more than that.
        reason, cure = f"{reason}, and its file system has no room left", MAKE_ROOM
    name = image.path if operation == "read" else image.name
    return f"{name}: {reason}: the guest's {operation} failed{cure}"


def lacks_room(path: str) -> bool:
    """Whether that is a regular file on a file system that is full, for such as this user."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - pathlib is slow to import
            return False
        found = os.statvfs(path)
    except OSError:
        return False
    return found.f_blocks > 0 and found.f_bavail * found.f_frsize < LEAST_ROOM


def _is_shorter(image: DiskImage) -> bool:
    files = [(image.descriptor, image.sectors)]
    if image.overlay is not None:
        files.append((image.overlay.descriptor, image.overlay.end))
    found = [(os.fstat(descriptor), sectors) for descriptor, sectors in files]
    return any(
        stat.S_ISREG(status.st_mode) and status.st_size < sectors * abi.SECTOR
        for status, sectors in found
    )
