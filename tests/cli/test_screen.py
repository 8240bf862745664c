"""`vestige screen`: what is said where a run shows no text."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.screen.screens import answer
from vestige.cli import screen
from vestige.cli.main import main

Answers = Callable[[Any], None]
NONSENSE: list[Any] = [{}, [], "text", 7, {"kind": []}, {"kind": "x"}]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Has a run of any name answer so."""

    def run(told: Any) -> None:
        class Asked:
            def ask(self, request: object) -> Any:
                assert request == {"do": "screen"}
                return told

        @contextmanager
        def find(_name: str) -> Iterator[Asked]:
            yield Asked()

        monkeypatch.setattr(screen, "find", find)

    return run


def test_its_rows_are_printed(answers: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    answers(answer(b"o\7k\7 \7!\7", 2))
    assert main(["screen", "web"]) == 0
    assert capsys.readouterr() == ("ok\n !\n", "")


@pytest.mark.parametrize(
    ("told", "status", "line"),
    [
        ({"kind": "blank"}, 1, "web: the screen is blank"),
        ({"kind": "graphics"}, 1, "web: the screen shows graphics, not text"),
        (
            {"kind": "absent"},
            2,
            "web: has no screen; a PC has one, unless --vga none took it: vestige run --machine pc",
        ),
        ({"kind": "text"}, 1, "web: the run tells of its screen what can't be"),
        *((each, 1, "web: an answer that is none of a run's") for each in NONSENSE),
    ],
)
def test_without_text_there_is_a_line(
    answers: Answers, capsys: pytest.CaptureFixture[str], told: Any, status: int, line: str
) -> None:
    answers(told)
    assert main(["screen", "web"]) == status
    assert capsys.readouterr() == ("", f"vestige: {line}\n")


@pytest.mark.parametrize("words", [[], ["one", "two"]])
def test_it_is_of_one_run(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(["screen", *words]) == 2
    assert capsys.readouterr().err == (
        "vestige: give the name of one run; `vestige ps` shows those that there are\n"
    )
