"""The tables and the plot of bench/pc_tick.py."""

from typing import Any

from bench.common import results
from bench.common.pc import COLOURS, KERNEL, OURS, SPLIT
from bench.common.places import INSIDE, NATIVE
from bench.common.results import Goal
from bench.pc_tick import ALL, BOUND, CAUSES, GUEST, NAME, TIME

NAMES = (OURS, SPLIT, KERNEL)


def report(result: dict[str, Any], *, write_page: bool) -> None:
    """JSON, a plot, and the tables in docs/performance.md."""
    from bench.common import plot  # noqa: PLC0415 - matplotlib is an extra, and slow to import

    results.write_json(NAME, result)
    panels = []
    for place in (NATIVE, INSIDE):
        rounds = result[place]["rounds"]
        values = {name: [each[TIME] for each in rounds[name]] for name in NAMES}
        medians = {name: results.median(rounds, name, TIME) or 0.0 for name in NAMES}
        panels.append(plot.Panel(f"{place}: processor time of a tick", "µs", values, medians))
    plot.bars(results.RESULTS / f"{NAME}.svg", "A tick of a PC's timer", panels, COLOURS)
    lines = page_lines(result)
    print("\n".join(lines))
    if write_page:
        results.write_section(NAME, lines)


def page_lines(result: dict[str, Any]) -> list[str]:
    """For docs/performance.md."""
    rows, goals = [], []
    for place in (NATIVE, INSIDE):
        rounds, counts = result[place]["rounds"], result[place]["counts"]
        times = [results.number(results.median(rounds, name, TIME)) for name in NAMES]
        rows.append([f"{place}: processor time, µs", *times])
        rows.append([f"{place}: exits of the guest", *(two(counts[n][GUEST]) for n in NAMES)])
        for cause, count in sorted(counts[OURS][CAUSES].items(), key=lambda each: -each[1]):
            rows.append([f"of these: {cause}", f"{count:.2f}", "", ""])
        rows.append([f"{place}: returns of KVM_RUN", *(two(counts[n][ALL]) for n in NAMES)])
        for theirs in (SPLIT, KERNEL):
            ratio = results.ratio(rounds, Goal(TIME, OURS, theirs, BOUND, at_most=True))
            goals.append(goal(place, "time", theirs, f"{ratio:.2f}", ratio))
        ours, theirs = counts[OURS][GUEST], counts[SPLIT][GUEST]
        goals.append(goal(place, "exits", SPLIT, f"{ours / theirs:.2f}", ours / theirs))
    return [
        results.taken(result),
        "",
        *results.table(["a tick", *NAMES], rows),
        "",
        *results.table(["", "of", "ratio", f"goal: at most {BOUND}"], goals),
    ]


def two(count: float) -> str:
    """Two decimals; a difference of two runs may be a little below nothing."""
    return f"{round(count, 2) + 0.0:.2f}"


def goal(place: str, what: str, theirs: str, text: str, ratio: float) -> list[str]:
    """A row. KVM's own chips are there to be compared with, and no goal."""
    verdict = results.verdict(ratio <= BOUND) if theirs == SPLIT else ""
    return [f"{place}: {what}", theirs, text, verdict]
