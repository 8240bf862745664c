"""A stock machine of QEMU's emulator, with OVMF and a folder's files on a disk that it boots."""

import re
import subprocess
from functools import cache
from pathlib import Path

from tests.guests.store import built
from vestige.softhost import emulator, packages

CPU = "EPYC,+svm,+npt,-xsave,-cx16"
LIMIT = 120.0  # seconds
_ESCAPES = re.compile(r"\x1b\[[0-9;=?]*[A-Za-z]|[\r\x00]")


@cache
def firmware() -> Path:
    """Debian's OVMF."""
    found = packages.describe(["ovmf"])

    def build(directory: Path) -> None:
        packages.unpack(packages.fetch(found), directory)

    return packages.place(built("ovmf", (found[0].file_name,), build), "usr/share/ovmf/OVMF.fd")


def boot(folder: Path, *words: str, machine: str = "pc", cpu: str = CPU) -> list[str]:
    """What is on its serial port until it powers off: `folder` holds startup.nsh and the rest."""
    qemu = emulator.ensure(print).words
    disk = f"file=fat:rw:{folder},format=raw,if=none,id=files"
    done = subprocess.run(
        [
            *(*qemu, "-machine", machine, "-accel", "tcg", "-cpu", cpu, "-m", "2G", "-nodefaults"),
            *("-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"),
            *("-bios", str(firmware()), "-drive", disk, "-device", "virtio-blk-pci,drive=files"),
            *words,
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT,
        check=True,
    )
    return _ESCAPES.sub("", done.stdout.decode(errors="replace")).split("\n")
