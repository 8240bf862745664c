"""The NVMe driver against a controller that fails commands, forgets them, or is gone."""

import pytest

from tests.drivers.benches import MakeNvme, NvmeBench
from tests.drivers.fake_nvme import (
    ABORT,
    DO_NOT_RETRY,
    OUT_OF_RANGE,
    READ,
    UNRECOVERED_READ,
    WRITE,
    Command,
)
from vestige import abi
from vestige.monitor.block import Operation
from vestige.monitor.drivers.nvme.controller import RESTARTS, WATCH
from vestige.monitor.drivers.nvme.driver import ABORT_TIMEOUT, ATTEMPTS, COMMAND_TIMEOUT, Errno

Failure = abi.NvmeFailure
NEVER = (1 << 64) - 1
WRITE_PROTECTED = 0x20
CAPACITY_EXCEEDED = 0x81
KIB = 1024
SECOND = 1_000_000_000


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
def test_a_status_that_forbids_a_retry_is_the_error(
    make: MakeNvme, status: int, error: int
) -> None:
    bench = make()
    bench.fake.status = lambda command: status | DO_NOT_RETRY
    assert bench.do(Operation.WRITE, 0, [(0, 512)]) == error
    assert bench.report.errors == 1


def test_any_other_status_is_an_error_after_some_attempts(make: MakeNvme) -> None:
    bench = make()
    bench.fake.status = lambda command: UNRECOVERED_READ
    assert bench.do(Operation.READ, 0, [(0, 512)]) == Errno.EIO
    assert bench.report.errors == ATTEMPTS


def test_a_block_that_cannot_be_read_is_not_written(make: MakeNvme) -> None:
    bench = make(block_size=4096)
    before = bytes(bench.disk)
    bench.fake.status = lambda command: (
        UNRECOVERED_READ | DO_NOT_RETRY if command.opcode == READ else None
    )
    assert bench.do(Operation.WRITE, 1, [(0, 512)]) == Errno.EIO
    assert bench.disk == before


def test_answers_to_nothing_are_ignored(make: MakeNvme) -> None:
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
    assert bench.read() == 0


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


def test_a_lost_command_is_aborted_and_given_again(make: MakeNvme) -> None:
    bench = make()
    lose(bench, 1)
    assert bench.read() == 0
    assert COMMAND_TIMEOUT <= bench.now <= COMMAND_TIMEOUT + SECOND
    assert (bench.report.timeouts, bench.report.resets) == (1, 0)
    assert [command.opcode for command in bench.fake.admin_log][-1] == ABORT


def test_one_lost_again_is_aborted_again(make: MakeNvme) -> None:
    bench = make()
    lose(bench, 2)
    assert bench.read() == 0
    assert (bench.report.timeouts, bench.report.resets) == (2, 0)


def test_the_others_are_not_disturbed_by_an_abort(make: MakeNvme) -> None:
    bench = make(mdts=1)
    lose(bench, 1)
    assert bench.read(0, [(0x1000, 100 * KIB)]) == 0
    assert bench.report.resets == 0


def test_one_that_cannot_be_aborted_costs_a_reset_and_all_is_given_again(make: MakeNvme) -> None:
    bench = make(mdts=1)
    bench.fake.can_abort = False
    lose(bench, 3)
    segments = [(0x1000, 100 * KIB)]
    assert bench.read(0, segments) == 0
    assert bench.report.resets == 1
    assert bench.now <= COMMAND_TIMEOUT + ABORT_TIMEOUT + 2 * SECOND


@pytest.mark.parametrize("can_abort", [True, False])
def test_a_command_never_answered_ends_in_an_error_and_others_go_on(
    make: MakeNvme, can_abort: bool
) -> None:
    bench = make()
    bench.fake.can_abort = can_abort
    bench.fake.lost = lambda command: command.queue != 0 and command.block == 64
    assert bench.do(Operation.WRITE, 64, [(0, 512)]) == Errno.ETIMEDOUT
    assert bench.now <= ATTEMPTS * (COMMAND_TIMEOUT + ABORT_TIMEOUT + 2 * SECOND)
    assert bench.read(5) == 0
    assert bench.do(Operation.WRITE, 64, [(0, 512)]) == Errno.ETIMEDOUT
    assert bench.read(5) == 0


def test_a_flush_and_a_read_modify_write_survive_a_reset(make: MakeNvme) -> None:
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


def test_one_that_stops_answering_for_good_is_given_up(make: MakeNvme) -> None:
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


def test_one_that_cannot_be_reset_is_given_up(make: MakeNvme) -> None:
    bench = make()
    bench.fake.lost = lambda command: True
    bench.fake.ready_after = 1 << 30
    assert bench.do(Operation.READ, 0, [(0x1000, 4096)]) == Errno.ENODEV
    assert bench.report.failure == Failure.NOT_READY


def test_a_request_made_during_a_reset_waits_for_its_end(make: MakeNvme) -> None:
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


def test_a_fatal_status_while_it_comes_up_is_not_the_end(make: MakeNvme) -> None:
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


def test_a_fatal_status_is_seen_soon_and_reset_away(make: MakeNvme) -> None:
    bench = make()
    bench.begin(Operation.READ, 0, [(0x1000, 4096)])
    bench.fake.fail_fatally()
    assert bench.run() == 0
    assert bench.report.resets == 1
    assert bench.now <= WATCH + SECOND


@pytest.mark.parametrize("under_way", [True, False])
def test_a_controller_pulled_out_fails_what_there_is_and_will_be(
    make: MakeNvme, under_way: bool
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


def test_one_pulled_out_during_a_reset_is_noticed(make: MakeNvme) -> None:
    bench = make()
    bench.begin(Operation.READ, 0, [(0x1000, 4096)])
    bench.fake.fail_fatally()
    bench.now += WATCH
    bench.reap()
    bench.fake.remove()
    assert bench.run() == Errno.ENODEV
    assert bench.report.failure == Failure.GONE


def test_a_namespace_that_is_another_after_a_reset_is_not_used(make: MakeNvme) -> None:
    bench = make()
    before = bytes(bench.disk)
    bench.begin(Operation.WRITE, 0, [(0x1000, 4096)])
    bench.fake.blocks -= 1
    bench.fake.fail_fatally()
    assert bench.run() == Errno.ENODEV
    assert bench.report.failure == Failure.CHANGED
    assert bench.disk == before


def test_fewer_queues_after_a_reset_are_enough(make: MakeNvme) -> None:
    bench = make(cpus=4)
    bench.cpu = 3
    bench.begin(Operation.READ, 0, [(0x1000, 4096)])
    bench.fake.queues = 1
    bench.fake.fail_fatally()
    assert bench.run() == 0
    assert bench.read() == 0
    assert {command.queue for command in bench.fake.log} == {1}


# ---- time ---------------------------------------------------------------------------------------


def test_nothing_is_due_when_nothing_is_owed(make: MakeNvme) -> None:
    bench = make()
    assert bench.read() == 0
    bench.wait()
    bench.reap()
    assert bench.due() == NEVER


def test_a_command_under_way_is_watched(make: MakeNvme) -> None:
    bench = make()
    bench.wait()
    bench.reap()
    bench.fake.holding = True
    bench.begin(Operation.READ, 0, [(0x1000, 4096)])
    bench.driver_turn()
    assert bench.due() == bench.now + WATCH
    for _ in range(5):
        bench.wait()
        bench.reap()
        assert bench.due() == bench.now + WATCH
