"""What a BIOS starts besides GRUB: Debian's iPXE, memtest86+ and syslinux, the last on a disk."""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.guests.images import MEBIBYTE
from tests.guests.store import built
from vestige.softhost import packages

IPXE, MEMTEST = "ipxe.lkrn", "memtest86+x64.bin"  # below /boot, in Linux's format
MEMTEST_EFI = "memtest86+x64.efi"
_PACKAGES = ("dosfstools", "ipxe", "memtest86+", "mtools", "syslinux")
_MEBIBYTES = 32
_QUICK = 60.0  # seconds
# A whole disk, as a floppy disk is laid out: its first sector is syslinux's own.
_FORMAT = ("-F", "16", "-g", "16/63")


@cache
def tools() -> Path:
    """All of them, unpacked."""
    found = packages.describe(_PACKAGES)

    def build(directory: Path) -> None:
        packages.unpack(packages.fetch(found), directory)

    return built("loaders", tuple(package.file_name for package in found), build)


def boot_file(name: str) -> Path:
    """IPXE, MEMTEST or MEMTEST_EFI."""
    return tools() / "boot" / name


def write_syslinux_disk(image: Path, configuration: str, files: Mapping[str, Path]) -> None:
    """A disk with syslinux, its configuration, and `files` by their names."""
    programs = tools() / "usr/bin"
    # syslinux, too, has the programs of mtools write into the image.
    path = f"PATH={programs}:{os.environ.get('PATH', '')}"

    def run(*argv: str | Path) -> None:
        words = ["env", path, "MTOOLS_SKIP_CHECK=1", *(str(word) for word in argv)]
        packages.command(words, timeout=_QUICK)

    with image.open("wb") as file:
        file.truncate(_MEBIBYTES * MEBIBYTE)
    run(packages.place(tools(), "sbin/mkfs.fat"), *_FORMAT, image)
    run(programs / "syslinux", "--install", image)
    text = image.with_suffix(".cfg")
    text.write_text(configuration)
    for name, source in {"syslinux.cfg": text, **files}.items():
        run(programs / "mcopy", "-i", image, source, f"::{name}")
