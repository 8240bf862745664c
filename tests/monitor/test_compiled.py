"""The core as machine code in this process: the same traps, the same state as in CPython."""

import ctypes
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests import compiling
from tests.monitor.rig import DATA_OFFSET, Rig
from tests.twice import Call, Twice
from vestige import abi
from vestige.devices import DEVICES
from vestige.lang.intrinsics import load8
from vestige.lang.native import NativeImage
from vestige.monitor.core.answers import show
from vestige.monitor.core.decode import function_at, function_of_port, row_of
from vestige.monitor.core.dispatch import handle, locate
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.posted import begin_posts, follows_posts, take_signals
from vestige.monitor.core.quiet import NOT_QUIET, read_quietly
from vestige.monitor.core.settle import settle
from vestige.monitor.core.trap import Kind, Trap
from vestige.monitor.drivers.ring.queue import Queue
from vestige.place import NOWHERE

PORTS = (
    *range(0x3F6, 0x402), *range(0x5FE, 0x606), *range(0xCF6, 0xD02), *range(0xC000, 0xC030),
    0x60, 0xFFFF,
)  # fmt: skip
BASES = (
    *(abi.IOAPIC, abi.IOAPIC + 0x10, abi.ECAM, abi.ECAM + 0x8000, abi.ECAM + 0x10000),
    *(abi.VIRTIO_BARS + page for page in range(0, 0x6000, 0x1000)),
    *(abi.VIRTIO_BARS + abi.VIRTIO_BAR_SIZE + page for page in range(0, 0x6000, 0x1000)),
    abi.ECAM + ((abi.VIRTIO_SLOT + 1) << 15),
)
VIRTIO_COMMAND = abi.ECAM + (abi.VIRTIO_SLOT << 15) + 4
STEPS = 300
DISK_ROWS = [row for row, place in enumerate(DEVICES) if place.quiet and place.disks is not None]
CONFIG = 1 << 31 | abi.IDE_SLOT << 11


@cache
def native() -> NativeImage:
    """Everything but the two entry points and what they do to the host."""
    functions: list[Callable[..., Any]] = [
        Machine.reset,
        handle,
        function_at,
        function_of_port,
        settle,
        show,
        locate,
        read_quietly,
        follows_posts,
        take_signals,
        begin_posts,
        Machine.expire,
        Machine.next_deadline,
        Queue.publish,
    ]
    return compiling.native(functions)


class Pair:
    """One machine's memory, on which each step is run twice: in CPython, then compiled."""

    def __init__(
        self,
        *,
        ide_in_memory: bool,
        virtio: bool,
        share: bool = False,
        board: abi.Board = abi.Board.MODERN,
    ) -> None:
        domains = 2 if virtio else 1
        disks = [bytearray(1 << 20) for _ in range(1 if share else domains)]
        self.rig = Rig(
            disks=disks, ide_in_memory=ide_in_memory, virtio=virtio, domains=domains, queues=2
        )
        parts: list[Any] = [
            self.rig.state, self.rig.shared_memory, self.rig.pages[0],
            self.rig.pages_shown, self.rig.worker,
        ]  # fmt: skip
        for ring in self.rig.rings:
            parts += [ring.words, ring.submissions, ring.array, ring.completions]
        self.both = Twice(native(), parts)
        self.now = 0
        for machine, shared in zip(self.rig.machines, self.rig.shared_by_domain, strict=True):
            shared.config.board = board
            self.both(Machine.reset, machine, shared.config)
        self.both(begin_posts, self.rig.machine, self.rig.shared.config)

    def trap(self, trap: Trap, data: bytes) -> None:
        """One trap, then what follows from it."""
        page = ctypes.addressof(self.rig.pages[0])
        ctypes.memmove(page + DATA_OFFSET, data, len(data))
        trap.data = page + DATA_OFFSET
        self.now += random.choice((1, 1000, 1_000_000))
        self.both.all(lambda call: self.handle(call, Trap.from_buffer_copy(trap)))

    def handle(self, call: Call, trap: Trap) -> list[int]:
        """The answers of a trap's functions, and the trap as they leave it."""
        first, config = self.rig.machine, self.rig.shared.config
        answers = [call(follows_posts, first, config, trap), call(locate, first, trap)]
        quiet = NOT_QUIET
        if (trap.kind, trap.write, trap.size, trap.count) == (Kind.PORT, 0, 1, 1):
            if row_of(trap.where) in DISK_ROWS:  # others look at the time
                quiet = call(read_quietly, first, self.rig.shared, trap.where, trap.address)
                answers.append(quiet)
        number = call(function_at, first, config, trap)
        if number == NOWHERE:
            number = call(function_of_port, first, config, trap)
        home = 0 if number == NOWHERE else config.homes[number]
        shares = 1 if number == NOWHERE else config.shares[number]
        for domain in range(home, home + shares):
            machine, shared = self.rig.machines[domain], self.rig.shared_by_domain[domain]
            machine.pci.address = first.pci.address
            answers.append(call(handle, machine, shared, trap, self.now))
            assert quiet in (NOT_QUIET, load8(trap.data)), "it has the answer, and changes nothing"
            answers += self.settle_by(call, domain)
        return [*answers, number, *bytes(trap)]

    def signal(self, number: int) -> None:
        """An interrupt of the worker that it notes, and the worker's turn."""
        self.rig.worker.signals[number] = 1
        machine, shared = self.rig.machine, self.rig.shared
        self.both(take_signals, self.rig.worker, machine, shared)
        self.both(Machine.expire, machine, self.now)
        self.settle()

    def settle(self, domain: int = 0) -> None:
        """What the core does after every event: in another domain, then in the first."""
        self.both.all(lambda call: self.settle_by(call, domain))

    def settle_by(self, call: Call, domain: int) -> list[int]:
        """The same in one of the runs; its answers."""
        answers = []
        for each in (domain, 0) if domain else (0,):
            machine, shared = self.rig.machines[each], self.rig.shared_by_domain[each]
            answers.append(call(settle, machine, shared.config, shared.statistics, self.now, 0))
            call(show, machine, shared)
            machine.ring_driver.pin_count = 0
            answers.append(call(Queue.publish, machine.ring_driver.queue, shared.config.ring))
            answers.append(call(Machine.next_deadline, machine))
        return answers

    def out(self, port: int, value: int, size: int) -> None:
        """OUT."""
        trap = Trap(kind=Kind.PORT, write=1, size=size, count=1, address=port)
        self.trap(trap, value.to_bytes(8, "little"))


