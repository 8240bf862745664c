"""A PC from nothing: SeaBIOS boots a disk with GRUB and a complete Debian, and it is used.

    python -m examples.demo_pc.driver

Logs in on the serial port, has Debian's own grub-install write the disk's GRUB anew, and starts
again by that. Then has Debian show the PC's devices, types a line on the PS/2 keyboard, and keeps
the screen as build/demo-pc/screen.png. Exit status 0 if every check passed, the guest powered off,
and its file system is sound.
"""

import hashlib
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

from examples.demo.driver import VESTIGE, WORK
from examples.telling import Check, Failure, Teller, attend, shown, steps
from tests.guests import debian, images
from tests.guests.dialogue import Dialogue
from vestige.cli.run import SYNTAX, options_of
from vestige.errors import UsageError
from vestige.host.process.orders import config_of
from vestige.machine.acpi import every_table

FOLDER = WORK / "demo-pc"
DEMO = Teller("demo-pc")
TIMEOUT = 3600  # seconds, of the guest: a slow machine is no failure
GRACE = 120  # seconds that the monitor has to start before that and to end after it
QUICK = 120.0  # seconds, of a command that talks to the run
PATIENCE = 600.0  # seconds, for something to come on the screen
FUNCTIONS = ("8086:1237", "8086:7000", "8086:7010", "8086:7113", "1234:1111")
LINES = ("0", "1", "8", "12", "14")  # timer, keyboard, clock, mouse, disk
TYPED = "typed on the PS/2 keyboard"
TYPED_INTO = "/root/typed"


CHECKS = (
    Check("kernel", "uname -a", ("Debian",)),
    Check("lspci", "lspci -nn", tuple(f"[{function}]" for function in FUNCTIONS)),
    Check("lsscsi", "lsscsi", ("/dev/sda",)),
    Check("identify", "hdparm -i /dev/sda", ("Model=",)),
    Check("read", "hdparm -t /dev/sda", ("B/sec",)),  # kB on a busy machine
    Check("root", "findmnt -n -o SOURCE /", ("/dev/sda1",)),
    Check("clock", "cat /sys/class/rtc/rtc0/name", ("rtc_cmos",)),
)
RUNG = "the clock has rung"
RING = f"rtcwake --utc --mode on --seconds 1 && echo {RUNG}"  # waits for the clock's interrupt
INTERRUPTS = "cat /proc/interrupts"


def main() -> int:
    """Run the demo. Returns the exit status."""
    start = time.monotonic()
    try:
        disk = prepare()
        use(disk)
        images.check_ext4(disk, images.partition_offset(disk, 1))
    except UsageError as error:
        print(f"demo-pc: {error}", file=sys.stderr)
        return 2
    except (Failure, TimeoutError, images.ImageError) as error:
        print(f"demo-pc: {error}", file=sys.stderr)
        print("demo-pc: FAILED", file=sys.stderr)
        return 1
    DEMO.say(f"{time.monotonic() - start:.0f} s in all; to start it again: {again(disk)}")
    DEMO.say("ok")
    return 0


def prepare() -> Path:
    """A fresh copy of the disk. Raises UsageError, ImageError."""
    DEMO.say("preparing Debian and GRUB, by debootstrap: a minute or two, the first time")
    pristine = debian.pc_disk(steps())
    FOLDER.mkdir(parents=True, exist_ok=True)
    return images.copy(pristine, FOLDER / "disk.img")


def again(disk: Path) -> str:
    """The line that does."""
    return shlex.join([os.path.relpath(VESTIGE), "run", *machine(Path(os.path.relpath(disk)))])


def machine(disk: Path) -> list[str]:
    """Those of the run's words that say what is in the machine."""
    return ["--machine", "pc", "--disk", f"{disk},bus=ide"]


def use(disk: Path) -> None:
    """Boot it, use it, and power it off. Raises Failure, TimeoutError."""
    name = f"demo-pc-{os.getpid()}"
    DEMO.say("booting it by its own MBR")
    command = [
        *(str(VESTIGE), "run", *machine(disk)),
        *("--name", name, "--on-reboot", "restart", "--timeout", str(TIMEOUT)),
    ]
    table = dsdt(disk)
    # `vestige run --timeout` ends a guest that hangs; GRACE ends a monitor that does.
    status = attend(command, lambda guest: talk(guest, name, table), TIMEOUT + GRACE, shown())
    if status != 0:
        raise Failure(f"the monitor ended with status {status}, not 0")


