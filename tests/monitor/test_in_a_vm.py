"""The monitor itself in its VM on this machine's KVM, with guests that mean it no good."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.host import harness
from tests.host.guest_payload import Report
from tests.monitor import guest
from vestige import abi
from vestige.host import images
from vestige.monitor.core.machine import Machine

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(harness.why_not() is not None, reason=str(harness.why_not())),
]

DISK_SIZE = 1 << 20
ACCESSES = 3000
TICKS = 20


class Files(NamedTuple):
    """What is behind the ring."""

    disk: int
    console: Path
    descriptors: list[int]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    """A disk and a console's output; payloads get the real monitor."""
    monkeypatch.setattr(harness, "monitor_image", images.monitor_image)
    (tmp_path / "disk").write_bytes(os.urandom(DISK_SIZE))
    descriptors = [
        os.open(tmp_path / "disk", os.O_RDWR),
        os.open(tmp_path / "console", os.O_RDWR | os.O_CREAT),
    ]
    yield Files(descriptors[0], tmp_path / "console", descriptors)
    for descriptor in descriptors:
        os.close(descriptor)


def configure(payload: harness.Payload) -> None:
    """Tell the monitor of the disk and the console."""
    config = payload.twin.private.shared().config
    disk = config.disks[0]
    disk.present, disk.file, disk.sectors = 1, 0, DISK_SIZE // 512
    config.console.present, config.console.output, config.console.input = 1, 1, -1


@pytest.mark.parametrize("seed", range(1, 4))
def test_any_access_from_a_guest_leaves_the_monitor_in_order(files: Files, seed: int) -> None:
    payload = harness.Payload(guest.hammer, files=files.descriptors)
    try:
        configure(payload)
        payload.report.command = seed << 40 | 0x9E37_79B9
        payload.report.values[0] = ACCESSES
        assert payload.run() == 0
        assert payload.report.values[1] == ACCESSES
        assert files.console.read_bytes().endswith(b"done\n")
        statistics = payload.twin.private.shared().statistics
        assert sum(trap.count for trap in statistics.traps) > ACCESSES // 2
    finally:
        payload.close()


@pytest.mark.parametrize(
    ("function", "reported"), [(guest.level_interrupts, 3), (guest.edge_interrupts, 0)]
)
def test_interrupts_reach_the_guest_and_level_ones_report_their_end(
    files: Files, function: Callable[[Report], None], reported: int
) -> None:
    payload = harness.Payload(function, files=files.descriptors)
    try:
        configure(payload)
        assert payload.run() == 0
        assert payload.report.values[0] == 3
        traps = payload.twin.private.shared().statistics.traps
        ends = sum(trap.count for trap in traps if trap.kind == abi.TrapKind.EOI and trap.count)
        assert ends >= reported
        assert (ends > 0) == (reported > 0)
    finally:
        payload.close()


@pytest.mark.parametrize("has_bell", [True, False])
def test_a_pic_interrupts_a_guest_that_sleeps(files: Files, has_bell: bool) -> None:
    """By the boot CPU's bell, and where a kernel has none by a call and a signal."""
    payload = harness.Payload(guest.ticks, files=files.descriptors, has_bell=has_bell)
    try:
        configure(payload)
        payload.twin.private.shared().config.board = abi.Board.PC
        payload.report.command = TICKS
        assert payload.run() == 0
        assert payload.report.values[0] == TICKS
        boot, worker = (each.loop for each in payload.session.threads)
        told = boot.exits[abi.ExitReason.INTERRUPTED]
        assert told <= TICKS if has_bell else told <= worker.calls[abi.Call.ATTEND]
        assert worker.calls[abi.Call.ATTEND] == 0 or not has_bell
    finally:
        payload.close()


def test_a_guest_finds_nothing_where_the_monitors_memory_is(files: Files) -> None:
    payload = harness.Payload(guest.touch_private_memory, files=files.descriptors)
    try:
        configure(payload)
        assert payload.run() == 0
        assert payload.report.values[1] == 0x600
        assert payload.report.values[2] == 0
        machine = Machine.at(payload.twin.private.host_address(abi.STATE))
        assert machine.uart.divisor == 1
        assert files.console.read_bytes() == b"done\n"
    finally:
        payload.close()
