"""A virtio device that is no disk, as its driver sees it: tests/devices/virtio/bench.py's means."""

from typing import Any

from tests.devices.virtio.bench import EVENT_IDX, INDIRECT, PACKED, RING_RESET, VERSION_1, Bench
from tests.devices.virtio.bench import native as native_devices
from tests.devices.virtio.reference import Driver, GuestRam, SplitDriver
from tests.twice import Twice
from vestige import abi
from vestige.lang.native import NativeImage
from vestige.monitor.devices.virtio.devices import Virtio

QUEUES = 0x1000  # where queues begin: 0x400 bytes each
TABLES = 0x6000  # and their indirect tables
ROOM = 0xE000  # for data
QUEUE_SIZE = 16


class PlainBench(Bench):
    """One function in the first slot; `config` says which and has what belongs to it."""

    def __init__(self, config: abi.Config, part: Any, native: NativeImage | None = None) -> None:
        """`part` names the device's struct in a Virtio."""
        self.ram = GuestRam()
        self.config = config
        self.virtio = Virtio()
        parts = (self.virtio, self.ram.bytes)
        self.call = Twice(native or native_devices(), parts)
        config.ring.present = 1
        config.ram.set(self.ram.memory)
        self.call(Virtio.configure, self.virtio, config)
        self.function = self.virtio.functions[0]
        self.device = self.function.device
        self.write_config(4, 2, 6)  # memory and bus master

    def begin(
        self, kind: type[Driver] = SplitDriver, features: int = 0, count: int | None = None
    ) -> list[Driver]:
        """Negotiate, and set up so many queues, or all; DRIVER_OK."""
        extra = PACKED if kind.packed else 0
        assert self.negotiate(VERSION_1 | INDIRECT | RING_RESET | extra | features)
        drivers = []
        for number in range(self.config.virtio[0].queues if count is None else count):
            driver = kind(self.ram, QUEUE_SIZE, event_index=features & EVENT_IDX != 0)
            driver.descriptors = QUEUES + 0x400 * number
            driver.driver = driver.descriptors + 0x100
            driver.device = driver.descriptors + 0x200
            driver.tables = TABLES + 0x1000 * number
            self.ram.put(driver.descriptors, bytes(0x400))
            self.enable(number, driver, number)
            drivers.append(driver)
        self.go()
        return drivers
