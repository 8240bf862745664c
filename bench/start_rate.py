"""How many guests a second can be started, natively, and what memory they take.

    python -m bench.start_rate [--rounds 7]

1, 10 and 50 guests of a few instructions (bench/common/tiny_guest.py), all at once, in turns: by
vestige.launcher, by as many `vestige run`s, by as many of QEMU's microvm with all its legacy off.
Each guest writes a byte to a pipe that all share. The time is from the first start to the last
guest's byte; what is made once, a launcher's template or a compiled monitor, is made before.

Memory: when all guests have written, they sleep, and nothing has ended: Rss and Pss of a guest's
processes (proc(5), smaps_rollup), the few pages of RAM that it has touched included; a launcher's
template is shared out among its guests. Prints a table and writes bench/results/start_rate.json.
"""

import argparse
import os
import select
import sys
import time
from pathlib import Path

from bench.common import command, newest_qemu, plot, results, tiny_guest
from bench.common.batches import Commands, Machines, Way
from bench.common.guests import WORK
from bench.inside.processes import children_of
from vestige.errors import GuestError
from vestige.launcher import Launcher, Machine

COUNTS = (1, 10, 50)
MEMORY = 64 * tiny_guest.MIB
LIMIT = 120.0  # seconds, until the last of a batch has started
LAUNCHER, COMMAND, QEMU = "Vestige, vestige.launcher", "Vestige, vestige run", "QEMU microvm"
COLOURS = {LAUNCHER: "tab:green", COMMAND: "tab:olive", QEMU: "tab:gray"}
RATE, RSS, PSS = "rate", "rss", "pss"
UNITS = {RATE: "guests a second", RSS: "MiB", PSS: "MiB"}
GOAL = 3.0  # times QEMU's rate

Round = dict[str, float]
Batches = dict[str, list[Round]]  # by who starts


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="of each count (default 7)")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    kernel = WORK / "first.elf"
    tiny_guest.write_kernel(kernel)
    ours = (*tiny_guest.VESTIGE, "--memory", f"{MEMORY >> 20}M", "--kernel", str(kernel))
    theirs = (*tiny_guest.qemu(newest_qemu.qemu().microvm, MEMORY), "-kernel", str(kernel))
    errors = WORK / "errors"
    with Launcher() as launcher:

        def start(output: int) -> Machine:
            return launcher.start(kernel=kernel, memory=f"{MEMORY >> 20}M", stdout=output)

        ways: dict[str, Way] = {
            LAUNCHER: lambda output: Machines(output, start),
            COMMAND: lambda output: Commands(output, ours, errors),
            QEMU: lambda output: Commands(output, theirs, errors),
        }
        measured = {count: in_turns(ways, count, options.rounds) for count in COUNTS}
    report(measured)
    return 0


def in_turns(ways: dict[str, Way], count: int, rounds: int) -> Batches:
    """Each way once a round; the first round fills caches and does not count."""
    batches: Batches = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            batch = measured_batch(way, count)
            print(f"{count} x {name}: {batch[RATE]:.1f}/s", file=sys.stderr)
            if number:
                batches[name].append(batch)
    return batches


def measured_batch(way: Way, count: int) -> Round:
    """Start `count` guests, wait until each has run, look at their memory, and end them."""
    output, its_output = os.pipe()
    batch = way(its_output)
    try:
        began = time.monotonic()
        for _ in range(count):
            batch.start()
        wait_for(output, count)
        seconds = time.monotonic() - began
        sizes = [
            *(memory_of(pid, *children_of(pid)) for pid in batch.guests()),
            *(memory_of(pid) for pid in batch.shared()),
        ]
    finally:
        batch.end()
        os.close(output)
        os.close(its_output)
    return {
        RATE: round(count / seconds, 2),
        RSS: round(max(size[RSS] for size in sizes[:count]), 2),
        PSS: round(sum(size[PSS] for size in sizes) / count, 2),
    }


def wait_for(output: int, count: int) -> None:
    """Read a byte of each of `count` guests."""
    while count:
        ready, _, _ = select.select([output], [], [], LIMIT)
        data = os.read(output, count) if ready else b""
        if data != tiny_guest.SIGNAL * len(data) or not data:
            raise GuestError(f"{count} guests have not started; {data!r} came")
        count -= len(data)


def memory_of(*pids: int) -> Round:
    """MiB of processes that are one guest's, resident, and their share of them."""
    sizes = dict.fromkeys((RSS, PSS), 0.0)
    for pid in pids:
        words = Path(f"/proc/{pid}/smaps_rollup").read_text().split()
        for name, measure in (("Rss:", RSS), ("Pss:", PSS)):
            sizes[measure] += int(words[words.index(name) + 1]) / 1024
    return sizes


def report(measured: dict[int, Batches]) -> None:
    """JSON, a plot, and the table in docs/performance.md."""
    rows, panels = [], []
    for count, batches in measured.items():
        for measure, unit in UNITS.items():
            medians = {name: results.median(batches, name, measure) or 0.0 for name in batches}
            values = {name: [each[measure] for each in batches[name]] for name in batches}
            panels.append(plot.Panel(f"{count} at once: {measure}", unit, values, medians))
        for name in batches:
            cells = [results.number(results.median(batches, name, measure)) for measure in UNITS]
            rows.append((str(count), name, *cells, *verdict(batches, name)))
    by_count = {str(count): batches for count, batches in measured.items()}
    result = {**newest_qemu.taken(), **by_count}
    results.write_json("start_rate", result)
    plot.bars(results.RESULTS / "start_rate.svg", "Many guests", panels, COLOURS)
    head = (
        "at once",
        "",
        "guests a second",
        "largest Rss, MiB",
        "Pss a guest, MiB",
        "rate",
        "goal",
    )
    lines = [results.taken(result), "", *results.table(head, rows)]
    results.write_section("start-rate", lines)
    print("\n".join(lines))


def verdict(batches: Batches, name: str) -> tuple[str, str]:
    """How many times QEMU's rate, and whether that is the goal."""
    if name == QEMU:
        return "1", ""
    ratio = results.ratio(batches, results.Goal(RATE, name, QEMU, GOAL))
    return f"{ratio:.2f} x", f"≥ {GOAL:g} x: {results.verdict(ratio >= GOAL)}"


if __name__ == "__main__":
    sys.exit(command.status("start_rate", main))
