"""The commands that the NVMe driver makes of a request, and of the ranges of a discard."""

import pytest

from tests.drivers.benches import MakeNvme, NvmeBench, Pages, Segments
from tests.drivers.fake_nvme import DATASET_MANAGEMENT, READ, WRITE
from vestige.monitor.block import Operation

KIB = 1024
PAGE = 4 * KIB


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([(0x3000, 128 * KIB)], [128 * KIB]),
        ([(0x3204, 128 * KIB)], [128 * KIB]),
        ([(0x1000 * 2 * number, 4096) for number in range(128)], [512 * KIB]),
        ([(0x3E00, 512), (0x8000, 4096), (0x6000, 1536)], [6 * KIB]),
        ([(0x3E00, 4096 + 512), (0x8000, 3584)], [8 * KIB]),
        ([(0x200, 6 << 20)], [2 << 20] * 3),
    ],
)
def test_what_is_aligned_is_not_copied(
    make: MakeNvme, segments: Segments, expected: list[int]
) -> None:
    bench = make()
    assert bench.read(0, segments) == 0
    assert bench.lengths() == expected
    assert bench.report.bounced_bytes == 0


def test_what_is_not_aligned_goes_through_a_page(make: MakeNvme) -> None:
    bench = make()
    assert bench.read(0, [(0x3002, 10 * KIB)]) == 0
    assert bench.lengths() == [4096, 4096, 2048]
    assert bench.report.bounced_bytes == 10 * KIB


def test_only_the_part_that_is_not_aligned_is_copied(make: MakeNvme) -> None:
    bench = make()
    assert bench.read(0, [(0x10000, 64 * KIB), (0x30002, 4096), (0x40000, 64 * KIB)]) == 0
    assert bench.lengths() == [64 * KIB, 4096, 64 * KIB]
    assert bench.report.bounced_bytes == 4096


def test_a_page_in_pieces_is_one_command_and_a_copy(make: MakeNvme) -> None:
    bench = make()
    assert bench.read(0, [(0x3000 * number, 512) for number in range(12)]) == 0
    assert bench.lengths() == [4096, 2048]
    assert bench.report.bounced_bytes == 6 * KIB


def test_commands_keep_to_the_controllers_limit(make: MakeNvme) -> None:
    bench = make(mdts=3)
    assert bench.read(0, [(0x1000, 100 * KIB)]) == 0
    assert bench.lengths() == [32 * KIB] * 3 + [4 * KIB]


@pytest.mark.parametrize("operation", [Operation.READ, Operation.WRITE])
def test_large_blocks_are_read_whole_only_where_a_request_begins_or_ends_inside(
    make: MakeNvme, operation: int
) -> None:
    bench = make(block_size=4096)
    bench.do(operation, 3, [(0x1000, 512 * 21)])
    parts = [(command.opcode, command.block, command.blocks) for command in bench.fake.log]
    if operation == Operation.READ:
        assert sorted(parts) == [(READ, 0, 1), (READ, 1, 2)]
    else:
        assert sorted(parts) == [(WRITE, 0, 1), (WRITE, 1, 2), (READ, 0, 1)]
    bench = make(block_size=4096)
    bench.do(operation, 3, [(0x1000, 512 * 20)])
    assert {command.block for command in bench.fake.log} == {0, 1, 2}


def test_no_more_is_under_way_than_the_queue_holds(make: MakeNvme) -> None:
    bench = make(entries=8)
    bench.fake.holding = True
    bench.begin(Operation.READ, 0, [(0x3002, 200 * KIB)])
    for _ in range(10):
        bench.turn()
    assert len(bench.fake.held) == 7


def test_a_request_rings_a_doorbell_once_for_all_its_commands(make: MakeNvme) -> None:
    bench = make(mdts=1)
    bench.fake.holding = True
    bench.begin(Operation.READ, 0, [(0x3000, 64 * KIB)])
    bench.driver_turn()
    assert bench.fake.get(bench.fake.doorbell(2)) == 8


# ---- discards -----------------------------------------------------------------------------------


def discard(bench: NvmeBench, ranges: list[tuple[int, int]]) -> int:
    """Ranges of (first sector, sectors)."""
    request = bench.requests[0]
    request.state = 0
    request.prepare(Operation.DISCARD, 0, 0, 0)
    for number, (first, sectors) in enumerate(ranges):
        request.segments[number].address = first
        request.segments[number].length = sectors
    request.segment_count = len(ranges)
    bench.start(0)
    return bench.run()


def test_a_discard_is_one_command_for_all_ranges(make: MakeNvme) -> None:
    bench = make()
    ranges = [(3 * number, 2) for number in range(64)]
    assert discard(bench, ranges) == 0
    assert bench.fake.discarded == ranges
    assert [command.opcode for command in bench.fake.log] == [DATASET_MANAGEMENT]
    assert bench.report.discards == 1


def test_a_discard_spares_blocks_it_has_only_part_of(make: MakeNvme) -> None:
    bench = make(block_size=4096)
    expected = bytearray(bench.disk)
    expected[2 * 4096 : 4 * 4096] = bytes(2 * 4096)
    assert discard(bench, [(9, 23), (41, 7), (50, 3)]) == 0
    assert bench.fake.discarded == [(2, 2)]
    assert bench.disk == expected


@pytest.mark.parametrize("ranges", [[], [(1, 7)], [(8, 0)]])
def test_a_discard_of_no_whole_block_is_no_command(
    make: MakeNvme, ranges: list[tuple[int, int]]
) -> None:
    bench = make(block_size=4096)
    assert discard(bench, ranges) == 0
    assert bench.fake.log == []


def test_memory_that_the_controller_finds_nowhere_is_one_page_to_it(make: MakeNvme) -> None:
    bench = make(moved=True)
    page = Pages(PAGE)
    bench.fake.allowed.append((page.address, PAGE))
    bench.fake.moved[page.address] = bench.controller.bus.elsewhere = 7 << 44
    bench.controller.bus.windows[0].size = 0x4000
    before = bytes(bench.memory.data)
    assert bench.do(Operation.READ, 0, [(0x3200, 3 * PAGE)]) == 0
    assert bench.lengths() == [3 * PAGE]
    first = PAGE - 0x200
    assert bench.memory.data[:0x3200] == before[:0x3200]
    assert bench.memory.data[0x3200:0x4000] == bench.disk[:first]
    assert bench.memory.data[0x4000:] == before[0x4000:]
    assert page.data[0x200:] == bench.disk[first + PAGE + 0x200 : first + 2 * PAGE]
    assert page.data[:0x200] == bench.disk[first + 2 * PAGE : 3 * PAGE]
