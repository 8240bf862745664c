"""The NVMe driver against a controller that is slow, small, strict, failing, or gone."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.drivers.benches import NvmeBench, Segments
from tests.drivers.fake_nvme import (
    ABORT,
    CREATE_CQ,
    DATASET_MANAGEMENT,
    DO_NOT_RETRY,
    IDENTIFY,
    OUT_OF_RANGE,
    READ,
    SET_FEATURES,
    UNRECOVERED_READ,
    WRITE,
    Command,
)
from vestige import abi
from vestige.abi import SECTOR
from vestige.monitor.block import Operation
from vestige.monitor.drivers.nvme.controller import RESTARTS, WATCH
from vestige.monitor.drivers.nvme.driver import (
    ABORT_TIMEOUT,
    ATTEMPTS,
    COMMAND_TIMEOUT,
    Errno,
    NvmeDriver,
)

Failure = abi.NvmeFailure
NEVER = (1 << 64) - 1
WRITE_PROTECTED = 0x20
CAPACITY_EXCEEDED = 0x81
INTERNAL_ERROR = 0x06
KIB = 1024
SECOND = 1_000_000_000
Make = Callable[..., NvmeBench]


@pytest.fixture
def make(compiled: bool) -> Make:
    """Makes a bench; keywords are the fake controller's."""
    return lambda **keywords: NvmeBench(compiled, **keywords)


def lengths(bench: NvmeBench) -> list[int]:
    """Bytes of each I/O command carried out."""
    return [command.blocks * bench.fake.block_size for command in bench.fake.log]


def read(bench: NvmeBench, lba: int = 0, segments: Segments | None = None) -> int:
    """A read, its data compared; its error."""
    segments = segments or [(0x1000, 4096)]
    error = bench.do(Operation.READ, lba, segments)
    if error == 0:
        data = bench.contents(segments)
        assert data == bench.disk[lba * SECTOR : lba * SECTOR + len(data)]
    return error


# ---- bring-up -----------------------------------------------------------------------------------


def test_it_says_what_the_drive_is(make: Make) -> None:
    bench = make(block_size=4096)
    disk = abi.Disk(nvme=1)
    assert bench.call(NvmeDriver.describe, bench.driver, disk)
    assert disk.sectors == len(bench.disk) // SECTOR
    assert bytes(disk.model) == b"A Model of a Drive".ljust(40)
    assert bytes(disk.serial) == b"S3R1AL".ljust(20)
    assert bytes(disk.firmware) == b"FW 1.0  "
    assert (disk.can_discard, disk.read_only) == (1, 0)


def test_a_write_protected_namespace_is_a_read_only_drive(make: Make) -> None:
    bench = make(up=False, can_discard=False)
    bench.fake.write_protected = True
    bench.power_on()
    disk = abi.Disk(nvme=1)
    assert bench.call(NvmeDriver.describe, bench.driver, disk)
    assert (disk.can_discard, disk.read_only) == (0, 1)


def test_only_the_controller_that_is_there_is_brought_up(make: Make) -> None:
    bench = make()
    assert not bench.call(NvmeDriver.describe, bench.driver, abi.Disk(nvme=0))


def test_a_controller_that_runs_already_is_reset_first(make: Make) -> None:
    bench = make(up=False)
    bench.fake.set(0x14, 1 | 6 << 16 | 4 << 20)
    bench.fake.enabled = True
    bench.fake.set(0x1C, 1)
    bench.power_on()
    assert bench.fake.resets == 1
    assert read(bench) == 0


def test_a_slow_controller_is_waited_for_as_long_as_it_asks(make: Make) -> None:
    bench = make(up=False)
    bench.fake.ready_after = 400  # looks, of 1 ms
    bench.power_on()
    assert bench.report.failure == 0
    assert 399_000_000 <= bench.now < SECOND
    assert read(bench) == 0


