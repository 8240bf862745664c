"""Medians, goals and tables."""

import pytest

from bench import ide_speed_report
from bench.common import results
from bench.common.results import Goal, Rounds

ROUNDS: Rounds = {
    "ours": [{"speed": 10.0}, {"speed": 30.0}, {"speed": 20.0}],
    "theirs": [{"speed": 5.0}, {"speed": 10.0}, {"speed": 20.0}],
    "other": [{}, {}, {}],
}


def test_the_median_of_the_rounds() -> None:
    assert results.median(ROUNDS, "ours", "speed") == 20.0
    assert results.median(ROUNDS, "other", "speed") is None


def test_a_ratio_is_the_median_of_each_rounds_ratio() -> None:
    # 2, 3 and 1: not 20 over 10, were the rounds taken apart
    goal = Goal("speed", "ours", "theirs", 2.0)
    assert results.ratio(ROUNDS, goal) == 2.0
    assert results.ratio(ROUNDS, goal._replace(ours="theirs", theirs="ours")) == 0.5


@pytest.mark.parametrize(
    ("ratio", "at_most", "met"),
    [(2.0, False, True), (1.9, False, False), (2.0, True, True), (2.1, True, False)],
)
def test_a_goal_is_met_at_its_bound(ratio: float, at_most: bool, met: bool) -> None:
    assert Goal("speed", "ours", "theirs", 2.0, at_most).met(ratio) is met


def test_a_table_in_markdown() -> None:
    assert results.table(["", "a"], [["x", "1"]]) == ["|  | a |", "| --- | --- |", "| x | 1 |"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, ""), (1234.5, "1,234"), (113.55, "114"), (28.04, "28"), (0.25, "0.25")],
)
def test_numbers_have_three_figures(value: float | None, shown: str) -> None:
    assert results.number(value) == shown


def test_a_section_is_replaced_and_nothing_else() -> None:
    page = "before\n<!-- speed: begin -->\nold\n<!-- speed: end -->\nafter\n"
    new = results.replace_section(page, "speed", ["new"])
    assert new == "before\n<!-- speed: begin -->\n\nnew\n\n<!-- speed: end -->\nafter\n"
    assert results.replace_section(new, "speed", ["new"]) == new


def test_a_page_without_the_marks_is_an_error() -> None:
    with pytest.raises(ValueError, match="no marks <!-- speed: begin -->"):
        results.replace_section("before\n<!-- speed: end -->\n", "speed", ["new"])


def speeds(status: float, speed: float) -> list[dict[str, float]]:
    """One round of a configuration."""
    measures = dict.fromkeys(ide_speed_report.MEASURES, speed)
    return [{**measures, "status read": status}]


def test_misses_are_shown_as_plainly_as_hits() -> None:
    measured: Rounds = {
        ide_speed_report.OURS: speeds(180_000.0, 100.0),
        ide_speed_report.MEMORY: [
            dict.fromkeys([*ide_speed_report.SEQUENTIAL, "random-read", "random-write"], 45.0)
        ],
        ide_speed_report.THEIRS: speeds(150_000.0, 25.0),
        ide_speed_report.LIMIT: speeds(150_000.0, 110.0),
        ide_speed_report.MICROVM: [{"status read": 140_000.0}],
    }
    result = {
        "date": "2026-01-02", "rounds": 1, "qemu aio": {"chosen": "native"}, "measured": measured,
    }  # fmt: skip
    lines = ide_speed_report.page_lines(result)
    assert "| QEMU microvm | 140 |" in lines
    verdicts = [
        line.split(" | ")[-1]
        for line in lines
        if "hdparm -t: " in line or ("Status" in line and "≤" in line)
    ]
    assert verdicts == ["**missed** |", "met |", "**missed** |", "met |", "**missed** |"]
    assert any(line.startswith("| hdparm -t, MiB/s | 100 | 45 | 25 | 110 |") for line in lines)
