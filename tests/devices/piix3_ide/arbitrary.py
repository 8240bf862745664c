"""Anything a guest can do to the IDE, at random: what may happen, and what must hold after it."""

import random
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tests.devices.piix3_ide.rig import (
    BUS_MASTER,
    CONTROL,
    EIO,
    PRIMARY,
    RAM_SIZE,
    SECONDARY,
    Calls,
    FakeDisc,
    FakeDisk,
    Rig,
)
from vestige.abi import (
    IDE_MEMORY,
    IDE_MEMORY_BUS_MASTER,
    IDE_MEMORY_CONTROL,
    IDE_MEMORY_PAGE,
    IDE_MEMORY_SECONDARY_CONTROL,
    PORT_IDE,
    PORT_IDE_CONTROL,
    PORT_IDE_SECONDARY,
    PORT_IDE_SECONDARY_CONTROL,
)
from vestige.monitor.block import State
from vestige.monitor.devices.piix3_ide.channel import Channel, CommandProtocol, Phase
from vestige.monitor.devices.piix3_ide.function import Ide
from vestige.monitor.devices.piix3_ide.packet_spec import Packet
from vestige.monitor.devices.piix3_ide.spec import MULTIPLE_BUFFER, Command, Status

COMMAND_BLOCKS = (PRIMARY, SECONDARY, PORT_IDE, PORT_IDE_SECONDARY)
CONTROLS = (*CONTROL.values(), PORT_IDE_CONTROL + 2, PORT_IDE_SECONDARY_CONTROL + 2)
PORTS = (
    *(base + offset for base in COMMAND_BLOCKS for offset in range(8)),
    *CONTROLS,
    *range(BUS_MASTER - 1, BUS_MASTER + 17),
    0,
    0xFFFF,
)
BARS = (PORT_IDE, PORT_IDE_CONTROL, PORT_IDE_SECONDARY, PORT_IDE_SECONDARY_CONTROL)
MEMORY_BARS = (
    PORT_IDE,
    IDE_MEMORY_CONTROL,
    PORT_IDE_SECONDARY,
    IDE_MEMORY_SECONDARY_CONTROL,
    IDE_MEMORY_BUS_MASTER,
)
ADDRESSES_IN_MEMORY = (
    *(
        IDE_MEMORY + page * IDE_MEMORY_PAGE + register
        for page in range(3)
        for register in (0, 2, 3)
    ),
    *range(IDE_MEMORY_BUS_MASTER, IDE_MEMORY_BUS_MASTER + 17),
    IDE_MEMORY - 1,
    0xFFFF_FFFF,
    0,
)
TABLES = (0x1000, 0x1FF8, RAM_SIZE - 8, RAM_SIZE - 4, RAM_SIZE, 0xFFFF_FFFC)
REGIONS = (0x2000, 0x3001, RAM_SIZE - 512, RAM_SIZE - 2, RAM_SIZE, 0xA_0000, 0xFFFF_FFFE)
LENGTHS = (0, 1, 2, 3, 4, 100, 510, 512, 514, 4096, 0xFFFE)
ADDRESSES = (0, 1, 1, 38, 40, 60, 69, 2999)
VALUES = (0, 1, 2, 4, 5, 6, 8, 9, 0x10, 0x20, 0x40, 0x50, 0x80, 0xA0, 0xE0, 0xF0, 0xFF)
SECTORS = 3000


class Step(NamedTuple):
    """One thing that happens: a method of `Driver` and its arguments."""

    name: str
    arguments: tuple[int, ...]