def test_one_that_never_gets_ready_is_given_up_in_the_time_it_asked_for(make: Make) -> None:
    bench = make(up=False)
    bench.fake.ready_after = 1 << 30
    bench.power_on()
    assert bench.report.failure == Failure.NOT_READY
    assert 500_000_000 <= bench.now < SECOND
    assert bench.do(Operation.READ, 0, [(0, 512)]) == Errno.ENODEV
    assert not bench.call(NvmeDriver.describe, bench.driver, abi.Disk(nvme=1))


def fatal(bench: NvmeBench) -> None:
    bench.fake.fatal_on_enable = True


def gone(bench: NvmeBench) -> None:
    bench.fake.remove()


def none(bench: NvmeBench) -> None:
    bench.fake.namespaces = [0]


def metadata(bench: NvmeBench) -> None:
    bench.fake.metadata = 8


def large_blocks(bench: NvmeBench) -> None:
    bench.fake.block_size = 8192


def empty(bench: NvmeBench) -> None:
    bench.fake.blocks = 0


def no_doorbells(bench: NvmeBench) -> None:
    bench.description.bar_size = 4096


def no_nvm_commands(bench: NvmeBench) -> None:
    bench.fake.capabilities &= ~(1 << 37)
    bench.fake.set(0, bench.fake.capabilities, 8)


def large_pages(bench: NvmeBench) -> None:
    bench.fake.capabilities |= 1 << 48
    bench.fake.set(0, bench.fake.capabilities, 8)


@pytest.mark.parametrize(
    ("trouble", "failure"),
    [
        (fatal, Failure.FATAL),
        (gone, Failure.GONE),
        (none, Failure.NO_NAMESPACE),
        (metadata, Failure.FORMAT),
        (large_blocks, Failure.FORMAT),
        (empty, Failure.FORMAT),
        (no_doorbells, Failure.UNSUPPORTED),
        (no_nvm_commands, Failure.UNSUPPORTED),
        (large_pages, Failure.UNSUPPORTED),
    ],
)
def test_what_it_cannot_drive_it_gives_up_and_says_why(
    make: Make, trouble: Callable[[NvmeBench], None], failure: Failure
) -> None:
    bench = make(up=False)
    trouble(bench)
    bench.power_on()
    assert bench.report.failure == failure
    assert bench.due() == NEVER


@pytest.mark.parametrize("opcode", [IDENTIFY, SET_FEATURES, CREATE_CQ])
def test_an_admin_command_that_fails_is_named(make: Make, opcode: int) -> None:
    bench = make(up=False)
    bench.fake.status = lambda command: INTERNAL_ERROR if command.opcode == opcode else None
    bench.power_on()
    assert (bench.report.failure, bench.report.status) == (Failure.COMMAND, INTERNAL_ERROR)


def test_an_admin_command_without_an_answer_is_tried_again_after_a_reset(make: Make) -> None:
    bench = make(up=False)
    seen: set[int] = set()

    def first_time(command: Command) -> bool:
        fresh = command.opcode in (IDENTIFY, SET_FEATURES) and command.opcode not in seen
        seen.add(command.opcode)
        return fresh

    bench.fake.lost = first_time
    bench.power_on()
    assert bench.report.failure == 0
    assert bench.report.resets == 2
    assert read(bench) == 0


def test_one_that_answers_no_admin_command_at_all_is_given_up(make: Make) -> None:
    bench = make(up=False)
    bench.fake.lost = lambda command: True
    bench.power_on()
    assert bench.report.failure == Failure.HUNG


def test_an_admin_answer_to_nothing_is_ignored(make: Make) -> None:
    bench = make(up=False)
    lost: list[Command] = []
    bench.fake.lost = lambda command: lost.append(command) is None  # type: ignore[func-returns-value]
    bench.call(NvmeDriver.reset, bench.driver, bench.config, bench.now)
    while not lost:
        bench.turn()
    state = bench.controller.state
    bench.fake.answer(lost[0]._replace(identifier=lost[0].identifier + 1), 0)
    bench.reap()
    assert bench.controller.state == state
    bench.fake.answer(lost[0], 0)
    bench.reap()
    assert bench.controller.state != state


