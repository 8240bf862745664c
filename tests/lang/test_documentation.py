"""docs/typed-python.md explains every rule, and its examples are what it says they are."""

import re
from pathlib import Path

import pytest

from tests.lang.snippets import build
from vestige.lang.errors import Refusal, Rule

PAGE = Path(__file__).parents[2] / "docs/typed-python.md"
TEXT = PAGE.read_text()
REFUSALS = TEXT[TEXT.index("\n## Refusals\n") :]
SECTIONS = dict(re.findall(r"^### (\S+)\n(.*?)(?=^### |\Z)", REFUSALS, re.M | re.S))
COMPILING = re.findall(r"^```python compiles\n(.*?)^```$", TEXT, re.M | re.S)
WITHOUT_EXAMPLE = {Rule.SOURCE}


def test_every_rule_is_explained_once_and_nothing_else() -> None:
    assert sorted(SECTIONS) == sorted(rule.value for rule in Rule)
    assert len(re.findall(r"^### ", REFUSALS, re.M)) == len(SECTIONS)


@pytest.mark.parametrize("rule", [rule for rule in Rule if rule not in WITHOUT_EXAMPLE])
def test_its_example_is_refused_for_that_reason(rule: Rule, tmp_path: Path) -> None:
    section = SECTIONS[rule.value]
    (example,) = re.findall(r"^```python refused\n(.*?)^```$", section, re.M | re.S)
    assert len(re.findall(r"^```python compiles$", section, re.M)) == 1
    with pytest.raises(Refusal) as caught:
        build(example, tmp_path)
    assert caught.value.rule == rule
    assert not caught.value.others


@pytest.mark.parametrize("number", range(len(COMPILING)))
def test_what_compiles_compiles(number: int, tmp_path: Path) -> None:
    assert build(COMPILING[number], tmp_path).symbols


def test_the_page_shows_a_refusal_as_it_is(tmp_path: Path) -> None:
    source = "def f(a: u64, b: u64) -> bool:\n    return a + b > 7\n"
    with pytest.raises(Refusal) as caught:
        build(source, tmp_path)
    shown = re.search(r"^```text\n(.*?)^```$", REFUSALS, re.M | re.S)
    assert shown is not None
    place, expected = shown.group(1).rstrip().split(": refused", 1)
    assert place.count(":") == 2
    assert caught.value.describe().split(": refused", 1)[1] == expected
