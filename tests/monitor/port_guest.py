"""A guest's driver of the virtio console or the entropy device, on the whole monitor."""

from tests.devices.virtio.reference import Buffer, GuestRam, SplitDriver
from tests.monitor.rig import Rig
from vestige import abi

VERSION_1, CONSOLE_SIZE, MULTIPORT = 1 << 32, 1 << 0, 1 << 1
QUEUES, SIZE = 0x1000, 16
ROOM = 0x14000  # for data
READY, PORT_READY, OPEN = 0, 3, 6


class PortGuest:
    """Drives function 0 with MSI-X: vector q + 1 for queue q."""

    def __init__(self, rig: Rig, queues: int, features: int = 0) -> None:
        self.rig = rig
        base = abi.ECAM + (abi.VIRTIO_SLOT << 15)
        rig.write(base + 4, 6, 2)
        self.bar = rig.read(base + 0x10) & ~15
        rig.write(base + 0x42, 1 << 15, 2)
        for vector in range(queues + 1):
            for offset, value in ((0, abi.LOCAL_APIC), (4, 0), (8, 0x50 + vector), (12, 0)):
                rig.write(self.bar + 0x4000 + 16 * vector + offset, value)
        rig.write(self.bar + 0x14, 3, 1)
        for half, word in ((0, features), (1, 1)):
            rig.write(self.bar + 8, half)
            rig.write(self.bar + 12, word)
        rig.write(self.bar + 0x14, 11, 1)
        assert rig.read(self.bar + 0x14, 1) == 11
        self.ram = GuestRam(rig.memory)
        self.queues = [self.enable(number) for number in range(queues)]
        rig.write(self.bar + 0x14, 15, 1)

    def enable(self, number: int) -> SplitDriver:
        """Set up a queue."""
        driver = SplitDriver(self.ram, SIZE, event_index=False)
        driver.descriptors = QUEUES + 0x400 * number
        driver.driver = driver.descriptors + 0x100
        driver.device = driver.descriptors + 0x200
        self.rig.write(self.bar + 0x16, number, 2)
        self.rig.write(self.bar + 0x18, SIZE, 2)
        self.rig.write(self.bar + 0x1A, number + 1, 2)
        for offset, area in ((0x20, driver.descriptors), (0x28, driver.driver),
                             (0x30, driver.device)):  # fmt: skip
            self.rig.write(self.bar + offset, area)
        self.rig.write(self.bar + 0x1C, 1, 2)
        return driver

    def put(self, queue: int, data: bytes) -> None:
        """Send; the ioeventfd wakes the worker."""
        self.ram.put(ROOM, data)
        assert self.queues[queue].add([Buffer(ROOM, len(data), writable=False)]) is not None
        self.rig.work()

    def room(self, queue: int, size: int = 64, place: int = ROOM + 0x2000) -> None:
        """Make room for what comes."""
        assert self.queues[queue].add([Buffer(place, size, writable=True)]) is not None
        self.rig.work()

    def got(self, queue: int, place: int = ROOM + 0x2000) -> list[bytes]:
        """What came there; every buffer given was the same one."""
        return [self.ram.get(place, size) for _, size in self.queues[queue].collect()]

    def open(self, port: int) -> None:
        """Open a port of the console."""
        for event in (PORT_READY, OPEN):
            self.ram.poke(ROOM + 0x1000, "IHH", port, event, 1)
            self.queues[3].add([Buffer(ROOM + 0x1000, 8, writable=False)])
            self.rig.work()
            self.queues[3].collect()


def console_rig(*, ports: int = 1, input_: bool = True, columns: int = 0, rows: int = 0) -> Rig:
    """A machine with a virtio console of so many ports; file 2p is p's output, 2p + 1 its input.

    Port 0 is a terminal where `columns` is not 0.
    """
    rig = Rig(console=False)
    config = rig.shared.config
    function = config.virtio[0]
    function.kind, function.queues, function.shares = abi.VirtioKind.CONSOLE, 2 * ports + 2, 1
    config.columns, config.rows = columns, rows
    rig.ring.files[:] = [[] for _ in range(2 * ports)]
    for number in range(ports):
        port = config.ports[number]
        port.present, port.output = 1, 2 * number
        port.input = 2 * number + 1 if input_ else -1
    return rig.start()


def entropy_rig(*reads: bytes) -> Rig:
    """A machine with an entropy device whose host has these bytes."""
    rig = Rig(console=False)
    config = rig.shared.config
    function = config.virtio[0]
    function.kind, function.queues, function.shares = abi.VirtioKind.ENTROPY, 1, 1
    config.entropy = 0
    rig.ring.files[:] = [list(reads)]
    return rig.start()
