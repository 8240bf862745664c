"""Block drivers on a bench: one face over `ring` and `nvme`, in CPython and compiled.

A bench is a driver, the fake it drives, RAM and a disk, without the rest of the monitor. Time
stands still but for `wait`.
"""

import ctypes
import functools
import mmap
import random
from collections.abc import Callable
from typing import Any

from tests import compiling
from tests.drivers.fake_nvme import ABORT_REQUESTED, DO_NOT_RETRY, UNRECOVERED_READ, FakeNvme
from tests.monitor.fake_ring import FakeRing
from vestige import abi
from vestige.abi import SECTOR
from vestige.lang.memory import Memory
from vestige.lang.native import NativeImage
from vestige.lang.types import Struct
from vestige.monitor.block import BlockRequest, Operation, State
from vestige.monitor.drivers.nvme.driver import NvmeDriver
from vestige.monitor.drivers.ring.driver import RingDriver
from vestige.monitor.drivers.ring.queue import Queue
from vestige.monitor.drivers.ring.spec import Errno, Submission

RAM_SIZE = 6 * abi.CHUNK
DISK_SECTORS = 16384
OVERLAY_START = 9  # sector of the overlay's file that is the disk's first
DRIVER_AT = 1 << 20  # of STATE, where the ring's is
ROUNDS = 5000  # of a request, until a test gives it up

Segments = list[tuple[int, int]]  # (offset in RAM, length)
RING = (
    RingDriver.reset, RingDriver.start, RingDriver.advance, RingDriver.finished,
    RingDriver.error_of, RingDriver.reap, RingDriver.resubmit, Queue.publish,
)  # fmt: skip
NVME = (
    NvmeDriver.reset, NvmeDriver.settled, NvmeDriver.describe, NvmeDriver.start,
    NvmeDriver.advance, NvmeDriver.finished, NvmeDriver.error_of, NvmeDriver.publish,
    NvmeDriver.next_deadline, NvmeDriver.reap,
)  # fmt: skip


@functools.cache
def native(functions: tuple[Callable[..., Any], ...]) -> NativeImage:
    """These as machine code in this process."""
    return compiling.native(functions)


class Pages:
    """Memory that begins at a page, which what ctypes gives need not."""

    def __init__(self, size: int) -> None:
        self.data = mmap.mmap(-1, size)
        self.size = size
        self.address = ctypes.addressof(ctypes.c_uint8.from_buffer(self.data))


