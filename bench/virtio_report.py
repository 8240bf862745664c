"""Results of the virtio benchmarks, as JSON, a plot, and tables in docs/performance.md.

What the host's processor time is, is said in inside/observe.py: of all the virtual machine's
threads and of the kernel's that work for it, less what ran the guest.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

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

RATE, HOST, WHOLE = "throughput", "host CPU", "all CPU"
OWN = "throughput of a processor's second"  # operations, of the software host's own time
EXITS, GUEST_EXITS, SWITCHES = "exits", "guest exits", "context switches"
MOST_HOST, LEAST_RATE = 0.7, 1.0  # of theirs
NO_EXITS = 0.05  # an operation: the console's and the set-up's, over a job of seconds


class Page(NamedTuple):
    """What a benchmark's tables are made of."""

    name: str
    title: str
    operation: str  # what costs are counted by
    jobs: Mapping[str, str]  # in words
    units: Mapping[str, str]  # of each job's throughput
    pairs: Sequence[tuple[str, str]]  # whose promises, against whom
    colours: Mapping[str, str]
    promised: Sequence[str] = (RATE, HOST, EXITS)  # of what


def key(job: str, measure: str) -> str:
    """A measure of a job, in a round's results."""
    return f"{job}: {measure}"


def span_costs(
    job: str, rate: float, operations: float, span: Mapping[str, float]
) -> dict[str, float]:
    """A job's measures: its throughput, and what one operation took. Times in µs."""
    costs = {
        HOST: 1e6 * (span["cpu"] - span["guest"]),
        WHOLE: 1e6 * span["cpu"],
        EXITS: span["exits"],
        GUEST_EXITS: span["exits"] - span["worker"],
        SWITCHES: span["switches"],
    }
    found = {key(job, measure): cost / operations for measure, cost in costs.items()}
    return {key(job, RATE): rate, key(job, OWN): operations / span["own"], **found}


def summary(page: Page, found: Mapping[str, float]) -> str:
    """One round of one configuration in a line."""
    return "; ".join(
        f"{job} {number(found[key(job, RATE)])}, {number(found[key(job, HOST)])} µs,"
        f" {found[key(job, EXITS)]:.2f} exits"
        for job in page.jobs
        if key(job, RATE) in found
    )


def report(page: Page, result: Mapping[str, Any], *, write_page: bool) -> None:
    """Write all of it, and print the tables."""
    from bench.common import plot  # noqa: PLC0415 - matplotlib is an extra, and slow to import

    write_json(page.name, result)
    plot.bars(RESULTS / f"{page.name}.svg", page.title, panels(page, result), page.colours)
    lines = page_lines(page, result)
    print("\n".join(lines))
    if write_page:
        write_section(page.name, lines)


def panels(page: Page, result: Mapping[str, Any]) -> list[Any]:
    """For each job its throughput and the host's time."""
    from bench.common.plot import Panel  # noqa: PLC0415

    rounds: Rounds = result["measured"]
    found = []
    for job, words in page.jobs.items():
        for measure, unit in ((RATE, page.units[job]), (HOST, f"µs of an {page.operation}")):
            name = key(job, measure)
            values = {
                each: [row[name] for row in rows]
                for each, rows in rounds.items()
                if name in rows[0]
            }
            medians = {each: statistics.median(some) for each, some in values.items()}
            found.append(Panel(f"{words}: {measure}", unit, values, medians))
    return found


def page_lines(page: Page, result: Mapping[str, Any]) -> list[str]:
    """The tables for docs/performance.md."""
    rounds: Rounds = result["measured"]
    names = list(rounds)
    taken = f"Medians of {result['rounds']} rounds, {result['date']}{by_qemu(result)}."
    lines = [f"{taken} {result['said']}".rstrip()]
    for title, measure, form in (
        ("throughput", RATE, number),
        (f"a second of the software host's own processor time, {page.operation}", OWN, number),
        (f"host CPU, µs of an {page.operation}", HOST, number),
        (f"exits to user space of an {page.operation}", EXITS, exits),
        ("of these, the guest's", GUEST_EXITS, exits),
    ):
        rows = []
        if not any(key(job, measure) in rounds[names[0]][0] for job in page.jobs):
            continue  # it was not counted yet
        for job, words in page.jobs.items():
            unit = f", {page.units[job]}" if measure == RATE else ""
            row = [form(median(rounds, name, key(job, measure))) for name in names]
            rows.append([f"{words}{unit}", *row])
        lines += ["", *table([title, *names], rows)]
    heads = [f"{ours} / {theirs}" for ours, theirs in page.pairs]
    lines += ["", *table(["goal", *heads], goal_rows(page, rounds))]
    lines += ["", f"![the same as bars, a dot a round](../bench/results/{page.name}.svg)"]
    return lines


def exits(value: float | None) -> str:
    """To two places: hundredths are noise."""
    return "" if value is None else f"{value:.2f}"


def goal_rows(page: Page, rounds: Rounds) -> list[list[str]]:
    """Promises, what came of them, and whether they hold."""
    rows = []
    for measure, bound, at_most in (
        (RATE, LEAST_RATE, False),
        (OWN, LEAST_RATE, False),
        (HOST, MOST_HOST, True),
    ):
        if measure not in page.promised:
            continue
        sign = "≤" if at_most else "≥"
        for job, words in page.jobs.items():
            row = [f"{words}: {measure} {sign} {bound} x QEMU's"]
            for ours, theirs in page.pairs:
                goal = Goal(key(job, measure), ours, theirs, bound, at_most)
                found = ratio(rounds, goal)
                row.append(f"{found:.2f} x, {verdict(goal.met(found))}")
            rows.append(row)
    if EXITS in page.promised:
        for job, words in page.jobs.items():
            counts = [median(rounds, ours, key(job, EXITS)) or 0.0 for ours, _ in page.pairs]
            row = [f"{count:.2f}, {verdict(count <= NO_EXITS)}" for count in counts]
            rows.append([f"{words}: 0 exits to user space", *row])
    return rows
