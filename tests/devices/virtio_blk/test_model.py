"""Block requests: from a driver's buffers to the block driver's requests, and their answers."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.devices.virtio.bench import FLUSH, NEEDS_RESET, SECTORS, SERIAL, Bench
from tests.devices.virtio.reference import DATA, Buffer, Driver, PackedDriver, SplitDriver
from vestige import abi
from vestige.lang.intrinsics import address_of
from vestige.monitor.block import DISK_REQUESTS, BlockRequest, Operation
from vestige.monitor.devices.virtio_blk.model import RANGES, SEGMENTS, ZEROES, ZEROES_SECTORS

IN, OUT, FLUSH_OUT, GET_ID, DISCARD, WRITE_ZEROES = 0, 1, 4, 8, 11, 13
OK, IOERR, UNSUPP = 0, 1, 2
HEADER, STATUS, PAYLOAD = DATA, DATA + 0x20, DATA + 0x200


def request(
    bench: Bench, kind: int, sector: int, parts: list[Buffer], *, status: int = STATUS
) -> list[Buffer]:
    """A request's buffer: header, data, status byte."""
    bench.ram.poke(HEADER, "IIQ", kind, 0, sector)
    bench.ram.poke(status, "B", 0xEE)
    return [
        Buffer(HEADER, 16, writable=False), *parts, Buffer(status, 1, writable=True),
    ]  # fmt: skip


def status(bench: Bench) -> int:
    """What the device said."""
    return bench.ram.peek(STATUS, "B")


def ask(bench: Bench, driver: Driver, kind: int, sector: int, *parts: Buffer) -> None:
    """Make a request available and let the device see it."""
    driver.add(request(bench, kind, sector, list(parts)))
    bench.service()


def ranges(bench: Bench, *each: tuple[int, int, int]) -> Buffer:
    """Ranges of DISCARD and WRITE_ZEROES."""
    data = b"".join(struct.pack("<QII", *one) for one in each)
    bench.ram.put(PAYLOAD, data)
    return Buffer(PAYLOAD, len(data), writable=False)


def segments(asked: BlockRequest) -> list[tuple[int, int]]:
    """(address, length) of each."""
    each = (asked.segments[number] for number in range(asked.segment_count))
    return [(one.address, one.length) for one in each]


def space(length: int) -> Buffer:
    """Room for an answer."""
    return Buffer(PAYLOAD, length, writable=True)


def data(length: int) -> Buffer:
    """Data to be written."""
    return Buffer(PAYLOAD, length, writable=False)


@pytest.fixture
def bench() -> Bench:
    """A disk of SECTORS."""
    return Bench()


@pytest.mark.parametrize("kind", [SplitDriver, PackedDriver])
def test_a_read_goes_straight_to_the_guests_memory(bench: Bench, kind: type[Driver]) -> None:
    driver, _ = bench.start(kind)
    ask(bench, driver, IN, 7, space(512), Buffer(PAYLOAD + 4096, 1024, writable=True))
    ((number, asked),) = bench.asked()
    assert (asked.operation, asked.drive, asked.lba, asked.sectors) == (Operation.READ, 0, 7, 3)
    assert segments(asked) == [(bench.base() + PAYLOAD, 512), (bench.base() + PAYLOAD + 4096, 1024)]
    assert status(bench) == 0xEE
    bench.answer(number)
    assert status(bench) == OK
    assert [written for _, written in driver.collect()] == [1537]
    assert bench.device.line.level == 1