@pytest.mark.parametrize(
    ("cpus", "given", "bar_pages", "stride", "expected"),
    [(1, 8, 4, 0, 1), (4, 8, 4, 0, 4), (8, 3, 4, 0, 3), (8, 8, 4, 0, 8), (8, 8, 2, 7, 3)],
)
def test_there_is_a_queue_pair_for_each_cpu_as_far_as_there_are_any(
    make: Make, cpus: int, given: int, bar_pages: int, stride: int, expected: int
) -> None:
    bench = make(up=False, cpus=cpus, queues=given, stride=stride)
    bench.description.bar_size = bar_pages * 4096
    bench.power_on()
    assert sorted(bench.fake.ends) == list(range(expected + 1))
    for cpu in range(cpus):
        bench.cpu = cpu
        assert read(bench) == 0
    assert {command.queue for command in bench.fake.log} == set(range(1, expected + 1))


def test_vectors_are_shared_where_they_are_few(make: Make) -> None:
    bench = make(up=False, cpus=5)
    bench.description.vectors = 3
    bench.power_on()
    assert bench.fake.vectors == {1: 1, 2: 2, 3: 0, 4: 1, 5: 2}


def test_the_first_active_namespace_is_the_drive(make: Make) -> None:
    bench = make(up=False)
    bench.fake.namespaces = [7, 9]
    bench.power_on()
    assert read(bench) == 0


# ---- commands -----------------------------------------------------------------------------------


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
def test_what_is_aligned_is_not_copied(make: Make, segments: Segments, expected: list[int]) -> None:
    bench = make()
    assert read(bench, 0, segments) == 0
    assert lengths(bench) == expected
    assert bench.report.bounced_bytes == 0


def test_what_is_not_aligned_goes_through_a_page(make: Make) -> None:
    bench = make()
    assert read(bench, 0, [(0x3002, 10 * KIB)]) == 0
    assert lengths(bench) == [4096, 4096, 2048]
    assert bench.report.bounced_bytes == 10 * KIB


def test_only_the_part_that_is_not_aligned_is_copied(make: Make) -> None:
    bench = make()
    assert read(bench, 0, [(0x10000, 64 * KIB), (0x30002, 4096), (0x40000, 64 * KIB)]) == 0
    assert lengths(bench) == [64 * KIB, 4096, 64 * KIB]
    assert bench.report.bounced_bytes == 4096


def test_a_page_in_pieces_is_one_command_and_a_copy(make: Make) -> None:
    bench = make()
    assert read(bench, 0, [(0x3000 * number, 512) for number in range(12)]) == 0
    assert lengths(bench) == [4096, 2048]
    assert bench.report.bounced_bytes == 6 * KIB


def test_commands_keep_to_the_controllers_limit(make: Make) -> None:
    bench = make(mdts=3)
    assert read(bench, 0, [(0x1000, 100 * KIB)]) == 0
    assert lengths(bench) == [32 * KIB] * 3 + [4 * KIB]


