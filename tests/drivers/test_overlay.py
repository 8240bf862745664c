"""A disk in two files: which has what. What every block driver does is in test_block_drivers.py."""

import random

import pytest

from tests.drivers.benches import (
    DISK_SECTORS,
    OVERLAY_START,
    OverlayBench,
    Pages,
    RingBench,
    native,
)
from tests.lang.stepping import NoSteppingError, instructions
from vestige.abi import SECTOR, Disk
from vestige.lang.intrinsics import Processor, running_on
from vestige.monitor.block import Operation, State
from vestige.monitor.drivers.ring import overlay
from vestige.monitor.drivers.ring.spec import Errno, Opcode

MOST = 300  # sectors of a map


@pytest.fixture
def bench(compiled: bool) -> OverlayBench:
    return OverlayBench(compiled)


def test_a_sector_is_the_overlays_once_it_is_written_and_not_before(bench: OverlayBench) -> None:
    first = next(n for n in range(DISK_SECTORS) if not bench.has(n) and not bench.has(n + 1))
    bench.hold()
    bench.begin(Operation.WRITE, first, [(0, SECTOR), (2 * SECTOR, SECTOR)])
    bench.turn()
    assert bench.held() == 2
    bench.release(0)
    bench.turn()
    assert not bench.finished()
    assert not bench.has(first)
    bench.release(0)
    bench.turn()
    assert bench.finished()
    assert bench.has(first)
    assert bench.has(first + 1)


def test_what_could_not_be_written_is_the_bases_still(bench: OverlayBench) -> None:
    first = next(n for n in range(DISK_SECTORS) if not bench.has(n) and not bench.has(n + 1))
    before = bytes(bench.disk)
    bench.fail(lambda sector, _seen: sector == first + 1, forever=True)
    assert bench.do(Operation.WRITE, first, [(0, SECTOR), (2 * SECTOR, SECTOR)]) != 0
    assert bench.disk == before


def test_a_run_of_sectors_in_one_file_is_one_operation(bench: OverlayBench) -> None:
    assert bench.do(Operation.WRITE, 64, [(0, 512 * SECTOR)]) == 0
    bench.ring.log.clear()
    assert bench.do(Operation.READ, 64, [(0, 512 * SECTOR)]) == 0
    start = (OVERLAY_START + 64) * SECTOR
    assert bench.ring.log == [(Opcode.READ_FIXED, 1, start, 512 * SECTOR)]


def test_what_is_discarded_is_a_hole_of_the_overlay(bench: OverlayBench) -> None:
    """Also where it had nothing: its zeroes hide the base. Not so where no hole could be made."""
    expected = bytearray(bench.disk)
    bench.ring.starts[1] = OVERLAY_START
    for refused in (Errno.EIO, 0):
        answers = [refused] * 3
        bench.ring.refuse = lambda _order, answers=answers: answers.pop()  # type: ignore[misc]
        request = bench.requests[0]
        request.state = State.IDLE
        request.prepare(Operation.DISCARD, 0, 0, 0)
        for first, sectors in ((3, 1), (33, 1000), (DISK_SECTORS - 1, 1)):
            request.add(first, sectors)
            if not refused:
                expected[first * SECTOR : (first + sectors) * SECTOR] = bytes(sectors * SECTOR)
        request.state = State.BUSY
        bench.start(0)
        assert bench.run() == refused
        assert bench.disk == expected
    files = {file for file, _, _ in bench.ring.orders}
    assert files == {1}
    assert bench.ring.orders[-1] == (1, DISK_SECTORS - 1, 1)


@pytest.mark.parametrize("seed", range(20))
def test_the_map_tells_where_a_layer_ends(seed: int) -> None:
    chance = random.Random(seed)
    pages = Pages(4096)
    disk = Disk(overlay_map=pages.address)
    written = [False] * MOST
    for _ in range(20):
        first = chance.randrange(MOST)
        count = chance.randrange(MOST - first + 1)
        overlay.mark(disk, first, count)
        written[first : first + count] = [True] * count
        assert [overlay.is_written(disk, sector) for sector in range(MOST)] == written
        for start in range(MOST):
            end = chance.randrange(start + 1, MOST + 1)
            alike = next((n for n in range(start, end) if written[n] != written[start]), end)
            assert overlay.end_of_layer(disk, start, end, written[start]) == alike
            # Looked up before another worker set its bit: what is behind it is not of that bit.
            before = not written[start]
            alike = next((n for n in range(start + 1, end) if written[n] != before), end)
            assert overlay.end_of_layer(disk, start, end, before) == alike


@pytest.mark.parametrize(("segments", "most"), [(32, 1.15), (1, 1.4)])
def test_the_map_costs_a_read_little(segments: int, most: float) -> None:
    """Of pages that lie apart, as of 128 KiB, it is looked at once for all that one file has."""
    counts = []
    for bench in (RingBench(compiled=True), OverlayBench(compiled=True)):
        if isinstance(bench, OverlayBench):
            bench.map.data[:] = bytes(DISK_SECTORS // 8)
        bench.begin(Operation.READ, 256, [(number << 13, 4096) for number in range(segments)])
        advance = native(bench.functions())["RingDriver.advance"]
        request, disk, ring = bench.requests[0], bench.described, bench.description
        try:
            counts.append(instructions(advance, bench.driver, 0, request, disk, bench.ram, ring))
        except NoSteppingError as error:
            pytest.skip(str(error))
    assert counts[1] <= most * counts[0]


def test_bits_that_another_worker_sets_meanwhile_stay() -> None:
    pages = Pages(4096)
    disk = Disk(overlay_map=pages.address)

    class Other(Processor):
        def before_ordered_access(self) -> None:
            pages.data[3] |= 0x80

    with running_on(Other()):
        overlay.mark(disk, 0, 5)
    assert pages.data[:5] == b"\x1f\0\0\x80\0"
