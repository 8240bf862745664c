"""The table of `vestige ps`."""

import json
import os
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from vestige.cli import ps
from vestige.host.control.client import everyone
from vestige.host.control.folder import open_folder


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0s"),
        (59, "59s"),
        (60, "1m0s"),
        (312, "5m12s"),
        (3 * 3600 + 5, "3h0m"),
        (2 * 86400 + 3 * 3600, "2d3h"),
        (1000 * 86400, "1000d0h"),
    ],
)
def test_a_time_has_two_units_at_most(seconds: int, words: str) -> None:
    assert ps.time_of(seconds) == words


def test_columns_are_as_wide_as_need_be() -> None:
    assert ps.table([["NAME", "RUNS"], ["a", "x"], ["longer", "y z"]]) == [
        "NAME    RUNS",
        "a       x",
        "longer  y z",
    ]


def test_what_does_something_to_a_terminal_is_escaped() -> None:
    (line,) = ps.table([["a\x1b[1m", "b\nc"]])
    assert line == r"a\x1b[1m  b\nc"


def test_of_a_silent_run_there_is_its_name() -> None:
    told = {"name": "one", "pid": 7, "state": "silent"}
    assert ps.row(told) == ("one", "7", "silent", "-", "-", "-", "-", "-")


@pytest.mark.parametrize(
    ("start", "kernel", "shown"),
    [("vmlinuz", "vmlinuz", "vmlinuz, a"), ("bios", None, "bios, a"), ("bios", "k", "bios, k, a")],
)
def test_a_run_shows_the_kernel_that_its_firmware_starts(
    start: str, kernel: str | None, shown: str
) -> None:
    told = {"name": "one", "pid": 7, "state": "running", "start": start, "kernel": kernel}
    assert ps.row({**told, "disks": ["a"]})[-1] == shown


@pytest.mark.parametrize(("cdrom", "shown"), [("b.iso", "cdrom b.iso"), (None, "cdrom none")])
def test_a_run_with_a_drive_shows_the_disc_in_it(cdrom: str | None, shown: str) -> None:
    told = {"name": "one", "pid": 7, "state": "running", "start": "bios", "kernel": None}
    assert ps.row({**told, "disks": ["a"], "cdrom": cdrom})[-1] == f"bios, a, {shown}"


def test_an_answer_of_nonsense_is_no_error() -> None:
    told = {"name": "one", "pid": 7, "state": [], "seconds": "x", "memory": None, "disks": 5}
    told["cdrom"] = []
    assert ps.row(told)[:3] == ("one", "7", "[]")


def told_of(answer: bytes) -> list[Any]:
    """What is told of a run, one, that answers this."""
    folder = open_folder(make=True)
    assert folder is not None
    with closing(folder):
        listener, _ = folder.listen("one")
        with closing(listener):
            (run,) = everyone()
            with socket.socket(fileno=listener.detach()).accept()[0] as end, closing(run):
                end.sendall(answer + b"\n")
                return [*ps.ask_all([run])]


def test_who_a_run_is_the_kernel_tells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    answer = {"name": "another", "pid": 1, "state": "running"}
    assert told_of(json.dumps({"answer": answer}).encode()) == [
        {"name": "one", "pid": os.getpid(), "state": "running"}
    ]


def test_an_answer_that_nests_too_deep_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Python would write and show it by as many calls within each other."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    answer = b'{"answer": {"state": ' + b"[" * 500 + b"]" * 500 + b"}}"
    assert told_of(answer) == [{"name": "one", "pid": os.getpid(), "state": "silent"}]
