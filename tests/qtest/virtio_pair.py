"""A virtio device of ours and one of QEMU's, for the same driver: registers and queues.

The driver is tests/devices/virtio/reference.py's, written from the standard. Ours is answered by
the models, with a test's bench in the core's place; QEMU's by QEMU.
"""

import ctypes
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from tests.devices.virtio.bench import Bench
from tests.devices.virtio.reference import Driver, GuestRam, SplitDriver
from tests.qtest.client import Qtest

VERSION_1, PACKED, EVENT_IDX, INDIRECT = 1 << 32, 1 << 34, 1 << 29, 1 << 28
NEEDS_RESET = 64
SLOT = 5  # of QEMU's first function
BAR_ADDRESS = 0xE000_0000  # and its BAR
BAR_SIZE = 1 << 20  # a place for each
QUEUES = 0x1000  # in RAM: where queues begin, each with QUEUE_AREA bytes
QUEUE_AREA = 0x1000
TABLES = 0xA000  # and their indirect tables
PATIENCE = 4  # seconds, on a machine that may be busy
SUFFIX = {1: "b", 2: "w", 4: "l"}
STRUCTURES = {1: "common", 2: "notify", 3: "interrupt status", 4: "device", 5: "access"}


class Side(Protocol):
    """What a driver can reach of a device, by structure and offset."""

    ram: GuestRam

    def config(self, offset: int, size: int) -> int:
        """A read of configuration space."""

    def read(self, structure: str, offset: int, size: int) -> int:
        """A load."""

    def write(self, structure: str, offset: int, size: int, value: int) -> None:
        """A store."""

    def settle(self, drivers: Sequence[Driver], count: int) -> list[tuple[int, int]]:
        """Wait until `count` buffers came back in all, or the device is broken."""


class Ours:
    """The models; `answer` is what the core does after every event."""

    def __init__(self, bench: Bench, answer: Callable[[], object]) -> None:
        self.bench = bench
        self.answer = answer
        self.ram = bench.ram
        self.places = {"common": 0, "interrupt status": 0x1000, "device": 0x2000, "notify": 0x3000}

    def config(self, offset: int, size: int) -> int:
        return self.bench.read_config(offset, size)

    def read(self, structure: str, offset: int, size: int) -> int:
        return self.bench.read(self.places[structure] + offset, size)

    def write(self, structure: str, offset: int, size: int, value: int) -> None:
        self.bench.write(self.places[structure] + offset, size, value)
        self.answer()

    def settle(self, drivers: Sequence[Driver], count: int) -> list[tuple[int, int]]:
        self.answer()
        done = [used for driver in drivers for used in driver.collect()]
        assert len(done) == count or self.read("common", 0x14, 1) & NEEDS_RESET
        return done


class Qemus:
    """QEMU's, reached by qtest; structures are where its capabilities say.

    `number` tells the functions of one machine apart.
    """

    def __init__(self, qtest: Qtest, number: int = 0) -> None:
        self.qtest = qtest
        self.slot = SLOT + number
        self.ram = GuestRam((ctypes.c_uint8 * len(qtest.ram)).from_buffer(qtest.ram))
        self.places: dict[str, int] = {}
        base = BAR_ADDRESS + number * BAR_SIZE
        capability = self.config(0x34, 1)
        while capability:
            kind = self.config(capability + 3, 1)
            if self.config(capability, 1) == 9 and kind in STRUCTURES:
                self.places[STRUCTURES[kind]] = base + self.config(capability + 8, 4)
                if kind == 1:
                    bar = self.config(capability + 4, 1)
            capability = self.config(capability + 1, 1)
        self.set_config(0x10 + 4 * bar, 4, base)
        self.set_config(4, 2, 6)

    def close(self) -> None:
        """Let go of QEMU's RAM, which can't be unmapped before."""
        del self.ram

    def config(self, offset: int, size: int) -> int:
        self.qtest.write(0xCF8, 1 << 31 | self.slot << 11 | offset & ~3, 4)
        index = self.qtest.read(0xCFC + offset % 4, size)
        return self.qtest.flush()[index]

    def set_config(self, offset: int, size: int, value: int) -> None:
        """A write of configuration space."""
        self.qtest.write(0xCF8, 1 << 31 | self.slot << 11 | offset & ~3, 4)
        self.qtest.write(0xCFC + offset % 4, value, size)
        self.qtest.flush()

    def read(self, structure: str, offset: int, size: int) -> int:
        self.qtest.send(f"read{SUFFIX[size]} {self.places[structure] + offset:#x}")
        return self.qtest.flush()[0]

    def write(self, structure: str, offset: int, size: int, value: int) -> None:
        self.qtest.send(f"write{SUFFIX[size]} {self.places[structure] + offset:#x} {value:#x}")
        self.qtest.flush()

    def settle(self, drivers: Sequence[Driver], count: int) -> list[tuple[int, int]]:
        done: list[tuple[int, int]] = []
        end = time.monotonic() + PATIENCE
        while len(done) < count and not self.read("common", 0x14, 1) & NEEDS_RESET:
            done += [used for driver in drivers for used in driver.collect()]
            if time.monotonic() > end:
                raise TimeoutError(f"QEMU gave back {len(done)} buffers of {count}")
        return done


