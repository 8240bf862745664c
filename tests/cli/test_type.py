"""`vestige type`: what its words mean, and in which order."""

import pytest

from vestige.cli import main as cli
from vestige.cli import type as command


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


def test_who_types_more_waits_longer() -> None:
    assert command.patience(["wait 30000", "text " + "a" * 500]) > 30 + command.PATIENCE
    assert command.patience(["wait x", "wait -5"]) < command.PATIENCE + 10


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
