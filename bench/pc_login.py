"""How long a complete Debian takes from power-on to its login prompt, on a PC by its BIOS.

    python -m bench.pc_login [--rounds 3]

One software host; SeaBIOS, GRUB in the MBR, Debian on /dev/sda1, its console the serial port. By
turns on Vestige's PC and on QEMU's, each with an IDE disk and nothing else, that of QEMU with its
PIC and PIT in its own process (kernel-irqchip=split), then with KVM's. The time is from just before
exec to the prompt. Writes bench/results/pc_login.json and .svg and the table in
docs/performance.md.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

from bench.common import command, login, newest_qemu, pc, ready
from bench.common.guests import ROOT, WORK
from bench.common.pc import COLOURS, KERNEL, OURS, SPLIT
from tests.guests import debian
from tests.guests import images as disks
from vestige.softhost import SoftHost

NAME = "pc_login"
GOALS = tuple(login.Goal(OURS, theirs, 1.0) for theirs in (SPLIT, KERNEL))
PAGE = login.Page(NAME, "Debian to its login prompt", COLOURS, GOALS)

Words = Callable[[Path], list[str]]  # a machine with that disk


def main() -> int:
    """The command line."""
    return login.run(__doc__, PAGE, measure)


def measure(rounds: int) -> dict[str, Any]:
    """All of it, in one software host. A round before the first fills caches."""
    say = command.Progress(NAME)
    qemu = ready.prepared()["qemu"]
    pristine = debian.pc_disk()
    WORK.mkdir(parents=True, exist_ok=True)
    table: dict[str, Words] = {OURS: _vestige}
    for name in (SPLIT, KERNEL):
        table[name] = _qemu(qemu, name)
    host = SoftHost()
    host.start(say)
    with host:

        def one(words: Words) -> dict[str, float]:
            disk = disks.copy(pristine, WORK / "debian-pc.img")
            found = to_the_prompt(host, words(disk))
            say(f"  {found:.1f} s")
            return {login.TIME: found}

        say("a round that does not count")
        for words in table.values():
            one(words)
        measured = command.by_turns(table, rounds, one, say)
    return {
        **newest_qemu.taken(),
        "rounds": rounds,
        "measured": measured,
    }


def _vestige(disk: Path) -> list[str]:
    return pc.vestige("--disk", f"{disk},bus=ide", vga="std")


def _qemu(program: list[str], name: str) -> Words:
    """QEMU with what Vestige's PC has, a VGA too: why without vapic, see guests.py."""

    def words(disk: Path) -> list[str]:
        drive = ("-drive", f"file={disk},if=ide,format=raw")
        more = ("-cpu", "host", "-global", "kvm-apic.vapic=off")
        return pc.qemu(program, name, *more, *drive, vga="std")

    return words


def to_the_prompt(host: SoftHost, words: list[str]) -> float:
    """Seconds from the start of a machine to Debian's prompt. It is killed then."""
    console, output = os.pipe()
    keys_read, keys = os.pipe()
    began = time.monotonic()
    process = host.spawn(words, stdout=output, stderr=output, stdin=keys_read, cwd=ROOT)
    carrier = Thread(target=process.wait)
    carrier.start()
    try:
        login.wait(console)
        return time.monotonic() - began
    finally:
        process.kill()
        carrier.join()
        for file in (console, output, keys_read, keys):
            os.close(file)


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))