@pytest.mark.parametrize("operation", [Operation.READ, Operation.WRITE])
def test_large_blocks_are_read_whole_only_where_a_request_begins_or_ends_inside(
    make: Make, operation: int
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


def test_no_more_is_under_way_than_the_queue_holds(make: Make) -> None:
    bench = make(entries=8)
    bench.fake.holding = True
    bench.begin(Operation.READ, 0, [(0x3002, 200 * KIB)])
    for _ in range(10):
        bench.turn()
    assert len(bench.fake.held) == 7


def test_a_request_rings_a_doorbell_once_for_all_its_commands(make: Make) -> None:
    bench = make(mdts=1)
    bench.fake.holding = True
    bench.begin(Operation.READ, 0, [(0x3000, 64 * KIB)])
    bench.drive()
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


def test_a_discard_is_one_command_for_all_ranges(make: Make) -> None:
    bench = make()
    ranges = [(3 * number, 2) for number in range(64)]
    assert discard(bench, ranges) == 0
    assert bench.fake.discarded == ranges
    assert [command.opcode for command in bench.fake.log] == [DATASET_MANAGEMENT]
    assert bench.report.discards == 1


def test_a_discard_spares_blocks_it_has_only_part_of(make: Make) -> None:
    bench = make(block_size=4096)
    expected = bytearray(bench.disk)
    expected[2 * 4096 : 4 * 4096] = bytes(2 * 4096)
    assert discard(bench, [(9, 23), (41, 7), (50, 3)]) == 0
    assert bench.fake.discarded == [(2, 2)]
    assert bench.disk == expected


@pytest.mark.parametrize("ranges", [[], [(1, 7)], [(8, 0)]])
def test_a_discard_of_no_whole_block_is_no_command(
    make: Make, ranges: list[tuple[int, int]]
) -> None:
    bench = make(block_size=4096)
    assert discard(bench, ranges) == 0
    assert bench.fake.log == []


# ---- statuses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (UNRECOVERED_READ, Errno.EIO),
        (WRITE_PROTECTED, Errno.EROFS),
        (OUT_OF_RANGE, Errno.EINVAL),
        (CAPACITY_EXCEEDED, Errno.ENOSPC),
        (0x2FF, Errno.EIO),
        (0x7FF, Errno.EIO),
    ],
)
def test_a_status_that_forbids_a_retry_is_the_error(make: Make, status: int, error: int) -> None:
    bench = make()
    bench.fake.status = lambda command: status | DO_NOT_RETRY
    assert bench.do(Operation.WRITE, 0, [(0, 512)]) == error
    assert bench.report.errors == 1


def test_any_other_status_is_an_error_after_some_attempts(make: Make) -> None:
    bench = make()
    bench.fake.status = lambda command: UNRECOVERED_READ
    assert bench.do(Operation.READ, 0, [(0, 512)]) == Errno.EIO
    assert bench.report.errors == ATTEMPTS


def test_a_block_that_cannot_be_read_is_not_written(make: Make) -> None:
    bench = make(block_size=4096)
    before = bytes(bench.disk)
    bench.fake.status = lambda command: (
        UNRECOVERED_READ | DO_NOT_RETRY if command.opcode == READ else None
    )
    assert bench.do(Operation.WRITE, 1, [(0, 512)]) == Errno.EIO
    assert bench.disk == before


def test_answers_to_nothing_are_ignored(make: Make) -> None:
    bench = make()
    bench.fake.holding = True
    bench.begin(Operation.READ, 0, [(0x1000, 512)])
    bench.turn()
    command = bench.fake.held[0]
    for identifier in (command.identifier ^ 1, 31, 32, 0xFFFF):
        bench.fake.answer(command._replace(identifier=identifier), 0)
        bench.reap()
    assert not bench.finished()
    bench.fake.release()
    bench.reap()
    assert bench.finished()
    bench.fake.answer(command, 0)
    bench.reap()
    bench.fake.holding = False
    assert read(bench) == 0


# ---- silence ------------------------------------------------------------------------------------


def lose(bench: NvmeBench, times: int, opcode: int = READ) -> None:
    """The next `times` commands of this kind get no answer."""
    left = times

    def lost(command: Command) -> bool:
        nonlocal left
        if command.queue == 0 or command.opcode != opcode or left == 0:
            return False
        left -= 1
        return True

    bench.fake.lost = lost


def test_a_lost_command_is_aborted_and_given_again(make: Make) -> None:
    bench = make()
    lose(bench, 1)
    assert read(bench) == 0
    assert COMMAND_TIMEOUT <= bench.now <= COMMAND_TIMEOUT + SECOND
    assert (bench.report.timeouts, bench.report.resets) == (1, 0)
    assert [command.opcode for command in bench.fake.admin_log][-1] == ABORT


def test_one_lost_again_is_aborted_again(make: Make) -> None:
    bench = make()
    lose(bench, 2)
    assert read(bench) == 0
    assert (bench.report.timeouts, bench.report.resets) == (2, 0)


def test_the_others_are_not_disturbed_by_an_abort(make: Make) -> None:
    bench = make(mdts=1)
    lose(bench, 1)
    assert read(bench, 0, [(0x1000, 100 * KIB)]) == 0
    assert bench.report.resets == 0


