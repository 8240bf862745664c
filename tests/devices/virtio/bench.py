"""A virtio block device as its driver sees it: configuration space, BAR, queues, interrupts.

All that a driver does goes through configuration space and the BAR, and each access is made
twice, in CPython and compiled. The block driver below is the test.
"""

import ctypes
from collections.abc import Callable
from functools import cache

from tests.devices.virtio.reference import Driver, GuestRam, SplitDriver
from tests.twice import Twice, compiled
from vestige import abi
from vestige.lang.native import NativeImage
from vestige.monitor.block import BlockRequest, State
from vestige.monitor.devices.virtio.device import VirtioDevice
from vestige.monitor.devices.virtio.devices import Virtio
from vestige.monitor.devices.virtio.msix import Msix
from vestige.monitor.devices.virtio_blk.model import VirtioBlock
from vestige.place import NOWHERE

SECTORS = 1000
SERIAL = b"VESTIGE0001"

VERSION_1, PACKED, RING_RESET, EVENT_IDX, INDIRECT = 1 << 32, 1 << 34, 1 << 40, 1 << 29, 1 << 28
FLUSH = 1 << 9
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET = 1, 2, 4, 8, 64


@cache
def native() -> NativeImage:
    """All of the devices as machine code."""
    return compiled(
        Virtio.configure, Virtio.attach_disk, Virtio.has_function, Virtio.memory_offset,
        Virtio.read_config, Virtio.write_config, Virtio.read, Virtio.write, Virtio.service,
        Virtio.signal, Virtio.take_event, VirtioBlock.request_done, VirtioDevice.config_changed,
        VirtioDevice.take_reset, Msix.take_requests, Msix.message_address, Msix.message_data,
    )  # fmt: skip


class Bench:
    """One function in the first slot, which is disk 0."""

    def __init__(
        self,
        *,
        queues: int = 2,
        read_only: bool = False,
        can_discard: bool = False,
        to_zeroes: bool = False,
    ) -> None:
        self.ram = GuestRam()
        self.config = abi.Config()
        description = self.config.virtio[0]
        description.kind, description.queues = abi.VirtioKind.BLOCK, queues
        description.shares = 1
        disk = self.config.disks[0]
        disk.present, disk.bus, disk.sectors = 1, abi.Bus.VIRTIO, SECTORS
        disk.read_only, disk.can_discard = read_only, can_discard
        disk.discards_to_zeroes = to_zeroes
        for index, byte in enumerate(SERIAL.ljust(20)):
            disk.serial[index] = byte
        self.virtio = Virtio()
        parts = (self.virtio.functions[0], self.virtio.blocks[0], self.virtio.chain)
        self.call: Callable[..., int] = Twice(native(), (*parts, self.ram.bytes))
        self.virtio.ram.set(self.ram.memory)
        self.call(Virtio.attach_disk, self.virtio, self.config, 0)
        self.function = self.virtio.functions[0]
        self.device = self.function.device
        self.block = self.virtio.blocks[0]
        self.write_config(4, 2, 6)  # memory and bus master

    # ---- what a driver can reach --------------------------------------------------------------

    def read_config(self, offset: int, size: int) -> int:
        """A configuration read."""
        assert self.call(Virtio.has_function, self.virtio, 0)
        return self.call(Virtio.read_config, self.virtio, 0, offset, size)

    def write_config(self, offset: int, size: int, value: int) -> None:
        """A configuration write."""
        self.call(Virtio.write_config, self.virtio, 0, offset, size, value)

    def read(self, offset: int, size: int) -> int:
        """A read in the BAR, wherever it is."""
        place = self.call(Virtio.memory_offset, self.virtio, 0, self.bar() + offset)
        if place == NOWHERE:
            return (1 << 8 * size) - 1
        return self.call(Virtio.read, self.virtio, place, size, 0)

    def write(self, offset: int, size: int, value: int) -> None:
        """A write there."""
        place = self.call(Virtio.memory_offset, self.virtio, 0, self.bar() + offset)
        if place != NOWHERE:
            self.call(Virtio.write, self.virtio, place, size, value, 0)

    def bar(self) -> int:
        """Where the BAR says it is."""
        return self.read_config(0x10, 4) & ~15

    def capabilities(self) -> list[tuple[int, int]]:
        """(number, offset) of each."""
        found = []
        place = self.read_config(0x34, 1)
        while place:
            found.append((self.read_config(place, 1), place))
            place = self.read_config(place + 1, 1)
        return found

    # ---- the common configuration structure ---------------------------------------------------

    def status(self) -> int:
        """Device status."""
        return self.read(0x14, 1)

    def offered(self) -> int:
        """The device's features."""
        self.write(0, 4, 0)
        low = self.read(4, 4)
        self.write(0, 4, 1)
        return low | self.read(4, 4) << 32

    def negotiate(self, features: int) -> bool:
        """Reset, acknowledge, and accept features; whether the device agrees."""
        self.write(0x14, 1, 0)
        self.write(0x14, 1, ACKNOWLEDGE)
        self.write(0x14, 1, ACKNOWLEDGE | DRIVER)
        for half in (0, 1):
            self.write(8, 4, half)
            self.write(12, 4, features >> 32 * half & 0xFFFF_FFFF)
        self.write(0x14, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK)
        return self.status() & FEATURES_OK != 0

    def enable(self, number: int, driver: Driver, vector: int = 0xFFFF) -> None:
        """Set a queue up."""
        self.write(0x16, 2, number)
        self.write(0x18, 2, driver.size)
        self.write(0x1A, 2, vector)
        for offset, area in ((0x20, driver.descriptors), (0x28, driver.driver),
                             (0x30, driver.device)):  # fmt: skip
            self.write(offset, 4, area & 0xFFFF_FFFF)
            self.write(offset + 4, 4, area >> 32)
        self.write(0x1C, 2, 1)

    def go(self) -> None:
        """DRIVER_OK."""
        self.write(0x14, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)

    def start(
        self, kind: type[Driver] = SplitDriver, features: int = FLUSH, size: int = 16
    ) -> list[Driver]:
        """The whole of it: two queues of this format, running; interrupts by INTx."""
        extra = PACKED if kind.packed else 0
        assert self.negotiate(VERSION_1 | INDIRECT | RING_RESET | extra | features)
        event_index = features & EVENT_IDX != 0
        drivers = [kind(self.ram, size, event_index=event_index, queue=n) for n in (0, 1)]
        for number, driver in enumerate(drivers):
            self.enable(number, driver, number)
        self.go()
        return drivers

    # ---- what the core does -------------------------------------------------------------------

    def service(self) -> None:
        """After every event."""
        self.call(Virtio.service, self.virtio, 0)
        self.call(Virtio.signal, self.virtio, 0)

    def asked(self) -> list[tuple[int, BlockRequest]]:
        """What the block driver would see: number and request."""
        return [
            (number, request)
            for number, request in enumerate(self.block.requests)
            if request.state == State.QUEUED
        ]

    def answer(self, number: int, error: int = 0) -> None:
        """The block driver's answer."""
        self.block.requests[number].complete(error)
        memory = self.ram.memory
        self.call(VirtioBlock.request_done, self.block, self.device, number, memory)
        self.service()

    def interrupts(self) -> int:
        """The MSI-X vectors to be sent since this was last asked."""
        return self.call(Msix.take_requests, self.device.msix)

    def base(self) -> int:
        """The address of guest-physical 0."""
        return ctypes.addressof(self.ram.bytes)
