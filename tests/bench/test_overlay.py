"""The table of bench/overlay.py: what is met and what is missed."""

from bench import overlay
from bench.overlay import OVERLAY, RAW
from bench.virtio_disk import JOBS
from bench.virtio_report import HOST, RATE, key


def rounds(rate: float) -> list[dict[str, float]]:
    """One, of a disk that is so fast at everything."""
    return [{key(job, each): rate for job in JOBS for each in (RATE, HOST)}]


def test_sequential_and_random_jobs_have_goals_of_their_own() -> None:
    measured = {RAW: rounds(100), OVERLAY: rounds(93)}
    lines = overlay.page_lines({"rounds": 1, "date": "2026-11-30", "measured": measured})
    assert sum("0.93 x; ≥ 0.95 x: **missed**" in line for line in lines) == 4
    assert sum("0.93 x; ≥ 0.9 x: met" in line for line in lines) == 4
