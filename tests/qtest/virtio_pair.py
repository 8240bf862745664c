"""A virtio disk of ours and one of QEMU's, for the same driver: registers, queues, requests.

The driver is tests/devices/virtio/reference.py's, written from the standard. Ours is answered by
the models, with the image read and written by this file; QEMU's by QEMU.
"""

import ctypes
import time
from pathlib import Path
from typing import Protocol

from tests.devices.virtio.bench import SECTORS, Bench
from tests.devices.virtio.reference import Buffer, Driver, GuestRam, SplitDriver
from tests.qtest.client import Qtest
from vestige.monitor.block import BlockRequest, Operation

VERSION_1, PACKED, EVENT_IDX, INDIRECT, FLUSH = 1 << 32, 1 << 34, 1 << 29, 1 << 28, 1 << 9
NEEDS_RESET = 64
HEADER, STATUS, PAYLOAD = 0x16000, 0x16020, 0x16200
SLOT = 5  # of QEMU's function
BAR_ADDRESS = 0xE000_0000
PATIENCE = 60  # seconds, on a machine that may be busy
SUFFIX = {1: "b", 2: "w", 4: "l"}
OUTS = {1: "b", 2: "w", 4: "l"}
STRUCTURES = {1: "common", 2: "notify", 3: "interrupt status", 4: "device"}


class Side(Protocol):
    """What a driver can reach of a device, by structure and offset."""

    ram: GuestRam

    def read(self, structure: str, offset: int, size: int) -> int:
        """A load."""

    def write(self, structure: str, offset: int, size: int, value: int) -> None:
        """A store."""

    def settle(self, driver: Driver, count: int) -> list[tuple[int, int]]:
        """Wait until `count` buffers came back, or the device is broken."""


class Ours:
    """The models; requests are done on `image` at once."""

    def __init__(self, image: bytearray) -> None:
        self.bench = Bench()
        self.image = image
        self.ram = self.bench.ram
        self.places = {"common": 0, "interrupt status": 0x1000, "device": 0x2000, "notify": 0x3000}

    def read(self, structure: str, offset: int, size: int) -> int:
        return self.bench.read(self.places[structure] + offset, size)

    def write(self, structure: str, offset: int, size: int, value: int) -> None:
        self.bench.write(self.places[structure] + offset, size, value)
        self.bench.service()

    def settle(self, driver: Driver, count: int) -> list[tuple[int, int]]:
        while asked := self.bench.asked():
            for number, request in asked:
                self.perform(request)
                self.bench.answer(number)
        done = driver.collect()
        assert len(done) == count or self.read("common", 0x14, 1) & NEEDS_RESET
        return done

    def perform(self, request: BlockRequest) -> None:
        """What the block driver below does."""
        place = request.lba * 512
        for number in range(request.segment_count):
            segment = request.segments[number]
            if request.operation == Operation.READ:
                data = bytes(self.image[place : place + segment.length])
                ctypes.memmove(segment.address, data, len(data))
            else:
                data = ctypes.string_at(segment.address, segment.length)
                self.image[place : place + segment.length] = data
            place += segment.length


class Qemus:
    """QEMU's, reached by qtest; structures are where its capabilities say."""

    def __init__(self, qtest: Qtest) -> None:
        self.qtest = qtest
        self.ram = GuestRam((ctypes.c_uint8 * len(qtest.ram)).from_buffer(qtest.ram))
        self.places: dict[str, int] = {}
        capability = self.config(0x34, 1)
        while capability:
            kind = self.config(capability + 3, 1)
            if self.config(capability, 1) == 9 and kind in STRUCTURES:
                self.places[STRUCTURES[kind]] = BAR_ADDRESS + self.config(capability + 8, 4)
                bar = self.config(capability + 4, 1)
            capability = self.config(capability + 1, 1)
        self.set_config(0x10 + 4 * bar, 4, BAR_ADDRESS)
        self.set_config(4, 2, 6)

    def close(self) -> None:
        """Let go of QEMU's RAM, which can't be unmapped before."""
        del self.ram

    def config(self, offset: int, size: int) -> int:
        """A read of configuration space."""
        self.qtest.write(0xCF8, 1 << 31 | SLOT << 11 | offset & ~3, 4)
        index = self.qtest.read(0xCFC + offset % 4, size)
        return self.qtest.flush()[index]

    def set_config(self, offset: int, size: int, value: int) -> None:
        """A write there."""
        self.qtest.write(0xCF8, 1 << 31 | SLOT << 11 | offset & ~3, 4)
        self.qtest.write(0xCFC + offset % 4, value, size)
        self.qtest.flush()

    def read(self, structure: str, offset: int, size: int) -> int:
        self.qtest.send(f"read{SUFFIX[size]} {self.places[structure] + offset:#x}")
        return self.qtest.flush()[0]

    def write(self, structure: str, offset: int, size: int, value: int) -> None:
        self.qtest.send(f"write{SUFFIX[size]} {self.places[structure] + offset:#x} {value:#x}")
        self.qtest.flush()

    def settle(self, driver: Driver, count: int) -> list[tuple[int, int]]:
        done: list[tuple[int, int]] = []
        end = time.monotonic() + PATIENCE
        while len(done) < count and not self.read("common", 0x14, 1) & NEEDS_RESET:
            done += driver.collect()
            if time.monotonic() > end:
                raise TimeoutError(f"QEMU gave back {len(done)} buffers of {count}")
        return done


