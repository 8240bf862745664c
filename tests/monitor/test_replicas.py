"""One virtio disk in several domains: each serves some of its queues, the guest sees one disk."""

import random

import pytest

from tests.devices.virtio.reference import Buffer
from tests.monitor.rig import Rig
from tests.monitor.virtio_guest import (
    DATA,
    IN,
    OUT,
    VECTOR,
    ConfigurationSpace,
    DiskQueue,
    VirtioDisk,
)
from vestige import abi

SIZE = 1 << 20
COMMAND, BAR, MSIX_CONTROL = 0x04, 0x10, 0x42
CONFIG_VECTOR, STATUS, QUEUE_SELECT, QUEUE_SIZE = 0x10, 0x14, 0x16, 0x18
QUEUE_VECTOR, QUEUE_ENABLE, QUEUE_DESCRIPTORS, QUEUE_RESET = 0x1A, 0x1C, 0x20, 0x3A
INTERRUPT_STATUS, NOTIFY, TABLE, PENDING = 0x1000, 0x3000, 0x4000, 0x5000
NO_VECTOR = 0xFFFF
NEEDS_RESET = 0x40
LEVEL = 1 << 15
MOVED = 0xD800_0000
PIN_VECTOR = 0x61
ONES = 0xFFFF_FFFF


