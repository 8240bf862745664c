"""What a character on a PC's text screen takes, stored by the guest and written by its BIOS.

    python -m bench.pc_text [--rounds 3]

A boot sector (bench/guest/text.S) writes COUNT characters to the screen of a standard VGA, in text
mode 3: into the screen's memory, then in a guest of its own by INT 10h: SeaBIOS has the VGA's BIOS
write it, and writes it to the serial port too, as Vestige tells it to, and QEMU for that reason.
Vestige against QEMU's pc with the same BIOSes, by turns, in one software host, as
bench/common/sector.py measures. Writes bench/results/pc_text.json and .svg and the table in
docs/performance.md.
"""

import sys
from typing import Any

from bench.common import command, pc, sector
from bench.common.pc import OURS
from bench.common.sector import EXITS, NAMES, TIME, Sector, Way

NAME = "pc_text"
STORED, BY_BIOS = "stored by the guest", "by INT 10h"
WAYS = {STORED: Way(0, 100, 50_000), BY_BIOS: Way(1, 100, 1_000)}  # characters
SECTOR = Sector(NAME, "text.S", WAYS, ("text: begin", "text: end"))


def main() -> int:
    """The command line."""
    return sector.run(__doc__, SECTOR, report)


def report(result: dict[str, Any], write_page: bool) -> None:
    """JSON, a plot, and the table in docs/performance.md."""
    from bench.common import newest_qemu, plot, results  # noqa: PLC0415 - not needed inside

    taken = newest_qemu.taken()
    results.write_json(NAME, taken | result)
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
    lines = [results.taken(taken), "", *results.table(["a character", *NAMES, "goal"], rows)]
    print("\n".join(lines))
    if write_page:
        results.write_section(NAME, lines)


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))
