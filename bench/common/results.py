"""Medians, goals, and where results go: JSON, and tables between marks in docs/performance.md."""

import json
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from bench.common.guests import ROOT

RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "performance.md"

Rounds = Mapping[str, Sequence[Mapping[str, float]]]  # by configuration; what each round measured


class Goal(NamedTuple):
    """A promise: `measure` of `ours` over that of `theirs` is at least, or at most, `bound`."""

    measure: str
    ours: str
    theirs: str
    bound: float
    at_most: bool = False

    def met(self, ratio: float) -> bool:
        """Whether `ratio` is as promised."""
        return ratio <= self.bound if self.at_most else ratio >= self.bound


def median(rounds: Rounds, configuration: str, measure: str) -> float | None:
    """Over all rounds; None where the configuration does not have this measure."""
    values = [each[measure] for each in rounds[configuration] if measure in each]
    return statistics.median(values) if values else None


def ratio(rounds: Rounds, goal: Goal) -> float:
    """The median of the rounds' ratios: within a round, the machine's own speed drifts least."""
    pairs = zip(rounds[goal.ours], rounds[goal.theirs], strict=True)
    return statistics.median(ours[goal.measure] / theirs[goal.measure] for ours, theirs in pairs)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def verdict(met: bool) -> str:
    """Whether a promise holds, plainly."""
    return "met" if met else "**missed**"


def today() -> str:
    """The day a result was taken, as all of them say it."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def by_qemu(result: Mapping[str, Any]) -> str:
    """Whom it was compared with, to follow other words: ", QEMU 11.1.3".

    Nothing, where that was not noted yet.
    """
    return f", QEMU {result['qemu']}" if "qemu" in result else ""


def taken(result: Mapping[str, Any]) -> str:
    """The line before a table that says no more than when, and whom it was compared with."""
    return f"Taken on {result['date']}{by_qemu(result)}."


def number(value: float | None) -> str:
    """To three figures, for people; nothing for None."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def write_json(name: str, result: Mapping[str, Any]) -> Path:
    """bench/results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def replace_section(page: str, name: str, lines: Sequence[str]) -> str:
    """`page` with what is between the marks of `name` replaced. ValueError without the marks."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"no marks {begin.strip()} and {end.strip()} in the page")
    return before + begin + "\n" + "\n".join(lines) + "\n\n" + end + after


def write_section(name: str, lines: Sequence[str]) -> None:
    """Put `lines` between the marks of `name` in docs/performance.md."""
    PAGE.write_text(replace_section(PAGE.read_text(), name, lines))
