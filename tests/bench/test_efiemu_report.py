"""What the tables of a machine that is taken over say of what was measured."""

from typing import Any

from bench.efiemu import port_times
from bench.efiemu_report import BARE, BOOT, MEASURES, TAKEN, THEIRS, page_lines


def result(monitor: float, read: float, boot: float) -> dict[str, Any]:
    """One round; QEMU's IDE reads 10 MiB/s, and the NVMe itself boots in 10 s."""
    fast = dict.fromkeys(MEASURES, 10.0)
    taken = {**fast, "sequential-read": read, BOOT: boot}
    taken |= {"no exit": 200.0, "one exit": 20_000.0, "monitor": monitor}
    measured = {TAKEN: [taken], BARE: [fast], THEIRS: [fast]}
    return {"rounds": 1, "date": "2026-11-29", "measured": measured}


def test_goals_are_judged_one_by_one() -> None:
    lines = page_lines(result(44_000.0, 10.0, 13.0))
    assert "| `in` from Status: ≤ 2.2 x one exit | 2.20 x | met |" in lines
    assert f"| fio, 128 KiB sequential read: ≥ 1.0 x {THEIRS} | 1.00 x | met |" in lines
    assert f"| from the firmware's shell to init: ≤ 1.3 x {BARE} | 1.30 x | met |" in lines
    lines = page_lines(result(44_100.0, 9.9, 13.1))
    assert sum("**missed**" in line for line in lines) == 3
    assert "| `in` that nobody intercepts, µs | 0.2 |" in lines


def test_each_port_has_its_own_batches() -> None:
    console = "port: 128 100\nport: 128 300\nport: 128 200\nport: 375 7\nport: 503 9\n"
    assert port_times(console) == {"no exit": 200, "one exit": 7, "monitor": 9}
