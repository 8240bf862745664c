"""Backing files of the guest's disks: opened, measured, and locked against other runs.

Each is opened twice. The first open file holds the lock and, for a block device, the claim that
nobody else uses it; it ends with this process. The second is what I/O goes through: the ring
keeps it open until its last operation is done, which may be after the end of the process.
"""

import errno
import fcntl
import os
import resource
import stat

from vestige import abi, image_lock
from vestige.errors import UsageError
from vestige.host import limits
from vestige.host.backends import disk_formats, floppies
from vestige.host.options import FLOPPY, VIRTIO, DiskOption
from vestige.lang.intrinsics import syscall
from vestige.lang.types import TYPE_CHECKING
from vestige.signals import Watch

if TYPE_CHECKING:
    from vestige.host.backends.overlays import Overlay

SYS_FALLOCATE = 285
PUNCH_HOLE = 0x03  # with KEEP_SIZE
BLKGETSIZE64 = 0x8008_1272  # linux/fs.h
MODEL = "VESTIGE DISK"
DRIVE_MODEL = "VESTIGE CD-ROM"  # vendor, 8 characters, and product
BLOCK = 2048  # bytes of a disc's
MOST_BLOCKS = (1 << 30) - 1  # that the IDE's drive can have
FIRMWARE = "1.0"


class DiskImage:
    """One raw image or block device, open and locked; or the disc in a drive, which `is_optical`.

    A drive without one has a file that is never read, and no path. With an `overlay` it is only
    read, and what the guest writes is there. `raw`: nobody looked at what it is.
    """

    def __init__(
        self,
        path: str,
        claim: int,
        descriptor: int,
        sectors: int,
        read_only: bool,
        discard: bool,
        is_optical: bool = False,
    ) -> None:
        """Take over the open files: `claim` is locked, I/O goes through `descriptor`."""
        self.path = path
        self.overlay: Overlay | None = None
        self.raw = False
        self.is_optical = is_optical
        self.place = path  # the file, which has another name where `descriptor` is a device for it
        self.claim = claim
        self.descriptor = descriptor
        self.sectors = sectors
        self.read_only = read_only
        self.discard = discard

    def describe(self, disk: abi.Disk, number: int, file: int) -> None:
        """Fill in what the monitor is told of disk `number`: its size and identity.

        `file` is its number among the ring's files.
        """
        disk.present = 1
        disk.read_only = self.read_only and self.overlay is None
        disk.can_discard = disk.discards_to_zeroes = self.discard
        disk.file = file
        if self.is_optical:
            disk.is_optical, disk.disc.sectors = 1, self.sectors
        else:
            disk.sectors = self.sectors
        for field, text in (
            (disk.serial, f"VESTIGE{number + 1:04}"),
            (disk.firmware, FIRMWARE),
            (disk.model, DRIVE_MODEL if self.is_optical else MODEL),
        ):
            for index, byte in enumerate(text.ljust(len(field)).encode("ascii")):
                field[index] = byte

    @property
    def claims(self) -> list[int]:
        """What has the locks."""
        return [self.claim] if self.overlay is None else [self.claim, self.overlay.claim]

    @property
    def end(self) -> int:
        """The sector behind the last of the file that is written, or would be."""
        return self.sectors if self.overlay is None else self.overlay.end

    @property
    def written(self) -> str | None:
        """What is written, by its path: the file, or its overlay; None: nothing is."""
        if self.overlay is not None:
            return self.overlay.path
        return None if self.read_only else self.place

    @property
    def name(self) -> str:
        """What is written is called so."""
        return self.path if self.overlay is None else self.overlay.words

    def renew(self, watch: Watch | None = None) -> None:
        """Another open file for operations, once none is under way on the present one.

        The image stays locked. Raises UsageError where it can't be opened any more, and Ended as
        open_disk does.
        """
        if not self.path:
            return
        if self.overlay is not None:
            self.overlay.renew(watch)
        os.close(self.descriptor)
        self.descriptor = -1
        self.descriptor = _for_operations(self.claim, self.path, self.read_only, watch)

    def close(self) -> None:
        """Close, and unlock; a second time does nothing."""
        if self.overlay is not None:
            self.overlay.close()
        for descriptor in (self.descriptor, self.claim):
            if descriptor >= 0:
                os.close(descriptor)
        self.descriptor = self.claim = -1


