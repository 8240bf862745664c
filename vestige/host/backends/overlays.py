"""Overlays: what guests write to a disk whose base stays as it is, for all that share it.

An overlay is a file: a header, a map with a bit for each sector of the disk, the disk's sectors at
their places. It is sparse, and takes as much room as has been written. The sectors begin where a
huge page does: so what is aligned on the disk is aligned in the file, and one large write is one
large folio of the page cache where the file system has those. The map is memory of both
the file and the monitor, which sets the bit of a sector that it has written, so the page cache has
it at once, whatever becomes of the process then; a flush of the guest's is one of the file, its map
included. The map's room is taken when the file is made.

Threats: a file may be anybody's. Of its header each number is compared with the base's; the map is
bits, for the monitor alone, and so is the rest: whatever is there, it is a disk's content.
"""

import errno
import os
import resource
import stat
import struct
from _collections_abc import Callable, Iterable

from vestige import abi, image_lock
from vestige.errors import GuestError, UsageError
from vestige.host import limits
from vestige.host.backends.disk_formats import OVERLAY as MAGIC
from vestige.host.files import beside, dates, sparse
from vestige.host.options import TEMPORARY
from vestige.lang.types import TYPE_CHECKING
from vestige.signals import Watch

if TYPE_CHECKING:
    from vestige.host.backends.disks import DiskImage

VERSION = 2
# Magic, version, bytes of a sector, the base's sectors, ns and length of the path.
HEADER = struct.Struct("<16sIIQqI")
PAGE = 4096
HUGE_PAGE = 2 << 20
LONGEST_PATH = PAGE - HEADER.size
FOLDER = "/var/tmp"  # for large files that go, file-hierarchy(7)
NEW = "give a name that isn't there yet"
NAMELESS = (
    "a file without a name can't be opened again there, as over 9p in a software host; have TMPDIR"
    " name a directory of another file system, such as /dev/shm"
)
GONE = "its file has gone while it was opened; give one that stays"
NEVER = 0  # when a block device's content was changed last: nobody knows


class Overlay:
    """One that is open. `claim` and `descriptor` are as of a DiskImage; `start` is its file's
    sector that is the disk's first, `end` that behind the disk's last; `map_size`: bytes of its
    map, whole pages.
    """

    def __init__(
        self, words: str, path: str, claim: int, sectors: int, *, is_spare: bool = False
    ) -> None:
        """Take over `claim`. `words` ask for it; `is_spare`: it was made for a guest that does not
        run yet.
        """
        self.words, self.path, self.claim = words, path, claim
        self.descriptor = -1
        self._is_spare = is_spare
        self.map_size, self.start, self.end = layout(sectors)

    @property
    def is_temporary(self) -> bool:
        """Whether its file ends with the run."""
        return self.path == TEMPORARY

    def open_for_operations(self, watch: Watch | None) -> None:
        """Have `descriptor` be there. Raises as image_lock's, and UsageError where the file has no
        name, and its file system opens none anew that has none, as 9p.
        """
        try:
            self.descriptor = image_lock.open_for_operations(self.claim, self.words, False, watch)
        except FileNotFoundError:
            problem = f"{_folder()}: {NAMELESS}" if self.is_temporary else GONE
            raise UsageError(f"{self.words}: {problem}") from None

    def describe(self, disk: abi.Disk, file: int, address: int) -> None:
        """Tell the monitor: its number among the ring's files, and where its map is."""
        disk.has_overlay, disk.overlay_file = 1, file
        disk.overlay_start, disk.overlay_map = self.start, address

    def begin(self) -> None:
        """A guest has it."""
        self._is_spare = False

    def check_whole(self) -> None:
        """Raise GuestError where somebody has made it shorter meanwhile, or written its header."""
        status = os.fstat(self.claim)
        if not stat.S_ISREG(status.st_mode):
            return
        is_shorter = status.st_size < self.end * abi.SECTOR
        if is_shorter or os.pread(self.claim, len(MAGIC), 0) != MAGIC:
            raise GuestError(
                f"{self.words}: somebody has {'cut off' if is_shorter else 'overwritten'} this file"
                " while the guest had it; what the guest has written is lost"
            )

    def renew(self, watch: Watch | None = None) -> None:
        """Another open file for operations, as of a DiskImage. Raises as that, and GuestError."""
        self.check_whole()
        os.close(self.descriptor)
        self.descriptor = -1
        self.open_for_operations(watch)

    def close(self) -> None:
        """Close, and unlock; a second time does nothing. One that no guest has had goes."""
        if self._is_spare:
            self._is_spare = False
            beside.remove_spare(os.path.realpath(self.path), self.claim)
        for descriptor in (self.descriptor, self.claim):
            if descriptor >= 0:
                os.close(descriptor)
        self.descriptor = self.claim = -1