def a_machine(domains: int = 2, disks: int = 1) -> Rig:
    """Virtio disks with four queues, each shared by `domains / disks` domains."""
    content = [bytearray([number]) * SIZE for number in range(disks)]
    rig = Rig(disks=content, virtio=True, cpus=2, domains=domains, queues=4).start()
    assert list(rig.shared.config.shares)[:disks] == [domains // disks] * disks
    return rig


def a_disk(rig: Rig, number: int = 0, queues: int = 4) -> VirtioDisk:
    """One of them, and so many of its queues."""
    disk = VirtioDisk(rig, number, queues=queues)
    rig.rung.clear()
    rig.routed.clear()
    for ring in rig.rings:
        ring.log.clear()
    return disk


def read(queue: DiskQueue, sector: int = 0) -> int:
    """A request of one sector; its status."""
    return queue.do(IN, sector, Buffer(DATA, 512, writable=True))


def begin(queue: DiskQueue) -> int:
    """A request that the ring is left with; its number."""
    queue.rig.rings[queue.domain].inline = False
    number = queue.ask(IN, 0, Buffer(DATA, 512, writable=True))
    queue.notify()
    assert queue.rig.rings[queue.domain].taken
    return number


def end(rig: Rig, domain: int) -> None:
    """The ring is done with it."""
    rig.rings[domain].inline = True
    rig.rings[domain].complete()
    rig.work(domain)


def same(rig: Rig) -> None:
    """What the guest has set is the same in all replicas of the first function."""
    functions = [machine.virtio.functions[0] for machine in rig.machines]
    assert len({bytes(function.config) for function in functions}) == 1
    assert len({function.base for function in functions}) == 1
    devices = [function.device for function in functions]
    assert len({bytes(device.msix.vectors) for device in devices}) == 1
    for names in (
        [(d.accepted, d.device_feature_select, d.driver_feature_select) for d in devices],
        [(d.queue_select, d.config_vector, d.master, d.silent) for d in devices],
        [(d.msix.enabled, d.msix.masked) for d in devices],
        [
            [(q.size, q.vector, q.descriptors, q.driver, q.device, q.enabled) for q in d.queues]
            for d in devices
        ],
    ):
        assert names == [names[0]] * len(names)


def test_an_access_across_an_edge_of_config_data_leaves_replicas_alike() -> None:
    rig = a_machine(2)
    command = 1 << 31 | abi.VIRTIO_SLOT << 11 | 4
    for port, size in ((abi.PORT_PCI_DATA - 1, 2), (abi.PORT_PCI_DATA + 2, 4)):
        rig.out(abi.PORT_PCI_ADDRESS, command, 4)
        rig.out(port, 0x0606_0606 & (1 << 8 * size) - 1, size)
        same(rig)
        assert rig.inp(abi.PORT_PCI_DATA - 1, 4) == 0xFFFF_FFFF


# ---- who serves what ---------------------------------------------------------------------------


@pytest.mark.parametrize("domains", [2, 3, 4])
def test_each_queue_is_served_in_its_domain(domains: int) -> None:
    rig = a_machine(domains)
    disk = a_disk(rig)
    assert [queue.domain for queue in disk.queues] == [q % domains for q in range(4)]
    for queue in disk.queues:
        assert queue.do(OUT, 8 * queue.queue, Buffer(DATA, 512, writable=False)) == 0
        assert read(queue, 8 * queue.queue) == 0
    assert rig.rung == [queue.gsi for queue in disk.queues for _ in range(2)]
    messages = {gsi: (address, data) for gsi, address, data in rig.routed}
    assert messages == {q.gsi: (abi.LOCAL_APIC, VECTOR + q.queue) for q in disk.queues}
    for domain, ring in enumerate(rig.rings):
        offsets = [offset for _, _, offset, _ in ring.log]
        mine = range(domain, 4, domains)
        assert offsets == [4096 * queue for queue in mine for _ in range(2)]
    requests = [shared.statistics.virtio[0].requests for shared in rig.shared_by_domain]
    assert requests == [2 * len(range(domain, 4, domains)) for domain in range(domains)]


def test_two_disks_have_domains_of_their_own() -> None:
    rig = a_machine(4, 2)
    disks = [a_disk(rig, number, 2) for number in range(2)]
    assert [[queue.domain for queue in disk.queues] for disk in disks] == [[0, 1], [2, 3]]
    for disk in disks:
        for queue in disk.queues:
            assert read(queue) == 0
            assert disk.ram.get(DATA, 512) == bytes([disk.number]) * 512


@pytest.mark.parametrize("locked", [0, 1])
def test_a_queue_is_served_while_the_other_domain_is_locked(locked: int) -> None:
    rig = a_machine()
    queues = a_disk(rig).queues
    rig.machines[locked].lock.held = 1
    assert read(queues[1 - locked]) == 0
    assert read(queues[3 - locked]) == 0
    queues[locked].ask(IN, 0, Buffer(DATA, 512, writable=True))
    queues[locked].driver.kick()
    with rig.entered(rig.workers[locked]):
        assert not rig.machines[locked].lock.take_or_leave()
    assert queues[locked].done() == {}


def test_a_notification_that_exits_reaches_the_queues_domain() -> None:
    rig = a_machine()
    disk = a_disk(rig)
    rig.write(disk.config_base + BAR, MOVED)
    for queue in disk.queues:
        number = queue.ask(IN, 0, Buffer(DATA, 512, writable=True))
        rig.write(MOVED + NOTIFY + 4 * queue.queue, queue.queue, 2)
        assert queue.done() == {number: 0}


# ---- accesses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("by_port", [False, True])
@pytest.mark.parametrize("disks", [1, 2])
def test_configuration_space_is_one(disks: int, by_port: bool) -> None:
    rig = a_machine(2 * disks, disks)
    space = ConfigurationSpace(rig, abi.VIRTIO_SLOT + disks - 1, by_port=by_port)
    assert space.read(0) == 0x1042_1AF4
    space.write(BAR, MOVED)
    assert space.read(BAR) == MOVED
    space.write(COMMAND, 6)
    assert rig.read(MOVED + 0x12, 2) == 4, "queues"
    assert rig.read(abi.VIRTIO_BARS + (disks - 1) * abi.VIRTIO_BAR_SIZE) == ONES
    space.write(COMMAND, 0)
    assert rig.read(MOVED, 4) == ONES
    if by_port:
        assert rig.inp(abi.PORT_PCI_ADDRESS, 4) == space.address | COMMAND


def test_a_string_instruction_is_one_access_after_the_other() -> None:
    rig = a_machine()
    disk = a_disk(rig)
    address = 1 << 31 | abi.VIRTIO_SLOT << 11
    rig.out(abi.PORT_PCI_ADDRESS, address, 4)
    identity = rig.port(abi.PORT_PCI_DATA, 4, bytes(12), write=False)
    assert identity == (0x1042_1AF4).to_bytes(4, "little") * 3
    rig.out(abi.PORT_PCI_ADDRESS, address | 0x3C, 4)
    rig.port(abi.PORT_PCI_DATA, 1, b"\1\2\3", write=True)
    assert rig.read(disk.config_base + 0x3C, 1) == 3
    same(rig)


def test_an_access_is_counted_once() -> None:
    rig = a_machine()
    disk = a_disk(rig)
    for shared in rig.shared_by_domain:
        for trap in shared.statistics.traps:
            trap.count = 0
    rig.read(disk.bar + STATUS, 1)
    counted = [t for s in rig.shared_by_domain for t in s.statistics.traps if t.count]
    assert [(trap.address, trap.count) for trap in counted] == [(disk.bar + STATUS, 1)]


def random_access(disk: VirtioDisk) -> tuple[int, int, int | None]:
    """Any access to the function: address, size, value or None."""
    size = random.choice((1, 2, 4, 4, 8))
    value = None if random.random() < 0.5 else random.choice((0, 1, 3, random.getrandbits(64)))
    kind = random.random()
    if kind < 0.2:
        place = disk.config_base + random.choice((COMMAND, MSIX_CONTROL, random.randrange(0x100)))
    elif kind < 0.6:
        place = disk.bar + random.randrange(0x40)
    elif kind < 0.9:
        place = disk.bar + TABLE + random.randrange(0x50)
    else:
        place = disk.bar + random.randrange(8) * 0x1000 + random.randrange(8)
    return place, size, None if value is None else value & ((1 << 8 * size) - 1)


@pytest.mark.parametrize("seed", range(6))
def test_a_shared_disk_answers_as_one_that_is_not(seed: int) -> None:
    random.seed(seed)
    content = [bytearray(SIZE)]
    alone = Rig(disks=content, virtio=True, cpus=2, queues=4).start()
    shared = a_machine(2 + seed % 3)
    disks = [a_disk(rig) for rig in (alone, shared)]
    for step in range(1500):
        if step % 50 == 0:
            for disk in disks:
                queue = disk.queues[step // 50 % 4]
                queue.ask(IN, 0, Buffer(DATA, 512, writable=True))
                queue.rig.work(queue.domain)
        address, size, value = random_access(disks[0])
        answers = [rig.memory_access(address, size, value) for rig in (alone, shared)]
        assert answers[0] == answers[1], (step, hex(address), size, value)
    same(shared)


# ---- what replicas differ in -------------------------------------------------------------------


def test_a_reset_waits_for_what_any_of_them_has_under_way() -> None:
    rig = a_machine()
    disk = a_disk(rig)
    begin(disk.queues[1])
    rig.write(disk.bar + STATUS, 0, 1)
    for _ in range(2):
        assert rig.read(disk.bar + STATUS, 1) != 0
        assert rig.read(disk.bar + QUEUE_SIZE, 2) == 256
        assert rig.read(disk.bar + CONFIG_VECTOR, 2) == NO_VECTOR
        assert rig.read(disk.bar + QUEUE_DESCRIPTORS) == 0
    before = bytes(rig.memory)
    end(rig, 1)
    assert bytes(rig.memory)[:DATA] == before[:DATA], "no byte of the rings"
    assert rig.read(disk.bar + STATUS, 1) == 0
    assert disk.queues[1].done() == {}
    same(rig)
    disk.ram.put(disk.driver.descriptors, bytes(0x10000))
    again = a_disk(rig)
    assert [read(queue) for queue in again.queues] == [0] * 4


def test_a_queues_reset_waits_for_its_own_alone() -> None:
    rig = a_machine()
    disk = a_disk(rig)
    begin(disk.queues[1])
    for queue, waits in ((0, 0), (1, 1)):
        rig.write(disk.bar + QUEUE_SELECT, queue, 2)
        rig.write(disk.bar + QUEUE_RESET, 1, 2)
        assert rig.read(disk.bar + QUEUE_RESET, 2) == waits
        assert rig.read(disk.bar + QUEUE_ENABLE, 2) == waits
        assert rig.read(disk.bar + QUEUE_SIZE, 2) == 256
        assert rig.read(disk.bar + QUEUE_VECTOR, 2) == NO_VECTOR
    end(rig, 1)
    assert rig.read(disk.bar + QUEUE_RESET, 2) == rig.read(disk.bar + QUEUE_ENABLE, 2) == 0
    same(rig)
    assert read(disk.queues[3]) == 0
    again = DiskQueue(rig, 0, 1, 1, type(disk.driver), 64)
    again.ram.put(again.driver.descriptors, bytes(0x4000))
    again.enable(disk.bar)
    assert read(again) == 0


def malformed(queue: DiskQueue) -> None:
    """Make a buffer available that is no request."""
    queue.driver.add([Buffer(1 << 40, 16, writable=False)])
    queue.notify()


@pytest.mark.parametrize("broken", [0, 1])
def test_the_driver_sees_that_one_of_them_needs_a_reset(broken: int) -> None:
    rig = a_machine()
    disk = a_disk(rig)
    rig.write(disk.bar + CONFIG_VECTOR, 3, 2)
    malformed(disk.queues[broken])
    assert rig.read(disk.bar + STATUS, 1) & NEEDS_RESET
    function = broken * abi.MAX_VIRTIO
    assert rig.rung == [abi.VIRTIO_GSI + function * abi.VIRTIO_VECTORS + 3]
    failures = [shared.statistics.virtio[0].failures for shared in rig.shared_by_domain]
    assert failures == [broken == 0, broken == 1]
    rig.write(disk.bar + STATUS, 0, 1)
    assert rig.read(disk.bar + STATUS, 1) == 0
    same(rig)


def test_a_queue_in_no_memory_breaks_the_disk_once() -> None:
    rig = a_machine()
    disk = a_disk(rig)
    rig.write(disk.bar + QUEUE_SELECT, 1, 2)
    rig.write(disk.bar + QUEUE_RESET, 1, 2)
    rig.write(disk.bar + QUEUE_DESCRIPTORS, 0xF000_0000)
    rig.write(disk.bar + QUEUE_ENABLE, 1, 2)
    assert rig.read(disk.bar + STATUS, 1) & NEEDS_RESET
    assert rig.read(disk.bar + QUEUE_ENABLE, 2) == 0
    assert sum(shared.statistics.virtio[0].failures for shared in rig.shared_by_domain) == 1


def test_pending_vectors_are_seen_and_sent_wherever_they_wait() -> None:
    rig = a_machine()
    disk = a_disk(rig)
    rig.write(disk.config_base + MSIX_CONTROL, 0xC000, 2)
    for queue in (0, 1, 3):
        assert read(disk.queues[queue]) == 0
    assert rig.rung == []
    assert rig.read(disk.bar + PENDING) == 0b1011
    rig.write(disk.config_base + MSIX_CONTROL, 0x8000, 2)
    assert sorted(rig.rung) == sorted(disk.queues[queue].gsi for queue in (0, 1, 3))
    assert rig.read(disk.bar + PENDING) == 0


def test_queues_of_two_domains_may_have_one_vector_whose_message_moves_to_and_fro() -> None:
    rig = a_machine()
    disk = a_disk(rig)
    for queue in range(2):
        rig.write(disk.bar + QUEUE_SELECT, queue, 2)
        rig.write(disk.bar + QUEUE_VECTOR, 2, 2)
    messages: dict[int, int] = {}

    def heard(queue: DiskQueue) -> int:
        """The message of the interrupt of a request."""
        rig.rung.clear()
        rig.routed.clear()
        assert read(queue) == 0
        messages.update({gsi: data for gsi, _, data in rig.routed})
        (gsi,) = rig.rung
        return messages[gsi]

    first, second = disk.queues[:2]
    for data, queues in ((0x70, [first]), (0x71, [second]), (0x70, [first, second])):
        rig.write(disk.bar + TABLE + 2 * 16 + 8, data)
        assert [heard(queue) for queue in queues] == [data] * len(queues)


@pytest.mark.parametrize("disks", [1, 2])
def test_lines_of_all_reach_the_pin_and_one_read_acknowledges(disks: int) -> None:
    rig = a_machine(2 * disks, disks)
    disk = a_disk(rig, disks - 1, 2)
    pin = abi.PIN_PCI_INTA + disk.number
    rig.write(disk.config_base + MSIX_CONTROL, 0, 2)
    rig.enable_pin(pin, PIN_VECTOR, LEVEL)
    for queue in disk.queues[:2]:
        assert read(queue) == 0
    rig.work()
    assert rig.rung == [pin]
    rig.end_of_interrupt(PIN_VECTOR)
    assert rig.rung == [pin] * 2, "it stays asserted"
    assert rig.read(disk.bar + INTERRUPT_STATUS, 1) == 1
    rig.end_of_interrupt(PIN_VECTOR)
    assert rig.rung == [pin] * 2
    assert rig.read(disk.bar + INTERRUPT_STATUS, 1) == 0


def test_the_guests_memory_is_where_a_request_says_whoever_serves_it() -> None:
    rig = a_machine()
    disk = a_disk(rig)
    disk.ram.put(DATA, b"\x5a" * 512)
    assert disk.queues[1].do(OUT, 3, Buffer(DATA, 512, writable=False)) == 0
    disk.ram.put(DATA, bytes(512))
    assert read(disk.queues[2], 3) == 0
    assert disk.ram.get(DATA, 512) == b"\x5a" * 512
