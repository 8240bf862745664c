"""bench.ide_speed's results, as JSON, a plot, and tables in docs/performance.md."""

import statistics
from collections.abc import Mapping
from typing import Any

from bench.common.results import (
    RESULTS,
    Goal,
    Rounds,
    by_qemu,
    median,
    number,
    ratio,
    table,
    verdict,
    write_json,
    write_section,
)

NAME = "ide_speed"
OURS, MEMORY = "Vestige, IDE on NVMe", "Vestige, IDE in memory on NVMe"
THEIRS, LIMIT = "QEMU, IDE on NVMe", "QEMU, NVMe itself"
MICROVM = "QEMU microvm"
TALK = 113.55  # MB/s, hdparm -t in the first talk, on hardware
MEASURES = {  # unit, divisor
    "hdparm -t": ("MiB/s", 1.0),
    "sequential-read": ("MiB/s", 1.0),
    "sequential-write": ("MiB/s", 1.0),
    "random-read": ("requests/s", 1.0),
    "random-write": ("requests/s", 1.0),
    "status read": ("µs", 1000.0),
}
WORDS = {
    "hdparm -t": "hdparm -t",
    "sequential-read": "fio, 128 KiB sequential read",
    "sequential-write": "fio, 128 KiB sequential write",
    "random-read": "fio, 4 KiB random read",
    "random-write": "fio, 4 KiB random write",
    "status read": "`in` from Status (microvm: the UART's)",
}
SEQUENTIAL = ("hdparm -t", "sequential-read", "sequential-write")
GOALS = (
    Goal("status read", OURS, THEIRS, 1.0, at_most=True),
    *(
        Goal(measure, ours, theirs, bound)
        for theirs, bound, measures in (
            (THEIRS, 2.0, SEQUENTIAL),
            (LIMIT, 0.9, SEQUENTIAL),
            (THEIRS, 2.0, ("random-read", "random-write")),
        )
        for measure in measures
        for ours in (OURS, MEMORY)
    ),
)
COLOURS = {
    OURS: "#1b6ca8",
    MEMORY: "#0b3c5d",
    THEIRS: "#c0392b",
    LIMIT: "#7f8c8d",
    "Vestige, IDE on a file": "#5fa8d3",
    "QEMU, IDE on a file": "#e08e79",
    MICROVM: "#b8a9c9",
}


def report(result: Mapping[str, Any], *, page: bool) -> None:
    """Write all of it, and print the tables."""
    from bench.common import plot  # noqa: PLC0415 - matplotlib is an extra, and slow to import

    rounds: Rounds = result["measured"]
    goals = [
        {**goal._asdict(), "ratio": ratio(rounds, goal), "met": goal.met(ratio(rounds, goal))}
        for goal in GOALS
    ]
    write_json(NAME, {**result, "goals": goals})
    plot.bars(RESULTS / f"{NAME}.svg", "IDE disks in the software host", panels(rounds), COLOURS)
    lines = page_lines(result)
    print("\n".join(lines))
    if page:
        write_section(NAME, lines)


def panels(rounds: Rounds) -> list[Any]:
    """One for each measure."""
    from bench.common.plot import Panel  # noqa: PLC0415

    found = []
    for measure, (unit, divisor) in MEASURES.items():
        values = {
            name: [each[measure] / divisor for each in rows if measure in each]
            for name, rows in rounds.items()
        }
        values = {name: some for name, some in values.items() if some}
        medians = {name: statistics.median(some) for name, some in values.items()}
        mark = ("the talk, hardware", TALK) if measure == "hdparm -t" else None
        found.append(Panel(WORDS[measure].replace("`", ""), unit, values, medians, mark))
    return found


def page_lines(result: Mapping[str, Any]) -> list[str]:
    """The tables for docs/performance.md."""
    rounds: Rounds = result["measured"]
    disks = [name for name in rounds if median(rounds, name, "hdparm -t") is not None]
    rows = [
        [f"{WORDS[measure]}, {unit}", *(shown(rounds, name, measure) for name in disks)]
        for measure, (unit, _) in MEASURES.items()
        if measure != "status read"
    ]
    ports = [name for name in rounds if median(rounds, name, "status read") is not None]
    times = [[name, shown(rounds, name, "status read")] for name in ports]
    return [
        f"Medians of {result['rounds']} rounds, {result['date']}{by_qemu(result)},"
        f" QEMU's aio={result['qemu aio']['chosen']} on NVMe.",
        "",
        *table(["", *disks], rows),
        "",
        f"`hdparm -t` in the first talk, on hardware: {TALK} MB/s.",
        "",
        *table([WORDS["status read"], "µs"], times),
        "",
        *table(["goal", "of", "is", ""], [goal_row(rounds, goal) for goal in GOALS]),
        "",
        f"![the same as bars, a dot a round](../bench/results/{NAME}.svg)",
    ]


def shown(rounds: Rounds, name: str, measure: str) -> str:
    """A median in the table's unit."""
    value = median(rounds, name, measure)
    return number(None if value is None else value / MEASURES[measure][1])


def goal_row(rounds: Rounds, goal: Goal) -> list[str]:
    """Promise, what came of it, and whether it holds."""
    found = ratio(rounds, goal)
    sign = "≤" if goal.at_most else "≥"
    words = f"{WORDS[goal.measure]}: {sign} {goal.bound} x {goal.theirs}"
    return [words, goal.ours, f"{found:.2f} x", verdict(goal.met(found))]
