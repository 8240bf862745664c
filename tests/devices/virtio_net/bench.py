"""A virtio network device between a driver and a file of the ring, both of them the test's.

The driver is tests/devices/virtio's, written from the standard; the file is an io_uring in memory
whose operations end when the test says so. Every step of the core runs in CPython and compiled.
"""

import ctypes
import struct
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from tests.devices.virtio.bench import VERSION_1, Bench
from tests.devices.virtio.reference import (
    QUEUE_AREA,
    TABLES,
    Buffer,
    Driver,
    GuestRam,
    SplitDriver,
)
from tests.monitor.fake_ring import FakeRing
from tests.twice import Twice, compiled
from vestige import abi
from vestige.abi import NetBackend
from vestige.lang.intrinsics import address_of
from vestige.lang.native import NativeImage
from vestige.lang.types import Struct
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.settle import settle
from vestige.monitor.drivers.ring.queue import Queue
from vestige.monitor.drivers.ring.spec import Opcode, Submission

RAM_SIZE = 1 << 19
SPACE = 0x2_0000  # where the tests' receive buffers are
OUT = 0x5_0000  # and what they send
MAC = bytes.fromhex("525400123456")
MTU = 65_520
RECEIVE, TRANSMIT = 0, 1
COMMANDS = 0x1_E000  # for the control queue
CSUM, GUEST_CSUM, TSO4, TSO6, MERGEABLE = 1, 1 << 1, 1 << 11, 1 << 12, 1 << 15
GUEST_OFFLOADS, GUEST_TSO4, GUEST_TSO6 = 1 << 2, 1 << 7, 1 << 8
CONTROL, RX, VLAN, RX_EXTRA, MQ, ADDRESS = (1 << bit for bit in (17, 18, 19, 20, 22, 23))
NEEDS_CSUM, TCPV4, TCPV6 = 1, 1, 4
HEADER = "<BBHHHHH"


class Header(NamedTuple):
    """struct virtio_net_hdr."""

    flags: int = 0
    gso_type: int = 0
    length: int = 0
    gso_size: int = 0
    start: int = 0
    offset: int = 0
    buffers: int = 0


@cache
def native() -> NativeImage:
    """The core's step."""
    return compiled(Machine.reset, Machine.go_on, settle, Queue.publish, Machine.next_deadline)


def in_cpython(function: Callable[..., Any], *arguments: int | Struct) -> int:
    """A driver's access: other tests compare those with compiled code."""
    return int(function(*arguments) or 0)


