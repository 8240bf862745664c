"""What every block driver does: the same tests over io_uring and NVMe, in CPython and compiled."""

import random

import pytest

from tests.drivers.benches import DISK_SECTORS, RAM_SIZE, Bench, RingBench, Segments
from vestige.abi import SECTOR
from vestige.monitor.block import MAX_SEGMENTS, Operation

READ, WRITE, FLUSH = Operation.READ, Operation.WRITE, Operation.FLUSH
MIB = 1 << 20


def on_disk(bench: Bench, lba: int, sectors: int) -> bytes:
    """What the disk holds."""
    return bytes(bench.disk[lba * SECTOR : (lba + sectors) * SECTOR])


def check_read(bench: Bench, lba: int, segments: Segments) -> None:
    """A read brings exactly that, exactly there."""
    before = bytearray(bench.memory.data[:])
    total = sum(length for _, length in segments)
    assert bench.do(READ, lba, segments) == 0
    data = on_disk(bench, lba, total // SECTOR)
    for offset, length in segments:
        before[offset : offset + length], data = data[:length], data[length:]
    assert bench.memory.data[:] == before


def check_write(bench: Bench, lba: int, segments: Segments) -> None:
    """A write puts exactly that, exactly there."""
    expected = bytearray(bench.disk)
    for offset, length in segments:
        bench.memory.data[offset : offset + length] = random.randbytes(length)
    data = bench.contents(segments)
    expected[lba * SECTOR : lba * SECTOR + len(data)] = data
    assert bench.do(WRITE, lba, segments) == 0
    assert bench.disk == expected


SHAPES: dict[str, Segments] = {
    "a sector": [(0x3000, 512)],
    "a page": [(0x3000, 4096)],
    "a page across two": [(0x3200, 4096)],
    "pages apart": [(0x3000, 4096), (0x9000, 4096), (0x5000, 4096)],
    "begin inside a page, end inside a page": [(0x3E00, 512), (0x8000, 4096), (0x6000, 1536)],
    "sectors apart": [(0x3000 + 0x1400 * number, 512) for number in range(20)],
    "even addresses": [(0x3002, 1022), (0x8006, 1026), (0x9F00, 4096)],
    "doublewords": [(0x3004, 8192), (0x9004, 4096 - 4), (0xA000, 4)],
    "a sector in pieces": [(0x3000 + 0x1000 * number, 2) for number in range(60)] + [(0x80, 392)],
    "a megabyte": [(MIB + 0x200, MIB)],
    "seven megabytes": [(0x1000, 7 * MIB)],
    "many pages": [(0x2000 * number, 4096) for number in range(MAX_SEGMENTS)],
    "many segments, none aligned": [
        (0x4000 * number + 2 * number + 2, 8192 + 512 * (number % 3)) for number in range(100)
    ],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lba", [0, 5])
def test_reads_scatter_and_writes_gather(bench: Bench, shape: str, lba: int) -> None:
    check_read(bench, lba, SHAPES[shape])
    check_write(bench, lba + 3, SHAPES[shape])


def test_the_last_sector_is_reached(bench: Bench) -> None:
    check_read(bench, DISK_SECTORS - 1, [(0, 512)])
    check_write(bench, DISK_SECTORS - 1, [(0, 512)])


def test_the_models_own_buffer_is_reached(bench: Bench) -> None:
    bench.begin(READ, 3, [(0, 512)])
    bench.requests[0].segments[0].address = bench.state.address + 4098
    assert bench.run() == 0
    assert bench.state.data[4098 : 4098 + 512] == on_disk(bench, 3, 1)


def test_a_flush_is_one_after_what_was_written(bench: Bench) -> None:
    assert bench.do(WRITE, 4, [(0, 4096)]) == 0
    assert bench.flushes() == 0
    assert bench.do(FLUSH, 0, []) == 0
    assert bench.flushes() == 1
    assert bench.counters().flushes == 1


def test_bytes_are_counted(bench: Bench) -> None:
    assert bench.do(READ, 8, [(0, 64 * 1024)]) == 0
    assert bench.do(WRITE, 8, [(0, 32 * 1024)]) == 0
    counters = bench.counters()
    assert (counters.read_bytes, counters.write_bytes) == (64 * 1024, 32 * 1024)


@pytest.mark.parametrize("operation", [READ, WRITE])
def test_an_error_of_one_part_is_the_requests(bench: Bench, operation: int) -> None:
    bench.fail(lambda sector, seen: sector == 1024, forever=True)
    segments = [(number * 0x21000 + 0x200, 0x20000) for number in range(8)]
    assert bench.do(operation, 0, segments) != 0
    bench.fail(lambda sector, seen: False, forever=True)
    check_read(bench, 0, [(0, 512)])


def test_a_failing_flush_fails(bench: Bench) -> None:
    bench.fail(lambda sector, seen: True, forever=True)
    assert bench.do(FLUSH, 0, []) != 0


def test_what_passes_is_tried_again(bench: Bench) -> None:
    tried: set[int] = set()

    def first_time(sector: int, _seen: int) -> bool:
        fresh = sector not in tried
        tried.add(sector)
        return fresh

    bench.fail(first_time, forever=False)
    check_write(bench, 1, SHAPES["many segments, none aligned"])
    check_read(bench, 1, SHAPES["many segments, none aligned"])


def test_what_never_passes_becomes_an_error(bench: Bench) -> None:
    bench.fail(lambda sector, seen: True, forever=False)
    assert bench.do(READ, 0, [(0, 512)]) != 0


def settle(bench: Bench, random: random.Random) -> None:
    """Answer everything, in any order."""
    for _ in range(2000):
        while bench.held():
            bench.release(random.randrange(bench.held()))
        bench.turn()
        if not bench.held():
            return
    raise AssertionError("it never ends")


def test_an_error_waits_for_the_parts_still_under_way(bench: Bench) -> None:
    bench.fail(lambda sector, seen: sector == 0, forever=True)
    bench.hold()
    bench.begin(READ, 0, [(number * 0x3000 + 2, 4096) for number in range(3)])
    bench.turn()
    assert bench.held() > 1
    bench.release(0)
    bench.turn()
    assert not bench.finished()
    settle(bench, random.Random(1))
    assert bench.finished()
    assert bench.error_of() != 0


@pytest.mark.parametrize("seed", range(4))
def test_answers_may_come_in_any_order(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)
    bench.hold()
    segments = [(number * 0x3000 + 2, 4096) for number in range(100)]
    bench.begin(READ, 9, segments)
    bench.turn()
    settle(bench, chance)
    assert bench.finished()
    assert bench.error_of() == 0
    assert bench.contents(segments) == on_disk(bench, 9, 800)


@pytest.mark.parametrize("seed", range(4))
def test_two_requests_are_under_way_at_once(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)
    bench.hold()
    shapes = [[(number * 0x3000 + 2, 4096) for number in range(50)], [(9 * MIB, 2 * MIB)]]
    for channel, lba in enumerate((1, 1000)):
        bench.begin(READ, lba, shapes[channel], channel)
    bench.turn()
    settle(bench, chance)
    for channel, lba in enumerate((1, 1000)):
        assert bench.finished(channel)
        assert bench.error_of(channel) == 0
        data = bench.contents(shapes[channel])
        assert data == on_disk(bench, lba, len(data) // SECTOR)


@pytest.mark.parametrize("seed", range(8))
def test_neighbouring_writes_of_two_channels_keep_each_others_sectors(
    bench: Bench, seed: int
) -> None:
    chance = random.Random(seed)
    bench.hold()
    expected = bytearray(bench.disk)
    middle = chance.randrange(2, 40)
    counts = (chance.randrange(1, middle), chance.randrange(1, 40))
    places = ((middle - counts[0], counts[0]), (middle, counts[1]))
    for channel, (lba, count) in enumerate(places):
        data = chance.randbytes(count * SECTOR)
        base = channel * MIB
        bench.memory.data[base : base + len(data)] = data
        expected[lba * SECTOR : (lba + count) * SECTOR] = data
        bench.begin(WRITE, lba, [(base, len(data))], channel)
    bench.turn()
    settle(bench, chance)
    assert [bench.finished(channel) for channel in (0, 1)] == [True, True]
    assert bench.disk == expected


def random_segments(chance: random.Random) -> Segments:
    """Some that don't overlap, of even lengths that make whole sectors."""
    count = chance.randrange(1, MAX_SEGMENTS + 1)
    room = RAM_SIZE // count
    alignment = chance.choice((2, 4, 512, 4096))
    segments, odd = [], 0
    for number in range(count):
        start = -(-number * room // alignment) * alignment
        start = min(start, number * room + room - 8)
        start += -start % 2
        if start < number * room:
            start += 2
        longest = min((number + 1) * room - start, 60_000)
        length = chance.choice((512, 4096, 1024, 2 * chance.randrange(1, 3000)))
        length = max(2, min(length, longest & ~1))
        segments.append((start, length))
        odd += length
    while odd % SECTOR and segments:
        offset, length = segments.pop()
        odd -= length
        rest = -odd % SECTOR
        if 0 < rest <= length:
            segments.append((offset, rest))
            odd += rest
    return segments or [(0, 512)]


@pytest.mark.parametrize("seed", range(6))
def test_any_requests_do_what_they_should(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)
    bench.fail(lambda sector, seen: chance.random() < 0.02, forever=False)
    for _ in range(12):
        segments = random_segments(chance)
        total = sum(length for _, length in segments)
        lba = chance.randrange(DISK_SECTORS - total // SECTOR)
        if chance.random() < 0.5:
            check_read(bench, lba, segments)
        else:
            check_write(bench, lba, segments)
    if not isinstance(bench, RingBench):
        assert bench.statistics.nvme[1].timeouts == 0
