"""`vestige stop`: whose processes it can wait for, and what each that does not end is told."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from vestige.cli import stop
from vestige.cli.arguments import Arguments
from vestige.cli.main import main
from vestige.errors import GuestError, UsageError
from vestige.host.control import client
from vestige.host.control.client import SilentError
from vestige.host.control.folder import open_folder

PATIENCE = 10.0


@pytest.mark.parametrize("number", [0, -1])
def test_a_run_without_a_number_here_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    """As the kernel has it of one in a PID namespace above this one, or beside it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(client, "PEER", Peer(number))
    folder = open_folder(make=True)
    assert folder is not None
    with closing(folder):
        listener, _ = folder.listen("one")
        with closing(listener), pytest.raises(GuestError) as told:
            stop.run(Arguments({}, ["one"]))
    assert str(told.value) == "one: its process is in another PID namespace; stop it from there"


class Peer:
    """The layout of struct ucred, of a process of this number."""

    size = 12

    def __init__(self, number: int) -> None:
        self._number = number

    def unpack(self, _data: bytes) -> tuple[int, int, int]:
        return self._number, 0, 0


class Found:
    """A run whose process is one of sleep(1), which ends where `answers` when it is asked."""

    def __init__(self, name: str, answers: bool = True, takes: bool = True) -> None:
        self.name, self.answers, self.takes = name, answers, takes
        self.process = subprocess.Popen(["sleep", "1000"])
        self.pid = self.process.pid

    def send(self, request: object) -> None:
        assert request == {"do": "stop"}
        if not self.takes:
            raise SilentError(f"{self.name}: takes no request now; try again")
        if self.answers:
            self.process.terminate()


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Found | Exception]]:
    """The runs that there are, which stop has half a second for."""
    runs: dict[str, Found | Exception] = {}

    def find(name: str) -> Found:
        run = runs.get(name, UsageError(f"no run {name!r}"))
        if isinstance(run, Exception):
            raise run
        return run

    monkeypatch.setattr(stop, "find", find)
    monkeypatch.setattr(stop, "PATIENCE", 0.5)
    yield runs
    for run in runs.values():
        if isinstance(run, Found):
            run.process.kill()
            run.process.wait()


def test_all_are_asked_and_each_that_does_not_end_has_a_line(
    found: dict[str, Found | Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    last = Found("last")
    found |= {
        "still": Found("still", answers=False),
        "full": Found("full", takes=False),
        "deaf": SilentError("deaf: takes no request now; try again"),
        "last": last,
    }
    assert main(["stop", *found]) == 1
    assert last.process.wait(PATIENCE) == -signal.SIGTERM
    assert capsys.readouterr().err.splitlines() == [
        "vestige: still: has not ended within 0 s; vestige stop --kill still ends it at once",
        "vestige: full: takes no request now; try again; vestige stop --kill full ends it at once",
        "vestige: deaf: takes no request now; try again",
    ]


def test_all_are_killed(found: dict[str, Found | Exception]) -> None:
    runs = [Found("full", takes=False), Found("still", answers=False)]
    found |= {run.name: run for run in runs}
    assert main(["stop", "--kill", *found]) == 0
    assert [run.process.wait(PATIENCE) for run in runs] == [-signal.SIGKILL] * 2


def test_one_that_has_ended_meanwhile_has_ended(found: dict[str, Found | Exception]) -> None:
    run = Found("one")
    run.process.kill()
    run.process.wait()
    found["one"] = run
    assert main(["stop", "one"]) == 0


def test_none_is_ended_where_one_is_not_there(found: dict[str, Found | Exception]) -> None:
    run = found["one"] = Found("one")
    found["deaf"] = SilentError("deaf: takes no request now; try again")
    assert main(["stop", "one", "deaf", "two"]) == 2
    assert run.process.poll() is None
