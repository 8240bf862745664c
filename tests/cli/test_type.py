"""`vestige type`: what its words mean, and in which order."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from vestige.cli import main as cli
from vestige.cli import type as command
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


class Guest:
    """A run's, which has taken what is typed once it was asked for each answer of `typing`."""

    def __init__(self, *typing: Any) -> None:
        self.typing = list(typing)
        self.now = 0.0

    def send(self, request: Any) -> None:
        assert request == {"do": "type", "lines": ["a"]}

    def wait(self, seconds: float) -> Any:
        if self.typing:
            self.now += seconds
            raise SlowError("one: no answer")
        return {}

    def ask(self, request: Any) -> Any:
        assert request == {"do": "typing"}
        return self.typing.pop(0)


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


def test_one_that_takes_no_more_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guest = Guest(*map(waiting, map(float, range(1, 100))))
    assert types(guest, monkeypatch) == 1
    assert guest.now == 10.0
    assert capsys.readouterr().err == (
        "vestige: one: the guest takes no more: 2 of 9 wait (keys down and up, movements), at most;"
        " what it has not been given is dropped\n"
    )


@pytest.mark.parametrize("told", [{}, ["waits"], {"waits": "2", "of": 9, "seconds": 1.0}])
def test_nonsense_is_told(
    told: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert types(Guest(told), monkeypatch) == 1
    assert capsys.readouterr().err == "vestige: one: an answer that is none of a run's\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "no name; `vestige ps` shows those that there are"),
        (["one"], "nothing to type; give --text TEXT, or keys like enter"),
        (["one", "a"], "no run 'one'; none is there"),
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
