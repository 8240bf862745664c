"""How fast a virtio disk with an overlay is, against the same disk without.

    python -m bench.overlay [--rounds 3] [--seconds 2]

As bench.virtio_disk: one software host, the same guest, the same raw file on ext4, through the page
cache. Each round boots both once. The overlay is a temporary one, beside the raw file: at a guest's
start nothing is in it, so its first jobs read the raw file, and those behind the first that write
find each sector in either. Writes bench/results/overlay.json and .svg and the tables in
docs/performance.md.
"""

import statistics
import sys
from collections.abc import Mapping
from typing import Any

from bench import virtio_disk
from bench.common import command, guests, results
from bench.common.guests import Guest
from bench.common.results import Goal, Rounds
from bench.common.virtio_bench import Configuration
from bench.virtio_disk import DISK, FILES, JOBS, PAGE, RAW_FILE, WORDS
from bench.virtio_report import HOST, RATE, key

NAME = "overlay"
RAW, OVERLAY = "raw", "with an overlay"
COLOURS = {RAW: "#7f8c8d", OVERLAY: "#1b6ca8"}
LEAST = {128: 0.95, 4: 0.9}  # of raw, by the KiB of an operation: sequential, random


def main() -> int:
    """The command line."""
    found = command.arguments(__doc__.partition("\n")[0], seconds="each fio job takes", each=2.0)
    table = {RAW: disk(RAW_FILE), OVERLAY: disk(f"{RAW_FILE},overlay=temporary")}
    result = virtio_disk.measure(found.rounds, found.seconds, table, NAME, 3 * DISK)
    report(result, write_page=not found.no_page)
    return 0


def disk(words: str) -> Configuration:
    """A guest with it; its temporary files are beside the raw one."""

    def run(guest: Guest, append: str) -> list[str]:
        line = guests.vestige(guest, append, ("--disk", words), console=guests.VIRTIO)
        return ["env", f"TMPDIR={FILES}", *line]

    return run


def report(result: Mapping[str, Any], *, write_page: bool) -> None:
    """JSON, a plot, and the tables in docs/performance.md."""
    from bench.common import plot  # noqa: PLC0415 - matplotlib is an extra, and slow to import

    results.write_json(NAME, result)
    rounds: Rounds = result["measured"]
    panels = []
    for job, words in WORDS.items():
        values = {each: [row[key(job, RATE)] for row in rows] for each, rows in rounds.items()}
        medians = {each: statistics.median(some) for each, some in values.items()}
        panels.append(plot.Panel(words, PAGE.units[job], values, medians))
    plot.bars(results.RESULTS / f"{NAME}.svg", "A disk with an overlay", panels, COLOURS)
    lines = page_lines(result)
    print("\n".join(lines))
    if write_page:
        results.write_section(NAME, lines)


def page_lines(result: Mapping[str, Any]) -> list[str]:
    """The tables for docs/performance.md."""
    rounds: Rounds = result["measured"]
    rows = []
    for job, words in WORDS.items():
        goal = Goal(key(job, RATE), OVERLAY, RAW, LEAST[JOBS[job]])
        rates = [results.median(rounds, each, goal.measure) for each in rounds]
        costs = [results.median(rounds, each, key(job, HOST)) for each in rounds]
        ratio = results.ratio(rounds, goal)
        verdict = f"{ratio:.2f} x; ≥ {goal.bound} x: {results.verdict(goal.met(ratio))}"
        rows.append(
            [f"{words}, {PAGE.units[job]}", *map(results.number, (*rates, *costs)), verdict]
        )
    head = ["", *rounds, *(f"host CPU, µs, {each}" for each in rounds), "of raw"]
    return [
        f"Medians of {result['rounds']} rounds, {result['date']}.",
        "",
        *results.table(head, rows),
        "",
        f"![the same as bars, a dot a round](../bench/results/{NAME}.svg)",
    ]


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))
