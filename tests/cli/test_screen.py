"""`vestige screen`: what is said where a run shows no text."""

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.screen.screens import answer
from vestige.cli import screen
from vestige.cli.main import main
from vestige.screen.png import SIGNATURE

Answers = Callable[[Any], None]
NONSENSE: list[Any] = [{}, [], "text", 7, {"kind": []}, {"kind": "x"}]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Has a run of any name answer so."""

    def run(told: Any) -> None:
        class Asked:
            def ask(self, request: object) -> Any:
                assert request in ({"do": "screen"}, {"do": "screen", "line": 0})
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
        (
            {"kind": "graphics", "dots": ""},
            1,
            "web: the screen shows graphics, not text; -o FILE.png makes a picture of it",
        ),
        (
            {"kind": "graphics"},
            1,
            "web: the screen shows graphics of which no picture can be made: a mode of a CGA's",
        ),
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


def pictured(path: Path | str) -> int:
    return main(["screen", "web", "-o", str(path)])


def test_a_picture_replaces_another_whole(answers: Answers, tmp_path: Path) -> None:
    answers(answer(b"o\7k\7 \7!\7", 2))
    path = tmp_path / "screen.png"
    assert pictured(path) == 0
    data = path.read_bytes()
    assert data.startswith(SIGNATURE)
    path.write_bytes(SIGNATURE + b"a longer file" * 10_000)
    linked = tmp_path / "older.png"
    linked.hardlink_to(path)
    assert pictured(path) == 0
    assert path.read_bytes() == data
    assert linked.stat().st_size > len(data), "the old file is not written to"
    assert {each.name for each in tmp_path.iterdir()} == {"screen.png", "older.png"}


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("disk", "a file that is no PNG"),
        ("empty", "a file that is no PNG"),
        ("folder", "a folder"),
        ("link", "a symbolic link"),
        ("dangling", "a symbolic link"),
        ("fifo", "a FIFO"),
        ("device", "a device"),
    ],
)
def test_a_picture_replaces_nothing_else(
    answers: Answers, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, what: str
) -> None:
    answers(answer(b"o\7k\7 \7!\7", 2))
    path, target = tmp_path / "taken", tmp_path / "target.png"
    match kind:
        case "disk" | "empty":
            path.write_bytes(b"disk" if kind == "disk" else b"")
        case "folder":
            path.mkdir()
        case "link" | "dangling":
            path.symlink_to(target)
            if kind == "link":
                target.write_bytes(SIGNATURE)
        case "fifo":
            os.mkfifo(path)
        case _:
            path = Path("/dev/null")
    before = path.lstat()
    assert pictured(path) == 2
    assert capsys.readouterr().err == (
        f"vestige: -o {path}: {what} is there, and is not replaced; give another name\n"
    )
    after = path.lstat()
    assert (after.st_ino, after.st_size, after.st_mode) == (
        *(before.st_ino, before.st_size, before.st_mode),
    )
    assert target.exists() == (kind == "link")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("-", "-o '-': a file is made; give the name of one"),
        ("", "-o '': a file is made; give the name of one"),
        ("\0", "-o \\x00: embedded null byte; give a file that can be written"),
    ],
)
def test_a_picture_needs_a_files_name(
    answers: Answers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    path: str,
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    answers(answer(b"o\7k\7 \7!\7", 2))
    assert pictured(path) == 2
    assert capsys.readouterr().err == f"vestige: {line}\n"
    assert list(tmp_path.iterdir()) == []


def test_half_a_picture_is_none(
    answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no room for the whole."""
    answers(answer(b"o\7k\7 \7!\7", 2))
    path = tmp_path / "screen.png"
    path.write_bytes(SIGNATURE)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, limit[1]))
        status = pictured(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert status == 2
    assert path.read_bytes() == SIGNATURE
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("words", [[], ["one", "two"]])
def test_it_is_of_one_run(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(["screen", *words]) == 2
    assert capsys.readouterr().err == (
        "vestige: give the name of one run; `vestige ps` shows those that there are\n"
    )


@pytest.mark.parametrize("name", ["x.jpg", "x.png.txt", "a/.x.GIF"])
def test_a_name_of_another_kind_of_picture_is_refused(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pictured(name) == 2
    assert f"-o {name}: a PNG is written; give a name that ends so" in capsys.readouterr().err