class Guest:
    """The driver on one side."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.ram = side.ram

    def identity(self) -> list[int]:
        """Vendor, device, revision, class, and which structures there are."""
        found = [self.side.config(0, 4), self.side.config(8, 4)]
        kinds = set()
        capability = self.side.config(0x34, 1)
        while capability:
            number = self.side.config(capability, 1)
            kinds.add((number, self.side.config(capability + 3, 1) if number == 9 else 0))
            capability = self.side.config(capability + 1, 1)
        return [*found, *(number << 8 | kind for number, kind in sorted(kinds))]

    def offered(self) -> int:
        """The device's features."""
        self.side.write("common", 0, 4, 0)
        low = self.side.read("common", 4, 4)
        self.side.write("common", 0, 4, 1)
        return low | self.side.read("common", 4, 4) << 32

    def negotiate(self, features: int) -> list[int]:
        """The status after each step."""
        seen = []
        for status in (0, 1, 3):
            self.side.write("common", 0x14, 1, status)
            seen.append(self.side.read("common", 0x14, 1))
        for half in (0, 1):
            self.side.write("common", 8, 4, half)
            self.side.write("common", 12, 4, features >> 32 * half & 0xFFFF_FFFF)
        self.side.write("common", 0x14, 1, 11)
        return [*seen, self.side.read("common", 0x14, 1)]

    def start(self, kind: type[Driver], features: int, *numbers: int) -> list[Driver]:
        """These queues (0 if none is named), of 16 entries, and DRIVER_OK; each one's driver."""
        extra = PACKED if kind.packed else 0
        assert self.negotiate(VERSION_1 | extra | features)[-1] == 11
        drivers = [self.set_up(number, kind, features) for number in numbers or (0,)]
        self.side.write("common", 0x14, 1, 15)
        for driver in drivers:
            driver.want_interrupt()
        return drivers

    def set_up(self, number: int, kind: type[Driver], features: int) -> Driver:
        """One queue; its driver."""
        driver = kind(self.ram, 16, event_index=features & EVENT_IDX != 0)
        driver.descriptors = QUEUES + number * QUEUE_AREA
        driver.driver = driver.descriptors + 0x400
        driver.device = driver.descriptors + 0x800
        driver.tables = TABLES + number * QUEUE_AREA
        self.ram.put(driver.descriptors, bytes(QUEUE_AREA))
        self.side.write("common", 0x16, 2, number)
        self.side.write("common", 0x18, 2, 16)
        areas = (driver.descriptors, driver.driver, driver.device)
        for offset, area in zip((0x20, 0x28, 0x30), areas, strict=True):
            self.side.write("common", offset, 4, area)
            self.side.write("common", offset + 4, 4, 0)
        self.side.write("common", 0x1C, 2, 1)
        return driver

    def notify(self, queue: int) -> None:
        """What was made available there is to be taken."""
        self.side.write("notify", 4 * queue, 2, queue)

    def registers(self, queues: int) -> list[int]:
        """What the common structure says of the queues, and of one that isn't there: size 0."""
        seen = [self.side.read("common", 0x12, 2)]
        for queue in range(queues):
            self.side.write("common", 0x16, 2, queue)
            for offset in (0x16, 0x18, 0x1C, 0x1E):
                seen.append(self.side.read("common", offset, 2))
            for offset in range(0x20, 0x38, 4):
                seen.append(self.side.read("common", offset, 4))
        self.side.write("common", 0x16, 2, queues)
        return [*seen, self.side.read("common", 0x18, 2)]

    def broken_by(
        self, *descriptors: tuple[int, int, int, int], available: int = 1, queue: int = 0
    ) -> bool:
        """Whether these descriptors, the first being available, break a fresh split queue."""
        (driver,) = self.start(SplitDriver, INDIRECT, queue)
        for number, descriptor in enumerate(descriptors):
            self.ram.poke(driver.descriptors + 16 * number, "QIHH", *descriptor)
        self.ram.poke(driver.driver + 2, "HH", available, 0)
        self.notify(queue)
        self.side.settle([driver], 1)
        return self.side.read("common", 0x14, 1) & NEEDS_RESET != 0