def talk(guest: Dialogue, name: str, table: str) -> None:
    """From the first login prompt to power-off; `table`: the SHA256 of the guest's DSDT."""
    log_in(guest)
    said = DEMO.ask(guest, "grub-install /dev/sda 2>&1")
    DEMO.judge("grub-install", "No error reported" in said, "it has failed")
    DEMO.say("starting it anew, by that GRUB")
    guest.type("reboot\n")
    log_in(guest)
    before = counts(DEMO.ask(guest, INTERRUPTS))
    dump = Check("acpidump", "acpidump -n DSDT -b && sha256sum dsdt.dat", (table,))
    for check in (*CHECKS, dump):
        DEMO.check(guest, check)
    DEMO.judge("alarm", RUNG in DEMO.ask(guest, RING), "the clock's has not been set")
    type_a_line(guest, name)
    after = counts(DEMO.ask(guest, INTERRUPTS))
    still = [line for line in LINES if after.get(line, 0) <= before.get(line, 0)]
    DEMO.judge(
        "interrupts", not still, f"IRQ {', '.join(still)}: no more of them, though it was used"
    )
    guest.type("poweroff\n")
    guest.lines()


def log_in(guest: Dialogue) -> None:
    """From the start of the machine to a shell on the serial port, telling how far it is."""
    start = time.monotonic()
    guest.read_until(f"Booting `{debian.ENTRY}'")
    DEMO.say("GRUB loads the kernel, by the BIOS: 20 s, or minutes on a busy machine")
    guest.read_until("initramfs: ")
    DEMO.say(f"Linux runs, after {time.monotonic() - start:.0f} s; Debian follows")
    guest.log_in()
    DEMO.say(f"logged in, after {time.monotonic() - start:.0f} s")


def type_a_line(guest: Dialogue, name: str) -> None:
    """Log in on the screen by the keyboard, and have a shell there keep a line."""
    picture = FOLDER / "screen.png"
    wait_for(name, "login:")
    vestige("type", name, "--text", "root\\n")
    wait_for(name, "root@")
    vestige("type", name, "--text", f"echo {TYPED} > {TYPED_INTO}\\n")
    vestige("type", name, "move 10 5")
    said = DEMO.ask(guest, f"until [ -s {TYPED_INTO} ]; do sleep 1; done; cat {TYPED_INTO}")
    DEMO.judge("keyboard", TYPED in said, "another line has arrived")
    seen = vestige("screen", name)
    print("".join(f"  > {line}\n" for line in seen.splitlines()), end="", flush=True)
    DEMO.judge("screen", TYPED in seen, "the line that was typed isn't on the screen")
    vestige("screen", name, "-o", str(picture))
    DEMO.judge("picture", picture.read_bytes().startswith(b"\x89PNG"), f"{picture} is no PNG")
    DEMO.say(f"the screen is {os.path.relpath(picture)}")


def dsdt(disk: Path) -> str:
    """The SHA256 of the table of that name as Vestige makes it for this machine."""
    tables = every_table(config_of(options_of(SYNTAX.read(machine(disk)))))
    (found,) = [table.data for table in tables if table.data.startswith(b"DSDT")]
    return hashlib.sha256(found).hexdigest()


def wait_for(name: str, mark: str) -> None:
    """Until `mark` is on the screen. Raises Failure."""
    deadline = time.monotonic() + PATIENCE
    while mark not in (seen := vestige("screen", name)):
        if time.monotonic() > deadline:
            raise Failure(f"{mark!r} does not come on the screen; there is\n{seen}")


def vestige(*words: str) -> str:
    """What a command of the tool's prints. Raises Failure."""
    done = subprocess.run(
        [str(VESTIGE), *words], capture_output=True, text=True, timeout=QUICK, check=False
    )
    if done.returncode != 0:
        raise Failure(f"vestige {' '.join(words)!r}: status {done.returncode}, {done.stderr}")
    return done.stdout


def counts(interrupts: str) -> dict[str, int]:
    """Of /proc/interrupts, by line: how many the first CPU had."""
    found = re.findall(r"^ *(\d+): +(\d+)", interrupts, re.MULTILINE)
    return {line: int(count) for line, count in found}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
