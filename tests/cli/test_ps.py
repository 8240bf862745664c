"""The table of `vestige ps`."""

import pytest

from vestige.cli import ps


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


def test_an_answer_of_nonsense_is_no_error() -> None:
    told = {"name": "one", "pid": 7, "state": [], "seconds": "x", "memory": None, "disks": 5}
    assert ps.row(told)[:3] == ("one", "7", "[]")