def test_one_that_cannot_be_aborted_costs_a_reset_and_all_is_given_again(make: Make) -> None:
    bench = make(mdts=1)
    bench.fake.can_abort = False
    lose(bench, 3)
    segments = [(0x1000, 100 * KIB)]
    assert read(bench, 0, segments) == 0
    assert bench.report.resets == 1
    assert bench.now <= COMMAND_TIMEOUT + ABORT_TIMEOUT + 2 * SECOND


@pytest.mark.parametrize("can_abort", [True, False])
def test_a_command_never_answered_ends_in_an_error_and_others_go_on(
    make: Make, can_abort: bool
) -> None:
    bench = make()
    bench.fake.can_abort = can_abort
    bench.fake.lost = lambda command: command.queue != 0 and command.block == 64
    assert bench.do(Operation.WRITE, 64, [(0, 512)]) == Errno.ETIMEDOUT
    assert bench.now <= ATTEMPTS * (COMMAND_TIMEOUT + ABORT_TIMEOUT + 2 * SECOND)
    assert read(bench, 5) == 0
    assert bench.do(Operation.WRITE, 64, [(0, 512)]) == Errno.ETIMEDOUT
    assert read(bench, 5) == 0


def test_a_flush_and_a_read_modify_write_survive_a_reset(make: Make) -> None:
    bench = make(block_size=4096)
    bench.fake.can_abort = False
    expected = bytearray(bench.disk)
    bench.memory.data[0:512] = b"v" * 512
    expected[9 * 512 : 10 * 512] = b"v" * 512
    for opcode in (READ, WRITE):
        lose(bench, 1, opcode)
        assert bench.do(Operation.WRITE, 9, [(0, 512)]) == 0
        assert bench.disk == expected
    lose(bench, 1, 0)
    assert bench.do(Operation.FLUSH, 0, []) == 0
    assert bench.report.resets == 3


def test_one_that_stops_answering_for_good_is_given_up(make: Make) -> None:
    bench = make()
    bench.begin(Operation.READ, 0, [(0x1000, 4096)])
    bench.fake.lost = lambda command: True
    assert bench.run() != 0
    assert bench.report.failure in (Failure.NONE, Failure.HUNG)
    for _ in range(RESTARTS):
        assert bench.do(Operation.READ, 0, [(0x1000, 4096)]) != 0
    assert bench.report.failure == Failure.HUNG
    now = bench.now
    assert bench.do(Operation.READ, 0, [(0x1000, 4096)]) == Errno.ENODEV
    assert bench.now == now


def test_one_that_cannot_be_reset_is_given_up(make: Make) -> None:
    bench = make()
    bench.fake.lost = lambda command: True
    bench.fake.ready_after = 1 << 30
    assert bench.do(Operation.READ, 0, [(0x1000, 4096)]) == Errno.ENODEV
    assert bench.report.failure == Failure.NOT_READY


def test_a_request_made_during_a_reset_waits_for_its_end(make: Make) -> None:
    bench = make()
    bench.fake.holding = True
    bench.begin(Operation.READ, 0, [(0x1000, 4096)])
    bench.turn()
    bench.fake.fail_fatally()
    bench.now += WATCH
    bench.reap()
    assert bench.controller.state < 10
    bench.fake.holding = False
    bench.begin(Operation.READ, 99, [(0x9000, 4096)], channel=1)
    assert bench.run(0) == 0
    assert bench.run(1) == 0
    assert bench.contents([(0x9000, 4096)]) == bench.disk[99 * 512 : 107 * 512]


def test_a_fatal_status_while_it_comes_up_is_not_the_end(make: Make) -> None:
    bench = make()
    bench.begin(Operation.READ, 0, [(0x1000, 4096)])
    bench.fake.fail_fatally()
    bench.fake.fatal_on_enable = True
    while bench.fake.get(0x1C) != 2:
        bench.turn()
    bench.fake.fatal_on_enable = False
    assert bench.run() == 0
    assert bench.controller.restarts == 0


# ---- fatal status and removal -------------------------------------------------------------------


