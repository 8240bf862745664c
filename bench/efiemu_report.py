"""bench.efiemu's results, as JSON, a plot, and tables in docs/performance.md."""

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

NAME = "efiemu"
TAKEN, BARE, THEIRS = "taken over, IDE on NVMe", "NVMe itself", "QEMU's IDE"
BOOT = "boot"
PORTS = {
    "no exit": "`in` that nobody intercepts, µs",
    "one exit": "`in` that the shell answers: one exit, µs",
    "monitor": "`in` from Status: the monitor's, µs",
}
MEASURES = {
    "hdparm -t": "hdparm -t, MiB/s",
    "sequential-read": "fio, 128 KiB sequential read, MiB/s",
    "sequential-write": "fio, 128 KiB sequential write, MiB/s",
    "random-read": "fio, 4 KiB random read, requests/s",
    "random-write": "fio, 4 KiB random write, requests/s",
    BOOT: "from the firmware's shell to init, s",
}
TRAP = 2.2  # of one exit, at most
GOALS = (
    Goal("hdparm -t", TAKEN, THEIRS, 1.0),
    Goal("sequential-read", TAKEN, THEIRS, 1.0),
    Goal(BOOT, TAKEN, BARE, 1.3, at_most=True),
)
COLOURS = {TAKEN: "#1b6ca8", BARE: "#7f8c8d", THEIRS: "#c0392b"}


def report(result: Mapping[str, Any], *, page: bool) -> None:
    """Write all of it, and print the tables."""
    from bench.common import plot  # noqa: PLC0415 - matplotlib is an extra, and slow to import

    rounds: Rounds = result["measured"]
    write_json(NAME, {**result, "goals": goals(rounds)})
    panels = []
    for measure, words in MEASURES.items():
        what, _, unit = words.rpartition(", ")
        values = {name: [each[measure] for each in rows] for name, rows in rounds.items()}
        medians = {name: statistics.median(each) for name, each in values.items()}
        panels.append(plot.Panel(what, unit, values, medians))
    plot.bars(RESULTS / f"{NAME}.svg", "A machine that is taken over", panels, COLOURS)
    lines = page_lines(result)
    print("\n".join(lines))
    if page:
        write_section(NAME, lines)


def goals(rounds: Rounds) -> list[list[str]]:
    """Each promise, what came of it, and whether it holds."""
    trap = statistics.median(each["monitor"] / each["one exit"] for each in rounds[TAKEN])
    rows = [["`in` from Status: ≤ 2.2 x one exit", f"{trap:.2f} x", verdict(trap <= TRAP)]]
    for goal in GOALS:
        found, sign = ratio(rounds, goal), "≤" if goal.at_most else "≥"
        words = f"{MEASURES[goal.measure].rpartition(', ')[0]}: {sign} {goal.bound} x {goal.theirs}"
        rows.append([words, f"{found:.2f} x", verdict(goal.met(found))])
    return rows


def page_lines(result: Mapping[str, Any]) -> list[str]:
    """The tables for docs/performance.md."""
    rounds: Rounds = result["measured"]
    rows = [
        [words, *(number(median(rounds, name, measure)) for name in rounds)]
        for measure, words in MEASURES.items()
    ]
    ports = []
    for measure, words in PORTS.items():
        value = median(rounds, TAKEN, measure)
        ports.append([words, number(None if value is None else value / 1000)])
    return [
        f"Medians of {result['rounds']} rounds, {result['date']}{by_qemu(result)}.",
        "",
        *table(["", *rounds], rows),
        "",
        *table(["taken over", ""], ports),
        "",
        *table(["goal", "is", ""], goals(rounds)),
        "",
        f"![the same as bars, a dot a round](../bench/results/{NAME}.svg)",
    ]
