"""What the tables of a PC's benchmarks say of what was measured."""

from typing import Any

from bench import pc_start_report, pc_tick, pc_tick_report
from bench.common.pc import KERNEL, OURS, READY, SPLIT, Exits
from bench.common.places import INSIDE, NATIVE

TAKEN = {"date": "2026-12-01", "qemu": "11.1.3"}


def test_a_tick_is_the_difference_of_many_and_few() -> None:
    few = Exits(100 + 2 * pc_tick.FEW, 200 + 5 * pc_tick.FEW, {"INTR": pc_tick.FEW, "IO": 7})
    many = Exits(100 + 2 * pc_tick.COUNT, 200 + 5 * pc_tick.COUNT, {"INTR": pc_tick.COUNT, "IO": 7})
    found = pc_tick.slope(few, many)
    assert found == {"exits": 2.0, "returns": 5.0, "causes": {"INTR": 1.0}}


def test_a_ticks_goals_are_those_against_chips_in_user_space() -> None:
    place = {
        "rounds": {OURS: [{"time": 120.0}], SPLIT: [{"time": 100.0}], KERNEL: [{"time": 10.0}]},
        "counts": {
            OURS: {"exits": 2.5, "returns": 5.0, "causes": {"INTR": 1.0}},
            SPLIT: {"exits": 2.0, "returns": 2.0, "causes": {}},
            KERNEL: {"exits": 0.0, "returns": 0.0, "causes": {}},
        },
    }
    lines = pc_tick_report.page_lines({**TAKEN, NATIVE: place, INSIDE: place})
    assert f"| native: time | {SPLIT} | 1.20 | met |" in lines
    assert f"| native: time | {KERNEL} | 12.00 |  |" in lines
    assert f"| native: exits | {SPLIT} | 1.25 | **missed** |" in lines
    assert "| of these: INTR | 1.00 |  |  |" in lines


def start(exits: int, memory: float) -> dict[str, Any]:
    """A place where Vestige takes so many exits and MiB, half of QEMU's time by a launcher.

    From reset it takes half of what it takes from exec, QEMU nine tenths.
    """
    return {
        "rounds": {
            name: [{"time": time, "since reset": part * time, "processor": 1.0, "memory": memory}]
            for name, time, part in (
                (OURS, 1100.0, 0.5),
                (READY, 500.0, 0.5),
                (KERNEL, 1000.0, 0.9),
                (SPLIT, 900.0, 0.9),
            )
        },
        "counts": {
            OURS: {"guest": exits, "all": 3000, "causes": {"port 0x71, read": 500, "INTR": 1}},
            KERNEL: {"guest": 1500, "all": 1500, "causes": {}},
            SPLIT: {"guest": 1600, "all": 1600, "causes": {}},
        },
    }


def test_a_starts_goals_are_judged_one_by_one() -> None:
    lines = pc_start_report.page_lines(
        {**TAKEN, NATIVE: start(1200, 20.0), INSIDE: start(1201, 20.04)}
    )
    assert "| native: exits | 1,200 | at most 1,200: met |" in lines
    assert "| software host: exits | 1,201 | at most 1,200: **missed** |" in lines
    wanted = "at most 1.0 of QEMU's, KVM's PIC and PIT"
    assert f"| native: from exec to the sector, {OURS} | 1.10 | {wanted}: **missed** |" in lines
    assert f"| native: from exec to the sector, {READY} | 0.50 | {wanted}: met |" in lines
    assert f"| native: from reset to the sector, {OURS} | 0.61 | {wanted}: met |" in lines
    assert f"| native: memory, {OURS} | 20.0 MiB | at most 20 MiB: met |" in lines
    assert f"| software host: memory, {OURS} | 20.0 MiB | at most 20 MiB: **missed** |" in lines
    assert "| port 0x71, read | 500 |" in lines
    assert "| all others | 700 |" in lines