@pytest.mark.parametrize("kind", [SplitDriver, PackedDriver])
def test_a_write_comes_straight_from_there(bench: Bench, kind: type[Driver]) -> None:
    driver, _ = bench.start(kind)
    ask(bench, driver, OUT, SECTORS - 1, data(512))
    ((number, asked),) = bench.asked()
    assert (asked.operation, asked.lba, asked.sectors) == (Operation.WRITE, SECTORS - 1, 1)
    bench.answer(number)
    assert status(bench) == OK
    assert [written for _, written in driver.collect()] == [1]


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 900), min_size=1, max_size=9),
    writing=st.booleans(),
    indirect=st.booleans(),
)
def test_how_a_request_is_cut_means_nothing(
    cuts: list[int],
    writing: bool,
    indirect: bool,
) -> None:
    bench = Bench()
    driver, _ = bench.start()
    length = 16 + 1024 if writing else 1024 + 1
    bench.ram.poke(PAYLOAD, "IIQ", OUT, 0, 9)
    bench.ram.poke(HEADER, "IIQ", IN, 0, 9)
    parts = [] if writing else [Buffer(HEADER, 16, writable=False)]
    place = PAYLOAD
    for cut in [*cuts, length]:
        taken = min(cut, PAYLOAD + length - place)
        if taken > 0:
            parts.append(Buffer(place, taken, writable=not writing))
        place += taken
    if writing:
        parts.append(Buffer(STATUS, 1, writable=True))
    assert driver.add(parts, indirect=indirect) is not None
    bench.service()
    ((number, asked),) = bench.asked()
    begin = bench.base() + PAYLOAD + (16 if writing else 0)
    assert (asked.segment_count, asked.segments[0].address) == (1, begin)
    assert (asked.segments[0].length, asked.lba, asked.sectors) == (1024, 9, 2)
    bench.answer(number, 0)
    assert bench.ram.peek(STATUS if writing else PAYLOAD + 1024, "B") == OK


def test_an_error_of_the_drive_is_an_io_error(bench: Bench) -> None:
    driver, _ = bench.start()
    ask(bench, driver, IN, 0, space(512))
    ((number, _),) = bench.asked()
    bench.answer(number, 5)
    assert status(bench) == IOERR
    assert [written for _, written in driver.collect()] == [1]


def test_a_flush(bench: Bench) -> None:
    driver, _ = bench.start()
    ask(bench, driver, FLUSH_OUT, 0)
    ((number, asked),) = bench.asked()
    assert asked.operation == Operation.FLUSH
    bench.answer(number)
    assert status(bench) == OK


def test_without_the_flush_feature_a_write_is_flushed_before_it_is_answered(bench: Bench) -> None:
    driver, _ = bench.start(features=0)
    ask(bench, driver, OUT, 0, data(512))
    ((number, _),) = bench.asked()
    bench.answer(number)
    assert status(bench) == 0xEE
    ((number, asked),) = bench.asked()
    assert asked.operation == Operation.FLUSH
    bench.answer(number)
    assert status(bench) == OK


@pytest.mark.parametrize("length", [20, 64, 5])
def test_its_name(bench: Bench, length: int) -> None:
    driver, _ = bench.start()
    bench.ram.put(PAYLOAD, b"\xee" * 64)
    ask(bench, driver, GET_ID, 0, space(length))
    expected = SERIAL.ljust(20, b"\0")[:length].ljust(64, b"\xee")
    assert bench.ram.get(PAYLOAD, 64) == expected
    assert status(bench) == OK
    assert [written for _, written in driver.collect()] == [min(length, 20) + 1]


@pytest.mark.parametrize(
    ("kind", "sector", "part", "expected"),
    [
        (IN, SECTORS, space(512), IOERR),
        (IN, SECTORS - 1, space(1024), IOERR),
        (IN, (1 << 64) - 1, space(512), IOERR),
        (IN, 0, space(513), IOERR),
        (OUT, 0, data(100), IOERR),
        (OUT, SECTORS, data(512), IOERR),
        (2, 0, data(512), UNSUPP),
        (0xFFFF_FFFF, 0, data(512), UNSUPP),
        (DISCARD, 0, data(16), UNSUPP),
    ],
)
def test_what_is_refused(bench: Bench, kind: int, sector: int, part: Buffer, expected: int) -> None:
    driver, _ = bench.start()
    bench.ram.poke(PAYLOAD, "QII", 0, 1, 0)
    ask(bench, driver, kind, sector, part)
    assert bench.asked() == []
    assert status(bench) == expected
    assert len(driver.collect()) == 1


def test_a_request_of_nothing_is_done(bench: Bench) -> None:
    driver, _ = bench.start()
    ask(bench, driver, IN, 0)
    assert status(bench) == OK


def test_a_read_only_drive(bench: Bench) -> None:
    bench = Bench(read_only=True, can_discard=True)
    assert bench.offered() & (1 << 5 | 1 << 13 | 1 << 14) == 1 << 5
    driver, _ = bench.start()
    ask(bench, driver, OUT, 0, data(512))
    assert status(bench) == IOERR
    ask(bench, driver, WRITE_ZEROES, 0, ranges(bench, (0, 1, 0)))
    assert status(bench) == IOERR
    ask(bench, driver, DISCARD, 0, ranges(bench, (0, 1, 0)))
    assert status(bench) == UNSUPP
    assert bench.asked() == []


