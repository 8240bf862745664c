"""`vestige type`: what its words mean, and in which order."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from vestige.cli import main as cli
from vestige.cli import type as command
from vestige.errors import UsageError
from vestige.host.control.client import SlowError


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))


def test_all_is_done_in_its_order() -> None:
    words = ["one", "f1", "--text", "ls -l", "enter", "move 10 -5", "--text=-x", "one"]
    arguments = command.SYNTAX.read(words)
    assert command.lines_of(arguments) == [
        *("f1", "text ls -l", "enter", "move 10 -5", "text -x", "one"),
    ]


def test_the_name_may_follow_text() -> None:
    arguments = command.SYNTAX.read(["--text", "one", "one", "enter"])
    assert command.lines_of(arguments) == ["text one", "enter"]


def test_a_minus_is_a_key() -> None:
    arguments = command.SYNTAX.read(["one", "-", "a"])
    assert command.lines_of(arguments) == ["-", "a"]


def test_all_behind_two_dashes_is_typed() -> None:
    """And is no option, whatever it begins with."""
    arguments = command.SYNTAX.read(["one", "--text", "a", "--", "f1", "-", "--text"])
    assert command.lines_of(arguments) == ["text a", "f1", "-", "--text"]
    arguments = command.SYNTAX.read(["--", "one", "a"])
    assert command.lines_of(arguments) == ["a"]


class Guest:
    """A run's, which has taken what is typed once it was asked for each answer of `typing`."""

    def __init__(self, *typing: Any, drops: Any = None) -> None:
        self.typing, self.drops = list(typing), drops
        self.id = ""
        self.now = 0.0

    def send(self, request: Any) -> None:
        assert (request["do"], request["lines"]) == ("type", ["a"])
        self.id = request["id"]

    def wait(self, seconds: float) -> Any:
        if self.typing:
            self.now += seconds
            raise SlowError("one: no answer")
        return {}

    def ask(self, request: Any) -> Any:
        if request == {"do": "typing"}:
            return self.typing.pop(0)
        assert request == {"do": "drop", "id": self.id}
        if self.drops is None:
            self.typing = []
            raise UsageError("one: no type of that id waits")
        return self.drops


def types(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> int:
    @contextmanager
    def find(_name: str) -> Iterator[Guest]:
        yield guest

    monkeypatch.setattr(command, "find", find)
    monkeypatch.setattr(time, "monotonic", lambda: guest.now)
    return cli.main(["type", "one", "a"])


def waiting(seconds: float) -> dict[str, Any]:
    return {"waits": 2, "of": 9, "seconds": seconds}


def test_a_slow_guest_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that was slow before."""
    guest = Guest(*[waiting(90.0)] * 9, waiting(0.0), *[waiting(9.0)] * 20)
    assert types(guest, monkeypatch) == 0
    assert guest.typing == []


@pytest.mark.parametrize(
    ("held", "words"), [(16, "; at most 16 before these it gets once it takes any"), (0, "")]
)
def test_one_that_takes_no_more_is_told(
    held: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drops = {"dropped": 2, "of": 19, "held": held}
    guest = Guest(*map(waiting, map(float, range(1, 100))), drops=drops)
    assert types(guest, monkeypatch) == 1
    assert guest.now == 10.0
    assert capsys.readouterr().err == (
        "vestige: one: the guest takes no more: 2 of 19 events (keys down and up, movements, waits)"
        f" are dropped{words}; look at its screen before you type again\n"
    )


def test_one_that_has_taken_all_after_all_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a look at what waits and having that dropped."""
    assert types(Guest(*[waiting(90.0)] * 20), monkeypatch) == 0


@pytest.mark.parametrize("told", [{}, ["waits"], {"seconds": "1.0"}])
def test_nonsense_is_told(
    told: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert types(Guest(told), monkeypatch) == 1
    assert capsys.readouterr().err == "vestige: one: an answer that is none of a run's\n"


@pytest.mark.parametrize("drops", [{}, [], {"dropped": 1}, "x"])
def test_nonsense_of_what_is_dropped_is_told(
    drops: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert types(Guest(*[waiting(90.0)] * 20, drops=drops), monkeypatch) == 1
    assert capsys.readouterr().err == "vestige: one: an answer that is none of a run's\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "no name; `vestige ps` shows those that there are"),
        (["one"], "nothing to type; give --text TEXT, or keys like enter"),
        (["one", "a"], "no run 'one'; none is there"),
        (["one", "wait", "5"], "'wait': the rest of it belongs to the same word: is it 'wait 5'?"),
        (["one", "a", "move", "1", "2", "b"], "is it 'move 1 2'?"),
        (["one", "button", "left", "down"], "is it 'button left down'?"),
        (["one", "button", "left", "a"], "is it 'button left'?"),
        (["one", "text", "-x"], "unrecognized arguments: -x; see"),
        (["one", "text", "x"], "is it 'text x'?"),
        (["one", "press", "--text", "x"], "'press': the rest of it belongs to the same word;"),
        (["one", "wheel"], "'wheel': the rest of it belongs to the same word; see"),
        (["one", "--text"], "argument --text: expected one argument; see `vestige type --help`"),
    ],
)
def test_bad_words_get_one_line_and_status_2(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["type", *words]) == cli.EXIT_USAGE
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1
