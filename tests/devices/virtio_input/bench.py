"""The tablet as its driver and the core see it."""

import struct

from tests.devices.virtio.plain import ROOM, PlainBench
from tests.devices.virtio.reference import Buffer, Driver
from vestige import abi
from vestige.abi import EVENT_SIZE, EventKind
from vestige.monitor.devices.virtio.devices import Virtio
from vestige.monitor.devices.virtio_input.spec import Config
from vestige.monitor.events import EventStream

SIZE = 8  # of what a driver gets
DEVICE = 0x2000  # the configuration structure, in the BAR


def at(x: int, y: int, buttons: int = 0, wheel: int = 0) -> bytes:
    """A record of a tablet's."""
    record = struct.pack("<BBHHHh", EventKind.TABLET, buttons, 0, x, y, wheel)
    assert len(record) == EVENT_SIZE
    return record


class TabletBench(PlainBench):
    """The tablet. `place` is where the next of the driver's buffers is."""

    def __init__(self) -> None:
        config = abi.Config()
        function = config.virtio[0]
        function.kind, function.queues, function.shares = abi.VirtioKind.INPUT, 2, 1
        super().__init__(config, lambda virtio: virtio.tablets[0])
        self.tablet = self.virtio.tablets[0]
        self.places: dict[int, int] = {}
        self.place = ROOM

    def give(self, driver: Driver, count: int, size: int = SIZE) -> None:
        """Buffers for so many events."""
        for _ in range(count):
            number = driver.add([Buffer(self.place, size, writable=True)])
            assert number is not None
            self.places[number] = self.place
            self.place += size
            if self.place > ROOM + 0x1000:
                self.place = ROOM
        self.service()

    def bring(self, record: bytes) -> int:
        """The core offers an event; what the device says of it."""
        stream = EventStream(count=EVENT_SIZE)
        for i, byte in enumerate(record):
            stream.buffer[i] = byte
        return self.call(Virtio.take_event, self.virtio, stream)

    def got(self, driver: Driver) -> list[tuple[int, int, int]]:
        """What came back: type, code, value."""
        events = []
        for number, written in driver.collect():
            assert written == SIZE
            events.append(struct.unpack("<HHi", self.ram.get(self.places.pop(number), SIZE)))
        return events

    def ask(self, select: int, subselect: int = 0) -> bytes:
        """What the configuration structure says of it."""
        self.write(DEVICE + Config.SELECT, 1, select)
        self.write(DEVICE + Config.SUBSELECT, 1, subselect)
        size = self.read(DEVICE + Config.SIZE, 1)
        return bytes(self.read(DEVICE + Config.DATA + i, 1) for i in range(size))
