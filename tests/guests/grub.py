"""Debian's GRUB on a disk of its own: what a BIOS boots, and a kernel that GRUB starts."""

import os
import struct
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.guests import images
from tests.guests.store import unpacked
from vestige.softhost import packages

SIGNED = "grub-efi-amd64-signed"
ON_DISKS, ON_DISCS = "grubx64.efi.signed", "gcdx64.efi.signed"
PACKAGES = ("grub-common", "grub-pc-bin", "libdevmapper1.02.1")
MODULES = (
    *("biosdisk", "part_msdos", "ext2", "normal", "serial", "terminal", "configfile", "echo"),
    *("linux", "linux16", "boot", "ls", "cat", "nativedisk", "ata", "test", "halt", "reboot"),
    *("hashsum", "gcry_sha256", "pci", "at_keyboard", "keylayouts", "read"),
    *("vbe", "gfxterm", "font"),
)
FONT = "grub/unicode.pf2"
# Without a BIOS: GRUB's own driver of IDE disks. In its second part it would be all there is.
DRIVER = "grub/i386-pc/pata.mod"
EARLY = """serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
"""
SECTOR = 512
MEBIBYTES = 48  # of the file system
CODE = 440  # bytes of an MBR before its signature and the table of partitions
# Fields of GRUB's two parts: where the second begins, whether the drive's number is asked for, and
# in that, in its last twelve bytes, where it goes on.
SECOND_AT, DRIVE_CHECK, BLOCKS = 0x5C, 0x66, SECTOR - 12
NOTHING = b"\x90\x90"  # two of x86's instructions that do nothing
LOAD_SEGMENT = 0x820


def tools() -> Path:
    """GRUB's programs and parts, unpacked."""
    return unpacked("grub", PACKAGES)


def font() -> Path:
    """The one that Debian's GRUB draws text by."""
    return tools() / "usr/share" / FONT


def signed(name: str = ON_DISKS) -> Path:
    """Debian's GRUB for UEFI firmware, signed by Debian, unpacked: the file of that name.

    The one for disks reads EFI/debian/grub.cfg, the one for discs boot/grub of the disc that has a
    file .disk/info.
    """
    return unpacked("grub-signed", [SIGNED]) / "usr/lib/grub/x86_64-efi-signed" / name


def _fill_nothing(_tree: Path) -> None:
    """For a file system with GRUB and its files alone."""


def write_disk(
    image: Path,
    configuration: str,
    files: Mapping[str, Path],
    fill: Callable[[Path], None] = _fill_nothing,
) -> None:
    """A disk with GRUB, its configuration, and `files` by their names in the one file system.

    `fill` puts there what else there is to be.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        tree = folder / "tree"
        (tree / "grub").mkdir(parents=True)
        fill(tree)
        (tree / "grub" / "grub.cfg").write_text(configuration)
        driver = tools() / "usr/lib" / DRIVER
        for file, source in {**files, DRIVER: driver}.items():
            (tree / file).parent.mkdir(parents=True, exist_ok=True)
            (tree / file).write_bytes(source.read_bytes())
        images.partitioned(image, [images.FileSystem(MEBIBYTES, tree)])
        install(image, core(folder))


def core(folder: Path, prefix: str = "(hd0,msdos1)/grub") -> bytes:
    """GRUB's second part, with what it needs to read its configuration, in `prefix`.

    It is made in `folder`.
    """
    root = tools()
    early = folder / "early.cfg"
    early.write_text(EARLY)
    made = folder / "core.img"
    libraries = packages.place(root, "lib/x86_64-linux-gnu")
    subprocess.run(
        [
            *(str(root / "usr/bin/grub-mkimage"), "-d", str(root / "usr/lib/grub/i386-pc")),
            *("-O", "i386-pc", "-o", str(made), "-p", prefix, "-c", str(early)),
            *MODULES,
        ],
        check=True,
        env=os.environ | {"LD_LIBRARY_PATH": str(libraries)},
        timeout=60,
    )
    return made.read_bytes()


def install(image: Path, second: bytes) -> None:
    """As grub-bios-setup does it: the first part in the MBR, the second behind it."""
    first = bytearray((tools() / "usr/lib/grub/i386-pc/boot.img").read_bytes())
    struct.pack_into("<Q", first, SECOND_AT, 1)
    first[DRIVE_CHECK : DRIVE_CHECK + len(NOTHING)] = NOTHING
    padded = bytearray(second + bytes(-len(second) % SECTOR))
    rest = len(padded) // SECTOR - 1
    struct.pack_into("<QHH", padded, BLOCKS, 2, rest, LOAD_SEGMENT)
    if SECTOR + len(padded) > images.FIRST_PARTITION:
        raise ValueError(f"GRUB of {len(padded)} bytes has no room before the first partition")
    with image.open("r+b") as file:
        file.write(first[:CODE])
        file.seek(SECTOR)
        file.write(padded)
