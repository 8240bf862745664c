"""A guest's driver of a virtio disk on the whole monitor: PCI, negotiation, requests."""

from tests.devices.virtio.reference import Buffer, Driver, GuestRam, SplitDriver
from tests.monitor.rig import Rig
from vestige import abi

HEADERS = 0x18000  # header and status of buffer n of a queue: 32 bytes at n * 32
HEADERS_SIZE = 0x1000  # of one queue
DATA = 0x20000
VERSION_1, FLUSH, EVENT_IDX, PACKED = 1 << 32, 1 << 9, 1 << 29, 1 << 34
RING_RESET = 1 << 40
IN, OUT, FLUSH_OUT, GET_ID, WRITE_ZEROES = 0, 1, 4, 8, 13
VECTOR = 0x51


class ConfigurationSpace:
    """A function's, by ECAM or by the two ports. `address` is what CONFIG_ADDRESS names it by."""

    def __init__(self, rig: Rig, slot: int, *, by_port: bool) -> None:
        self.rig, self.by_port = rig, by_port
        self.place = abi.ECAM + (slot << 15)
        self.address = 1 << 31 | slot << 11

    def read(self, register: int) -> int:
        """32 bits."""
        if not self.by_port:
            return self.rig.read(self.place + register)
        self.rig.out(abi.PORT_PCI_ADDRESS, self.address | register, 4)
        return self.rig.inp(abi.PORT_PCI_DATA, 4)

    def write(self, register: int, value: int) -> None:
        """32 bits."""
        if not self.by_port:
            self.rig.write(self.place + register, value)
            return
        self.rig.out(abi.PORT_PCI_ADDRESS, self.address | register, 4)
        self.rig.out(abi.PORT_PCI_DATA, value, 4)


class DiskQueue:
    """One queue of function `number`, whose vector is the queue's number; its memory is `area`."""

    def __init__(
        self, rig: Rig, number: int, queue: int, area: int, kind: type[Driver], size: int
    ) -> None:
        self.rig = rig
        self.number = number
        self.queue = queue
        self.ram = GuestRam(rig.memory)
        self.driver = kind(self.ram, size, event_index=True, queue=area)
        self.headers = HEADERS + area * HEADERS_SIZE
        self.count = 0
        self.places: dict[int, int] = {}

    def enable(self, bar: int) -> None:
        """Tell the device of it."""
        rig, driver = self.rig, self.driver
        rig.write(bar + 0x16, self.queue, 2)
        rig.write(bar + 0x18, driver.size, 2)
        rig.write(bar + 0x1A, self.queue, 2)
        areas = (driver.descriptors, driver.driver, driver.device)
        for offset, area in zip((0x20, 0x28, 0x30), areas, strict=True):
            rig.write(bar + offset, area)
        rig.write(bar + 0x1C, 1, 2)
        driver.want_interrupt()

    @property
    def domain(self) -> int:
        """Who serves it."""
        return self.rig.domain_of_queue(self.number, self.queue)

    @property
    def gsi(self) -> int:
        """Of its vector, as whoever serves it sends it."""
        share = self.domain - self.rig.shared.config.homes[self.number]
        function = share * abi.MAX_VIRTIO + self.number
        return abi.VIRTIO_GSI + function * abi.VIRTIO_VECTORS + self.queue

    def ask(self, kind: int, sector: int, *parts: Buffer) -> int:
        """Make a request available; its number."""
        place = self.headers + 32 * (self.count % (HEADERS_SIZE // 32))
        self.count += 1
        self.ram.poke(place, "IIQB", kind, 0, sector, 0xEE)
        number = self.driver.add(
            [Buffer(place, 16, writable=False), *parts, Buffer(place + 16, 1, writable=True)]
        )
        assert number is not None
        self.places[number] = place + 16
        return number

    def notify(self) -> None:
        """Tell the device, if it asked for that: the worker wakes, as the ioeventfd wakes it."""
        if self.driver.kick():
            self.rig.work(self.domain)

    def done(self) -> dict[int, int]:
        """Status bytes of the requests used since this was last asked."""
        done = self.driver.collect()
        self.driver.want_interrupt()
        return {number: self.ram.peek(self.places[number], "B") for number, _ in done}

    def do(self, kind: int, sector: int, *parts: Buffer) -> int:
        """A whole request that completes at once; its status."""
        number = self.ask(kind, sector, *parts)
        self.notify()
        return self.done()[number]


class VirtioDisk(DiskQueue):
    """Function `number`, driven with MSI-X; itself its first queue, the others in `queues`."""

    def __init__(
        self,
        rig: Rig,
        number: int = 0,
        kind: type[Driver] = SplitDriver,
        *,
        size: int = 64,
        queues: int = 1,
    ) -> None:
        area = number * queues
        super().__init__(rig, number, 0, area, kind, size)
        more = [DiskQueue(rig, number, q, area + q, kind, size) for q in range(1, queues)]
        self.queues: list[DiskQueue] = [self, *more]
        self.config_base = abi.ECAM + ((abi.VIRTIO_SLOT + number) << 15)
        assert rig.read(self.config_base) == 0x1042_1AF4
        rig.write(self.config_base + 4, 6, 2)
        self.bar = rig.read(self.config_base + 0x10) & ~15
        rig.write(self.config_base + 0x42, 1 << 15, 2)
        for vector in range(queues):
            message = ((0, abi.LOCAL_APIC), (4, 0), (8, VECTOR + vector), (12, 0))
            for offset, value in message:
                rig.write(self.bar + 0x4000 + 16 * vector + offset, value)
        features = VERSION_1 | FLUSH | EVENT_IDX | RING_RESET | (PACKED if kind.packed else 0)
        rig.write(self.bar + 0x14, 3, 1)
        for half in (0, 1):
            rig.write(self.bar + 8, half)
            rig.write(self.bar + 12, features >> 32 * half & 0xFFFF_FFFF)
        rig.write(self.bar + 0x14, 11, 1)
        assert rig.read(self.bar + 0x14, 1) == 11
        for queue in self.queues:
            queue.enable(self.bar)
        rig.write(self.bar + 0x14, 15, 1)
