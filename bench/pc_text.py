"""What a character on a PC's text screen takes, stored by the guest and written by its BIOS.

    python -m bench.pc_text [--rounds 3]

A boot sector (bench/guest/text.S) writes COUNT characters to the screen of a standard VGA, in text
mode 3: into the screen's memory, then in a guest of its own by INT 10h: SeaBIOS has the VGA's BIOS
write it, and writes it to the serial port too, as Vestige tells it to, and QEMU for that reason.
Vestige against QEMU's pc with the same BIOSes, by turns, in one software host. Exits are returns of
KVM_RUN of the guest's CPU, by Vestige's --stats and by QEMU's trace: the difference of many
characters and few. The time is the virtual machine's of the processor between the first character
and the last. Writes bench/results/pc_text.json and .svg and the table in docs/performance.md.
"""

import json
import struct
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.common import command, pc
from bench.common.pc import KERNEL, OURS, ROOT
from bench.common.places import in_the_software_host

NAME = "pc_text"
WORK = ROOT / "build" / "bench"
FAST = "/dev/shm"  # a file system in memory
FIELDS = 504  # of the sector: whether the BIOS writes, and how many characters
COM1 = 0x3F8
BEGIN, END = "text: begin", "text: end"
STORED, BY_BIOS = "stored by the guest", "by INT 10h"
WAYS = {STORED: (0, 100, 50_000), BY_BIOS: (1, 100, 1_000)}  # and few characters, and many
TIME, EXITS = "time", "exits"
NAMES = (OURS, KERNEL)


def main() -> int:
    """The command line."""
    return pc.command_line(__doc__, 3, measure, conclude)


def conclude(rounds: int, write_page: bool) -> None:
    """Measure, and tell."""
    report(prepared(rounds), write_page=write_page)


def prepared(rounds: int) -> dict[str, Any]:
    """Everything measured."""
    from bench.common import ready  # noqa: PLC0415 - not needed inside

    say = command.Progress(NAME)
    WORK.mkdir(parents=True, exist_ok=True)
    disk = WORK / "text.img"
    pc.disk(pc.GUESTS / "text.S", disk)
    port = WORK / "sercon-port"
    port.write_bytes(struct.pack("<H", COM1))
    what: dict[str, Any] = {**ready.prepared(say), "disk": str(disk), "rounds": rounds}
    what["qemu"] += ["-fw_cfg", f"name=etc/sercon-port,file={port}"]
    found: dict[str, Any] = in_the_software_host(
        "bench.pc_text", ["--inside", json.dumps(what)], say
    )
    return found


def measure(*, qemu: list[str], disk: str, rounds: int) -> dict[str, Any]:
    """Inside. The first round fills caches and does not count. `qemu` begins its command lines."""
    found: dict[str, Any] = {}
    with TemporaryDirectory(dir=FAST) as name:
        folder = Path(name)
        sector = Path(disk).read_bytes()
        for way, (by_bios, few, many) in WAYS.items():
            disks = {}
            for count in (few, many):
                disks[count] = folder / f"{by_bios}-{count}.img"
                fields = struct.pack("<HH", by_bios, count)
                disks[count].write_bytes(sector[:FIELDS] + fields + sector[FIELDS + len(fields) :])
            less, more = (commands(qemu, disks[count]) for count in (few, many))
            times: dict[str, list[dict[str, float]]] = {each: [] for each in NAMES}
            for number in range(rounds + 1):
                for each, words in more.items():
                    marks = pc.measured(words, (BEGIN, END), folder / "errors")
                    took = marks[END].cpu - marks[BEGIN].cpu
                    if number:
                        times[each].append({TIME: round(1e6 * took / many, 3)})
            counts = {}
            for each in NAMES:
                both = [pc.exits(each, by[each], END, folder).guest for by in (less, more)]
                counts[each] = round((both[1] - both[0]) / (many - few), 4)
            found[way] = {"rounds": times, EXITS: counts}
    return found


def commands(qemu: list[str], disk: Path) -> dict[str, list[str]]:
    """How each starts."""
    drive = ("-drive", f"file={disk},if=ide,format=raw")
    return {
        OURS: pc.vestige("--disk", f"{disk},bus=ide", vga="std"),
        KERNEL: pc.qemu(qemu, KERNEL, *drive, vga="std"),
    }


def report(result: dict[str, Any], *, write_page: bool) -> None:
    """JSON, a plot, and the table in docs/performance.md."""
    from bench.common import plot, results  # noqa: PLC0415 - not needed inside

    results.write_json(NAME, {"date": results.today()} | result)
    rows, panels = [], []
    for way, found in result.items():
        rounds, counts = found["rounds"], found[EXITS]
        medians = {name: results.median(rounds, name, TIME) or 0.0 for name in NAMES}
        values = {name: [each[TIME] for each in rounds[name]] for name in NAMES}
        panels.append(plot.Panel(f"processor time, {way}", "µs", values, medians))
        met = f"0: {results.verdict(round(counts[OURS], 2) == 0)}" if way == STORED else ""
        rows.append([f"exits, {way}", *(f"{counts[name]:z.2f}" for name in NAMES), met])
        figures = (results.number(medians[name]) for name in NAMES)
        rows.append([f"processor time, {way}, µs", *figures, ""])
    plot.bars(results.RESULTS / f"{NAME}.svg", "A character of text", panels, pc.COLOURS)
    lines = results.table(["a character", *NAMES, "goal"], rows)
    print("\n".join(lines))
    if write_page:
        results.write_section(NAME, lines)


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))
