"""bench/overlay_ring.py: a series is done whole, and a request that fails is no measure."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bench.common.series import serve
from bench.overlay import DEVICES, NEW, OVERLAY, STAGES, Way
from bench.overlay_ring import one, opened, pin, timed
from tests.monitor.real_ring import Bench
from vestige import abi
from vestige.errors import GuestError, UsageError
from vestige.monitor.block import Operation

CODE = {"serve": serve}
WAY = Way(4, 3, 8)
SECTORS = 8  # of a request
SIZE = 16 * 4096


@pytest.fixture(autouse=True)
def _small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.overlay_ring.WORK", tmp_path)
    monkeypatch.setattr("bench.overlay_ring.SIZE", SIZE)
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A ring with a new raw disk."""
    eventfd = os.eventfd(0)
    try:
        with (
            closing(opened(NEW, b"")) as image,
            closing(Bench([image.descriptor], eventfd)) as made,
        ):
            pin(made, WAY.depth * 4096)
            yield made
    except UsageError as error:
        pytest.skip(str(error))
    finally:
        os.close(eventfd)


def test_a_series_writes_each_of_its_sectors(bench: Bench) -> None:
    lbas = [SECTORS * block for block in (7, 0, 3, 12)]
    rate, _ = timed(CODE, bench, abi.Disk(), WAY, Operation.WRITE, lbas)
    assert rate > 0
    assert bench.run(Operation.READ, 0, [(1 << 20, SIZE)]) == 0
    written = bench.memory.region.view[1 << 20 : (1 << 20) + SIZE]
    assert [block for block in range(16) if written[4096 * block + 4095]] == [0, 3, 7, 12]


def test_a_request_that_fails_is_told(bench: Bench) -> None:
    with pytest.raises(GuestError, match="2 requests failed"):
        timed(CODE, bench, abi.Disk(file=9), WAY, Operation.READ, [0, SECTORS])


def test_each_stage_is_measured_of_the_disks_that_it_is_compared_with() -> None:
    try:
        taken = one(CODE, "way", WAY, 1)
    except UsageError as error:
        pytest.skip(str(error))
    for disk in DEVICES:
        stages = {name.partition("-")[0] for name in taken[disk]}
        expected = {name for name, does in STAGES.items() if disk in (OVERLAY, *does.against)}
        assert stages == expected
