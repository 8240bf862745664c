"""How long Debian takes to its login prompt: the end of it, and what a benchmark makes of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from bench.common import command, results
from tests.guests.dialogue import Dialogue

TIME = "seconds"
LIMIT = 600.0  # seconds


class Goal(NamedTuple):
    """`ours` is to take at most `bound` of the time of `theirs`."""

    ours: str
    theirs: str
    bound: float


class Page(NamedTuple):
    """Where the results are: files and a section of one name, and the plot's title and colours."""

    name: str
    title: str
    colours: Mapping[str, str]
    goals: Sequence[Goal]


def wait(console: int) -> None:
    """Until the prompt is there, at which nobody types. Raises TimeoutError."""
    Dialogue(console, -1, LIMIT).read_until(" login: ")


def run(about: str, page: Page, measure: Callable[[int], dict[str, Any]]) -> int:
    """The command line of its benchmark; `measure` has how many rounds."""
    arguments = command.arguments(about.partition("\n")[0], rounds="of all machines")
    report(page, measure(arguments.rounds), write_page=not arguments.no_page)
    return 0


def report(page: Page, result: dict[str, Any], *, write_page: bool) -> None:
    """JSON, a plot, and the table in docs/performance.md."""
    from bench.common import plot  # noqa: PLC0415 - matplotlib is an extra, and slow to import

    results.write_json(page.name, result)
    measured: results.Rounds = result["measured"]
    values = {name: [each[TIME] for each in rounds] for name, rounds in measured.items()}
    medians = {name: results.median(measured, name, TIME) or 0.0 for name in measured}
    panels = [plot.Panel("from exec to the prompt", "s", values, medians)]
    plot.bars(results.RESULTS / f"{page.name}.svg", page.title, panels, page.colours)
    lines = page_lines(page, result)
    print("\n".join(lines))
    if write_page:
        results.write_section(page.name, lines)


def page_lines(page: Page, result: dict[str, Any]) -> list[str]:
    """The tables for docs/performance.md."""
    measured: results.Rounds = result["measured"]
    rows = [
        [name, f"{results.number(results.median(measured, name, TIME))} s"] for name in measured
    ]
    goals = []
    for ours, theirs, bound in page.goals:
        goal = results.Goal(TIME, ours, theirs, bound, at_most=True)
        ratio = results.ratio(measured, goal)
        words = f"{ours}: at most {bound} of the time of {theirs}"
        goals.append([words, f"{ratio:.2f}", results.verdict(goal.met(ratio))])
    return [
        f"By medians, rounds: {result['rounds']}. {result['date']}{results.by_qemu(result)}.",
        "",
        *results.table(["to the login prompt", "time"], rows),
        "",
        *results.table(["goal", "is", ""], goals),
    ]
