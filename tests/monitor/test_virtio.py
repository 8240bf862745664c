"""Virtio disks on the whole monitor in CPython: ring, doorbells, routes, worker."""

import random

import pytest

from tests.devices.virtio.reference import Buffer, Driver, PackedDriver, SplitDriver
from tests.monitor.rig import Rig
from tests.monitor.virtio_guest import (
    DATA,
    FLUSH_OUT,
    GET_ID,
    IN,
    OUT,
    VECTOR,
    WRITE_ZEROES,
    VirtioDisk,
)
from vestige import abi
from vestige.monitor.block import DISK_REQUESTS

SIZE = 1 << 20
ENOSPC = 28
FORMATS = (SplitDriver, PackedDriver)


def a_machine(disks: int = 1) -> Rig:
    """Virtio disks of random bytes."""
    chance = random.Random(3)
    content = [bytearray(chance.randbytes(SIZE)) for _ in range(disks)]
    return Rig(disks=content, virtio=True).start()


@pytest.mark.parametrize("kind", FORMATS)
def test_data_moves_between_image_and_ram(kind: type[Driver]) -> None:
    rig = a_machine()
    disk = VirtioDisk(rig, kind=kind)
    parts = (Buffer(DATA, 1024, writable=True), Buffer(DATA + 8192, 3072, writable=True))
    assert disk.do(IN, 5, *parts) == 0
    assert disk.ram.get(DATA, 1024) == rig.disks[0][5 * 512 : 7 * 512]
    assert disk.ram.get(DATA + 8192, 3072) == rig.disks[0][7 * 512 : 13 * 512]
    disk.ram.put(DATA, b"written!" * 64)
    assert disk.do(OUT, 100, Buffer(DATA, 512, writable=False)) == 0
    assert rig.disks[0][100 * 512 : 101 * 512] == b"written!" * 64
    assert disk.do(FLUSH_OUT, 0) == 0
    assert rig.ring.flushed == [0]
    disk.ram.poke(DATA, "QII", 8, 200, 0)
    assert disk.do(WRITE_ZEROES, 0, Buffer(DATA, 16, writable=False)) == 0
    assert not any(rig.disks[0][8 * 512 : 208 * 512])
    assert disk.do(GET_ID, 0, Buffer(DATA, 20, writable=True)) == 0
    report = rig.shared.statistics.virtio[0]
    assert (report.requests, report.notifications, report.failures) == (5, 0, 0)


def test_a_file_without_room_is_an_io_error_of_that_disk_alone_and_told() -> None:
    rig = a_machine(2)
    disks = [VirtioDisk(rig, number) for number in (0, 1)]
    rig.ring.answer = lambda submission: None if submission.file else -ENOSPC
    for _ in range(3):
        data = Buffer(DATA, 512, writable=False)
        assert [disk.do(OUT, 0, data) for disk in disks] == [1, 0]
    assert rig.told == [b""]
    assert [report.write for report in rig.shared.statistics.disks] == [ENOSPC, 0, 0, 0]


def test_a_completion_is_the_vectors_message_and_routed_once() -> None:
    rig = a_machine()
    disk = VirtioDisk(rig)
    for _ in range(3):
        assert disk.do(IN, 0, Buffer(DATA, 512, writable=True)) == 0
    assert rig.routed == [(disk.gsi, abi.LOCAL_APIC, VECTOR)]
    assert rig.rung == [disk.gsi] * 3
    rig.write(disk.bar + 0x4008, VECTOR + 1)
    assert disk.do(IN, 0, Buffer(DATA, 512, writable=True)) == 0
    assert rig.routed[1:] == [(disk.gsi, abi.LOCAL_APIC, VECTOR + 1)]


def test_no_request_costs_the_guest_an_exit() -> None:
    rig = a_machine()
    disk = VirtioDisk(rig)
    disk.do(IN, 0, Buffer(DATA, 512, writable=True))
    rig.calls.clear()
    for sector in range(20):
        assert disk.do(IN, sector, Buffer(DATA, 512, writable=True)) == 0
    assert set(rig.calls) == {abi.Call.KICK}
    assert len(rig.calls) == 20


