"""Anything may go wrong at any time: what is said to be done is done, and nothing hangs."""

import random
from typing import Any

import pytest

from tests.drivers.benches import DISK_SECTORS, NvmeBench
from tests.drivers.fake_nvme import ABORT_REQUESTED, DO_NOT_RETRY, UNRECOVERED_READ, Command
from vestige.abi import SECTOR
from vestige.monitor.block import Operation
from vestige.monitor.drivers.nvme.controller import RESTARTS
from vestige.monitor.drivers.nvme.driver import Errno

STEPS = 4000
REQUESTS = 60
SHAPES: tuple[dict[str, Any], ...] = (
    {},
    {"block_size": 4096},
    {"block_size": 4096, "moved": True},
    {"mdts": 1, "entries": 4, "queues": 1, "stride": 1},
)
AREA = 256  # sectors: so few that requests meet
STATUSES = (UNRECOVERED_READ, ABORT_REQUESTED, 0x06, UNRECOVERED_READ | DO_NOT_RETRY)


class Trouble:
    """Fails, loses, and upsets a controller now and then."""

    def __init__(self, bench: NvmeBench, chance: random.Random) -> None:
        self.bench, self.chance = bench, chance
        bench.fake.status = self.status
        bench.fake.lost = lambda command: command.queue != 0 and chance.random() < 0.01

    def status(self, command: Command) -> int | None:
        """Mostly good."""
        if command.queue == 0 or self.chance.random() < 0.95:
            return None
        return self.chance.choice(STATUSES)

    def upset(self) -> None:
        """Between two steps."""
        fake, roll = self.bench.fake, self.chance.random()
        fake.can_abort = self.chance.random() < 0.5
        fake.ready_after = self.chance.randrange(1, 20)
        spared = self.bench.controller.restarts >= RESTARTS - 1  # or it is given up, rightly
        if roll < 0.006 and fake.ends and not spared:
            fake.fail_fatally()
        elif roll < 0.05:
            fake.holding = not fake.holding
        while fake.held and fake.ends and not fake.deaf and self.chance.random() < 0.5:
            fake.release(self.chance.randrange(len(fake.held)))


class Channel:
    """One request at a time on one channel, and what it must have done."""

    def __init__(self, bench: NvmeBench, number: int, chance: random.Random) -> None:
        self.bench, self.number, self.chance = bench, number, chance
        self.busy = False
        self.done = self.lba = self.count = 0

    def begin(self, other: "Channel") -> None:
        """A request inside the area, on no sector of the other's: in blocks they may meet."""
        chance = self.chance
        self.operation = chance.choice((Operation.READ, Operation.WRITE))
        self.count = 0
        while self.count == 0 or (other.busy and self.meets(other)):
            self.count = chance.randrange(1, 80)
            self.lba = chance.randrange(AREA - self.count)
        self.offset = (self.number << 20) + 2 * chance.randrange(4096)
        self.size = self.count * SECTOR
        if self.operation == Operation.WRITE:
            data = chance.randbytes(self.size)
            self.bench.memory.data[self.offset : self.offset + self.size] = data
        self.bench.begin(self.operation, self.lba, [(self.offset, self.size)], self.number)
        self.busy = True

    def meets(self, other: "Channel") -> bool:
        """Whether there is a sector of both."""
        return self.lba < other.lba + other.count and other.lba < self.lba + self.count


@pytest.mark.parametrize("shape", range(len(SHAPES)))
@pytest.mark.parametrize("seed", range(5))
def test_what_is_done_is_done_and_nothing_hangs(compiled: bool, shape: int, seed: int) -> None:
    chance = random.Random(100 * shape + seed)
    bench = NvmeBench(compiled, **SHAPES[shape])
    trouble = Trouble(bench, chance)
    # What each sector may hold: a failed write leaves it either way.
    allowed = [{bytes(bench.disk[i * SECTOR : (i + 1) * SECTOR])} for i in range(AREA)]
    beyond = bytes(bench.disk[AREA * SECTOR :])
    channels = [Channel(bench, number, chance) for number in (0, 1)]
    for _ in range(STEPS):
        for channel in channels:
            if not channel.busy and channel.done < REQUESTS:
                channel.begin(channels[channel.number ^ 1])
            if channel.busy:
                look_at_answer(bench, channel, allowed)
        trouble.upset()
        bench.turn()
        if not any(channel.busy for channel in channels):
            if all(channel.done == REQUESTS for channel in channels):
                break
    assert [channel.done for channel in channels] == [REQUESTS] * 2
    assert bench.disk[AREA * SECTOR :] == beyond
    assert bench.report.errors > 0
    assert len(bench.disk) == DISK_SECTORS * SECTOR


def look_at_answer(bench: NvmeBench, channel: Channel, allowed: list[set[bytes]]) -> None:
    """Look whether it is done, and whether it is what was asked for."""
    if not bench.finished(channel.number):
        return
    channel.busy = False
    channel.done += 1
    error = bench.error_of(channel.number)
    assert error in (0, Errno.EIO, Errno.ETIMEDOUT), f"error {error}"
    for index in range(channel.count):
        sector, place = channel.lba + index, channel.offset + index * SECTOR
        data = bench.memory.data[place : place + SECTOR]
        if channel.operation == Operation.WRITE:
            allowed[sector] = allowed[sector] | {data} if error else {data}
        elif error == 0:
            assert data in allowed[sector], f"sector {sector}"
            allowed[sector] = {data}