def test_a_fatal_status_is_seen_soon_and_reset_away(make: Make) -> None:
    bench = make()
    bench.begin(Operation.READ, 0, [(0x1000, 4096)])
    bench.fake.fail_fatally()
    assert bench.run() == 0
    assert bench.report.resets == 1
    assert bench.now <= WATCH + SECOND


@pytest.mark.parametrize("under_way", [True, False])
def test_a_controller_pulled_out_fails_what_there_is_and_will_be(
    make: Make, under_way: bool
) -> None:
    bench = make(mdts=1)
    bench.fake.holding = True
    if under_way:
        bench.begin(Operation.READ, 0, [(0x1000, 100 * KIB)])
        bench.begin(Operation.WRITE, 100, [(0x40002, 100 * KIB)], channel=1)
        bench.turn()
        bench.fake.remove()
    else:
        bench.fake.remove()
        bench.begin(Operation.READ, 0, [(0x1000, 100 * KIB)])
        bench.begin(Operation.WRITE, 100, [(0x40002, 100 * KIB)], channel=1)
    start = bench.now
    assert bench.run(0) == Errno.ENODEV
    assert bench.run(1) == Errno.ENODEV
    assert bench.now - start <= WATCH
    assert bench.report.failure == Failure.GONE
    assert bench.do(Operation.FLUSH, 0, []) == Errno.ENODEV
    assert bench.due() == NEVER


def test_one_pulled_out_during_a_reset_is_noticed(make: Make) -> None:
    bench = make()
    bench.begin(Operation.READ, 0, [(0x1000, 4096)])
    bench.fake.fail_fatally()
    bench.now += WATCH
    bench.reap()
    bench.fake.remove()
    assert bench.run() == Errno.ENODEV
    assert bench.report.failure == Failure.GONE


def test_a_namespace_that_is_another_after_a_reset_is_not_used(make: Make) -> None:
    bench = make()
    before = bytes(bench.disk)
    bench.begin(Operation.WRITE, 0, [(0x1000, 4096)])
    bench.fake.blocks -= 1
    bench.fake.fail_fatally()
    assert bench.run() == Errno.ENODEV
    assert bench.report.failure == Failure.CHANGED
    assert bench.disk == before


def test_fewer_queues_after_a_reset_are_enough(make: Make) -> None:
    bench = make(cpus=4)
    bench.cpu = 3
    bench.begin(Operation.READ, 0, [(0x1000, 4096)])
    bench.fake.queues = 1
    bench.fake.fail_fatally()
    assert bench.run() == 0
    assert read(bench) == 0
    assert {command.queue for command in bench.fake.log} == {1}


# ---- time ---------------------------------------------------------------------------------------


def test_nothing_is_due_when_nothing_is_owed(make: Make) -> None:
    bench = make()
    assert read(bench) == 0
    bench.wait()
    bench.reap()
    assert bench.due() == NEVER


def test_a_command_under_way_is_watched(make: Make) -> None:
    bench = make()
    bench.wait()
    bench.reap()
    bench.fake.holding = True
    bench.begin(Operation.READ, 0, [(0x1000, 4096)])
    bench.drive()
    assert bench.due() == bench.now + WATCH
    for _ in range(5):
        bench.wait()
        bench.reap()
        assert bench.due() == bench.now + WATCH


def test_the_drivers_structs_have_the_layout_of_the_specification() -> None:
    from vestige.monitor.drivers.nvme import spec  # noqa: PLC0415

    offsets: list[tuple[Any, int]] = [
        (spec.IdentifyController.serial, 4), (spec.IdentifyController.model, 24),
        (spec.IdentifyController.firmware, 64), (spec.IdentifyController.maximum_transfer, 77),
        (spec.IdentifyController.optional_commands, 520), (spec.IdentifyNamespace.format, 26),
        (spec.IdentifyNamespace.attributes, 99), (spec.IdentifyNamespace.formats, 128),
        (spec.Command.prp1, 24), (spec.Command.cdw10, 40),
    ]  # fmt: skip
    assert [field.offset for field, _ in offsets] == [offset for _, offset in offsets]
