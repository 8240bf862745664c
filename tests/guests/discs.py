"""Images of discs by xorriso, which a BIOS boots by isolinux: all Debian's."""

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


@cache
def tools() -> Path:
    """All of them, unpacked."""
    return unpacked("discs", _PACKAGES)


def write_disc(image: Path, configuration: str, files: Mapping[str, Path]) -> None:
    """A disc with isolinux (El Torito, without emulation), its configuration, `files` by names."""
    folder = image.with_suffix(".files")
    folder.mkdir()
    shutil.copy(tools() / "usr/lib/ISOLINUX/isolinux.bin", folder)
    shutil.copy(tools() / "usr/lib/syslinux/modules/bios/ldlinux.c32", folder)
    (folder / "isolinux.cfg").write_text(configuration)
    for name, path in files.items():
        shutil.copy(path, folder / name)
    command = [
        str(tools() / "usr/bin/xorriso"), "-as", "mkisofs", "-quiet", "-o", str(image),
        "-V", "VESTIGE", "-J", "-R", "-b", "isolinux.bin", "-c", "boot.cat",
        "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", str(folder),
    ]  # fmt: skip
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tools() / LIBRARIES)}
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=120)
