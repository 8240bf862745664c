"""The NVMe driver brings up controllers that are slow, small, strict, or not to be driven."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.drivers.benches import MakeNvme, NvmeBench
from tests.drivers.fake_nvme import CREATE_CQ, IDENTIFY, SET_FEATURES, Command
from vestige import abi
from vestige.abi import SECTOR
from vestige.monitor.block import Operation
from vestige.monitor.drivers.nvme import spec
from vestige.monitor.drivers.nvme.driver import Errno, NvmeDriver

Failure = abi.NvmeFailure
NEVER = (1 << 64) - 1
INTERNAL_ERROR = 0x06
SECOND = 1_000_000_000


def test_it_says_what_the_drive_is(make: MakeNvme) -> None:
    bench = make(block_size=4096)
    disk = abi.Disk(nvme=1)
    assert bench.call(NvmeDriver.describe, bench.driver, disk)
    assert disk.sectors == len(bench.disk) // SECTOR
    assert bytes(disk.model) == b"A Model of a Drive".ljust(40)
    assert bytes(disk.serial) == b"S3R1AL".ljust(20)
    assert bytes(disk.firmware) == b"FW 1.0  "
    assert (disk.can_discard, disk.read_only) == (1, 0)


def test_a_write_protected_namespace_is_a_read_only_drive(make: MakeNvme) -> None:
    bench = make(up=False, can_discard=False)
    bench.fake.write_protected = True
    bench.power_on()
    disk = abi.Disk(nvme=1)
    assert bench.call(NvmeDriver.describe, bench.driver, disk)
    assert (disk.can_discard, disk.read_only) == (0, 1)


def test_only_the_controller_that_is_there_is_brought_up(make: MakeNvme) -> None:
    bench = make()
    assert not bench.call(NvmeDriver.describe, bench.driver, abi.Disk(nvme=0))


def test_a_controller_that_runs_already_is_reset_first(make: MakeNvme) -> None:
    bench = make(up=False)
    bench.fake.set(0x14, 1 | 6 << 16 | 4 << 20)
    bench.fake.enabled = True
    bench.fake.set(0x1C, 1)
    bench.power_on()
    assert bench.fake.resets == 1
    assert bench.read() == 0


def test_a_slow_controller_is_waited_for_as_long_as_it_asks(make: MakeNvme) -> None:
    bench = make(up=False)
    bench.fake.ready_after = 400  # looks, of 1 ms
    bench.power_on()
    assert bench.report.failure == 0
    assert 399_000_000 <= bench.now < SECOND
    assert bench.read() == 0


def test_one_that_never_gets_ready_is_given_up_in_the_time_it_asked_for(make: MakeNvme) -> None:
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


def no_sectors(bench: NvmeBench) -> None:
    bench.description.sectors = 1
    bench.fake.block_size = 4096


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
        (no_sectors, Failure.BLOCKS),
        (empty, Failure.FORMAT),
        (no_doorbells, Failure.UNSUPPORTED),
        (no_nvm_commands, Failure.UNSUPPORTED),
        (large_pages, Failure.UNSUPPORTED),
    ],
)
def test_what_it_cannot_drive_it_gives_up_and_says_why(
    make: MakeNvme, trouble: Callable[[NvmeBench], None], failure: Failure
) -> None:
    bench = make(up=False)
    trouble(bench)
    bench.power_on()
    assert bench.report.failure == failure
    assert bench.due() == NEVER


@pytest.mark.parametrize("opcode", [IDENTIFY, SET_FEATURES, CREATE_CQ])
def test_an_admin_command_that_fails_is_named(make: MakeNvme, opcode: int) -> None:
    bench = make(up=False)
    bench.fake.status = lambda command: INTERNAL_ERROR if command.opcode == opcode else None
    bench.power_on()
    assert (bench.report.failure, bench.report.status) == (Failure.COMMAND, INTERNAL_ERROR)


def test_an_admin_command_without_an_answer_is_tried_again_after_a_reset(make: MakeNvme) -> None:
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
    assert bench.read() == 0


def test_one_that_answers_no_admin_command_at_all_is_given_up(make: MakeNvme) -> None:
    bench = make(up=False)
    bench.fake.lost = lambda command: True
    bench.power_on()
    assert bench.report.failure == Failure.HUNG


def test_an_admin_answer_to_nothing_is_ignored(make: MakeNvme) -> None:
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
    make: MakeNvme, cpus: int, given: int, bar_pages: int, stride: int, expected: int
) -> None:
    bench = make(up=False, cpus=cpus, queues=given, stride=stride)
    bench.description.bar_size = bar_pages * 4096
    bench.power_on()
    assert sorted(bench.fake.ends) == list(range(expected + 1))
    for cpu in range(cpus):
        bench.cpu = cpu
        assert bench.read() == 0
    assert {command.queue for command in bench.fake.log} == set(range(1, expected + 1))


def test_vectors_are_shared_where_they_are_few(make: MakeNvme) -> None:
    bench = make(up=False, cpus=5)
    bench.description.vectors = 3
    bench.power_on()
    assert bench.fake.vectors == {1: 1, 2: 2, 3: 0, 4: 1, 5: 2}


def test_the_first_active_namespace_is_the_drive(make: MakeNvme) -> None:
    bench = make(up=False)
    bench.fake.namespaces = [7, 9]
    bench.power_on()
    assert bench.read() == 0


def test_the_drivers_structs_have_the_layout_of_the_specification() -> None:
    offsets: list[tuple[Any, int]] = [
        (spec.IdentifyController.serial, 4), (spec.IdentifyController.model, 24),
        (spec.IdentifyController.firmware, 64), (spec.IdentifyController.maximum_transfer, 77),
        (spec.IdentifyController.optional_commands, 520), (spec.IdentifyNamespace.format, 26),
        (spec.IdentifyNamespace.attributes, 99), (spec.IdentifyNamespace.formats, 128),
        (spec.Command.prp1, 24), (spec.Command.cdw10, 40),
    ]  # fmt: skip
    assert [field.offset for field, _ in offsets] == [offset for _, offset in offsets]