def random_trap() -> Trap:
    """Any access, most of them where something is."""
    if random.random() < 0.8:
        size = random.choice((1, 1, 2, 4))
        count = random.choice((1, 1, 1, random.randrange(256)))
        port = random.choice(PORTS)
        write = random.randrange(2) if not 0x5FE <= port <= 0x605 else 0
        return Trap(kind=Kind.PORT, write=write, size=size, count=count, address=port)
    if random.random() < 0.1:
        return Trap(kind=Kind.END_OF_INTERRUPT, vector=random.randrange(256))
    if random.random() < 0.5:
        page = random.randrange(abi.IDE_MEMORY_PAGES) * abi.IDE_MEMORY_PAGE
        address = abi.IDE_MEMORY + page + random.randrange(18)
        size = random.choice((1, 1, 2, 4, 8))
        return Trap(
            kind=Kind.MEMORY, write=random.randrange(2), size=size, count=1, address=address
        )
    base = random.choice(BASES)
    address = base + random.choice((0, 0, 4, random.randrange(0x110)))
    size = random.choice((4, random.randrange(1, 9)))
    return Trap(kind=Kind.MEMORY, write=random.randrange(2), size=size, count=1, address=address)


@pytest.mark.parametrize("ide_in_memory", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_compiled_code_does_what_cpython_does(seed: int, ide_in_memory: bool) -> None:
    random.seed(seed)
    pair = Pair(ide_in_memory=ide_in_memory, virtio=seed % 2 != 0, share=seed % 4 == 3)
    for function in range(2):
        address = VIRTIO_COMMAND + (function << 15)
        command = Trap(kind=Kind.MEMORY, write=1, size=2, count=1, address=address)
        pair.trap(command, (6).to_bytes(8, "little"))
    pair.out(abi.PORT_PCI_ADDRESS, CONFIG | 4, 4)
    pair.out(abi.PORT_PCI_DATA, 7, 2)
    pair.out(abi.PORT_UART, ord("\n"), 1)
    for _ in range(STEPS):
        pair.trap(random_trap(), random.randbytes(1024))
        if random.random() < 0.3:
            for domain, ring in enumerate(pair.rig.rings):
                ring.enter()
                pair.settle(domain)
        if ide_in_memory and random.random() < 0.1:
            pair.signal(random.randrange(abi.SIGNALS))
    assert pair.rig.output


PC_PORTS = (
    *(0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x4D1, *range(0x40, 0x44), 0x60, 0x61, 0x64, 0x70, 0x71, 0x92),
    *(*range(0x1F0, 0x1F8), 0x3F6, 0x3C4, 0x3C5, 0x3D4, 0x3D5, 0x3DA, 0x80, 0xCF9),
    *(*range(0x5FE, 0x642), *range(0xB000, 0xB010)),
)
PC_FUNCTIONS = (0, 1 << 3, 1 << 3 | 1, 1 << 3 | 3, 2 << 3, abi.VIRTIO_SLOT_PC << 3)
ROUTES, POWER_BASE, POWER_ENABLE = 0x60, 0x40, 0x80


@pytest.mark.parametrize("seed", range(2))
def test_compiled_code_of_a_pc_does_what_cpython_does(seed: int) -> None:
    """In two domains, whose virtio functions interrupt by way of the PIIX3."""
    random.seed(seed)
    pair = Pair(ide_in_memory=False, virtio=True, board=abi.Board.PC)
    for _ in range(STEPS):
        if random.random() < 0.2:
            function = random.choice(PC_FUNCTIONS)
            register = random.choice((4, ROUTES, POWER_BASE, POWER_ENABLE, random.randrange(256)))
            pair.out(abi.PORT_PCI_ADDRESS, 1 << 31 | function << 8 | register & 0xFC, 4)
            value = random.choice((0x0B0A_0B0A, 0xB000, 0x600, 7, random.getrandbits(32)))
            pair.out(abi.PORT_PCI_DATA, value, 4)
        elif random.random() < 0.2:
            number = random.randrange(2)
            machine = pair.rig.machines[pair.rig.shared.config.homes[number]]
            machine.virtio.functions[number].device.line.set(random.random() < 0.5)
            pair.settle(1)
        else:
            size = random.choice((1, 1, 2, 4))
            port = random.choice(PC_PORTS)
            write = random.randrange(2)
            trap = Trap(kind=Kind.PORT, write=write, size=size, count=1, address=port)
            pair.trap(trap, random.randbytes(1024))