class Driver:
    """Carries steps out on a rig. Only a step serves requests, so anything can come before."""

    def __init__(self, calls: Calls | None = None, *, mode: str = "compatibility") -> None:
        """`mode` is one of MODES."""
        native = mode in ("native", "memory")
        self.in_memory = mode == "memory"
        disks = [FakeDisk(SECTORS, 0), FakeDisk(70, 1, read_only=True), FakeDisk(SECTORS, 2)]
        disks[0].bad.add(40)
        self.has_disc = mode == "disc"
        if self.has_disc:
            disks[2] = FakeDisc(SECTORS // 4, 2)
            disks[2].bad.add(160)
        self.rig = Rig(disks, native=native, in_memory=self.in_memory, immediate=False, calls=calls)
        self.bases = COMMAND_BLOCKS[2:] if native else COMMAND_BLOCKS[:2]
        self.controls = CONTROLS[2:] if native else CONTROLS[:2]
        self.answers: list[int] = []

    def run(self, steps: Iterable[Step]) -> None:
        for step in steps:
            getattr(self, step.name)(*step.arguments)
            for channel in self.rig.ide.channels:
                check(channel)

    def read(self, port: int, size: int) -> None:
        quiet = size == 1 and self.rig.is_quiet_read(port)
        before = bytes(self.rig.ide)
        self.answers.append(self.rig.read(port, size))
        assert not quiet or bytes(self.rig.ide) == before

    def write(self, port: int, size: int, value: int) -> None:
        value &= (1 << 8 * size) - 1
        quiet = self.rig.is_quiet_write(port, size, value)
        before = moving(self.rig.ide)
        self.rig.write(port, value, size)
        assert not quiet or moving(self.rig.ide) == before

    def load(self, address: int, size: int) -> None:
        self.answers.append(self.rig.load(address, size))

    def store(self, address: int, size: int, value: int) -> None:
        self.rig.store(address, value & (1 << 8 * size) - 1, size)

    def post(self, number: int) -> None:
        self.rig.post(number)

    def read_string(self, port: int, size: int, count: int) -> None:
        self.answers.append(hash(self.rig.read_string(port, size, count)))

    def write_string(self, port: int, size: int, count: int, seed: int) -> None:
        self.rig.write_string(port, size, random.Random(seed).randbytes(size * count))

    def read_config(self, offset: int, size: int) -> None:
        self.answers.append(self.rig.read_config(offset, size))

    def write_config(self, offset: int, size: int, value: int) -> None:
        self.rig.write_config(offset, size, value & (1 << 8 * size) - 1)

    def describe(self, table: int, region: int, length: int, count: int, end: int) -> None:
        """Put `count` descriptors, one like the other, where they lie in RAM."""
        word = length | end << 31
        for i in range(count):
            if table + 8 * i + 8 <= RAM_SIZE:
                last = word if i == count - 1 else length
                entry = region.to_bytes(4, "little") + last.to_bytes(4, "little")
                self.rig.poke(table + 8 * i, entry)

    def recover(self, channel: int) -> None:
        """What a driver does that finds the function in an unknown state."""
        self.rig.write_config(0x04, 2, 0x0007)
        self.rig.write_config(0x40 + 2 * channel, 2, 0x8000)
        self.rig.write_config(0x09, 1, 0x8F)
        for i, base in enumerate(MEMORY_BARS if self.in_memory else (*BARS, BUS_MASTER)):
            self.rig.write_config(0x10 + 4 * i, 4, base)
        if self.in_memory:
            control = (IDE_MEMORY_CONTROL, IDE_MEMORY_SECONDARY_CONTROL)[channel] + 2
            self.rig.store(IDE_MEMORY_BUS_MASTER + 8 * channel, 0)
            self.rig.store(control, 0x04)
            self.rig.store(control, 0x00)
            return
        self.rig.write(BUS_MASTER + 8 * channel, 0)
        self.rig.write(self.controls[channel], 0x04)
        self.rig.write(self.controls[channel], 0x00)

    def command(self, channel: int, code: int, lba: int, count: int, device: int) -> None:
        base = self.bases[channel]
        for offset, value in ((6, device), (2, count), (3, lba & 0xFF), (4, lba >> 8), (5, 0)):
            self.rig.write(base + offset, value)
        self.rig.write(base + 7, code)

    def start(self, channel: int, table: int) -> None:
        """Start the bus master on a table."""
        if self.in_memory:
            base = IDE_MEMORY_BUS_MASTER + 8 * channel
            self.rig.store(base + 4, table & 0xFFFF_FFFC, 4)
            self.rig.store(base, 0x09)
            return
        self.rig.start_dma(table & 0xFFFF_FFFC, to_memory=True, channel=channel)

    def dma(self, channel: int, code: int, region: int, length: int, count: int) -> None:
        """A DMA command with a table that may be enough for it."""
        self.describe(0x1000, region, length, count, 1)
        self.start(channel, 0x1000)
        self.command(channel, code, 60, 3, 0xE0)

    def packet(self, code: int, block: int, count: int, features: int, limit: int) -> None:
        """A packet to the drive for discs, with the bus master on."""
        high, low = count >> 8, count & 0xFF
        counted = (0, 0, high, low) if code == Packet.READ_12 else (0, high, low, 0x10)
        fields = (code, code & 1, 0, 0, block >> 8, block & 0xFF, *counted)
        if self.in_memory:
            return
        if features & 1:
            self.describe(0x1000, 0x2000, count, 3, 1)
            self.start(1, 0x1000)
        self.rig.packet(*fields, base=self.bases[1], features=features, limit=limit)

    def change_disc(self, blocks: int) -> None:
        """The user puts in another disc, or takes it out."""
        if self.has_disc:
            self.rig.change_disc(FakeDisc(blocks))

    def serve(self, channel: int) -> None:
        """The channel's request is completed."""
        self.rig.serve(channel)
        self.rig.settle()

    def break_disk(self, unit: int, error: int) -> None:
        """From now on flushing fails, or no longer."""
        self.rig.disks[unit].flush_error = error


def moving(ide: Ide) -> list[tuple[object, ...]]:
    """What the core looks at after an event, of each channel, and what a command would change."""
    return [
        (
            bytes(channel.line), channel.request.state, channel.protocol, channel.resetting,
            channel.offer, channel.bus_master.running(), channel.drive().interrupt_pending,
        )
        for channel in ide.channels
    ]  # fmt: skip


def check(channel: Channel) -> None:
    """What holds between any two accesses."""
    drive = channel.drives[channel.selected]
    request = channel.request
    assert request.state in (State.IDLE, State.QUEUED, State.BUSY)
    assert channel.protocol in list(CommandProtocol)
    if (
        channel.protocol in (CommandProtocol.PIO_IN, CommandProtocol.PIO_OUT)
        and drive.status & Status.DRQ
    ):
        assert channel.position < channel.end <= MULTIPLE_BUFFER
        assert request.state == State.IDLE
    assert not channel.turn
    assert channel.taken <= channel.filled <= MULTIPLE_BUFFER or channel.phase == Phase.NONE
    if channel.protocol == CommandProtocol.NONE and not (channel.resetting or channel.dropping):
        assert request.state == State.IDLE
        assert not drive.status & (Status.BSY | Status.DRQ)
    if drive.status & Status.BSY:
        assert request.state != State.IDLE or channel.resetting
    pending = drive.present and drive.interrupt_pending and not channel.control & 2
    assert channel.line.level == bool(pending)
    assert bool(drive.status & Status.ERR) <= bool(drive.error)
    if channel.offer:
        assert channel.posting
        assert channel.protocol in (
            CommandProtocol.DMA_IN,
            CommandProtocol.DMA_OUT,
            CommandProtocol.TRIM,
            CommandProtocol.BUFFER_IN,
            CommandProtocol.BUFFER_OUT,
        )
        assert not channel.bus_master.command & 1
        assert request.state == State.IDLE


def random_step(chance: random.Random) -> Step:
    """Any step; whole commands often enough that data moves."""
    value = chance.choice(VALUES) if chance.random() < 0.7 else chance.getrandbits(32)
    size = chance.choice((1, 1, 1, 2, 4))
    port = chance.choice(PORTS)
    base = chance.choice(COMMAND_BLOCKS)
    name = chance.choice(NAMES)
    arguments: dict[str, Callable[[], tuple[int, ...]]] = {
        "read": lambda: (port, size),
        "write": lambda: (port, size, value),
        "load": lambda: (chance.choice(ADDRESSES_IN_MEMORY), size),
        "store": lambda: (chance.choice(ADDRESSES_IN_MEMORY), size, value),
        "post": lambda: (chance.randrange(4),),
        "read_string": lambda: (chance.choice((base, base, port)), size, chance.choice(COUNTS)),
        "write_string": lambda: (
            chance.choice((base, base, port)), size, chance.choice(COUNTS), value,
        ),
        "read_config": lambda: (chance.randrange(256), size),
        "write_config": lambda: (chance.choice(CONFIG), size, value),
        "describe": lambda: (
            chance.choice(TABLES), chance.choice(REGIONS), chance.choice(LENGTHS),
            chance.choice((1, 1, 2, 7, 300)), chance.randrange(2),
        ),
        "command": lambda: (
            chance.randrange(2), chance.choice(CODES), chance.choice(ADDRESSES),
            chance.choice((1, 2, 3, 8, 16, 17, 0xFF, 0)), chance.choice((0xE0,) * 6 + (0xF0, 0xA1)),
        ),
        "dma": lambda: (
            chance.randrange(2), chance.choice((0xC8, 0xCA, 0x25, 0x35)),
            chance.choice(REGIONS[:3]),
            chance.choice(LENGTHS), chance.choice((1, 3, 7, 300)),
        ),
        "packet": lambda: (
            chance.choice(PACKETS), chance.choice(BLOCKS), chance.choice((0, 1, 2, 3, 9, 0xFFFF)),
            chance.choice((0, 0, 1, 3)), chance.choice((0, 1, 2, 7, 512, 2048, 0xFFFE, 0xFFFF)),
        ),
        "change_disc": lambda: (chance.choice((0, 30, 700)),),
        "recover": lambda: (chance.randrange(2),),
        "start": lambda: (chance.randrange(2), chance.choice(TABLES)),
        "serve": lambda: (chance.randrange(2),),
        "break_disk": lambda: (chance.randrange(3), chance.choice((0, EIO))),
    }  # fmt: skip
    return Step(name, arguments[name]())


MODES = ("compatibility", "native", "memory", "disc")
PACKETS = (*map(int, Packet), 0x01, *(int(Packet.READ_10), int(Packet.READ_12)) * 5)
BLOCKS = (0, 1, 28, 38, 40, 699, 749, 750, 0xFFFF)
COUNTS = (0, 1, 2, 127, 128, 256, 300, 1024)
CONFIG = (4, 4, 5, 6, 7, 9, 0x10, 0x14, 0x18, 0x1C, 0x20, 0x21, 0x40, 0x41, 0x42, 0x43, 0xFE)
CODES = (*map(int, Command), 0x00, 0xA1, 0xB0, *(Command.SET_MULTIPLE_MODE,) * 3)
NAMES = (
    *("read",) * 5, *("write",) * 8, *("read_string",) * 4, *("write_string",) * 4,
    "read_config", "write_config", *("describe",) * 3, *("command",) * 8, *("start",) * 4,
    *("load",) * 2, *("store",) * 3, *("post",) * 3,
    *("serve",) * 14, "break_disk", *("recover",) * 15, *("dma",) * 5,
    *("packet",) * 10, "change_disc",
)  # fmt: skip


def state_of(rig: Rig) -> tuple[bytes, ...]:
    """All the model's state but addresses of this process; RAM; the disks."""
    copy = Ide.from_buffer_copy(rig.ide)
    copy.ram.low = 0
    for channel in copy.channels:
        for optical in channel.opticals:
            optical.told = 0
        for segment in channel.request.segments:
            segment.address = 0
    disks = (bytes(disk.data) for disk in rig.disks.values())
    return bytes(copy), bytes(rig.memory[:]), *disks