class Guest:
    """The driver on one side."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.ram = side.ram

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

    def start(self, kind: type[Driver], features: int) -> Driver:
        """Queue 0 of 16 entries, and DRIVER_OK."""
        extra = PACKED if kind.packed else 0
        assert self.negotiate(VERSION_1 | extra | features)[-1] == 11
        driver = kind(self.ram, 16, event_index=features & EVENT_IDX != 0)
        self.ram.put(driver.descriptors, bytes(0x3000))
        self.side.write("common", 0x16, 2, 0)
        self.side.write("common", 0x18, 2, 16)
        areas = (driver.descriptors, driver.driver, driver.device)
        for offset, area in zip((0x20, 0x28, 0x30), areas, strict=True):
            self.side.write("common", offset, 4, area)
            self.side.write("common", offset + 4, 4, 0)
        self.side.write("common", 0x1C, 2, 1)
        self.side.write("common", 0x14, 1, 15)
        driver.want_interrupt()
        return driver

    def notify(self) -> None:
        """Queue 0."""
        self.side.write("notify", 0, 2, 0)

    def ask(
        self, driver: Driver, kind: int, sector: int, *parts: Buffer, indirect: bool = False
    ) -> tuple[int, int]:
        """A whole request; its status byte and written length."""
        self.ram.poke(HEADER, "IIQB", kind, 0, sector, 0)
        self.ram.poke(STATUS, "B", 0xEE)
        whole = [Buffer(HEADER, 16, writable=False), *parts, Buffer(STATUS, 1, writable=True)]
        assert driver.add(whole, indirect=indirect) is not None
        self.notify()
        ((_, written),) = self.side.settle(driver, 1)
        return self.ram.peek(STATUS, "B"), written

    def registers(self) -> list[int]:
        """What the common structure says of both queues, and of one that isn't there: size 0."""
        seen = [self.side.read("common", 0x12, 2)]
        for queue in (0, 1):
            self.side.write("common", 0x16, 2, queue)
            for offset in (0x16, 0x18, 0x1C, 0x1E):
                seen.append(self.side.read("common", offset, 2))
            for offset in range(0x20, 0x38, 4):
                seen.append(self.side.read("common", offset, 4))
        self.side.write("common", 0x16, 2, 2)
        return [*seen, self.side.read("common", 0x18, 2)]

    def broken_by(self, *descriptors: tuple[int, int, int, int], available: int = 1) -> bool:
        """Whether these descriptors, the first being available, break a fresh split queue."""
        driver = self.start(SplitDriver, INDIRECT)
        for number, descriptor in enumerate(descriptors):
            self.ram.poke(driver.descriptors + 16 * number, "QIHH", *descriptor)
        self.ram.poke(driver.driver + 2, "HH", available, 0)
        self.notify()
        self.side.settle(driver, 1)
        return self.side.read("common", 0x14, 1) & NEEDS_RESET != 0


def make_image(path: Path) -> bytearray:
    """What both disks hold at first."""
    content = bytearray(
        (sector * 31 + byte) & 0xFF for sector in range(SECTORS) for byte in range(512)
    )
    path.write_bytes(content)
    return content


def arguments(image: Path) -> list[str]:
    """QEMU's disk, as ours is."""
    return [
        *("-blockdev", f"driver=file,filename={image},node-name=disk"),
        *("-device", f"virtio-blk-pci,drive=disk,addr={SLOT},disable-legacy=on,packed=on,"
                     "num-queues=2,queue-size=256,serial=VESTIGE0001"),
    ]  # fmt: skip