class NetBench(Bench):
    """The device alone in the machine. Its files have the numbers of their pairs of queues."""

    def __init__(self, backend: NetBackend = NetBackend.STREAM, pairs: int = 1) -> None:
        self.ram = GuestRam()
        self.ram.bytes = (ctypes.c_uint8 * RAM_SIZE)()
        self.ram.memory.low, self.ram.memory.low_size = ctypes.addressof(self.ram.bytes), RAM_SIZE
        self.pairs = pairs
        memory = (ctypes.c_uint8 * abi.STATE_SIZE)()
        self.machine = Machine.from_buffer(memory)
        size = ctypes.sizeof(Machine)
        if pairs == 1:  # what is behind the first link is the others'
            size = address_of(self.machine.networks.links[1]) - address_of(self.machine)
        self.state = (ctypes.c_uint8 * size).from_buffer(memory)  # what of it is used
        self.shared = abi.Shared()
        self.config = self.shared.config
        self.config.ram = self.ram.memory
        self.config.tsc_khz = 1_000_000
        description = self.config.virtio[0]
        description.kind, description.queues = abi.VirtioKind.NET, 2 * pairs + 1
        self.config.domains = description.shares = 1
        net = self.config.net
        net.backend, net.mtu, net.pairs = backend, MTU, pairs
        for number in range(pairs):
            net.files[number] = number
        for index, byte in enumerate(MAC):
            net.mac[index] = byte
        self.ring = FakeRing([[] for _ in range(pairs)])
        self.ring.inline = False
        self.ring.describe(self.config.ring, net.mtu, address_of(self.machine))
        ring = self.ring
        parts = (self.shared, self.state, self.ram.bytes, ring.words, ring.submissions, ring.array)
        self.twice = Twice(native(), (*parts, ring.completions))
        self.call = in_cpython
        self.now = 0
        self.twice(Machine.reset, self.machine, self.config)
        self.virtio = self.machine.virtio
        self.function = self.virtio.functions[0]
        self.device = self.function.device
        self.net = self.virtio.networks[0]
        self.write_config(4, 2, 6)
        self.step()

    def go_with(
        self, features: int = MERGEABLE, kind: type[Driver] = SplitDriver, size: int = 16
    ) -> tuple[Driver, Driver]:
        """Negotiate these, start all queues; the drivers of the first two. `queues` has all."""
        extra = 1 << 34 if kind.packed else 0
        assert self.negotiate(VERSION_1 | extra | features)
        self.ram.put(QUEUE_AREA, bytes(TABLES - QUEUE_AREA))
        count = 2 * self.pairs if features & MQ else 2
        self.queues = []
        for number in range(count + (1 if features & CONTROL else 0)):
            driver = kind(self.ram, size, event_index=False, queue=number)
            driver.descriptors = QUEUE_AREA + 0x2000 * number
            driver.driver = driver.descriptors + 0x1000
            driver.device = driver.descriptors + 0x1800
            self.enable(number, driver, number)
            self.queues.append(driver)
        self.go()
        self.step()
        return self.queues[0], self.queues[1]

    own = MAC  # what the interface is known by

    def command(self, data: bytes, answer: int = 1) -> int | None:
        """What the control queue, the last there is, answers; None where it breaks the device."""
        self.ram.put(COMMANDS, data)
        place = COMMANDS + len(data)
        self.ram.poke(place, "B", 0xEE)
        parts = [Buffer(COMMANDS, len(data), writable=False)] if data else []
        room = [Buffer(place, answer, writable=True)] if answer else []
        assert self.queues[-1].add([*parts, *room]) is not None
        self.step()
        done = self.queues[-1].collect()
        if not done:
            return None
        assert done[0][1] == 1
        return self.ram.peek(place, "B")

    # ---- what the core does -----------------------------------------------------------------

    def deadline(self) -> int:
        """When the core wants to look again."""
        return self.twice(Machine.next_deadline, self.machine)

    def step(self) -> None:
        """Whatever happened, the core looks, and tells the ring."""
        statistics = self.shared.statistics
        self.now += 1000
        self.twice(settle, self.machine, self.config, statistics, self.now, 0)
        self.twice(Queue.publish, self.machine.ring_driver.queue, self.config.ring)
        self.ring.enter()

    def thaw(self, mac: bytes) -> None:
        """It was frozen, and goes on where the interface has that address."""
        for index, byte in enumerate(mac):
            self.config.net.mac[index] = byte
        self.ring.taken.clear()
        self.twice(Machine.go_on, self.machine, self.config)
        self.step()

    # ---- the file ---------------------------------------------------------------------------

    def reads(self, file: int = 0) -> list[Submission]:
        """The reads of a file under way."""
        return [
            each
            for each in self.ring.taken
            if each.opcode == Opcode.READ_FIXED and each.file == file
        ]

    def writes(self) -> list[Submission]:
        """The writes under way, in order."""
        return [each for each in self.ring.taken if each.opcode == Opcode.WRITE_FIXED]

    def finish(self, submission: Submission, result: int) -> None:
        """An operation under way ends, and the core hears of it."""
        self.ring.taken.remove(submission)
        self.ring.answer = lambda _: result
        self.ring.finish(submission)
        self.step()

    def bring_unseen(self, data: bytes, file: int = 0) -> None:
        """The first read ends with `data`, and the core has not looked yet."""
        read = self.reads(file)[0]
        ctypes.memmove(read.address, data, len(data))
        self.ring.taken.remove(read)
        self.ring.answer = lambda _: len(data)
        self.ring.finish(read)

    def bring_some(self, data: bytes, file: int = 0) -> None:
        """The first read under way ends with `data`, which is no longer than it asked for."""
        read = self.reads(file)[0]
        ctypes.memmove(read.address, data, len(data))
        self.finish(read, len(data))

    def bring(self, data: bytes, file: int = 0) -> None:
        """The file has `data`: the first read ends with it, or with its beginning."""
        while data:
            read = self.reads(file)[0]
            self.bring_some(data[: read.length], file)
            data = data[read.length :]

    def take(self, most: int = 1 << 30) -> bytes:
        """The file takes `most` bytes of the first write under way."""
        write = self.writes()[0]
        size = min(write.length, most)
        data = ctypes.string_at(write.address, size)
        self.finish(write, size)
        return data

    def take_all(self, most: int = 1 << 30) -> list[bytes]:
        """What the file is given until nothing more is under way."""
        data = []
        while self.writes():
            data.append(self.take(most))
        return data

    # ---- the driver -------------------------------------------------------------------------

    def space(self, driver: Driver, *sizes: int, at: int = SPACE) -> None:
        """Make a receive buffer of these sizes available for each."""
        for size in sizes:
            assert driver.add([Buffer(at, size, writable=True)]) is not None
            at += size

    def received(self, driver: Driver) -> list[bytes]:
        """The contents of the receive buffers used, in order."""
        buffers = dict(driver.outstanding)
        return [
            b"".join(self.ram.get(each.address, each.length) for each in buffers[number])[:written]
            for number, written in driver.collect()
        ]

    def send(
        self,
        driver: Driver,
        frame: bytes,
        header: Header | None = None,
        cut: int = 12,
        at: int = OUT,
    ) -> None:
        """Make a frame available, in two elements cut at byte `cut` of header and frame."""
        data = struct.pack(HEADER, *(header or Header())) + frame
        place = SPACE + 0x3_0000
        self.ram.put(place, data)
        parts = [Buffer(place, cut, writable=False)] if cut else []
        assert (
            driver.add([*parts, Buffer(place + cut, len(data) - cut, writable=False)]) is not None
        )
        self.step()


def prefixed(*frames: bytes) -> bytes:
    """As a stream has them."""
    return b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)
