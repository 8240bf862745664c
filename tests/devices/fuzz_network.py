"""Arbitrary buffers, commands, frames and bytes at the virtio network device, compiled and not.

    python -m tests.devices.fuzz_network --count 20000 --seed 1

The driver's buffers are of any size and direction, its headers and commands say anything, it has up
to three pairs of queues; the other side gives any bytes, takes any part of what it is given, and
fails; every step's state must be the same in CPython and in compiled code. Prints the number of
steps and the seed; exit status 1 at a failure.
"""

import random
import struct
import sys

from tests.devices import fuzzing
from tests.devices.virtio.reference import Buffer, Driver, PackedDriver, SplitDriver
from tests.devices.virtio_net.bench import (
    ADDRESS,
    COMMANDS,
    CONTROL,
    CSUM,
    GUEST_CSUM,
    GUEST_OFFLOADS,
    GUEST_TSO4,
    GUEST_TSO6,
    HEADER,
    MAC,
    MERGEABLE,
    MQ,
    OUT,
    RX,
    RX_EXTRA,
    SPACE,
    TSO4,
    TSO6,
    VLAN,
    NetBench,
    prefixed,
)
from vestige.abi import NetBackend
from vestige.monitor.devices.virtio_net.batch import BATCH_FRAMES, BATCH_SIZE
from vestige.monitor.devices.virtio_net.link import LONGEST

LENGTH = 60  # steps of one sequence, from power-on
DEFAULT = 6_000  # steps
OFFLOADS = GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6
FEATURES = CSUM | TSO4 | TSO6 | MERGEABLE | OFFLOADS | GUEST_OFFLOADS
FEATURES |= RX | RX_EXTRA | VLAN | ADDRESS | MQ
KINDS = (b"\0\0", b"\0\1", b"\0\2", b"\0\3", b"\1\0", b"\1\1", b"\2\0", b"\4\0", b"\5\0")
SIZES = (1, 11, 12, 13, 26, 60, 1514, 4096, 9000, 65_535, 65_536, 65_565, 65_566, 80_000)


