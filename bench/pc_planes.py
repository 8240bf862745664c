"""What drawing a PC's screen of 16 colours takes, which is planes.

    python -m bench.pc_planes [--rounds 3]

A boot sector (bench/guest/planes.S) has SeaVGABIOS set mode 12h, and draws all of its 640 by 480
dots: it fills one plane after the other, 76,800 words in all, or moves the screen up by a row of
characters, 37,120 bytes that are read and written by the latches. Vestige against QEMU's pc with
the same BIOSes, by turns, in one software host, as bench/common/sector.py measures. Writes
bench/results/pc_planes.json and .svg and the table in docs/performance.md.
"""

import sys
from typing import Any

from bench.common import command, pc, sector
from bench.common.sector import EXITS, NAMES, TIME, Sector, Way

NAME = "pc_planes"
WAYS = {"filled": Way(0, 0, 2), "moved up": Way(1, 0, 1)}  # screens
SECTOR = Sector(NAME, "planes.S", WAYS, ("planes: begin", "planes: end"))


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
        values = {name: [each[TIME] / 1e6 for each in rounds[name]] for name in NAMES}
        seconds = {name: median / 1e6 for name, median in medians.items()}
        panels.append(plot.Panel(f"processor time, {way}", "s", values, seconds))
        rows.append([f"exits, {way}", *(f"{counts[name]:,.0f}" for name in NAMES)])
        figures = (results.number(seconds[name]) for name in NAMES)
        rows.append([f"processor time, {way}, s", *figures])
    plot.bars(results.RESULTS / f"{NAME}.svg", "A screen of planes", panels, pc.COLOURS)
    lines = [
        results.taken(taken),
        "",
        *results.table(["a screen of 640 by 480 dots", *NAMES], rows),
    ]
    print("\n".join(lines))
    if write_page:
        results.write_section(NAME, lines)


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))
