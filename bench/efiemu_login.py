"""How long Debian takes from power-on to its login prompt on a machine that is taken over.

    python -m bench.efiemu_login [--rounds 3]

One stock machine under QEMU's emulator with OVMF, and a disk with Debian's signed GRUB and a
complete Debian. By turns: taken over by efiemu.efi, which is on a USB stick that the firmware boots
first; with its NVMe controller as it is; with QEMU's IDE instead. The time is from just before exec
to the prompt. Writes bench/results/efiemu_login.json and .svg and the table in docs/performance.md.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.common import command, login, newest_qemu, results
from bench.common.guests import WORK
from bench.efiemu_report import BARE, COLOURS, TAKEN, THEIRS
from tests.efiemu import ovmf
from tests.guests import debian
from tests.guests import images as disks
from vestige.efiemu.build import application
from vestige.softhost import emulator

NAME = "efiemu_login"
PAGE = login.Page(
    NAME, "A machine that is taken over, to its login prompt", COLOURS,
    (login.Goal(TAKEN, BARE, 1.3),),
)  # fmt: skip
NVME, IDE = "nvme,serial=1,drive=disk,addr=4", "ide-hd,drive=disk,bus=ide.0"
FIRST = ",bootindex=0"


def main() -> int:
    """The command line."""
    return login.run(__doc__, PAGE, measure)


def measure(rounds: int) -> dict[str, Any]:
    """All of it."""
    say = command.Progress(NAME)
    say("preparing Debian and GRUB, from Debian's packages")
    qemu = emulator.ensure(say)
    pristine = debian.efi_disk()
    WORK.mkdir(parents=True, exist_ok=True)
    program = WORK / "efiemu.efi"
    program.write_bytes(application())
    stick = ovmf.stick(WORK / "efiemu-stick.img", {"EFI/BOOT/BOOTX64.EFI": program})
    devices = {
        TAKEN: ("-device", NVME, *stick),
        BARE: ("-device", f"{NVME}{FIRST}"),
        THEIRS: ("-device", f"{IDE}{FIRST}"),
    }

    def one(device: tuple[str, ...]) -> dict[str, float]:
        disk = disks.copy(pristine, WORK / "debian-efi.img")
        found = to_the_prompt([*qemu.words, *machine(disk), *device])
        say(f"  {found:.1f} s")
        return {login.TIME: found}

    return {
        "date": results.today(),
        "qemu": newest_qemu.version_of(qemu),
        "rounds": rounds,
        "measured": command.by_turns(devices, rounds, one, say),
    }


def machine(disk: Path) -> list[str]:
    """QEMU's words for it, but for what its disk is behind."""
    return [
        *("-machine", "pc", "-accel", "tcg", "-cpu", ovmf.CPU, "-m", "2G", "-nodefaults"),
        *("-no-user-config", "-display", "none", "-serial", "stdio"),
        *("-bios", str(ovmf.firmware())),
        *("-drive", f"file={disk},format=raw,if=none,id=disk"),
    ]


def to_the_prompt(words: list[str]) -> float:
    """Seconds from the start of a machine to Debian's prompt. It is killed then."""
    console, output = os.pipe()
    began = time.monotonic()
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output) as emulated:
        os.close(output)
        try:
            login.wait(console)
            return time.monotonic() - began
        finally:
            emulated.kill()
            os.close(console)


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))
