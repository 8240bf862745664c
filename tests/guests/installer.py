"""A disc with Debian's own installer, from the package of what is booted from a network.

That package has no image of a disc. The disc has its kernel, its initial RAM disk and its menus for
isolinux and GRUB as they are, and Debian's signed GRUB for discs, where UEFI firmware looks for it.
Source: the package's files.
"""

import platform
import shutil
from pathlib import Path
from typing import Literal

from tests.guests import discs, fat, grub
from tests.guests.store import built, unpacked

Kind = Literal["text", "gtk"]
FOLDER = "debian-installer/amd64"  # on the disc, as the menus have it
_EFI_MEBIBYTES = 16  # less has no room for a FAT16


def disc(kind: Kind) -> Path:
    """The one whose installer asks by text, or by windows. Raises UsageError if it can't be had."""
    release = platform.freedesktop_os_release().get("VERSION_ID", "12")
    package = f"debian-installer-{release}-netboot-amd64"
    tree = unpacked("installer", [package])
    tree /= f"usr/lib/debian-installer/images/{release}/amd64/{kind}"
    loader = grub.signed(grub.ON_DISCS)

    def build(folder: Path) -> None:
        label, efi, image = (folder / name for name in ("info", "efi.img", "disc.iso"))
        label.write_text(f"{package}, {kind}\n")
        efi.write_bytes(bytes(_EFI_MEBIBYTES << 20))
        fat.make(efi, _EFI_MEBIBYTES, {"EFI/BOOT/BOOTX64.EFI": loader})
        files = {
            **below(tree / FOLDER, FOLDER),
            **below(tree / FOLDER / "grub", "boot/grub"),
            ".disk/info": label,  # by which that GRUB finds the disc, and boot/grub on it
        }
        menu = (tree / FOLDER / "boot-screens/syslinux.cfg").read_text()
        discs.write_disc(image, menu, files, efi)
        shutil.rmtree(image.with_suffix(".files"))
        efi.unlink()

    return built(f"installer-disc-{kind}", (str(tree), str(loader)), build) / "disc.iso"


def below(tree: Path, folder: str) -> dict[str, Path]:
    """Its files, by their names in `folder` of the disc."""
    return {
        f"{folder}/{path.relative_to(tree)}": path for path in tree.rglob("*") if path.is_file()
    }
