"""bench/first_write.py: that files are as their names say, and its table."""

import os
from pathlib import Path

import pytest

from bench import first_write
from bench.first_write import BEFORE, HOLE, PLACES, SIZES, TAKEN, TOUCHED, UNALIGNED
from vestige.host.backends.overlays import HUGE_PAGE


@pytest.mark.parametrize("kind", PLACES)
def test_files_are_as_they_are_called_when_they_are_measured(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def write(file: int, place: int, size: int) -> float:
        found.append((os.fstat(file).st_blocks > 0, place % HUGE_PAGE == 0))
        os.pwrite(file, bytes(size), place)
        os.fsync(file)
        return float(len(found))

    monkeypatch.setattr(first_write, "WORK", tmp_path)
    monkeypatch.setattr(first_write, "write", write)
    assert first_write.one(kind, 4096) == len(found)
    assert found[-1] == (kind in (BEFORE, TAKEN, TOUCHED), kind != UNALIGNED)


def test_each_kind_is_compared_with_what_was_written_before() -> None:
    times = {BEFORE: 2.0, HOLE: 3.0, UNALIGNED: 4.0, TOUCHED: 3.5, TAKEN: 2.5}
    measured = {kind: [dict.fromkeys(SIZES, time)] for kind, time in times.items()}
    told = {"rounds": 1, "date": "2026-11-30", "kernel": "6.18", "file system": "ext4"}
    lines = first_write.page_lines({**told, "measured": measured})
    assert lines[0] == "Medians of 1 rounds, 2026-11-30. Linux 6.18, ext4."
    assert lines[-1] == "| 4 KiB, µs | 2 | 3 (1.50 x) | 4 (2.00 x) | 3.5 (1.75 x) | 2.5 (1.25 x) |"