def layout(sectors: int) -> tuple[int, int, int]:
    """Of a disk's overlay: bytes of its map, its first sector, and the sector behind its last."""
    map_size = -(-sectors // (8 * PAGE)) * PAGE
    start = -(-(abi.OVERLAY_MAP_AT + map_size) // HUGE_PAGE) * HUGE_PAGE // abi.SECTOR
    return map_size, start, start + sectors


def open_overlay(
    words: str,
    path: str,
    base: "DiskImage",
    watch: Watch | None = None,
    copied: int | None = None,
) -> Overlay:
    """The overlay at `path` of a disk that is open, which `words` ask for. It is made where there
    is none. Temporary: one without a name, that ends with the run, and is at first as `copied` is.

    Raises UsageError for what is none, of another base, or in use, and Ended as open_disk does.
    """
    if base.sectors > 8 * abi.OVERLAY_MAPS_SIZE:
        raise UsageError(
            f"{words}: {base.sectors * abi.SECTOR} bytes are too many for an overlay, which has at"
            f" most {8 * abi.OVERLAY_MAPS_SIZE * abi.SECTOR >> 30} GiB; leave it out"
        )
    try:
        if path == TEMPORARY:
            overlay = Overlay(words, path, _open_temporary(words, base, copied), base.sectors)
        else:
            overlay = _open(words, path, base)
    except (OSError, ValueError) as error:
        if not isinstance(error, OSError):
            raise UsageError(f"{words}: {error}; give a file that can be written") from None
        remedy = limits.cure(error.errno or 0) or "give a file that can be written"
        raise UsageError(f"{words}: {error.strerror}; {remedy}") from None
    try:
        if path != TEMPORARY:
            image_lock.lock(overlay.claim, words, read_only=False, otherwise="give another file")
        if path != TEMPORARY or copied is not None:
            _check(words, overlay.claim, base)
        overlay.open_for_operations(watch)
    except BaseException:
        overlay.close()
        raise
    return overlay


def lent_overlay(device: str, sectors: int, watch: Watch | None = None) -> Overlay:
    """In a software host, the block device that a file out there has become, which was looked at
    there.
    """
    overlay = Overlay(device, device, os.open(device, os.O_RDWR | os.O_CLOEXEC), sectors)
    overlay.open_for_operations(watch)
    return overlay


def _open(words: str, path: str, base: "DiskImage") -> Overlay:
    """That of a file, which is made where there is none. Raises UsageError, OSError."""
    access = os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK
    place = os.path.realpath(path)
    while True:
        try:
            claim = os.open(place, access)
        except FileNotFoundError:
            made = beside.make(place, _filler(base))
            if made is None:
                continue
            return Overlay(words, path, made, base.sectors, is_spare=True)
        if stat.S_ISREG(os.fstat(claim).st_mode):
            return Overlay(words, path, claim, base.sectors)
        os.close(claim)
        raise UsageError(f"{words}: not a regular file; {NEW}")


def _folder() -> str:
    """Where temporary ones are."""
    return os.environ.get("TMPDIR") or FOLDER


def _open_temporary(words: str, base: "DiskImage", copied: int | None) -> int:
    """A file without a name."""
    folder = _folder()
    fill = _filler(base) if copied is None else lambda new: sparse.copy(copied, new)
    try:
        return beside.temporary(folder, fill)
    except OSError as error:
        raise UsageError(
            f"{words}: {folder}: {error.strerror}; have TMPDIR name a directory with room"
        ) from None


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
    path = os.fsdecode(head[HEADER.size :][: min(length, LONGEST_PATH)].partition(b"\0")[0])
    if sectors != base.sectors:
        raise UsageError(
            f"{words}: an overlay of {path}, a disk of {sectors} sectors, and this one has"
            f" {base.sectors}; {NEW}, or that disk"
        )
    if changed != _changed(base):
        raise UsageError(
            f"{words}: made over {path} as it was {dates.in_words(changed)}, and this disk was"
            f" changed {dates.in_words(_changed(base))}: both together are no disk's content; {NEW}"
        )
    size, end = os.fstat(claim).st_size, layout(sectors)[2] * abi.SECTOR
    if size < end:
        raise UsageError(
            f"{words}: {size} bytes of an overlay of {end}: its end is lost; give a whole copy of"
            " it, or a name that isn't there yet"
        )
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if most != resource.RLIM_INFINITY and end > most:
        raise UsageError(f"{words}: {end} bytes; {limits.cure(errno.EFBIG)}")


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
