"""bench/overlay.py: fio's jobs, what is made of its answers, what is met and what is missed."""

import re

from bench import overlay
from bench.common.readings import Job
from bench.overlay import DEVICES, DISK, NEW, OVERLAY, RAW, ROOM, SLICES, STAGES, WAYS
from bench.virtio_report import HOST, RATE, key

FIRST = "first-sequential-1"


def measured(rates: dict[str, float]) -> dict[str, list[dict[str, float]]]:
    """A round, in which each disk is so fast at everything."""
    names = [f"{stage}-{way}" for stage in STAGES for way in WAYS]
    return {
        disk: [{key(name, each): rate for name in names for each in (RATE, HOST)}]
        for disk, rate in rates.items()
    }


def test_sequential_and_random_jobs_have_goals_of_their_own() -> None:
    found = measured({RAW: 100, NEW: 93, OVERLAY: 93})
    lines = overlay.page_lines({"rounds": 1, "date": "2026-11-30", "measured": found})
    assert sum("0.93 x; ≥ 0.95 x: **missed**" in line for line in lines) == 8
    assert sum("0.93 x; ≥ 0.9 x: met" in line for line in lines) == 8
    both = [line for line in lines if "1.00 x; ≥" in line]
    assert len(both) == 12
    assert not any("the base" in line for line in both)


def test_disks_take_turns_at_slices_that_no_other_job_has_written() -> None:
    found = re.findall(
        r"^\[(\w+?)_.*?(vd.)\]$.*?^offset=(\d+)m", "".join(overlay.jobs()), re.M | re.S
    )
    firsts = [(device, int(place)) for stage, device, place in found if stage == "first"]
    assert len(set(firsts)) == len(firsts) == len(DEVICES) * len(WAYS) * SLICES
    assert {place for _, place in firsts} == set(range(0, DISK, ROOM))
    assert len({device for device, _ in firsts[:: len(DEVICES)]}) == len(DEVICES)
    written: set[tuple[str, str]] = set()
    for stage, device, place in found:
        assert ((device, place) in written) == (stage not in ("base", "first"))
        if stage == "first":
            written.add((device, place))


def test_a_stages_slices_are_one_measure() -> None:
    """Of 128 operations at 100 a second, and 128 at 300: 256 in 1.706… seconds."""
    moved, spans = {}, {}
    for stage in STAGES:
        for way, how in WAYS.items():
            for device in DEVICES.values():
                for piece, rate in enumerate((100.0, 300.0)):
                    name = f"{stage}_{way}_{piece}_{device}"
                    moved[name] = Job(0.0, rate, how.kib * 128)
                    spans[name] = {"cpu": 0.5, "guest": 0.244, "exits": 64.0}
    found = overlay.by_disk(moved, spans)
    assert found[NEW].keys() < found[RAW].keys() == found[OVERLAY].keys()
    assert found[NEW][key(FIRST, HOST)] == 2000
    assert round(found[NEW][key(FIRST, RATE)], 6) == 150 / 8
    assert round(found[OVERLAY][key("base-random-32", RATE)], 6) == 150
