"""Arbitrary accesses of a guest to a virtio disk, and arbitrary buffers in its queues."""

import random

from tests.devices.virtio.bench import VERSION_1, Bench
from tests.devices.virtio.reference import DATA, RAM_SIZE, Buffer, Driver, PackedDriver, SplitDriver
from vestige import abi
from vestige.monitor.block import DISK_REQUESTS

PLACES = (
    *range(0x40), 0x1000, 0x2000, *range(0x2000, 0x2040), *range(0x3000, 0x3010, 2),
    *range(0x4000, 0x4040, 4), 0x5000, 0x5004, 0x6000, 0x7FFC,
)  # fmt: skip
CONFIG_PLACES = (4, 0x10, 0x42, *range(0x98, 0xAC))
PACKED = 1 << 34


def make_accesses(bench: Bench, chance: random.Random, count: int) -> None:
    """So many; each is made in CPython and compiled, and what must hold is checked after it."""
    drivers: list[Driver] = []
    for _ in range(count):
        choice = chance.random()
        if choice < 0.1:
            drivers = set_up(bench, chance)
        elif choice < 0.2:
            configure(bench, chance)
        elif choice < 0.55 and drivers:
            disturb(bench, chance.choice(drivers), chance)
        else:
            reach_the_bar(bench, chance)
        bench.service()
        check(bench)
        for number, _ in bench.asked():
            if chance.random() < 0.7:
                bench.answer(number, chance.choice((0, 0, 5)))


def set_up(bench: Bench, chance: random.Random) -> list[Driver]:
    """Negotiate anything, set queues up, go."""
    features = VERSION_1 | chance.getrandbits(41) & bench.offered()
    if not bench.negotiate(features):
        return []
    kind = PackedDriver if features & PACKED else SplitDriver
    event_index = features >> 29 & 1 != 0
    drivers: list[Driver] = [
        kind(bench.ram, 16, event_index=event_index, queue=queue) for queue in (0, 1)
    ]
    for queue, driver in enumerate(drivers):
        bench.ram.put(driver.descriptors, bytes(0x3000))
        if chance.random() < 0.9:
            bench.enable(queue, driver, chance.randrange(4))
    bench.go()
    return drivers


def configure(bench: Bench, chance: random.Random) -> None:
    """An access to configuration space; the BAR is put back where accesses expect it."""
    size = chance.choice((1, 2, 4))
    bench.write_config(chance.choice(CONFIG_PLACES), size, chance.getrandbits(8 * size))
    bench.read_config(chance.randrange(256), size)
    bench.write_config(4, 2, 6)
    bench.write_config(0x10, 4, abi.VIRTIO_BARS)


def disturb(bench: Bench, driver: Driver, chance: random.Random) -> None:
    """A request, mostly a sound one; or anything into the queue's memory."""
    if chance.random() < 0.2:
        bench.ram.poke(driver.descriptors + chance.randrange(0x3000), "B", chance.randrange(256))
        return
    kind = chance.choice((0, 1, 4, 8, 11, 13, 99))
    bench.ram.poke(DATA, "IIQ", kind, 0, chance.choice((0, 990, chance.getrandbits(64))))
    length = chance.choice((512, 1024, 16, 20, chance.randrange(1, 600)))
    place = chance.choice((DATA + 0x100, RAM_SIZE - 512, RAM_SIZE - 100 * chance.randrange(8)))
    middle = Buffer(place, length, writable=kind != 1 if chance.random() < 0.9 else kind == 1)
    whole = [Buffer(DATA, 16, writable=False), middle, Buffer(DATA + 32, 1, writable=True)]
    if len(driver.outstanding) < 4:
        driver.add(chance.choice((whole, whole, whole, whole[:2], whole[1:])))


def reach_the_bar(bench: Bench, chance: random.Random) -> None:
    """A read or write somewhere in the BAR."""
    size = chance.choice((1, 2, 4))
    value = chance.choice((0, 1, chance.randrange(256), chance.getrandbits(8 * size)))
    offset = chance.choice(PLACES) & ~(size - 1)
    if chance.random() < 0.5:
        assert bench.read(offset, size) < 1 << 8 * size
    else:
        bench.write(offset, size, value & (1 << 8 * size) - 1)


def check(bench: Bench) -> None:
    """What is under way is in flight, and in flight is nothing else."""
    under_way = [number for number in range(DISK_REQUESTS) if bench.block.busy >> number & 1]
    in_flight = sum(queue.in_flight for queue in bench.device.queues)
    assert len(under_way) == in_flight
    for number in range(DISK_REQUESTS):
        assert (bench.block.requests[number].state != 0) == (number in under_way)
    assert not any(bench.device.queues[number].enabled for number in range(2, 17))
    assert bench.device.line.level in (0, 1)
