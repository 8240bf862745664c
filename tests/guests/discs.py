"""Images of discs by xorriso, which a BIOS boots by isolinux: all Debian's.

UEFI firmware boots them where they have a FAT for it, too. Sources: xorrisofs(1), El Torito 1.0.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.guests.store import unpacked

_XORRISO = ("xorriso", "libisoburn1", "libburn4", "libisofs6", "libjte2")
_PACKAGES = (*_XORRISO, "isolinux", "syslinux-common")
LIBRARIES = "usr/lib/x86_64-linux-gnu"
_MODULES = "usr/lib/syslinux/modules/bios"
_MENU = ("vesamenu.c32", "libcom32.c32", "libutil.c32")  # and what it needs
_CODE = ("-no-emul-boot", "-boot-load-size", "4", "-boot-info-table")
_EFI = "efi.img"


@cache
def tools() -> Path:
    """All of them, unpacked."""
    return unpacked("discs", _PACKAGES)


def drawn_menu() -> dict[str, Path]:
    """The files with which isolinux draws its menu, by their names on a disc."""
    return {name: tools() / _MODULES / name for name in _MENU}


def write_disc(
    image: Path, configuration: str, files: Mapping[str, Path], efi: Path | None = None
) -> None:
    """A disc with isolinux (El Torito, without emulation), its configuration, `files` by names.

    These have / between folders. `efi` is a FAT, which UEFI firmware boots.
    """
    folder = image.with_suffix(".files")
    folder.mkdir()
    shutil.copy(tools() / "usr/lib/ISOLINUX/isolinux.bin", folder)
    shutil.copy(tools() / _MODULES / "ldlinux.c32", folder)
    (folder / "isolinux.cfg").write_text(configuration)
    for name, path in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / name)
    boots = ["-b", "isolinux.bin", "-c", "boot.cat", *_CODE]
    if efi is not None:
        shutil.copy(efi, folder / _EFI)
        boots += ["-eltorito-alt-boot", "-e", _EFI, "-no-emul-boot"]
    command = [
        *(str(tools() / "usr/bin/xorriso"), "-as", "mkisofs", "-quiet", "-o", str(image)),
        *("-V", "VESTIGE", "-J", "-R", *boots, str(folder)),
    ]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tools() / LIBRARIES)}
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=120)