def test_with_a_polled_ring_nobody_leaves_for_the_host() -> None:
    rig = a_machine()
    rig.shared.config.ring.polled = 1
    disk = VirtioDisk(rig)
    number = disk.ask(IN, 0, Buffer(DATA, 512, writable=True))
    disk.notify()
    rig.ring.enter()
    rig.work()
    assert disk.done() == {number: 0}
    rig.calls.clear()
    for sector in range(20):
        number = disk.ask(IN, sector, Buffer(DATA, 512, writable=True))
        disk.notify()
        assert disk.done() == {}
        rig.ring.enter()
        rig.work()
        assert disk.done() == {number: 0}
    assert rig.calls == []


@pytest.mark.parametrize("kind", FORMATS)
def test_many_requests_at_once_and_one_interrupt_for_those_that_end_together(
    kind: type[Driver],
) -> None:
    rig = a_machine(2)
    disks = [VirtioDisk(rig, number, kind, size=256) for number in (0, 1)]
    rig.ring.inline = False
    asked: list[set[int]] = []
    for disk in disks:
        place = DATA + 0x40000 * disk.number
        asked.append(
            {disk.ask(IN, n, Buffer(place + 512 * n, 512, writable=True)) for n in range(50)}
        )
        disk.notify()
    assert len(rig.ring.taken) == 2 * DISK_REQUESTS
    rig.rung.clear()
    chance = random.Random(1)
    while rig.ring.taken:
        for _ in range(min(5, len(rig.ring.taken))):
            rig.ring.complete(chance.randrange(len(rig.ring.taken)))
        rig.work()
        for disk, numbers in zip(disks, asked, strict=True):
            done = disk.done()
            assert set(done.values()) <= {0}
            numbers -= set(done)
    assert asked == [set(), set()]
    assert len(rig.rung) <= 40
    for disk in disks:
        place = DATA + 0x40000 * disk.number
        assert disk.ram.get(place, 50 * 512) == rig.disks[disk.number][: 50 * 512]


def test_an_error_of_the_image_is_the_requests() -> None:
    rig = a_machine()
    disk = VirtioDisk(rig)
    rig.ring.answer = lambda submission: -5
    assert disk.do(IN, 0, Buffer(DATA, 512, writable=True)) == 1
    rig.ring.answer = lambda submission: None
    assert disk.do(IN, 0, Buffer(DATA, 512, writable=True)) == 0


def test_a_broken_disk_leaves_the_other_alone() -> None:
    rig = a_machine(2)
    first, second = VirtioDisk(rig, 0), VirtioDisk(rig, 1)
    first.driver.add([Buffer(1 << 40, 512, writable=True)])
    first.notify()
    assert rig.read(first.bar + 0x14, 1) & 64
    assert second.do(IN, 0, Buffer(DATA, 512, writable=True)) == 0
    assert rig.shared.statistics.virtio[0].failures == 1


def test_a_driver_that_never_acknowledges_features_leaves_the_other_disk_alone() -> None:
    rig = a_machine(2)
    second = VirtioDisk(rig, 1)
    config = abi.ECAM + (abi.VIRTIO_SLOT << 15)
    rig.write(config + 4, 6, 2)
    bar = rig.read(config + 0x10) & ~15
    for status in (1, 3, 7):  # DRIVER_OK without FEATURES_OK
        rig.write(bar + 0x14, status, 1)
        rig.write(bar + 0x1C, 1, 2)
        rig.write(bar + 0x3000, 0, 2)
        rig.work()
    assert rig.read(bar + 0x14, 1) & 4 == 0
    assert rig.shared.statistics.virtio[0].requests == 0
    assert second.do(IN, 0, Buffer(DATA, 512, writable=True)) == 0
    first = VirtioDisk(rig, 0)
    assert first.do(IN, 0, Buffer(DATA, 512, writable=True)) == 0


