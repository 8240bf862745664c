"""The tables of bench/clone_answer.py, what is met and what is missed; how QEMU goes on."""

from pathlib import Path

import pytest

from bench import clone_answer
from bench.clone_answer import BOOT, CLONE, INCOMING, THEIR_BOOT, TIME
from bench.common.migrated import incoming


def test_a_clone_is_judged_by_a_boot_and_by_qemu() -> None:
    times = {BOOT: 9000.0, CLONE: 450.0, THEIR_BOOT: 12_000.0, INCOMING: 400.0}
    measured = {name: 2 * [{TIME: time}] for name, time in times.items()}
    lines = clone_answer.page_lines({"rounds": 2, "date": "2026-11-30", "measured": measured})
    assert f"| {CLONE} | 450 ms | 450 ms | 450 ms |" in lines
    assert f"| {CLONE} ≤ 0.05 x {BOOT} | 0.050 x | met |" in lines
    assert f"| {CLONE} ≤ 1.0 x {INCOMING} | 1.125 x | **missed** |" in lines


@pytest.mark.parametrize(
    ("version", "how"),
    [("7.2.22", "exec:cat state"), ("8.2", "file:state"), ("11.1.3", "file:state")],
)
def test_a_qemu_that_reads_files_needs_no_pipe(version: str, how: str) -> None:
    assert incoming(version, Path("state")) == ("-incoming", how)
