"""Overlays: what guests write to a disk whose base stays as it is, for all that share it.

An overlay is a file: a header, a map with a bit for each sector of the disk, the disk's sectors at
their places. It is sparse, and takes as much room as has been written. The map is memory of both
the file and the monitor, which sets the bit of a sector that it has written, so the page cache has
it at once, whatever becomes of the process then; a flush of the guest's is one of the file, its map
included. The map's room is taken when the file is made.

Threats: a file may be anybody's. Of its header each number is compared with the base's; the map is
bits, for the monitor alone, and so is the rest: whatever is there, it is a disk's content.
"""

import os
import stat
import struct
import time
from _collections_abc import Callable, Iterable

from vestige import abi, image_lock
from vestige.errors import UsageError
from vestige.host import limits
from vestige.host.backends.disk_formats import OVERLAY as MAGIC
from vestige.host.files import beside
from vestige.host.options import TEMPORARY
from vestige.lang.types import TYPE_CHECKING
from vestige.signals import Watch

if TYPE_CHECKING:
    from vestige.host.backends.disks import DiskImage

VERSION = 1
# Magic, version, bytes of a sector, the base's sectors, ns and length of the path.
HEADER = struct.Struct("<16sIIQqI")
PAGE = 4096
LONGEST_PATH = PAGE - HEADER.size
FOLDER = "/var/tmp"  # for large files that go, file-hierarchy(7)
NEW = "give a name that isn't there yet"
NEVER = 0  # when a block device's content was changed last: nobody knows


class Overlay:
    """One, open and locked. `start` is its file's sector that is the disk's first, `end` that
    behind the disk's last; `map_size`: bytes of its map, whole pages.
    """

    def __init__(self, path: str, claim: int, descriptor: int, sectors: int) -> None:
        """Take over the open files, as a DiskImage does."""
        self.path = path
        self.claim, self.descriptor = claim, descriptor
        self.map_size, self.start, self.end = layout(sectors)

    def describe(self, disk: abi.Disk, file: int, address: int) -> None:
        """Tell the monitor: its number among the ring's files, and where its map is."""
        disk.has_overlay, disk.overlay_file = 1, file
        disk.overlay_start, disk.overlay_map = self.start, address

    def renew(self, watch: Watch | None = None) -> None:
        """Another open file for operations, as of a DiskImage. Raises as that."""
        os.close(self.descriptor)
        self.descriptor = -1
        self.descriptor = image_lock.open_for_operations(self.claim, self.path, False, watch)

    def close(self) -> None:
        """Close, and unlock; a second time does nothing."""
        for descriptor in (self.descriptor, self.claim):
            if descriptor >= 0:
                os.close(descriptor)
        self.descriptor = self.claim = -1


