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

from bench.common import command, pc, results
from bench.common.guests import ROOT, WORK
from bench.common.pc import COLOURS, KERNEL, OURS, SPLIT
from tests.guests import debian
from tests.guests import images as disks
from tests.guests.dialogue import Dialogue
from vestige.host import images
from vestige.softhost import SoftHost, emulator

NAME = "pc_login"
LIMIT = 600.0  # seconds
TIME = "seconds"
BOUND = 1.0  # of QEMU's time, at most

Words = Callable[[Path], list[str]]  # a machine with that disk


def main() -> int:
    """The command line."""
    arguments = command.arguments(__doc__.partition("\n")[0], rounds="of all machines")
    report(measure(arguments.rounds), write_page=not arguments.no_page)
    return 0


def measure(rounds: int) -> dict[str, Any]:
    """All of it, in one software host. A round before the first fills caches."""
    say = command.Progress(NAME)
    images.ensure()
    qemu = emulator.ensure(say)
    pristine = debian.pc_disk()
    WORK.mkdir(parents=True, exist_ok=True)
    table: dict[str, Words] = {OURS: _vestige}
    for name in (SPLIT, KERNEL):
        table[name] = _qemu(qemu.words, name)
    host = SoftHost()
    host.start(say)
    with host:

        def one(words: Words) -> dict[str, float]:
            disk = disks.copy(pristine, WORK / "debian-pc.img")
            found = {TIME: login(host, words(disk))}
            say(f"  {found[TIME]:.1f} s")
            return found

        say("a round that does not count")
        for words in table.values():
            one(words)
        measured = command.by_turns(table, rounds, one, say)
    return {
        "date": results.today(),
        "qemu": ".".join(map(str, emulator.version_of(qemu.program))),
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


def login(host: SoftHost, words: list[str]) -> float:
    """Seconds from the start of a machine to Debian's prompt. It is killed then."""
    console, output = os.pipe()
    keys_read, keys = os.pipe()
    began = time.monotonic()
    process = host.spawn(words, stdout=output, stderr=output, stdin=keys_read, cwd=ROOT)
    carrier = Thread(target=process.wait)
    carrier.start()
    try:
        Dialogue(console, keys, LIMIT).read_until(" login: ")
        return time.monotonic() - began
    finally:
        process.kill()
        carrier.join()
        for file in (console, output, keys_read, keys):
            os.close(file)


def report(result: dict[str, Any], *, write_page: bool) -> None:
    """JSON, a plot, and the table in docs/performance.md."""
    from bench.common import plot  # noqa: PLC0415 - matplotlib is an extra, and slow to import

    results.write_json(NAME, result)
    measured: results.Rounds = result["measured"]
    values = {name: [each[TIME] for each in rounds] for name, rounds in measured.items()}
    medians = {name: results.median(measured, name, TIME) or 0.0 for name in measured}
    panels = [plot.Panel("from exec to the prompt", "s", values, medians)]
    plot.bars(results.RESULTS / f"{NAME}.svg", "Debian to its login prompt", panels, COLOURS)
    lines = page_lines(result)
    print("\n".join(lines))
    if write_page:
        results.write_section(NAME, lines)


def page_lines(result: dict[str, Any]) -> list[str]:
    """The table for docs/performance.md."""
    measured: results.Rounds = result["measured"]
    rows = []
    for name in measured:
        said = ""
        if name != OURS:
            goal = results.Goal(TIME, OURS, name, BOUND, at_most=True)
            ratio = results.ratio(measured, goal)
            said = f"{ratio:.2f}: {results.verdict(goal.met(ratio))}"
        rows.append([name, f"{results.number(results.median(measured, name, TIME))} s", said])
    return [
        f"Medians of {result['rounds']} rounds, {result['date']}, QEMU {result['qemu']}.",
        "",
        *results.table(["to the login prompt", "time", f"Vestige ≤ {BOUND} of its time"], rows),
    ]


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))
