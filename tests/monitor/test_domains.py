"""Several domains in CPython: who serves what, and what they have to do with each other."""

import pytest

from tests.devices.virtio.reference import Buffer
from tests.monitor.rig import Rig
from tests.monitor.virtio_guest import (
    DATA,
    IN,
    OUT,
    WRITE_ZEROES,
    ConfigurationSpace,
    VirtioDisk,
)
from vestige import abi
from vestige.monitor.core.wires import Wires

SIZE = 1 << 20
COMMAND, BAR, MSIX_CONTROL = 0x04, 0x10, 0x42
INTERRUPT_STATUS = 0x1000
LEVEL = 1 << 15
MOVED = 0xD800_0000
VECTOR = 0x61


def a_machine(disks: int = 2, domains: int = 2) -> Rig:
    """Virtio disks of the byte that is their number, dealt out."""
    content = [bytearray([number]) * SIZE for number in range(disks)]
    return Rig(disks=content, virtio=True, cpus=domains, domains=domains).start()


def test_each_domain_does_the_requests_of_its_own_functions() -> None:
    rig = a_machine(4, 3)
    assert [rig.shared.config.homes[number] for number in range(4)] == [0, 1, 2, 0]
    disks = [VirtioDisk(rig, number) for number in range(4)]
    rig.rung.clear()
    for ring in rig.rings:
        ring.log.clear()
    for disk in disks:
        assert disk.do(IN, 8 * disk.number, Buffer(DATA, 512, writable=True)) == 0
        assert disk.ram.get(DATA, 512) == bytes([disk.number]) * 512
        assert disk.do(OUT, 0, Buffer(DATA, 512, writable=False)) == 0
    assert rig.rung == [disk.gsi for disk in disks for _ in range(2)]
    files = [[file for _, file, _, _ in ring.log] for ring in rig.rings]
    assert files == [[0, 0, 3, 3], [1, 1], [2, 2]]
    counted = [shared.statistics for shared in rig.shared_by_domain]
    assert [each.worker_wakeups for each in counted] == [4, 2, 2]
    assert [[each.virtio[n].requests for n in range(4)] for each in counted] == [
        [2, 0, 0, 2],
        [0, 2, 0, 0],
        [0, 0, 2, 0],
    ]


def test_zeroes_come_from_the_domains_own_state() -> None:
    rig = a_machine()
    disk = VirtioDisk(rig, 1)
    disk.ram.poke(DATA, "QII", 8, 200, 0)
    assert disk.do(WRITE_ZEROES, 0, Buffer(DATA, 16, writable=False)) == 0
    assert not any(rig.disks[1][8 * 512 : 208 * 512])
    assert set(rig.disks[1][208 * 512 :]) == {1}
    assert not rig.ring.log


def test_a_domain_is_served_while_the_others_are_locked() -> None:
    rig = a_machine(3, 3)
    disks = [VirtioDisk(rig, number) for number in range(3)]
    for locked in (0, 2):
        rig.machines[locked].lock.held = 1
    assert rig.read(disks[1].bar + 0x14, 1) == 15
    assert disks[1].do(IN, 0, Buffer(DATA, 512, writable=True)) == 0
    assert disks[1].ram.get(DATA, 512) == b"\1" * 512
    disks[0].ask(IN, 0, Buffer(DATA, 512, writable=True))
    disks[0].driver.kick()
    with rig.entered(rig.worker):
        assert not rig.machine.lock.take_or_leave()
    assert disks[0].done() == {}