@pytest.mark.parametrize("length", [1, 15])
def test_a_buffer_without_a_header_needs_a_reset(bench: Bench, length: int) -> None:
    driver, _ = bench.start()
    driver.add([Buffer(HEADER, length, writable=False), Buffer(STATUS, 1, writable=True)])
    bench.service()
    assert bench.status() & NEEDS_RESET


def test_a_buffer_without_a_status_byte_needs_a_reset(bench: Bench) -> None:
    driver, _ = bench.start()
    driver.add([Buffer(HEADER, 16, writable=False)])
    bench.service()
    assert bench.status() & NEEDS_RESET
    bench.start()
    assert bench.device.queues[0].in_flight == 0


# ---- discard and write zeroes ------------------------------------------------------------------


def test_zeroes_are_written_from_a_buffer_of_zeroes(bench: Bench) -> None:
    driver, _ = bench.start()
    ask(bench, driver, WRITE_ZEROES, 0, ranges(bench, (5, 300, 1)))
    ((number, asked),) = bench.asked()
    assert (asked.operation, asked.lba, asked.sectors) == (Operation.WRITE, 5, 300)
    zeroes = address_of(bench.virtio.zeroes)
    assert segments(asked) == [(zeroes, ZEROES), (zeroes, ZEROES), (zeroes, 300 * 512 - 2 * ZEROES)]
    bench.answer(number)
    assert status(bench) == OK
    assert not any(bench.virtio.zeroes)


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        ((0, SECTORS + 1, 0), IOERR),
        ((SECTORS, 1, 0), IOERR),
        ((0, ZEROES_SECTORS + 1, 0), IOERR),
        ((0, 1, 2), UNSUPP),
        ((0, 0, 0), OK),
    ],
)
def test_zeroes_that_are_not_written(
    bench: Bench, each: tuple[int, int, int], expected: int
) -> None:
    driver, _ = bench.start()
    ask(bench, driver, WRITE_ZEROES, 0, ranges(bench, each))
    assert bench.asked() == []
    assert status(bench) == expected


@pytest.mark.parametrize(("size", "expected"), [(15, IOERR), (24, IOERR), (32, UNSUPP)])
def test_zeroes_take_one_whole_range(bench: Bench, size: int, expected: int) -> None:
    driver, _ = bench.start()
    ask(bench, driver, WRITE_ZEROES, 0, data(size))
    assert bench.asked() == []
    assert status(bench) == expected


@pytest.mark.parametrize("kind", [DISCARD, WRITE_ZEROES])
def test_no_range_at_all_is_the_drivers_error(kind: int) -> None:
    bench = Bench(can_discard=True)
    driver, _ = bench.start()
    ask(bench, driver, kind, 0)
    assert status(bench) == IOERR


def test_ranges_are_discarded_in_one_request() -> None:
    bench = Bench(can_discard=True)
    driver, _ = bench.start()
    assert bench.offered() & 1 << 13
    ask(bench, driver, DISCARD, 0, ranges(bench, (5, 3, 0), (100, 0, 0), (900, 100, 0)))
    ((number, asked),) = bench.asked()
    assert asked.operation == Operation.DISCARD
    assert segments(asked) == [(5, 3), (900, 100)]
    bench.answer(number)
    assert status(bench) == OK


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        ([(SECTORS, 1, 0)], IOERR),
        ([(0, 1, 1)], UNSUPP),
        ([(0, 1, 0), (0, SECTORS + 1, 0)], IOERR),
        ([(SECTORS, 1, 0), (0, 1, 2)], UNSUPP),
        ([(0, 1, 0)] * (RANGES + 1), UNSUPP),
        ([(0, 0, 0)], OK),
    ],
)
def test_ranges_that_are_not_discarded(each: list[tuple[int, int, int]], expected: int) -> None:
    bench = Bench(can_discard=True)
    driver, _ = bench.start()
    ask(bench, driver, DISCARD, 0, ranges(bench, *each))
    assert bench.asked() == []
    assert status(bench) == expected


