"""Landlock: no file by its name."""

import errno
import os
from pathlib import Path

import pytest

from tests.host.jail.children import told_by_a_child
from vestige.host.jail import landlock, layers


def has_landlock() -> bool:
    """Whether this kernel does."""
    try:
        return landlock.version() > 0
    except OSError:
        return False


needs = pytest.mark.skipif(not has_landlock(), reason="this kernel has no Landlock")


@needs
def test_no_file_can_be_opened_made_or_removed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("held")

    def work() -> list[int]:
        layers._prctl(layers.PR_SET_NO_NEW_PRIVS, 1)
        landlock.refuse_all()
        failures = []
        for attempt in (
            lambda: os.open(file, os.O_RDONLY),
            lambda: os.open(file, os.O_WRONLY),
            lambda: os.open(tmp_path / "made", os.O_CREAT | os.O_WRONLY),
            lambda: os.unlink(file),  # noqa: PTH108
            lambda: os.scandir("/"),
            lambda: os.execv("/bin/true", ["true"]),
        ):
            try:
                attempt()
            except OSError as error:
                failures.append(error.errno or 0)
        return failures

    assert told_by_a_child(work) == [errno.EACCES] * 6
    assert file.read_text() == "held"


@needs
def test_what_is_open_stays_so(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("held")
    descriptor = os.open(file, os.O_RDONLY)

    def work() -> str:
        layers._prctl(layers.PR_SET_NO_NEW_PRIVS, 1)
        landlock.refuse_all()
        return os.pread(descriptor, 100, 0).decode()

    assert told_by_a_child(work) == "held"
    os.close(descriptor)


@pytest.mark.parametrize(
    ("version", "size", "files"), [(1, 8, 0x1FFF), (2, 8, 0x3FFF), (4, 16, 0x7FFF), (9, 24, 0xFFFF)]
)
def test_each_version_is_asked_for_what_it_knows(
    monkeypatch: pytest.MonkeyPatch, version: int, size: int, files: int
) -> None:
    asked: list[tuple[int, int]] = []

    def call(number: int, first: int, second: int, third: int) -> int:
        if third == landlock.VERSION:
            return version
        if number == landlock.SYS_CREATE_RULESET:
            asked.append((landlock.Ruleset.at(first).files, second))
        return os.open(os.devnull, os.O_RDONLY)

    monkeypatch.setattr(landlock, "_call", call)
    landlock.refuse_all()
    assert asked == [(files, size)]