@pytest.mark.parametrize("by_port", [False, True])
def test_configuration_space_leads_to_a_functions_domain(by_port: bool) -> None:
    rig = a_machine()
    space = ConfigurationSpace(rig, abi.VIRTIO_SLOT + 1, by_port=by_port)
    assert space.read(0) == 0x1042_1AF4
    space.write(BAR, MOVED)
    assert space.read(BAR) == MOVED
    assert rig.read(MOVED, 4) == 0xFFFF_FFFF
    space.write(COMMAND, 6)
    assert rig.read(MOVED + 0x12, 2) == 2, "queues"
    assert rig.read(abi.VIRTIO_BARS + abi.VIRTIO_BAR_SIZE) == 0xFFFF_FFFF
    space.write(COMMAND, 0)
    assert rig.read(MOVED, 4) == 0xFFFF_FFFF
    # What is no function of another domain stays where it was.
    assert rig.read(abi.ECAM + ((abi.VIRTIO_SLOT + 2) << 15)) == 0xFFFF_FFFF
    assert rig.read(space.place + 0x1000) == 0xFFFF_FFFF


def test_a_moved_bar_is_notified_in_its_domain() -> None:
    rig = a_machine()
    disk = VirtioDisk(rig, 1)
    rig.write(disk.config_base + BAR, MOVED)
    number = disk.ask(IN, 0, Buffer(DATA, 512, writable=True))
    rig.write(MOVED + abi.VIRTIO_NOTIFY, 0, 2)
    assert disk.done() == {number: 0}
    assert rig.shared_by_domain[1].statistics.virtio[1].notifications == 1


def with_a_line(rig: Rig, flags: int) -> tuple[VirtioDisk, int]:
    """Disk 1, of domain 1, without MSI-X; and the pin its line leads to."""
    disk = VirtioDisk(rig, 1)
    pin = abi.PIN_PCI_INTA + 1
    rig.write(disk.config_base + MSIX_CONTROL, 0, 2)
    rig.enable_pin(pin, VECTOR, flags)
    rig.rung.clear()
    rig.woken.clear()
    return disk, pin


@pytest.mark.parametrize("flags", [0, LEVEL])
def test_a_line_reaches_the_first_domains_io_apic(flags: int) -> None:
    rig = a_machine()
    disk, pin = with_a_line(rig, flags)
    for times in (1, 2):
        assert disk.do(IN, 0, Buffer(DATA, 512, writable=True)) == 0
        assert rig.rung == [pin] * (times - 1)
        assert rig.woken == [0] * times, "the first worker, by the other"
        rig.work()
        assert rig.rung == [pin] * times
        assert rig.read(disk.bar + INTERRUPT_STATUS, 1) == 1
        rig.end_of_interrupt(VECTOR)
        rig.work()
        assert rig.rung == [pin] * times
        rig.woken.clear()
        rig.woken += [0] * times


def test_a_line_that_stays_asserted_interrupts_again_and_one_acknowledged_does_not() -> None:
    rig = a_machine()
    disk, pin = with_a_line(rig, LEVEL)
    assert disk.do(IN, 0, Buffer(DATA, 512, writable=True)) == 0
    rig.work()
    rig.end_of_interrupt(VECTOR)
    assert rig.rung == [pin] * 2
    assert rig.read(disk.bar + INTERRUPT_STATUS, 1) == 1
    rig.end_of_interrupt(VECTOR)
    assert rig.rung == [pin] * 2


def test_a_line_pulled_by_an_access_is_at_the_io_apic_before_the_guest_goes_on() -> None:
    rig = a_machine()
    disk, pin = with_a_line(rig, LEVEL)
    disk.driver.kick()
    number = disk.ask(IN, 0, Buffer(DATA, 512, writable=True))
    rig.write(disk.bar + abi.VIRTIO_NOTIFY, 0, 2)
    assert disk.done() == {number: 0}
    assert rig.rung == [pin]
    assert 0 not in rig.woken


def test_an_edge_that_came_and_went_is_not_lost() -> None:
    wires = Wires()
    wires.show(1, 1)
    wires.show(0, 0)
    wires.show(2, 2)
    assert wires.level() == 2
    assert wires.take_edges() == 3
    assert wires.take_edges() == 0
    assert (wires.take_news(), wires.take_news()) == (True, False)
    wires.show(2, 0)
    assert not wires.take_news()