@pytest.mark.parametrize("to_zeroes", [False, True])
def test_zeroes_may_be_made_by_discarding(to_zeroes: bool) -> None:
    bench = Bench(can_discard=True, to_zeroes=to_zeroes)
    driver, _ = bench.start()
    assert bench.read(0x2000 + 56, 1) == to_zeroes
    ask(bench, driver, WRITE_ZEROES, 0, ranges(bench, (5, 300, 1)))
    ((number, asked),) = bench.asked()
    if to_zeroes:
        assert asked.operation == Operation.DISCARD
        assert segments(asked) == [(5, 300)]
    else:
        assert (asked.operation, asked.lba, asked.sectors) == (Operation.WRITE, 5, 300)
    bench.answer(number)
    assert status(bench) == OK
    ask(bench, driver, WRITE_ZEROES, 0, ranges(bench, (5, 300, 0)))
    ((number, asked),) = bench.asked()
    assert asked.operation == Operation.WRITE, "a driver that does not allow it keeps its sectors"


@pytest.mark.parametrize(("error", "expected"), [(5, IOERR), (95, UNSUPP)])
def test_a_discard_that_fails(error: int, expected: int) -> None:
    bench = Bench(can_discard=True)
    driver, _ = bench.start()
    ask(bench, driver, DISCARD, 0, ranges(bench, (5, 3, 0)))
    ((number, _),) = bench.asked()
    bench.answer(number, error)
    assert status(bench) == expected


def test_without_flush_a_discard_is_flushed_before_it_is_answered() -> None:
    bench = Bench(can_discard=True)
    driver, _ = bench.start(features=1 << 13)
    ask(bench, driver, DISCARD, 0, ranges(bench, (5, 3, 0)))
    ((number, _),) = bench.asked()
    bench.answer(number)
    assert driver.collect() == []
    ((number, asked),) = bench.asked()
    assert asked.operation == Operation.FLUSH
    bench.answer(number)
    assert status(bench) == OK


# ---- many at once ----------------------------------------------------------------------------


def test_many_requests_are_under_way_and_end_in_any_order(bench: Bench) -> None:
    first, second = bench.start(size=64)
    for driver in (first, second):
        for sector in range(20):
            assert driver.add(request(bench, IN, sector, [space(512)])) is not None
    bench.service()
    assert len(bench.asked()) == DISK_REQUESTS
    counts = [bench.device.queues[n].in_flight for n in (0, 1)]
    assert counts == [16, 16], "queues take turns"
    done = 0
    while asked := bench.asked():
        number, _ = asked[done * 7 % len(asked)]
        bench.answer(number)
        done += 1
    assert done == 40
    assert len(first.collect()) == len(second.collect()) == 20


def test_as_many_segments_as_the_device_says(bench: Bench) -> None:
    assert bench.read(0x2000 + 12, 4) == SEGMENTS
    driver, _ = bench.start(size=256)
    parts = [Buffer(PAYLOAD + 8 * n, 4, writable=True) for n in range(SEGMENTS)]
    parts[-1] = Buffer(PAYLOAD + 0x1000, 512 - 4 * (SEGMENTS - 1), writable=True)
    ask(bench, driver, IN, 0, *parts)
    ((number, asked),) = bench.asked()
    assert asked.segment_count == SEGMENTS
    bench.answer(number)
    driver.collect()
    more = [Buffer(PAYLOAD + 8 * n, 4, writable=True) for n in range(129)]
    more[-1] = Buffer(PAYLOAD + 0x1000, 512, writable=True)
    ask(bench, driver, IN, 0, *more)
    assert status(bench) == IOERR


# ---- configuration --------------------------------------------------------------------------


def test_the_configuration_structure(bench: Bench) -> None:
    def read(offset: int, size: int) -> int:
        return bench.read(0x2000 + offset, size)

    assert read(0, 4) | read(4, 4) << 32 == SECTORS
    assert read(12, 4) == SEGMENTS
    assert read(20, 4) == 512
    assert read(34, 2) == 2
    assert read(36, 4) > 0
    assert read(40, 4) == RANGES
    assert read(48, 4) == ZEROES_SECTORS
    assert read(52, 4) == 1
    assert read(0, 1) == SECTORS & 0xFF
    bench.write(0x2000, 4, 1)
    assert read(0, 4) == SECTORS
    assert read(0xFFC, 4) == 0


def test_a_disk_of_another_bus_makes_no_function() -> None:
    bench = Bench()
    assert bench.virtio.functions[1].kind == abi.VirtioKind.NONE
    assert FLUSH & bench.offered()
