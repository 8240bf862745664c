"""Every construct outside typed Python is refused: place, source line, caret, reason, cure."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.lang.snippets import PRELUDE_LINES, build
from vestige.errors import UsageError
from vestige.lang.build import compile_functions
from vestige.lang.errors import Refusal, Rule


class Refused(NamedTuple):
    """One case of refused.txt; the construct in `source` stands in «»."""

    rule: Rule
    reason: str
    cure: str
    source: str


def read_cases(text: str) -> list[Refused]:
    cases = []
    for section in text.split("---- ")[1:]:
        head, _, source = section.partition("\n")
        rule, _, message = head.partition(": ")
        reason, _, cure = message.partition(" | ")
        cases.append(Refused(Rule(rule), reason, cure, source.rstrip()))
    return cases


REFUSED = read_cases(Path(__file__).with_name("refused.txt").read_text())


def marked(source: str) -> tuple[str, int, int, str]:
    """The source without marks; line, column and first line of what they enclose."""
    start = source.index("«")
    line = source.count("\n", 0, start) + 1
    column = start - (source.rfind("\n", 0, start) + 1) + 1
    construct = source[start + 1 : source.index("»")].split("\n", maxsplit=1)[0]
    return source.replace("«", "").replace("»", ""), line, column, construct


@pytest.mark.parametrize(
    "case", REFUSED, ids=[f"{case.rule.value}-{n}" for n, case in enumerate(REFUSED)]
)
def test_is_refused(tmp_path: Path, case: Refused) -> None:
    text, line, column, construct = marked(case.source)
    with pytest.raises(Refusal) as caught:
        build(text, tmp_path)
    refusal = caught.value
    head, source_line, caret, *_, advice = refusal.describe().split("\n")
    place = f"{refusal.file}:{line + PRELUDE_LINES}:{column}: refused ({case.rule.value}): "
    assert head.startswith(place)
    assert case.reason in head
    assert source_line == "    " + text.split("\n")[line - 1]
    assert caret == " " * (column + 3) + "^" * len(construct)
    assert advice.startswith("    cure: ")
    assert case.cure in advice


def test_every_rule_has_a_test_here_or_below() -> None:
    assert {case.rule for case in REFUSED} | {Rule.SOURCE} == set(Rule)


def test_a_function_without_source_is_refused() -> None:
    scope: dict[str, Callable[[], None]] = {}
    exec("def f() -> None:\n    pass", scope)
    with pytest.raises(Refusal, match=r"refused \(source\): the source of f can't be found"):
        compile_functions([scope["f"]], base=None, runtime="process")


def test_a_system_call_is_refused_in_the_monitor(tmp_path: Path) -> None:
    source = "def f() -> i64:\n    return syscall(1, 0, 0, 0, 0, 0, 0)"
    with pytest.raises(Refusal, match="syscall can't run in the monitor"):
        build(source, tmp_path, runtime="monitor")


def test_a_refusal_names_every_refused_function(tmp_path: Path) -> None:
    source = "def f(a: u8) -> u8:\n    return a + 1\ndef g(a: u8) -> u8:\n    return a - 1\n"
    with pytest.raises(Refusal) as caught:
        build(source, tmp_path)
    assert len(caught.value.others) == 1
    assert str(caught.value).count("refused (narrow)") == 2


def test_a_refusal_is_bad_input() -> None:
    assert issubclass(Refusal, UsageError)


def test_a_refusal_in_an_unrolled_loop_names_the_record_and_where_it_was_made(
    tmp_path: Path,
) -> None:
    source = """ROWS = (
    SERIAL,
    Place("beepr", 1, lines=(Line("a", 1), Line("b", 2))),
)
def f(b: Board) -> None:
    for row in ROWS:
        getattr(b, row.field).read(0, 0)
def g(a: u8) -> u8:
    for number, line in enumerate(BEEPER.lines):
        if number == 1:
            return a + line.pin
    return 0
"""
    with pytest.raises(Refusal) as caught:
        build(source, tmp_path)
    refusals = (caught.value, *caught.value.others)
    made = f"made at {refusals[0].file}:"
    assert [refusal.describe().split("\n")[3] for refusal in refusals] == [
        "    where: row is Place(field='beepr', first=1, count=8, timed=False, lines=(L…, "
        f"{made}{PRELUDE_LINES + 3}",
        f"    where: number is 1; line is Line(field='silence', pin=2), {made}{PRELUDE_LINES - 1}",
    ]


def test_columns_count_letters_not_bytes(tmp_path: Path) -> None:
    text, _, column, _ = marked(
        "def f(größe: u64) -> u64:\n    return 1 if größe > «größe + 1» else 0"
    )
    with pytest.raises(Refusal) as caught:
        build(text, tmp_path)
    assert caught.value.column == column