def open_disk(
    option: DiskOption,
    watch: Watch | None = None,
    copied: int | None = None,
    otherwise: str = image_lock.BOTH_READ,
) -> DiskImage:
    """Open, check and lock the image. Raises UsageError saying what is wrong with it.

    `copied`: a file that its overlay, a temporary one, is to be a copy of; `otherwise`: what can be
    done but end another run that has it. Raises Ended where `watch` ends the wait for what a killed
    run still writes.
    """
    path, optical = option.path, option.is_optical
    read_only = option.read_only or option.overlay is not None
    if not path:
        return _empty_drive()
    try:
        kind = _kind(path)
        if stat.S_ISDIR(kind):
            raise UsageError(f"{path}: a directory; give {_wanted(optical)} or a block device")
        if not (stat.S_ISREG(kind) or stat.S_ISBLK(kind)):
            raise UsageError(f"{path}: neither a file nor a block device; give {_wanted(optical)}")
        # O_EXCL: the kernel refuses a block device that is mounted or otherwise in use.
        exclusive = os.O_EXCL if stat.S_ISBLK(kind) and not read_only else 0
        access = os.O_RDONLY if read_only else os.O_RDWR
        claim = os.open(path, access | exclusive | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise UsageError(_not_opened(path, error, read_only, option.bus, optical)) from error
    try:
        image_lock.lock(claim, path, read_only, otherwise)
        size = _size(claim, path)
        if option.bus == FLOPPY:
            floppies.check(path, size)
        elif optical and not option.raw:
            disk_formats.check_disc(claim, path)
        elif not option.raw:
            disk_formats.check(claim, path, read_only)
        sectors = _sectors_of_disc(size, path) if optical else _sectors(size, path)
        if not read_only:
            _check_length(claim, path)
        if option.discard and option.overlay is None:
            _check_holes(claim, path, sectors)
        descriptor = _for_operations(claim, path, read_only, watch)
        image = DiskImage(path, claim, descriptor, sectors, read_only, option.discard, optical)
        image.raw = option.raw
    except OSError as error:
        os.close(claim)
        raise UsageError(_not_opened(path, error, read_only, option.bus, optical)) from error
    except BaseException:
        os.close(claim)
        raise
    if option.overlay is not None:
        from vestige.host.backends.overlays import open_overlay  # noqa: PLC0415 - few runs need it

        try:
            overlay = open_overlay(option.overlay_words, option.overlay, image, watch, copied)
            image.overlay = overlay
            if option.discard:
                _check_holes(overlay.claim, overlay.path, overlay.end)
        except BaseException:
            image.close()
            raise
    return image


def _empty_drive() -> DiskImage:
    """A drive without a disc."""
    claim, descriptor = (os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(2))
    return DiskImage("", claim, descriptor, 0, read_only=True, discard=False, is_optical=True)


def _wanted(optical: bool) -> str:
    return "an ISO image" if optical else "a raw image"


def _for_operations(claim: int, path: str, read_only: bool, watch: Watch | None) -> int:
    """The image's second open file, once no operation of an earlier guest is under way."""
    try:
        return image_lock.open_for_operations(claim, path, read_only, watch)
    except OSError as error:
        raise UsageError(_not_opened(path, error, read_only)) from error


def _kind(path: str) -> int:
    """The file's mode. O_PATH only looks: nothing waits for a pipe or wakes a device."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return os.fstat(descriptor).st_mode
    finally:
        os.close(descriptor)


def _not_opened(
    path: str,
    error: OSError | ValueError,
    read_only: bool,
    bus: str = VIRTIO,
    optical: bool = False,
) -> str:
    """`read_only`: it was to be only read."""
    if not isinstance(error, OSError):
        return f"{path!r}: {error}"
    if optical and error.errno == errno.ENOENT:
        return f"{path}: no such image of a disc; give an ISO image that exists"
    if optical:
        return f"{path}: {error.strerror}; give an ISO image that can be read"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and not read_only:
        return f"{path}: {error.strerror}; to only read it, add ,readonly"
    if error.errno == errno.EBUSY:
        return f"{path}: this block device is in use (mounted?); unmount it, or add ,readonly"
    if error.errno == errno.ENOENT:
        return f"{path}: {_missing(path, floppies.USUAL if bus == FLOPPY else '1G')}"
    return f"{path}: {error.strerror}; give a raw image or a block device"


def _missing(path: str, size: str) -> str:
    """What of `path` isn't there, and what to do: as by making one of `size`."""
    if os.path.islink(path):  # noqa: PTH114
        target = os.readlink(path)  # noqa: PTH115
        return f"a link to {target}, which isn't there; have it lead to a disk image"
    folder = os.path.dirname(path) or "."  # noqa: PTH120
    if not os.path.isdir(folder):  # noqa: PTH112
        return f"no such disk image, nor is there a directory {folder}; give one that exists"
    return f"no such disk image; make one: truncate -s {size} {path}"


def _check_length(descriptor: int, path: str) -> None:
    """Raise UsageError where this process may not write to the end of the file."""
    status = os.fstat(descriptor)
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if stat.S_ISREG(status.st_mode) and most != resource.RLIM_INFINITY and status.st_size > most:
        remedy = limits.cure(errno.EFBIG)
        raise UsageError(f"{path}: {status.st_size} bytes; {remedy}, or add ,readonly")


def _check_holes(descriptor: int, path: str, sectors: int) -> None:
    """Raise UsageError where no holes can be made. A file is asked for one behind its end."""
    status = os.fstat(descriptor)
    if stat.S_ISBLK(status.st_mode):
        error = 0 if _zeroes_at_once(status.st_rdev) else errno.EOPNOTSUPP
    else:
        error = _punch(descriptor, sectors * abi.SECTOR, abi.SECTOR)
        _date_back(descriptor, status)
    if error:
        what = "device" if stat.S_ISBLK(status.st_mode) else "file system"
        raise UsageError(
            f"{path}: its {what} makes no holes ({os.strerror(error)}); leave discard=unmap out"
        )


def _date_back(descriptor: int, status: os.stat_result) -> None:
    """Have a file in which nothing was changed keep its date, by which snapshots and overlays know
    it; another user's can't be given one.
    """
    try:
        os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))
    except OSError:
        return


