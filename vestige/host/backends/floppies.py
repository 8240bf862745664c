"""Which floppy disks there are, by the size of an image: nothing else says it."""

from vestige import abi
from vestige.abi import FloppyDrive
from vestige.errors import UsageError

# By sectors: the drive that a disk needs. All have 80 cylinders and two heads.
FLOPPIES = {
    1440: FloppyDrive.OF_1440K,
    2400: FloppyDrive.OF_1200K,
    2880: FloppyDrive.OF_1440K,
    5760: FloppyDrive.OF_2880K,
}
USUAL = "1474560"  # bytes
NAMES = "720 KiB (737280 bytes), 1.2 MB (1228800), 1.44 MB (1474560) and 2.88 MB (2949120)"


def check(path: str, size: int) -> None:
    """Raise UsageError for an image whose size, in bytes, is no floppy disk's."""
    if size % abi.SECTOR or size // abi.SECTOR not in FLOPPIES:
        raise UsageError(
            f"{path}: {size} bytes, no floppy disk's size; there are {NAMES}; is it a disk"
            " (--disk), or a disc (--cdrom)?"
        )
