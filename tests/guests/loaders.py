"""What a BIOS starts besides GRUB: Debian's iPXE, memtest86+ and syslinux, the last on a floppy."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.guests import fat
from tests.guests.store import unpacked

IPXE, MEMTEST = "ipxe.lkrn", "memtest86+x64.bin"  # below /boot, in Linux's format
MEMTEST_EFI = "memtest86+x64.efi"
_PACKAGES = ("ipxe", "memtest86+", "syslinux")


@cache
def tools() -> Path:
    """All of them, unpacked."""
    return unpacked("loaders", _PACKAGES)


def boot_file(name: str) -> Path:
    """IPXE, MEMTEST or MEMTEST_EFI."""
    return tools() / "boot" / name


def write_syslinux_floppy(image: Path, configuration: str, files: Mapping[str, Path]) -> None:
    """A floppy disk with syslinux, its configuration, and `files` by their names."""
    text = image.with_suffix(".cfg")
    text.write_text(configuration)
    fat.make_floppy(image, {"syslinux.cfg": text, **files})
    fat.run(tools() / "usr/bin/syslinux", "--install", image)
