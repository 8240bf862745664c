"""Where a block device keeps its bytes: itself, its disk as a partition, its file as a loop device.

Sources: Documentation/ABI/stable/sysfs-block and linux/loop.h of Linux.
"""

import fcntl
import os

SECTOR = 512  # what sysfs counts in, whatever the device's own blocks
LOOP_MAJOR = 7
LOOP_GET_STATUS64 = 0x4C05
LOOP_INFO64 = 232  # bytes of struct loop_info64; it begins with the five numbers read here
UNLIMITED = 1 << 64  # more bytes than a file can have

Identity = tuple[object, ...]


class Extent:
    """Bytes `start` to `end`, without it, of the file or device that `root` stands for."""

    __slots__ = ("end", "root", "start")

    def __init__(self, root: Identity, start: int = 0, end: int = UNLIMITED) -> None:
        self.root, self.start, self.end = root, start, end

    def part(self, start: int, size: int = UNLIMITED) -> "Extent":
        """`size` bytes from byte `start` of this one, as far as it goes."""
        begin = self.start + start
        return Extent(self.root, begin, min(begin + size, self.end))

    def overlaps(self, other: "Extent") -> bool:
        """Whether they have bytes in common."""
        return self.root == other.root and self.start < other.end and other.start < self.end


def of_file(status: os.stat_result) -> Extent:
    """A regular file, whole."""
    return Extent((status.st_dev, status.st_ino))


def of_device(path: str, number: int) -> Extent:
    """The bytes of the block device `number`, which `path` names."""
    folder = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"
    if not os.path.exists(f"{folder}/partition"):  # noqa: PTH110 - pathlib is slow to import
        return _of_disk(path, number)
    major, _, minor = _text(f"{folder}/../dev").partition(":")
    start, size = int(_text(f"{folder}/start")), int(_text(f"{folder}/size"))
    disk = _of_disk(path, os.makedev(int(major), int(minor)))
    return disk.part(start * SECTOR, size * SECTOR)


def _of_disk(path: str, number: int) -> Extent:
    """The disk `number`; `path` names it or a partition of it."""
    itself = Extent(("device", number))
    if os.major(number) != LOOP_MAJOR:
        return itself
    try:
        # O_NONBLOCK: only asked, not used.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return itself  # opening says why
    try:
        answer = fcntl.ioctl(descriptor, LOOP_GET_STATUS64, bytes(LOOP_INFO64))
    except OSError:
        return itself  # it has no file at present
    finally:
        os.close(descriptor)
    device, inode, special, offset, limit = (
        int.from_bytes(answer[at : at + 8], "little") for at in range(0, 40, 8)
    )
    # Over a block device it has the number of that; over a file 0, or the file system's own.
    root: Identity = (device, inode) if special in (0, device) else ("device", special)
    return Extent(root).part(offset, limit or UNLIMITED)


def _text(path: str) -> str:
    with open(path, encoding="ascii") as file:  # noqa: PTH123
        return file.read().strip()
