"""efiemu from nothing: a stock VM is taken over by what its firmware loads, and Debian boots.

    python -m examples.demo_efiemu.driver

The VM is QEMU's q35 with OVMF, two processors, an e1000 that boots from the network, and one NVMe
controller. It has no IDE at all. By TFTP its firmware finds efiemu.efi, and nothing else; GRUB and
Debian are on the NVMe's disk. Debian shows what it finds there, writes a file, starts the machine
anew, and verifies the file. Exit status 0 if every check passed, the guest powered off, and the
image holds what was written.
"""

import hashlib
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from examples.demo.driver import WORK
from examples.telling import Check, Failure, Teller, attend, shown, steps
from tests.efiemu import ovmf
from tests.guests import debian, images
from tests.guests.dialogue import Dialogue
from vestige.cli.efiemu import NAME
from vestige.efiemu.build import application
from vestige.errors import UsageError
from vestige.softhost import emulator, packages

FOLDER = WORK / "demo-efiemu"
LOG, COMPLAINTS = FOLDER / "console.log", FOLDER / "qemu.log"
DEMO = Teller("demo-efiemu")
LIMIT = 3600.0  # seconds, of the whole VM: a slow machine is no failure
SLOT = 4  # on bus 0
PAYLOAD, MEBIBYTES = "/root/payload", 64
TAKEN = f"NVMe 1b36:0010 at 00:{SLOT:02x}.0: taken over"
HASH = f"sha256sum {PAYLOAD}"

CHECKS = (
    Check("kernel", "uname -a", ("Debian",)),
    Check("lsscsi", "lsscsi", ("ATA", "/dev/sda")),
    Check("root", "findmnt -n -o SOURCE /", (f"/dev/sda{debian.EFI_ROOT}",)),
    Check("identify", "hdparm -i /dev/sda", ("Model=QEMU NVMe Ctrl",)),
    Check("read", "hdparm -t /dev/sda", ("B/sec",)),  # kB on a busy machine
    Check("interrupts", "grep -e CPU -e 14: -e NMI: /proc/interrupts", ("ata_piix", "NMI:")),
)
FAULTS = "dmesg | grep -E 'ata[0-9].*(exception|error|failed|timeout)|I/O error|EXT4-fs error'"
WRITE = f"dd if=/dev/urandom of={PAYLOAD} bs=1M count={MEBIBYTES} conv=fsync 2>&1 && {HASH}"


class Parts(NamedTuple):
    """What every VM is made of: files, and the folder that it is served by TFTP."""

    firmware: Path
    served: Path
    disk: Path


class Vm(NamedTuple):
    """How it is started, and with how many processors."""

    command: Callable[[Parts], list[str]]
    processors: int


def main() -> int:
    """Run the demo. Returns the exit status."""
    return perform(Vm(emulated, 2))


def perform(vm: Vm) -> int:
    """Make the parts, boot the VM, use it, and power it off. Returns the exit status."""
    start = time.monotonic()
    try:
        parts = prepare()
        use(vm.command(parts), parts.disk, vm.processors)
    except UsageError as error:
        print(f"demo-efiemu: {error}", file=sys.stderr)
        return 2
    except (Failure, TimeoutError, images.ImageError) as error:
        print(f"demo-efiemu: {error}", file=sys.stderr)
        logs = f"{os.path.relpath(LOG)} and {os.path.relpath(COMPLAINTS)}"
        print(f"demo-efiemu: FAILED; all it said is in {logs}", file=sys.stderr)
        return 1
    DEMO.say(f"{time.monotonic() - start:.0f} s in all")
    DEMO.say("ok")
    return 0


def prepare() -> Parts:
    """The parts, the disk a new copy. Raises UsageError, ImageError."""
    DEMO.say("preparing Debian and GRUB, by debootstrap: a minute or two, the first time")
    pristine = debian.efi_disk(steps())
    served = FOLDER / "tftp"
    served.mkdir(parents=True, exist_ok=True)
    disk = images.copy(pristine, FOLDER / "disk.img")
    DEMO.say("preparing OVMF")
    firmware = ovmf.firmware()
    DEMO.say(f"compiling {NAME}: some seconds")
    data = application()
    (served / NAME).write_bytes(data)
    DEMO.say(f"{len(data)} bytes, which is all that the firmware is served")
    return Parts(firmware, served, disk)