def layout(sectors: int) -> tuple[int, int, int]:
    """Of a disk's overlay: bytes of its map, its first sector, and the sector behind its last."""
    map_size = -(-sectors // (8 * PAGE)) * PAGE
    start = (abi.OVERLAY_MAP_AT + map_size) // abi.SECTOR
    return map_size, start, start + sectors


def open_overlay(path: str, base: "DiskImage", watch: Watch | None = None) -> Overlay:
    """The overlay at `path` of a disk that is open; it is made where there is none. Temporary: one
    without a name, that ends with the run.

    Raises UsageError for what is none, of another base, or in use, and Ended as open_disk does.
    """
    words = f"--disk {base.path}: overlay={path}"
    if base.sectors > 8 * abi.OVERLAY_MAPS_SIZE:
        raise UsageError(
            f"{words}: {base.sectors * abi.SECTOR} bytes are too many for an overlay, which has at"
            f" most {8 * abi.OVERLAY_MAPS_SIZE * abi.SECTOR >> 30} GiB; leave it out"
        )
    try:
        claim = _open_temporary(words, base) if path == TEMPORARY else _open(words, path, base)
    except (OSError, ValueError) as error:
        if not isinstance(error, OSError):
            raise UsageError(f"{words}: {error}; give a file that can be written") from None
        remedy = limits.cure(error.errno or 0) or "give a file that can be written"
        raise UsageError(f"{words}: {error.strerror}; {remedy}") from None
    try:
        image_lock.lock(claim, words, read_only=False, otherwise="give another file")
        _check(words, claim, base)
        return _taken(path, claim, base.sectors, watch)
    except BaseException:
        os.close(claim)
        raise


def lent_overlay(device: str, sectors: int, watch: Watch | None = None) -> Overlay:
    """In a software host, the block device that a file out there has become, which was looked at
    there.
    """
    claim = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    return _taken(device, claim, sectors, watch)


def _taken(path: str, claim: int, sectors: int, watch: Watch | None) -> Overlay:
    descriptor = image_lock.open_for_operations(claim, path, False, watch)
    return Overlay(path, claim, descriptor, sectors)


def _open(words: str, path: str, base: "DiskImage") -> int:
    """The file, which is made if it isn't there. Raises UsageError, OSError."""
    access = os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK
    place = os.path.realpath(path)
    while True:
        try:
            claim = os.open(place, access)
        except FileNotFoundError:
            beside.make(place, _filler(base))
            beside.synchronise_folder(place)
            continue
        if stat.S_ISREG(os.fstat(claim).st_mode):
            return claim
        os.close(claim)
        raise UsageError(f"{words}: not a regular file; {NEW}")


def _open_temporary(words: str, base: "DiskImage") -> int:
    """A file without a name."""
    folder = os.environ.get("TMPDIR") or FOLDER
    try:
        claim, place = beside.made_beside(f"{folder}/vestige-overlay", _filler(base), 0o600)
        os.unlink(place)  # noqa: PTH108
    except OSError as error:
        raise UsageError(
            f"{words}: {folder}: {error.strerror}; have TMPDIR name a directory with room"
        ) from None
    return claim


def _filler(base: "DiskImage") -> Callable[[int], object]:
    """What makes a new file an overlay in which nothing has been written."""

    def fill(new: int) -> None:
        map_size, _, end = layout(base.sectors)
        os.ftruncate(new, end * abi.SECTOR)
        # So that there is room for a bit whenever it is set.
        os.posix_fallocate(new, 0, abi.OVERLAY_MAP_AT + map_size)
        path = os.fsencode(os.path.realpath(base.path))[:LONGEST_PATH]
        values = MAGIC, VERSION, abi.SECTOR, base.sectors, _changed(base), len(path)
        os.pwrite(new, HEADER.pack(*values) + path, 0)

    return fill


def _changed(base: "DiskImage") -> int:
    """When the base was changed last, in ns."""
    status = os.fstat(base.claim)
    return status.st_mtime_ns if stat.S_ISREG(status.st_mode) else NEVER


def _check(words: str, claim: int, base: "DiskImage") -> None:
    """Raise UsageError for what is no overlay of this base as it is."""
    head = os.pread(claim, PAGE, 0)
    if len(head) < PAGE or not head.startswith(MAGIC):
        raise UsageError(f"{words}: not an overlay; {NEW}, or an overlay of this disk")
    _, version, sector, sectors, changed, length = HEADER.unpack_from(head)
    if version != VERSION or sector != abi.SECTOR:
        raise UsageError(
            f"{words}: an overlay of version {version}, and this Vestige knows {VERSION}; {NEW}, or"
            " use the Vestige that made it"
        )
    path = os.fsdecode(head[HEADER.size : HEADER.size + min(length, LONGEST_PATH)])
    if sectors != base.sectors:
        raise UsageError(
            f"{words}: an overlay of {path}, a disk of {sectors} sectors, and this one has"
            f" {base.sectors}; {NEW}, or that disk"
        )
    if changed != _changed(base):
        raise UsageError(
            f"{words}: made over {path} as it was {_time(changed)}, and this disk was changed"
            f" {_time(_changed(base))}: both together are no disk's content; {NEW}"
        )
    size, end = os.fstat(claim).st_size, layout(sectors)[2] * abi.SECTOR
    if size < end:
        raise UsageError(f"{words}: {size} bytes of an overlay of {end}; is all of it there?")


def _time(changed: int) -> str:
    """Of the kernel's clock, in words."""
    seconds, rest = divmod(changed, 1_000_000_000)
    try:
        return time.strftime(f"on %Y-%m-%d at %H:%M:%S.{rest:09}", time.localtime(seconds))
    except (OverflowError, OSError, ValueError):
        return f"{changed} ns after 1970"


def places(overlays: Iterable[Overlay]) -> list[int]:
    """For each the address of its map in the monitor. Raises UsageError for too much of them."""
    found = []
    place, end = abi.OVERLAY_MAPS, abi.OVERLAY_MAPS + abi.OVERLAY_MAPS_SIZE
    for each in overlays:
        found.append(place)
        stride = abi.OVERLAY_MAP_STRIDE
        place += -(-each.map_size // stride) * stride
        if place > end:
            raise UsageError(
                f"overlay={each.path}: all disks with overlays may have"
                f" {8 * abi.OVERLAY_MAPS_SIZE * abi.SECTOR >> 30} GiB; leave one out"
            )
    return found
