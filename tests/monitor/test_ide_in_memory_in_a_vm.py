"""The IDE in memory on this machine's KVM: loads without exits, posted starts, and their order."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.host import harness
from tests.host.guest_payload import Report
from tests.monitor import ide_guest as guests
from vestige import abi
from vestige.host import images
from vestige.host.kvm import api as kvm

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(harness.why_not() is not None, reason=str(harness.why_not())),
]

SECTORS = 256
POSTED = abi.TrapKind.MEMORY | abi.TrapKind.WRITE | abi.TrapKind.POSTED

Start = Callable[[Callable[[Report], None], int], harness.Payload]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Makes payloads with the real monitor and a disk, and closes them."""
    made: list[harness.Payload] = []
    (tmp_path / "disk").write_bytes(bytes(SECTORS * 512))
    files = [
        os.open(tmp_path / "disk", os.O_RDWR),
        os.open(tmp_path / "console", os.O_RDWR | os.O_CREAT),
    ]

    def make(function: Callable[[Report], None], command: int) -> harness.Payload:
        payload = harness.Payload(
            function,
            files=files,
            command=command,
            monitor=images.monitor_image(),
            ide_in_memory=True,
        )
        made.append(payload)
        config = payload.twin.private.shared().config
        disk = config.disks[0]
        disk.present, disk.file, disk.sectors = 1, 0, SECTORS
        config.console.present, config.console.output, config.console.input = 1, 1, -1
        return payload

    yield make
    for payload in made:
        payload.close()
    for descriptor in files:
        os.close(descriptor)


def traps(payload: harness.Payload, kind: int) -> dict[int, int]:
    """Counted accesses of one kind, by address."""
    found = payload.twin.private.shared().statistics.traps
    return {trap.address: trap.count for trap in found if trap.count and trap.kind == kind}


def reads_are_free(payload: harness.Payload) -> bool:
    return bool(payload.twin.system.has(kvm.Capability.READONLY_MEM))


def test_loads_of_the_registers_do_not_exit(start: Start) -> None:
    payload = start(guests.read_registers, 500)
    assert payload.run() == 0
    assert list(payload.report.values)[:4] == [500 * 0x50, 0, 0, 0]
    if reads_are_free(payload):
        assert traps(payload, abi.TrapKind.MEMORY) == {}
        assert payload.session.threads[0].loop.exits[kvm.Exit.MMIO] == 0


def test_a_guest_can_not_write_the_pages_and_finds_ones_where_it_moved_a_bar_from(
    start: Start,
) -> None:
    payload = start(guests.write_pages, 0)
    assert payload.run() == 0
    ones = 0xFF
    assert list(payload.report.values)[:6] == [0, 0x0020_0000, guests.PRD, ones, 0x50, 0x50]
    shadow = payload.twin.private.host_address(abi.SHADOW) - payload.twin.private.region.address
    pages = bytes(payload.twin.private.region.view[shadow : shadow + 3 * 4096])
    assert pages.count(0xFF) == len(pages) - 1 - 16


def test_posted_starts_move_data_and_a_polling_driver_never_finds_it_idle(start: Start) -> None:
    payload = start(guests.transfers, 20)
    assert payload.run() == 0
    assert list(payload.report.values)[:2] == [20, 0]
    assert traps(payload, POSTED) == {abi.IDE_MEMORY_BUS_MASTER: 41}
    writes = traps(payload, abi.TrapKind.MEMORY | abi.TrapKind.WRITE)
    # Direction and stop of each, but no start.
    assert writes[abi.IDE_MEMORY_BUS_MASTER] == 2 * 41 + payload.report.values[2]
    assert payload.twin.private.shared().statistics.fences == 0


def test_a_stop_or_a_reset_never_overtakes_a_posted_start(start: Start) -> None:
    payload = start(guests.races, 40)
    assert payload.run() == 0
    assert list(payload.report.values)[:2] == [40, 0]
    assert traps(payload, POSTED) == {abi.IDE_MEMORY_BUS_MASTER: 41}
