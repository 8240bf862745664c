"""The tables and the plot of bench/pc_start.py."""

from itertools import product
from typing import Any

from bench.common import results
from bench.common.pc import COLOURS, KERNEL, OURS, READY, SPLIT
from bench.common.places import INSIDE, NATIVE
from bench.common.results import Goal
from bench.pc_start import (
    EXITS,
    MEMORY,
    NAME,
    PROCESSOR,
    RESIDENT,
    SHOWN,
    SINCE_RESET,
    TIME,
    TIMES,
    UNITS,
)

NAMES = (OURS, READY, KERNEL, SPLIT)
WHAT = {
    TIME: "from exec to the sector",
    SINCE_RESET: "from reset to the sector",
    PROCESSOR: "processor time until then",
    MEMORY: "memory beyond guest RAM",
}


def report(result: dict[str, Any], *, write_page: bool) -> None:
    """JSON, a plot, and the tables in docs/performance.md."""
    from bench.common import plot  # noqa: PLC0415 - matplotlib is an extra, and slow to import

    results.write_json(NAME, result)
    panels = []
    for place in (NATIVE, INSIDE):
        rounds = result[place]["rounds"]
        for measure, unit in UNITS.items():
            values = {name: [each[measure] for each in rounds[name]] for name in NAMES}
            medians = {name: results.median(rounds, name, measure) or 0.0 for name in NAMES}
            panels.append(plot.Panel(f"{place}: {WHAT[measure]}", unit, values, medians))
    plot.bars(results.RESULTS / f"{NAME}.svg", "A PC, to its boot sector", panels, COLOURS)
    lines = page_lines(result)
    print("\n".join(lines))
    if write_page:
        results.write_section(NAME, lines)


def page_lines(result: dict[str, Any]) -> list[str]:
    """For docs/performance.md."""
    rows, goals = [], []
    for place in (NATIVE, INSIDE):
        rounds, counts = result[place]["rounds"], result[place]["counts"]
        for measure, unit in UNITS.items():
            medians = [results.number(results.median(rounds, name, measure)) for name in NAMES]
            rows.append([f"{place}: {WHAT[measure]}, {unit}", *medians])
        exits = (f"{counts[name]['guest']:,}" if name in counts else "" for name in NAMES)
        rows.append([f"{place}: exits of the guest", *exits])
        goals += place_goals(place, result[place])
    return [
        results.taken(result),
        "",
        *results.table(["", *NAMES], rows),
        "",
        *results.table(["", "is", "goal"], goals),
        "",
        *causes(result[NATIVE]["counts"][OURS]),
    ]


def place_goals(place: str, measured: dict[str, Any]) -> list[list[str]]:
    """Rows of the goals there."""
    rounds = measured["rounds"]
    guest = measured["counts"][OURS]["guest"]
    found = [goal(f"{place}: exits", f"{guest:,}", f"at most {EXITS:,}", guest <= EXITS)]
    for measure, name in product((SINCE_RESET, TIME), (OURS, READY)):
        ratio = results.ratio(rounds, Goal(measure, name, KERNEL, TIMES, at_most=True))
        wanted = f"at most {TIMES} of QEMU's, KVM's PIC and PIT"
        what = f"{place}: {WHAT[measure]}, {name}"
        found.append(goal(what, f"{ratio:.2f}", wanted, ratio <= TIMES))
    for name in (OURS, READY):
        size = results.median(rounds, name, MEMORY) or 0.0
        wanted = f"at most {RESIDENT} MiB"
        found.append(goal(f"{place}: memory, {name}", f"{size:.1f} MiB", wanted, size <= RESIDENT))
    return found


def goal(what: str, found: str, wanted: str, met: bool) -> list[str]:
    """A row."""
    return [what, found, f"{wanted}: {results.verdict(met)}"]


def causes(counts: dict[str, Any]) -> list[str]:
    """Where most of Vestige's exits go."""
    least = SHOWN * counts["guest"]
    found = sorted(counts["causes"].items(), key=lambda each: -each[1])
    shown = [(cause, str(count)) for cause, count in found if count >= least]
    rest = counts["guest"] - sum(count for _, count in found if count >= least)
    return results.table(["Vestige's exits", ""], [*shown, ("all others", str(rest))])
