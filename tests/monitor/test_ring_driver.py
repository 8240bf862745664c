"""The block driver over io_uring, against a ring in memory that fails as told to."""

import ctypes
import random

import pytest

from tests.monitor.fake_ring import ENTRIES, FakeRing
from vestige import abi
from vestige.abi import SECTOR
from vestige.lang.intrinsics import CheckFailed, address_of
from vestige.lang.memory import Memory
from vestige.monitor.block import MAX_SEGMENTS, BlockRequest, Operation
from vestige.monitor.drivers.ring.driver import RETRIES, Owner, RingDriver
from vestige.monitor.drivers.ring.spec import CompletionFlag, Errno, Opcode, Submission

RAM_SIZE = 6 * abi.CHUNK
DISK_SECTORS = 16384


class Bench:
    """The driver of one disk, without the rest of the monitor."""

    def __init__(self, entries: int = ENTRIES) -> None:
        random.seed(7)
        self.disk = bytearray(random.randbytes(DISK_SECTORS * SECTOR))
        self.output: list[bytes] = []
        self.ring = FakeRing([self.disk, self.output], entries)
        self.memory = (ctypes.c_uint8 * RAM_SIZE)()
        self.state = (ctypes.c_uint8 * abi.STATE_SIZE)()
        base = ctypes.addressof(self.memory)
        self.ram = Memory(low=base, low_size=RAM_SIZE)
        self.description = abi.Ring()
        self.ring.describe(self.description, base, ctypes.addressof(self.state))
        self.driver = RingDriver.at(ctypes.addressof(self.state))
        self.driver.reset(self.description, ctypes.addressof(self.state))
        self.statistics = abi.Statistics()
        self.request, self.described = BlockRequest(), abi.Disk()
        self.pinned: list[int] = []
        self.room = 1 << 32  # chunks that may be registered at once
        self.chunk = abi.CHUNK

    def begin(self, operation: int, lba: int, segments: list[tuple[int, int]]) -> None:
        """A request whose segments are (offset in RAM, length)."""
        request = self.request
        request.prepare(operation, 0, lba, sum(length for _, length in segments) // SECTOR)
        for number, (offset, length) in enumerate(segments):
            request.segments[number].address = self.ram.low + offset
            request.segments[number].length = length
        request.segment_count = len(segments)
        self.driver.start(0, request)

    def publish(self) -> bool:
        """What the core does after settling."""
        driver = self.driver
        driver.resubmit(self.description)
        driver.advance(0, self.request, self.described, self.ram, self.description)
        for chunk in list(driver.pins)[: driver.pin_count]:
            self.pin(chunk)
        driver.pin_count = 0
        return driver.queue.publish(self.description)

    def pin(self, chunk: int) -> None:
        """The host's side of PIN: the chunk registered longest ago makes room."""
        self.pinned.append(chunk)
        buffers = self.ring.buffers
        while len(buffers) > self.room:
            del buffers[next(number for number in buffers if number != abi.STATE_BUFFER)]
        buffers.pop(abi.FIRST_CHUNK_BUFFER + chunk, None)
        place = self.ram.low + chunk * self.chunk
        buffers[abi.FIRST_CHUNK_BUFFER + chunk] = (place, self.chunk)

    def reap(self) -> None:
        """Look at the completions."""
        self.driver.reap(self.description, self.statistics)

    def run(self) -> int:
        """To the end of the request; its error."""
        for _ in range(1000):
            if self.publish():
                self.ring.enter()
            self.reap()
            if self.driver.finished(0, self.request, self.described):
                return self.driver.error_of(0)
        raise AssertionError("the request never ends")

    def contents(self, segments: list[tuple[int, int]]) -> bytes:
        """What lies in these segments."""
        base = self.ram.low
        return b"".join(ctypes.string_at(base + offset, length) for offset, length in segments)


@pytest.fixture
def bench() -> Bench:
    """A disk of 8 MiB and RAM of 12."""
    return Bench()


def test_a_read_scatters_and_a_write_gathers(bench: Bench) -> None:
    segments = [(0x3000, 1024), (0x1002, 510), (0x9000, 514)]
    bench.begin(Operation.READ, 5, segments)
    assert bench.run() == 0
    assert bench.contents(segments) == bench.disk[5 * 512 : 9 * 512]
    request = bench.request
    request.state = 0
    bench.begin(Operation.WRITE, 100, segments)
    assert bench.run() == 0
    assert bench.disk[100 * 512 : 104 * 512] == bench.contents(segments)


def test_a_segment_is_cut_where_chunks_meet_and_each_is_pinned_once(bench: Bench) -> None:
    segments = [(abi.CHUNK - 512, 1024 + 2 * abi.CHUNK)]
    for _ in range(2):
        bench.begin(Operation.READ, 0, segments)
        assert bench.run() == 0
        assert bench.contents(segments) == bench.disk[: 1024 + 2 * abi.CHUNK]
    lengths = [length for _, _, _, length in bench.ring.log]
    assert lengths == [512, abi.CHUNK, abi.CHUNK, 512] * 2
    assert sorted(bench.pinned) == [0, 1, 2, 3]


def test_chunks_are_as_large_as_the_ring_says(bench: Bench) -> None:
    bench.chunk = bench.description.chunk = 64 << 10
    segments = [(bench.chunk - 512, 1024 + bench.chunk), (abi.CHUNK, 512)]
    bench.begin(Operation.READ, 0, segments)
    assert bench.run() == 0
    assert bench.contents(segments) == bench.disk[: 1536 + bench.chunk]
    assert [length for _, _, _, length in bench.ring.log] == [512, bench.chunk, 512, 512]
    assert sorted(bench.pinned) == [0, 1, 2, abi.CHUNK // bench.chunk]


def test_state_is_a_buffer_of_its_own(bench: Bench) -> None:
    bench.begin(Operation.READ, 3, [(0, 512)])
    bench.request.segments[0].address = ctypes.addressof(bench.state) + 4096
    assert bench.run() == 0
    assert bench.pinned == []
    assert bytes(bench.state)[4096:4608] == bench.disk[3 * 512 : 4 * 512]


def test_high_ram_follows_low_ram_in_the_host(bench: Bench) -> None:
    bench.ram.low_size = 2 * abi.CHUNK
    bench.ram.high = bench.ram.low + 2 * abi.CHUNK
    bench.ram.high_size = 4 * abi.CHUNK
    segments = [(2 * abi.CHUNK - 512, 512), (2 * abi.CHUNK, 512)]
    bench.begin(Operation.READ, 0, segments)
    assert bench.run() == 0
    assert sorted(bench.pinned) == [1, 2]
    assert bench.contents(segments) == bench.disk[:1024]


def test_an_address_outside_all_of_it_is_refused(bench: Bench) -> None:
    bench.begin(Operation.READ, 0, [(RAM_SIZE, 512)])
    with pytest.raises(CheckFailed):
        bench.run()


def test_a_flush_is_an_fsync_of_that_file(bench: Bench) -> None:
    bench.begin(Operation.FLUSH, 0, [])
    assert bench.run() == 0
    assert bench.ring.flushed == [0]
    assert bench.statistics.flushes == 1


def test_short_transfers_go_on_where_they_stopped(bench: Bench) -> None:
    def short(submission: Submission) -> int | None:
        submission.length = min(submission.length, 1000)
        return None

    bench.ring.answer = short
    segments = [(0, 4096), (8192, 512)]
    bench.begin(Operation.READ, 7, segments)
    assert bench.run() == 0
    assert bench.contents(segments) == bench.disk[7 * 512 : 16 * 512]
    assert bench.statistics.read_bytes == 4608


@pytest.mark.parametrize("operation", [Operation.READ, Operation.WRITE])
def test_the_end_of_the_file_inside_the_disk_is_an_error(bench: Bench, operation: int) -> None:
    bench.ring.answer = lambda submission: 0
    bench.begin(operation, 0, [(0, 512)])
    assert bench.run() == Errno.EIO


@pytest.mark.parametrize("error", [Errno.EIO, 28, 1, 4000])
def test_an_error_of_one_part_is_the_requests_and_stops_the_rest(bench: Bench, error: int) -> None:
    bench.ring.answer = lambda submission: -error if submission.offset == 512 else None
    bench.begin(Operation.WRITE, 0, [(1024 * i, 512) for i in range(4)])
    assert bench.run() == min(error, 255)
    assert bench.statistics.ring_errors == 1
    bench.ring.answer = lambda submission: None
    bench.begin(Operation.READ, 0, [(0, 512)])
    assert bench.run() == 0


def test_an_error_waits_for_the_parts_still_under_way(bench: Bench) -> None:
    bench.ring.inline = False
    bench.ring.answer = lambda submission: -Errno.EIO if submission.offset == 0 else None
    bench.begin(Operation.WRITE, 0, [(0, 512), (1024, 512)])
    assert bench.publish()
    bench.ring.enter()
    bench.ring.complete()
    bench.reap()
    assert not bench.driver.finished(0, bench.request, bench.described)
    bench.ring.complete()
    bench.reap()
    assert bench.driver.finished(0, bench.request, bench.described)
    assert bench.driver.error_of(0) == Errno.EIO


@pytest.mark.parametrize("error", [Errno.EINTR, Errno.EAGAIN])
def test_not_now_is_tried_again(bench: Bench, error: int) -> None:
    answers = [-error, -error]
    bench.ring.answer = lambda submission: answers.pop() if answers else None
    bench.begin(Operation.READ, 0, [(0, 512)])
    assert bench.run() == 0


def test_not_now_for_ever_becomes_an_error(bench: Bench) -> None:
    bench.ring.answer = lambda submission: -Errno.EAGAIN
    bench.begin(Operation.READ, 0, [(0, 512)])
    assert bench.run() == Errno.EAGAIN
    assert bench.statistics.ring_errors == RETRIES + 1


def test_a_chunk_that_lost_its_registration_is_pinned_again(bench: Bench) -> None:
    bench.begin(Operation.READ, 0, [(0, 512)])
    assert bench.run() == 0
    del bench.ring.buffers[abi.FIRST_CHUNK_BUFFER]
    bench.begin(Operation.READ, 1, [(0, 512)])
    assert bench.run() == 0
    assert bench.pinned == [0, 0]


def test_a_request_over_more_chunks_than_may_be_pinned_gets_through(bench: Bench) -> None:
    bench.room = 2  # STATE and one chunk
    segments = [(i % 6 * abi.CHUNK + i * 512, 512) for i in range(MAX_SEGMENTS)]
    bench.begin(Operation.READ, 0, segments)
    assert bench.run() == 0
    assert bench.contents(segments) == bench.disk[: MAX_SEGMENTS * 512]


def test_a_small_ring_is_filled_again_and_again(bench: Bench) -> None:
    bench = Bench(entries=4)
    segments = [(i * 1024, 512) for i in range(MAX_SEGMENTS)]
    bench.begin(Operation.READ, 0, segments)
    assert bench.run() == 0
    assert bench.contents(segments) == bench.disk[: MAX_SEGMENTS * 512]


def test_indices_may_wrap_at_32_bits(bench: Bench) -> None:
    words = bench.ring.words
    words.sq_head = words.sq_tail = words.cq_head = words.cq_tail = (1 << 32) - 3
    bench.driver.queue.reset(bench.description)
    segments = [(i * 1024, 512) for i in range(10)]
    bench.begin(Operation.READ, 0, segments)
    assert bench.run() == 0
    assert bench.contents(segments) == bench.disk[: 10 * 512]


def test_what_the_kernel_did_not_take_needs_another_kick(bench: Bench) -> None:
    bench.begin(Operation.READ, 0, [(0, 512), (1024, 512)])
    assert bench.publish()
    bench.ring.enter(most=1)
    bench.reap()
    assert not bench.driver.finished(0, bench.request, bench.described)
    assert bench.publish()
    bench.ring.enter()
    bench.reap()
    assert bench.driver.finished(0, bench.request, bench.described)
    assert not bench.publish()


@pytest.mark.parametrize(
    ("operation", "handed"), [(Operation.READ, 0), (Operation.WRITE, 1), (Operation.FLUSH, 1)]
)
def test_what_may_wait_in_a_file_system_is_handed_to_a_thread(
    bench: Bench, operation: Operation, handed: int
) -> None:
    bench.begin(operation, 0, [(0, 512)] if operation != Operation.FLUSH else [])
    bench.publish()
    bench.driver.write_stream(
        Owner.CONSOLE_OUTPUT, 1, address_of(bench.state), 1, bench.description
    )
    assert [bench.driver.take_handed() for _ in range(2)] == [handed, 0]


def test_a_polling_thread_is_told_only_when_it_sleeps(bench: Bench) -> None:
    bench.description.polled = 1
    bench.begin(Operation.READ, 0, [(0, 512)])
    assert not bench.publish()
    bench.ring.words.sq_flags = 1
    assert bench.publish()


def test_completions_wake_nobody_while_somebody_kicks(bench: Bench) -> None:
    queue, words = bench.driver.queue, bench.ring.words
    queue.begin_kick(bench.description)
    queue.begin_kick(bench.description)
    assert words.cq_flags == CompletionFlag.EVENTFD_DISABLED
    queue.end_kick(bench.description)
    assert words.cq_flags == CompletionFlag.EVENTFD_DISABLED
    queue.end_kick(bench.description)
    assert words.cq_flags == 0


def test_two_channels_share_the_ring_and_the_console_keeps_its_place(bench: Bench) -> None:
    """As many parts as there are places: the completion ring can't overflow."""
    bench.ring.inline = False
    other = BlockRequest()
    for request in (bench.request, other):
        request.prepare(Operation.READ, 0, 0, MAX_SEGMENTS)
        for number in range(MAX_SEGMENTS):
            request.segments[number].address = bench.ram.low + number * 1024
            request.segments[number].length = 512
        request.segment_count = MAX_SEGMENTS
    for channel, request in enumerate((bench.request, other)):
        bench.driver.start(channel, request)
        bench.driver.advance(channel, request, bench.described, bench.ram, bench.description)
    address = address_of(bench.state)
    bench.pin(0)
    assert bench.driver.write_stream(Owner.CONSOLE_OUTPUT, 1, address, 4, bench.description)
    assert not bench.driver.write_stream(Owner.CONSOLE_OUTPUT, 1, address, 4, bench.description)
    bench.driver.queue.publish(bench.description)
    bench.ring.enter()
    while bench.ring.taken:
        bench.ring.complete(random.randrange(len(bench.ring.taken)))
    bench.reap()
    assert bench.driver.take_answer(Owner.CONSOLE_OUTPUT)
    assert bench.driver.result_of(Owner.CONSOLE_OUTPUT) == 4
    for channel, request in enumerate((bench.request, other)):
        bench.driver.advance(channel, request, bench.described, bench.ram, bench.description)
    bench.driver.queue.publish(bench.description)
    bench.ring.enter()
    while bench.ring.taken:
        bench.ring.complete()
    bench.reap()
    assert bench.driver.finished(0, bench.request, bench.described)
    assert bench.driver.finished(1, other, bench.described)


def discard(bench: Bench, *ranges: tuple[int, int]) -> None:
    """Ranges of (sector, sectors)."""
    bench.begin(Operation.DISCARD, 0, [])
    for first, sectors in ranges:
        bench.request.add(first, sectors)


def test_ranges_that_are_discarded_become_holes(bench: Bench) -> None:
    expected = bytearray(bench.disk)
    for first, sectors in ((3, 5), (100, 1), (DISK_SECTORS - 7, 7)):
        expected[first * 512 : (first + sectors) * 512] = bytes(sectors * 512)
    discard(bench, (3, 5), (100, 1), (DISK_SECTORS - 7, 7))
    assert bench.run() == 0
    assert bench.disk == expected
    counted = bench.statistics
    assert (counted.discards, counted.flushes, counted.ring_errors) == (3, 0, 0)


def test_more_ranges_than_there_are_places_wait_for_room() -> None:
    bench = Bench(entries=4)
    discard(bench, *((2 * number, 1) for number in range(MAX_SEGMENTS)))
    assert bench.run() == 0
    assert len(bench.ring.orders) == MAX_SEGMENTS
    assert not any(bench.disk[2 * 512 * (MAX_SEGMENTS - 1) : 2 * 512 * MAX_SEGMENTS - 512])


def test_a_hole_that_can_not_be_made_is_an_error(bench: Bench) -> None:
    bench.ring.refuse = lambda order: 95 if order.sector else 0
    discard(bench, (0, 1), (5, 1), (9, 1))
    assert bench.run() == 95
    assert bench.ring.orders == [(0, 0, 1), (0, 5, 1)]
    discard(bench, (0, 1))
    assert bench.run() == 0
    counted = bench.statistics
    assert (counted.discards, counted.ring_errors, counted.writes, counted.reads) == (2, 1, 0, 0)


@pytest.mark.parametrize("error", [Errno.EINTR, Errno.EAGAIN])
@pytest.mark.parametrize("operation", [Opcode.WRITE_FIXED, Opcode.READ_FIXED])
def test_an_order_or_its_answer_that_is_interrupted_is_tried_again(
    bench: Bench, error: int, operation: int
) -> None:
    often = iter((True, True, False))

    def interrupt(submission: Submission) -> int | None:
        return -error if submission.opcode == operation and next(often, False) else None

    bench.ring.answer = interrupt
    discard(bench, (0, 1), (5, 1))
    assert bench.run() == 0
    assert bench.ring.orders == [(0, 0, 1), (0, 5, 1)]


def test_requests_take_turns_at_the_host(bench: Bench) -> None:
    other = BlockRequest()
    other.prepare(Operation.DISCARD, 0, 0, 0)
    for number in range(3):
        other.add(2 * number + 1, 1)
    bench.driver.start(1, other)
    discard(bench, *((2 * number, 1) for number in range(3)))
    bench.ring.inline = False
    finished: set[int] = set()
    while finished != {0, 1}:
        for tag, request in ((0, bench.request), (1, other)):
            if tag not in finished:
                bench.driver.advance(tag, request, bench.described, bench.ram, bench.description)
                if bench.driver.finished(tag, request, bench.described):
                    finished.add(tag)
        if bench.driver.queue.publish(bench.description):
            bench.ring.enter()
        assert len(bench.ring.taken) <= 1
        if bench.ring.taken:
            bench.ring.complete()
        bench.reap()
    assert sorted(bench.ring.orders) == [(0, number, 1) for number in range(6)]


def test_a_host_that_can_not_be_asked_any_more_is_an_error_and_no_standstill(bench: Bench) -> None:
    bench.ring.answer = lambda submission: 0 if submission.opcode == Opcode.READ_FIXED else None
    for _ in range(3):
        discard(bench, (0, 1))
        assert bench.run() == Errno.EIO


def test_random_requests_read_and_write_what_they_should(bench: Bench) -> None:
    model = bytearray(bench.disk)

    def capricious(submission: Submission) -> int | None:
        chance = random.random()
        if chance < 0.05:
            return -random.choice((Errno.EAGAIN, Errno.EINTR, Errno.EFAULT))
        if chance < 0.3 and submission.length > 1:
            submission.length = random.randrange(1, submission.length)
        return None

    bench.ring.answer = capricious
    for _ in range(60):
        count = random.randrange(1, MAX_SEGMENTS + 1)
        cuts = random.sample(range(RAM_SIZE // 512 - 40), count)
        segments = [(cut * 512, 512 * random.randrange(1, 30)) for cut in cuts]
        total = sum(length for _, length in segments)
        lba = random.randrange(DISK_SECTORS - total // 512)
        if random.random() < 0.5:
            bench.begin(Operation.WRITE, lba, segments)
            model[lba * 512 : lba * 512 + total] = bench.contents(segments)
            assert bench.run() == 0
            assert bench.disk == model
        else:
            disjoint = all(
                b >= a + length
                for (a, length), (b, _) in zip(sorted(segments), sorted(segments)[1:], strict=False)
            )
            bench.begin(Operation.READ, lba, segments)
            assert bench.run() == 0
            if disjoint:
                assert bench.contents(segments) == model[lba * 512 : lba * 512 + total]
    opcodes = {opcode for opcode, _, _, _ in bench.ring.log}
    assert opcodes == {Opcode.READ_FIXED, Opcode.WRITE_FIXED}