def emulated(parts: Parts) -> list[str]:
    """QEMU's emulator, which ends with its caller. Raises UsageError if there is none."""
    DEMO.say("preparing QEMU")
    return [
        *(packages.find_program("setpriv", "util-linux"), "--pdeathsig", "KILL", "--"),
        *emulator.ensure(DEMO.say).words,
        *("-machine", "q35", "-accel", ovmf.ACCELERATOR, "-cpu", ovmf.CPU, "-smp", "2"),
        *("-drive", f"file={comma(parts.disk)},format=raw,if=none,id=disk"),
        *machine(parts, ("-device", f"nvme,serial=nvme0,drive=disk,addr={SLOT}")),
    ]


def machine(parts: Parts, controller: Sequence[str]) -> list[str]:
    """A stock VM's words for QEMU, but for its processors."""
    return [
        *("-m", "2G", "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"),
        *("-bios", str(parts.firmware)),
        *("-netdev", f"user,id=net,tftp={comma(parts.served)},bootfile={NAME}"),
        *("-device", "e1000,netdev=net,bootindex=0"),
        *controller,
    ]


def comma(path: Path) -> str:
    """A path as one of QEMU's options has it."""
    return str(path).replace(",", ",,")


def use(command: list[str], disk: Path, processors: int) -> None:
    """Boot it, use it, and power it off. Raises Failure, TimeoutError, ImageError."""
    print(f"  $ {shlex.join(command)}", flush=True)
    digests: list[str] = []
    with COMPLAINTS.open("wb") as errors:
        status = attend(
            command, lambda guest: talk(guest, processors, digests), LIMIT, shown(LOG), errors
        )
    if status != 0:
        raise Failure(f"QEMU ended with status {status}, not 0")
    DEMO.say("looking at the image from outside")
    offset = images.partition_offset(disk, debian.EFI_ROOT)
    images.check_ext4(disk, offset)
    found = hashlib.sha256(images.read_file(disk, PAYLOAD, offset)).hexdigest()
    DEMO.judge("image", digests == [found], f"{PAYLOAD} on it has the digest {found}")


def talk(guest: Dialogue, processors: int, digests: list[str]) -> None:
    """From the firmware's start to power-off; `digests` gets the written file's."""
    start_up(guest)
    functions = DEMO.ask(guest, "lspci -nn")
    wrong = judge_functions(functions)
    DEMO.judge("lspci", not wrong, wrong)
    for check in (*CHECKS, Check("processors", "nproc", (str(processors),))):
        DEMO.check(guest, check)
    digests.append(digest(DEMO.ask(guest, WRITE)))
    DEMO.judge("write", bool(digests[0]), "the guest has no digest of it")
    DEMO.judge("log", not DEMO.ask(guest, FAULTS), "the kernel complained about the disk")
    DEMO.say("starting the machine anew: its firmware has to load efiemu again")
    guest.type("reboot\n")
    guest.read_until("Restarting system")
    start_up(guest)
    found = digest(DEMO.ask(guest, HASH))
    DEMO.judge("verify", found == digests[0], f"read back {found}")
    guest.type("poweroff\n")
    guest.lines()


def start_up(guest: Dialogue) -> None:
    """From the start of the machine to a shell on the serial port, telling how far it is."""
    start = time.monotonic()

    def say(text: str) -> None:
        DEMO.say(f"{text} ({time.monotonic() - start:.0f} s)")

    say("the firmware starts, and boots from the network: 10 to 20 s")
    loading = guest.read_until("efiemu: ")
    said = guest.read_until("\n")
    DEMO.judge("tftp", NAME in loading, f"the firmware does not say that it loads {NAME}")
    DEMO.judge("takeover", said.startswith(TAKEN), f"efiemu said: {said}")
    say("the machine is a guest of its own; its firmware boots from the IDE disk")
    guest.read_until(f"Booting `{debian.ENTRY}'")
    say("GRUB loads the kernel, some 10 s")
    guest.read_until("initramfs: ")
    say("Linux runs, Debian follows")
    guest.log_in()
    say("logged in")


def judge_functions(listed: str) -> str:
    """What is wrong with the PCI functions that `lspci -nn` lists; nothing if all is well."""
    lines = listed.splitlines()
    ides = [line for line in lines if "[8086:7010]" in line]
    if [line.split()[0] for line in ides] != [f"00:{SLOT:02x}.0"]:
        return f"8086:7010 (PIIX3 IDE) is not at 00:{SLOT:02x}.0 alone, where the NVMe was"
    controllers = [line for line in lines if "[0108]" in line or "[1b36:0010]" in line]
    return f"there still is {controllers[0]}" if controllers else ""


def digest(said: str) -> str:
    """The one that sha256sum has printed for the payload."""
    found = re.search(rf"^([0-9a-f]{{64}})  {PAYLOAD}$", said, re.MULTILINE)
    return found[1] if found else ""


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