class Sequence:
    """One device from power-on, and what may happen to it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        pairs = chance.choice((0, 0, 1, 2, 3))
        self.bench = NetBench(NetBackend.TAP, pairs) if pairs else NetBench(NetBackend.STREAM)
        self.start()

    def start(self) -> None:
        """A driver that agrees to any of it, in either format."""
        kind = self.chance.choice((SplitDriver, PackedDriver))
        features = self.chance.getrandbits(24) & FEATURES | self.chance.choice((0, CONTROL))
        self.bench.go_with(features & self.bench.offered(), kind, 64)

    @property
    def receive(self) -> Driver:
        """A queue that receives."""
        return self.chance.choice(self.bench.queues[: 2 * self.bench.pairs : 2])

    @property
    def transmit(self) -> Driver:
        """One that sends."""
        return self.chance.choice(self.bench.queues[1 : 2 * self.bench.pairs : 2])

    @property
    def file(self) -> int:
        """One of the files."""
        return self.chance.randrange(self.bench.pairs)

    def size(self) -> int:
        """Some number of bytes."""
        return self.chance.choice((self.chance.choice(SIZES), self.chance.randrange(1, 3000)))

    def step(self) -> None:
        """Anything."""
        match self.chance.choice(
            ("space", "space", "send", "send", "read", "read", "write", "command", "odd")
        ):
            case "space":
                at = SPACE + self.chance.randrange(0x1_0000)
                self.receive.add([Buffer(at, self.size(), writable=True)])
            case "send":
                self.send()
            case "read" if self.bench.reads(file := self.file):
                self.bring(file)
                return
            case "command":
                self.command()
            case "write" if self.bench.writes():
                self.accept()
                return
            case "odd" if self.chance.random() < 0.2:
                self.start()
            case "odd":
                parts = [
                    Buffer(SPACE, self.size(), writable=self.chance.random() < 0.3)
                    for _ in range(self.chance.randrange(1, 4))
                ]
                parts.sort(key=lambda each: each.writable)
                self.chance.choice(self.bench.queues).add(parts)
            case _:
                pass
        self.bench.step()

    def command(self) -> None:
        """Something for the control queue, or for the last there is."""
        kind = self.chance.choice((*KINDS, *KINDS, self.chance.randbytes(2)))
        data = kind + self.chance.choice((
            self.chance.randbytes(self.chance.randrange(12)),
            bytes([self.chance.randrange(2)]),
            struct.pack("<H", self.chance.choice((0, 1, 2, 3, 5, 4096))),
            struct.pack("<Q", self.chance.getrandbits(9) & OFFLOADS),
            struct.pack("<I6sI6s", 1, MAC, 1, b"\1" * 6),
            MAC,
        ))  # fmt: skip
        self.bench.ram.put(COMMANDS, data)
        parts = [Buffer(COMMANDS, len(data), writable=False)]
        if self.chance.random() < 0.98:
            parts.append(Buffer(COMMANDS + 0x100, 1, writable=True))
        self.bench.queues[-1].add(parts)

    def header(self) -> bytes:
        """Any, most of them nearly right."""
        if self.chance.random() < 0.2:
            return self.chance.randbytes(12)
        kinds = self.chance.choice((0, 0, 1, 4, 3, 0x81)), self.chance.choice((0, 14, 34, 65_535))
        flags, offset = (
            self.chance.choice((0, 1, 1, 2, 255)),
            self.chance.choice((0, 6, 16, 65_535)),
        )
        return struct.pack(HEADER, flags, kinds[0], 54, 1460, kinds[1], offset, 0)

    def send(self) -> None:
        """A frame in one buffer or in two."""
        data = self.header() + self.chance.randbytes(self.size())
        self.bench.ram.put(OUT, data)
        cut = self.chance.choice((0, 3, 12, 13))
        parts = [Buffer(OUT, cut, writable=False)] if cut else []
        self.transmit.add([*parts, Buffer(OUT + cut, len(data) - cut, writable=False)])

    def bring(self, file: int) -> None:
        """The other side gives something, sense or nonsense, or fails."""
        read = self.bench.reads(file)[0]
        if self.chance.random() < 0.05:
            self.bench.finish(read, self.chance.choice((0, -4, -11, -32, -104)))
            return
        frame = self.chance.randbytes(self.size())
        if self.chance.random() < 0.5:
            frame = MAC + frame[6:12] + b"\x81\0\0\5" + frame[16:]
        if self.bench.config.net.backend == NetBackend.TAP:
            data = self.header() + frame
        else:
            data = prefixed(frame) if self.chance.random() < 0.98 else frame
        self.bench.bring_some(data[: read.length], file)

    def accept(self) -> None:
        """The other side takes some or all of a write, or fails."""
        write = self.chance.choice(self.bench.writes())
        if self.chance.random() < 0.1:
            self.bench.finish(write, self.chance.choice((0, -4, -11, -5, -32)))
        elif self.bench.config.net.backend == NetBackend.TAP:
            self.bench.finish(write, write.length)
        else:
            self.bench.finish(write, self.chance.randrange(1, write.length + 1))

    def check(self) -> None:
        """What always holds."""
        assert 1 <= self.bench.net.pairs <= self.bench.pairs
        for link in list(self.bench.machine.networks.links)[: self.bench.pairs]:
            assert link.first <= link.end <= link.slots * LONGEST
            for batch in link.batches:
                assert batch.sent <= batch.used <= BATCH_SIZE
                assert batch.pending <= batch.count <= BATCH_FRAMES
                assert batch.given <= batch.count


def fuzz(limit: fuzzing.Limit, chance: random.Random) -> tuple[int, str | None]:
    """How many steps were made, and what went wrong."""
    done = 0
    while left := limit.left(done):
        sequence = Sequence(chance)
        for _ in range(min(LENGTH, left)):
            done += 1
            try:
                sequence.step()
                sequence.check()
            except fuzzing.FAILURES as error:
                return done, f"{type(error).__name__}: {error}"
    return done, None


if __name__ == "__main__":
    sys.exit(fuzzing.main(__doc__, "virtio-net", "steps", DEFAULT, fuzz))
