"""FAT file systems on disk images, made by Debian's dosfstools and mtools.

Neither has to be installed: the packages are fetched and unpacked. Sources: mkfs.fat(8), mtools(1).
"""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath

from tests.guests.store import unpacked
from vestige.softhost import packages

_PACKAGES = ("dosfstools", "mtools")
_SECTOR, _SECTORS_PER_MEBIBYTE = 512, 2048
_GEOMETRY = "16/63"  # heads and sectors, as a BIOS counts them
_SERIAL = "7e571ce0"
FLOPPY_SIZE = 1_474_560  # bytes
_QUICK = 60.0  # seconds


@cache
def tools() -> Path:
    """Both of them, unpacked."""
    return unpacked("fat", _PACKAGES)


def make(image: Path, mebibytes: int, files: Mapping[str, Path], offset: int = 0) -> None:
    """Write a FAT16 of that size at `offset` bytes of an image that has the room.

    `files` are by their names, with / between folders. Raises UsageError if a tool fails.
    """
    first = str(offset // _SECTOR)
    run(
        *(packages.place(tools(), "sbin/mkfs.fat"), "-F", "16", "-g", _GEOMETRY, "-i", _SERIAL),
        *("-h", first, "--offset", first, image, str(mebibytes * 1024)),
    )
    place = f"{image}@@{offset}"
    folders = {parent for name in files for parent in PurePosixPath(name).parents}
    for folder in sorted(folders - {PurePosixPath()}):
        run("mmd", "-i", place, f"::{folder}")
    for name, source in files.items():
        run("mcopy", "-i", place, source, f"::{name}")


def make_floppy(image: Path, files: Mapping[str, Path]) -> None:
    """A new floppy disk of 1.44 MB with a FAT12 of `files`. Raises UsageError if a tool fails."""
    image.write_bytes(bytes(FLOPPY_SIZE))
    run(packages.place(tools(), "sbin/mkfs.fat"), "-F", "12", "-i", _SERIAL, image)
    for name, source in files.items():
        run("mcopy", "-i", image, source, f"::{name}")


def run(*argv: str | Path) -> None:
    """Run a command that may use the programs of mtools. Raises UsageError if it fails."""
    path = f"PATH={tools() / 'usr/bin'}:{os.environ.get('PATH', '')}"
    words = ["env", path, "MTOOLS_SKIP_CHECK=1", *(str(word) for word in argv)]
    packages.command(words, timeout=_QUICK)