def test_rings_of_queues_nobody_set_up_are_heard_by_none() -> None:
    rig = a_machine(2)
    disks = [VirtioDisk(rig, 0), VirtioDisk(rig, 1)]
    for disk in disks:
        for queue in (1, 2, 16, 17, 1023):
            rig.write(disk.bar + 0x3000 + 4 * queue, queue, 2)
        rig.work()
    for disk in disks:
        assert rig.read(disk.bar + 0x14, 1) == 15
        assert disk.do(IN, 0, Buffer(DATA, 512, writable=True)) == 0
    assert [rig.shared.statistics.virtio[disk.number].failures for disk in disks] == [0, 0]


def test_a_reset_in_the_middle_of_a_request_leaves_the_other_disks_alone() -> None:
    rig = a_machine(2)
    disks = [VirtioDisk(rig, 0), VirtioDisk(rig, 1)]
    rig.ring.inline = False
    numbers = []
    for disk in disks:
        numbers.append(disk.ask(IN, 0, Buffer(DATA + 4096 * disk.number, 512, writable=True)))
        disk.notify()
    rig.write(disks[0].bar + 0x14, 0, 1)
    while rig.ring.taken:
        rig.ring.complete()
    rig.work()
    assert rig.read(disks[0].bar + 0x14, 1) == 0
    assert disks[0].done() == {}
    assert disks[1].done() == {numbers[1]: 0}
    rig.ring.inline = True
    disks[0].ram.put(disks[0].driver.descriptors, bytes(0x4000))  # a driver's areas begin as zeros
    again = VirtioDisk(rig, 0)
    assert again.do(IN, 0, Buffer(DATA, 512, writable=True)) == 0


def test_a_reset_while_the_ring_works_waits_for_it() -> None:
    rig = a_machine()
    disk = VirtioDisk(rig)
    rig.ring.inline = False
    disk.ask(IN, 0, Buffer(DATA, 512, writable=True))
    disk.notify()
    rig.write(disk.bar + 0x14, 0, 1)
    assert rig.read(disk.bar + 0x14, 1) != 0
    rig.ring.complete()
    rig.work()
    assert rig.read(disk.bar + 0x14, 1) == 0
    assert disk.done() == {}


def test_a_moved_bar_is_notified_through_the_bus() -> None:
    rig = a_machine()
    disk = VirtioDisk(rig)
    rig.write(disk.config_base + 0x10, 0xD800_0000)
    number = disk.ask(IN, 0, Buffer(DATA, 512, writable=True))
    rig.write(0xD800_3000, 0, 2)
    assert disk.done() == {number: 0}
    assert rig.shared.statistics.virtio[0].notifications == 1


def test_without_msix_the_line_is_pulled() -> None:
    rig = a_machine()
    disk = VirtioDisk(rig)
    rig.write(disk.config_base + 0x42, 0, 2)
    rig.write(abi.IOAPIC, 0x10 + 2 * abi.PIN_PCI_INTA)
    rig.write(abi.IOAPIC + 0x10, 0x61)
    assert disk.do(IN, 0, Buffer(DATA, 512, writable=True)) == 0
    assert rig.rung == [abi.PIN_PCI_INTA]
    assert rig.read(disk.bar + 0x1000, 1) == 1
    assert disk.do(IN, 0, Buffer(DATA, 512, writable=True)) == 0
    assert rig.rung == [abi.PIN_PCI_INTA] * 2


def test_ports_and_ecam_reach_the_same_function() -> None:
    rig = a_machine()
    rig.out(abi.PORT_PCI_ADDRESS, 1 << 31 | abi.VIRTIO_SLOT << 11, 4)
    assert rig.inp(abi.PORT_PCI_DATA, 4) == 0x1042_1AF4
    assert rig.read(abi.ECAM + ((abi.VIRTIO_SLOT + 1) << 15)) == 0xFFFF_FFFF