class Bench:
    """What the tests of both drivers use; a subclass has the driver."""

    def __init__(self, compiled: bool) -> None:
        self.compiled = compiled
        self.memory = Pages(RAM_SIZE)
        self.state = Pages(abi.STATE_SIZE)
        self.ram = Memory(low=self.memory.address, low_size=RAM_SIZE)
        self.image = bytearray(random.Random(7).randbytes(DISK_SECTORS * SECTOR))
        self.statistics = abi.Statistics()
        self.requests = [BlockRequest(), BlockRequest()]
        self.now = 0

    @property
    def disk(self) -> bytearray:
        """What the disk holds; changing it changes it where it is in one piece."""
        return self.image

    def call(self, function: Callable[..., Any], *arguments: int | Struct) -> int:
        """A function of the driver, in CPython or compiled."""
        if self.compiled:
            return native(self.functions())[function.__qualname__](*arguments) or 0
        return int(function(*arguments) or 0)

    def begin(self, operation: int, lba: int, segments: Segments, channel: int = 0) -> None:
        """Hand a request over."""
        request = self.requests[channel]
        request.state = State.IDLE
        request.prepare(operation, 0, lba, sum(length for _, length in segments) // SECTOR)
        for number, (offset, length) in enumerate(segments):
            request.segments[number].address = self.memory.address + offset
            request.segments[number].length = length
        request.segment_count = len(segments)
        request.state = State.BUSY
        self.start(channel)

    def run(self, channel: int = 0) -> int:
        """To the end of the request; its error."""
        for _ in range(ROUNDS):
            if self.finished(channel):
                return self.error_of(channel)
            self.turn()
        raise AssertionError("the request never ends")

    def do(self, operation: int, lba: int, segments: Segments) -> int:
        """A whole request; its error."""
        self.begin(operation, lba, segments)
        return self.run()

    def contents(self, segments: Segments) -> bytes:
        """What lies in these segments."""
        return b"".join(self.memory.data[offset : offset + length] for offset, length in segments)

    # ---- of each driver ---------------------------------------------------------------------

    def functions(self) -> tuple[Callable[..., Any], ...]:
        """What of the driver is called."""
        raise NotImplementedError

    def start(self, channel: int) -> None:
        """Give the driver the channel's request."""
        raise NotImplementedError

    def turn(self) -> None:
        """The driver's turn, then the other side's."""
        raise NotImplementedError

    def finished(self, channel: int = 0) -> bool:
        """Whether the request is answered; once."""
        raise NotImplementedError

    def error_of(self, channel: int = 0) -> int:
        """What it was answered with."""
        raise NotImplementedError

    def hold(self) -> None:
        """From now on the other side answers only what `release` picks."""
        raise NotImplementedError

    def held(self) -> int:
        """How many operations it has not answered."""
        raise NotImplementedError

    def release(self, number: int) -> None:
        """Answer one of them."""
        raise NotImplementedError

    def fail(self, which: Callable[[int, int], bool], *, forever: bool) -> None:
        """Fail the operations whose (first sector, operations before it) are picked."""
        raise NotImplementedError

    def flushes(self) -> int:
        """How often all was brought to stable storage."""
        raise NotImplementedError

    def counters(self) -> abi.Statistics | abi.NvmeReport:
        """What the driver has counted."""
        raise NotImplementedError


class RingBench(Bench):
    """io_uring."""

    def __init__(self, compiled: bool) -> None:
        super().__init__(compiled)
        self.described = abi.Disk()
        self.ring = FakeRing(self.files())
        self.description = abi.Ring()
        self.ring.describe(self.description, self.memory.address, self.state.address)
        self.driver = RingDriver.at(self.state.address + DRIVER_AT)
        self.call(RingDriver.reset, self.driver, self.description, self.state.address)

    def files(self) -> list[bytearray | list[bytes]]:
        """The ring's, as `described` tells of them."""
        return [self.image]

    def functions(self) -> tuple[Callable[..., Any], ...]:
        return RING

    def start(self, channel: int) -> None:
        self.call(RingDriver.start, self.driver, channel, self.requests[channel])

    def turn(self) -> None:
        driver, ring = self.driver, self.description
        self.call(RingDriver.reap, driver, ring, self.statistics)
        self.call(RingDriver.resubmit, driver, ring)
        for channel, request in enumerate(self.requests):
            if driver.transfers[channel].active:
                disk = self.described
                self.call(RingDriver.advance, driver, channel, request, disk, self.ram, ring)
        for chunk in list(driver.pins)[: driver.pin_count]:
            buffer = (self.memory.address + chunk * abi.CHUNK, abi.CHUNK)
            self.ring.buffers[abi.FIRST_CHUNK_BUFFER + chunk] = buffer
        driver.pin_count = 0
        if self.call(Queue.publish, driver.queue, ring):
            self.ring.enter()
        self.call(RingDriver.reap, driver, ring, self.statistics)

    def finished(self, channel: int = 0) -> bool:
        request = self.requests[channel]
        return self.call(RingDriver.finished, self.driver, channel, request, self.described) != 0

    def error_of(self, channel: int = 0) -> int:
        return self.call(RingDriver.error_of, self.driver, channel)

    def hold(self) -> None:
        self.ring.inline = False

    def held(self) -> int:
        return len(self.ring.taken)

    def release(self, number: int) -> None:
        self.ring.complete(number)

    def fail(self, which: Callable[[int, int], bool], *, forever: bool) -> None:
        error = Errno.EIO if forever else Errno.EAGAIN
        seen = 0

        def answer(submission: Any) -> int | None:
            nonlocal seen
            seen += 1
            return -error if which(self.sector_of(submission), seen - 1) else None

        self.ring.answer = answer

    def sector_of(self, submission: Submission) -> int:
        """The disk's sector that an operation begins at."""
        return int(submission.offset // SECTOR)

    def flushes(self) -> int:
        return self.ring.flushed.count(self.described.overlay_file)

    def counters(self) -> abi.Statistics:
        return self.statistics


class OverlayBench(RingBench):
    """io_uring over two files; the overlay has a part of the disk from the beginning."""

    def files(self) -> list[bytearray | list[bytes]]:
        """The base has nonsense where the overlay has something, and the other way round."""
        chance = random.Random(8)
        self.base = bytearray(self.image)
        self.overlay = bytearray(chance.randbytes((OVERLAY_START + DISK_SECTORS) * SECTOR))
        self.map = Pages(DISK_SECTORS // 8)
        first = 0
        while first < DISK_SECTORS:
            end = min(first + chance.choice((1, 2, 7, 31, 32, 64, 200)), DISK_SECTORS)
            if chance.random() < 0.5:
                where = slice(first * SECTOR, end * SECTOR)
                self.overlay[self.shifted(where)] = self.base[where]
                self.base[where] = chance.randbytes((end - first) * SECTOR)
                for sector in range(first, end):
                    self.map.data[sector // 8] |= 1 << sector % 8
            first = end
        self.untouched = bytes(self.base)
        told = self.described
        told.has_overlay, told.file, told.overlay_file = 1, 0, 1
        told.overlay_start, told.overlay_map = OVERLAY_START, self.map.address
        return [self.base, self.overlay]

    @staticmethod
    def shifted(where: slice) -> slice:
        """Bytes of the disk, in the overlay's file."""
        start = OVERLAY_START * SECTOR
        return slice(where.start + start, where.stop + start)

    def has(self, sector: int) -> bool:
        """Whether the overlay has it."""
        return bool(self.map.data[sector // 8] >> sector % 8 & 1)

    @property
    def disk(self) -> bytearray:
        """A copy."""
        start = OVERLAY_START * SECTOR
        both = bytearray(self.base)
        for sector in filter(self.has, range(DISK_SECTORS)):
            where = slice(sector * SECTOR, (sector + 1) * SECTOR)
            both[where] = self.overlay[start + where.start : start + where.stop]
        return both

    def finished(self, channel: int = 0) -> bool:
        assert self.base == self.untouched
        return super().finished(channel)

    def sector_of(self, submission: Submission) -> int:
        return submission.offset // SECTOR - OVERLAY_START * (submission.file == 1)


class NvmeBench(Bench):
    """NVMe; keywords are the fake controller's."""

    def __init__(
        self,
        compiled: bool,
        *,
        up: bool = True,
        cpus: int = 2,
        moved: bool = False,
        **keywords: Any,
    ) -> None:
        super().__init__(compiled)
        self.queues = Pages(abi.NVME_QUEUES_SIZE)
        self.fake = FakeNvme(self.image, **keywords)
        for part in (self.memory, self.state, self.queues):
            self.fake.allowed.append((part.address, part.size))
        self.config = abi.Config(cpus=cpus)
        self.description = self.config.nvme[1]
        self.description.present, self.description.vectors = 1, 4
        self.description.bar, self.description.bar_size = self.fake.registers, len(self.fake.bar)
        self.description.queues = self.queues.address
        if moved:
            self.move()
        self.driver = NvmeDriver()
        self.controller = self.driver.controllers[1]
        self.report = self.statistics.nvme[1]
        self.cpu = 0
        if up:
            self.power_on()
            assert self.report.failure == 0

    def functions(self) -> tuple[Callable[..., Any], ...]:
        return NVME

    def move(self) -> None:
        """There is no IOMMU: the controller finds memory elsewhere."""
        self.description.moved = 1
        for number, (address, size) in enumerate(self.fake.allowed):
            bus = self.fake.moved[address] = (number + 3) << 40
            window = self.description.windows[number]
            window.address, window.size, window.bus = address, size, bus

    def power_on(self) -> None:
        """Bring the controller up, or see it fail."""
        self.call(NvmeDriver.reset, self.driver, self.config, self.now)
        self.reap()
        for _ in range(ROUNDS):
            if self.call(NvmeDriver.settled, self.driver):
                return
            if not self.fake.step():
                self.wait()
            self.reap()
        raise AssertionError("it never settles")

    def reap(self) -> None:
        """Look at the answers."""
        self.call(NvmeDriver.reap, self.driver, self.statistics, self.now)

    def due(self) -> int:
        """When the driver wants to look again."""
        return self.call(NvmeDriver.next_deadline, self.driver) & (1 << 64) - 1

    def wait(self) -> None:
        """Let time go on to then, if the driver waits for something."""
        due = self.due()
        if due != (1 << 64) - 1:
            self.now = max(self.now, due)

    def start(self, channel: int) -> None:
        request = self.requests[channel]
        self.call(NvmeDriver.start, self.driver, channel, request, 1, self.cpu)

    def turn(self) -> None:
        """Where the controller does nothing, time goes on."""
        self.driver_turn()
        if not self.fake.step():
            self.wait()
        self.reap()

    def driver_turn(self) -> None:
        """The driver's turn alone."""
        self.reap()
        self.call(NvmeDriver.publish, self.driver, self.now)

    def finished(self, channel: int = 0) -> bool:
        return self.call(NvmeDriver.finished, self.driver, channel) != 0

    def error_of(self, channel: int = 0) -> int:
        return self.call(NvmeDriver.error_of, self.driver, channel)

    def hold(self) -> None:
        self.fake.holding = True

    def held(self) -> int:
        return len(self.fake.held)

    def release(self, number: int) -> None:
        self.fake.release(number)

    def fail(self, which: Callable[[int, int], bool], *, forever: bool) -> None:
        status = UNRECOVERED_READ | DO_NOT_RETRY if forever else ABORT_REQUESTED
        seen = 0

        def answer(command: Any) -> int | None:
            nonlocal seen
            if command.queue == 0:
                return None
            seen += 1
            sector = command.block * self.fake.block_size // SECTOR
            return status if which(sector, seen - 1) else None

        self.fake.status = answer

    def flushes(self) -> int:
        return [command.opcode for command in self.fake.log].count(0)

    def counters(self) -> abi.NvmeReport:
        return self.report

    def lengths(self) -> list[int]:
        """Bytes of each I/O command carried out."""
        return [command.blocks * self.fake.block_size for command in self.fake.log]

    def read(self, lba: int = 0, segments: Segments | None = None) -> int:
        """A read, its data compared; its error."""
        segments = segments or [(0x1000, 4096)]
        error = self.do(Operation.READ, lba, segments)
        if error == 0:
            data = self.contents(segments)
            assert data == self.disk[lba * SECTOR : lba * SECTOR + len(data)]
        return error


MakeNvme = Callable[..., NvmeBench]