def punch(descriptor: int, start: int, size: int, sector: int, sectors: int) -> int:
    """Make a hole in a disk of `size` sectors, which reads as zeroes; the errno, or 0.

    The disk begins at sector `start` of its file. Outside of the disk: EINVAL.
    """
    if not sectors or sector > size or sectors > size - sector:
        return errno.EINVAL
    return _punch(descriptor, (start + sector) * abi.SECTOR, sectors * abi.SECTOR)


def _punch(descriptor: int, offset: int, length: int) -> int:
    """fallocate(2), which the os module doesn't have with a mode; the errno, or 0."""
    return max(-syscall(SYS_FALLOCATE, descriptor, PUNCH_HOLE, offset, length, 0, 0), 0)


def _zeroes_at_once(device: int) -> bool:
    """Whether a block device, or the one it is a partition of, writes zeroes by a command."""
    folder = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"
    for place in (folder, f"{folder}/.."):
        try:
            with open(f"{place}/queue/write_zeroes_max_bytes", "rb") as file:  # noqa: PTH123
                return int(file.read()) > 0
        except FileNotFoundError:
            pass
    return False


def _size(descriptor: int, path: str) -> int:
    """In bytes. What has none is not read: /proc/kmsg, a regular file, would be waited for."""
    status = os.fstat(descriptor)
    if stat.S_ISBLK(status.st_mode):
        answer = fcntl.ioctl(descriptor, BLKGETSIZE64, bytes(8))
        size = int.from_bytes(answer, "little")
    else:
        size = status.st_size
    if size == 0:
        raise UsageError(f"{path}: empty; give a raw image of at least {abi.SECTOR} bytes")
    return size


def _sectors_of_disc(size: int, path: str) -> int:
    blocks, more = divmod(size, BLOCK)
    if more:
        raise UsageError(
            f"{path}: {size} bytes, not a multiple of {BLOCK}, as a disc's blocks are; is all of it"
            " there?"
        )
    if blocks > MOST_BLOCKS:
        raise UsageError(f"{path}: {size} bytes; a disc has less than {(MOST_BLOCKS + 1) * BLOCK}")
    return size // abi.SECTOR


def _sectors(size: int, path: str) -> int:
    if size % abi.SECTOR:
        raise UsageError(
            f"{path}: {size} bytes, not a multiple of {abi.SECTOR}; is it a raw image? (truncate -s"
            f" %{abi.SECTOR} {path} rounds it up)"
        )
    return size // abi.SECTOR
