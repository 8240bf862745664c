"""Drivers of the virtio console, entropy device and tablet that do anything, run twice.

    python -m tests.devices.fuzz_ports --count 20000 --seed 1

Each step is one thing that a driver or the core can do: buffers of any shape in any queue, messages
of any content, resets, other features, bytes that come and go. After every step the devices' rules
are checked, and compiled code must have done to memory exactly what CPython did. Prints the number
of steps and the seed; exit status 1 at a failure.
"""

import random
import sys
import traceback

from tests.devices import fuzzing
from tests.devices.virtio.bench import DRIVER_OK, EVENT_IDX, NEEDS_RESET
from tests.devices.virtio.plain import ROOM
from tests.devices.virtio.reference import RAM_SIZE, Buffer, Driver, PackedDriver, SplitDriver
from tests.devices.virtio_console.bench import CONTROL_OUT, MULTIPORT, SIZE, ConsoleBench
from tests.devices.virtio_input.bench import DEVICE, TabletBench
from tests.devices.virtio_rng.bench import EntropyBench
from vestige.abi import EVENT_SIZE, EventKind
from vestige.monitor.devices.virtio_console.port import INPUT_SIZE, OUTPUT_SIZE, VirtioPort
from vestige.monitor.devices.virtio_input.model import LONGEST
from vestige.monitor.devices.virtio_rng.model import POOL_SIZE

DEFAULT = 20_000  # steps
LENGTH = 250  # of one sequence
PORTS = 3


class ConsoleRun:
    """One console and its driver."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.bench = ConsoleBench(b"one", b"two", columns=80, rows=25)
        self.drivers: list[Driver] = []
        self.start()

    def start(self) -> None:
        """The driver begins anew, in whichever way."""
        features = self.chance.choice((0, MULTIPORT, MULTIPORT | SIZE, SIZE))
        features |= self.chance.choice((0, EVENT_IDX))
        kind = self.chance.choice((SplitDriver, PackedDriver))
        self.drivers = self.bench.start(kind, features, self.chance.choice((0, 3, 16)))

    def step(self) -> None:
        """Do one thing, and check."""
        chance, bench = self.chance, self.bench
        port = bench.console.ports[chance.randrange(PORTS)]
        match chance.randrange(12):
            case 0 | 1 | 2 | 3:
                offer(chance.choice(self.drivers), chance)
                bench.service()
            case 4 | 5:
                self.say()
            case 6 | 7:
                bench.written(chance.randrange(PORTS), chance.randrange(1, 5000))
            case 8 | 9:
                if port.input_count == 0:
                    bench.come(chance.randrange(PORTS), chance.randbytes(chance.randrange(1, 1025)))
            case 10:
                bench.write_config(4, 2, chance.choice((2, 6, 6, 6)))
                bench.service()
            case _:
                for driver in self.drivers:
                    driver.collect()
                if bench.status() & NEEDS_RESET or chance.randrange(8) == 0:
                    self.start()
                elif chance.randrange(20) == 0:
                    bench.core(VirtioPort.hang_up, port)
                    bench.service()
        self.check()

    def say(self) -> None:
        """A message, most likely one with a meaning."""
        chance = self.chance
        if len(self.drivers) > CONTROL_OUT and chance.randrange(5):
            port = chance.choice((0, 1, 2, 3, 7, 0xFFFF_FFFF))
            self.bench.say(self.drivers, port, chance.randrange(9), chance.choice((0, 1, 1, 9)))
        else:
            self.bench.service()

    def check(self) -> None:
        """The console's rules."""
        console, device = self.bench.console, self.bench.device
        for number in range(PORTS):
            port = console.ports[number]
            assert port.output_count <= OUTPUT_SIZE
            assert port.output_first < OUTPUT_SIZE
            assert port.input_first + port.input_count <= INPUT_SIZE
            assert not (port.deaf and port.output_count)
            queue = 2 * number + 3 if number else 1
            assert device.queues[queue].in_flight == port.holding
            if port.holding and device.running():
                assert port.output_count == OUTPUT_SIZE
        assert sum(queue.in_flight for queue in device.queues) == sum(
            port.holding for port in console.ports
        )


class EntropyRun:
    """One entropy device and its driver."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.bench = EntropyBench()
        self.drivers = self.bench.begin()

    def step(self) -> None:
        """Do one thing, and check."""
        chance, bench = self.chance, self.bench
        match chance.randrange(4):
            case 0 | 1:
                offer(self.drivers[0], chance)
                bench.service()
            case 2:
                if bench.entropy.wants(bench.device):
                    bench.fill(chance.randrange(1, POOL_SIZE + 1))
            case _:
                self.drivers[0].collect()
                if not bench.status() & DRIVER_OK or bench.status() & NEEDS_RESET:
                    kind = chance.choice((SplitDriver, PackedDriver))
                    self.drivers = bench.begin(kind, chance.choice((0, EVENT_IDX)))
        assert bench.entropy.count <= POOL_SIZE
        assert not any(bytes(bench.entropy.pool)[bench.entropy.count :])
        assert bench.device.queues[0].in_flight == 0


class TabletRun:
    """One tablet and its driver."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.bench = TabletBench()
        self.drivers = self.bench.begin()

    def step(self) -> None:
        """Do one thing, and check."""
        chance, bench = self.chance, self.bench
        match chance.randrange(6):
            case 0 | 1:
                offer(chance.choice(self.drivers), chance)
                bench.service()
            case 2 | 3:
                bench.bring(chance.randbytes(EVENT_SIZE))
                bench.bring(bytes((EventKind.TABLET,)) + chance.randbytes(EVENT_SIZE - 1))
            case 4:
                size = chance.choice((1, 2, 4))
                place = DEVICE + chance.randrange(0, 0x90, size)
                bench.write(place, size, chance.getrandbits(8 * size))
                bench.read(DEVICE + chance.randrange(0, 0x90, 4), 4)
                bench.ask(chance.randrange(0x14), chance.randrange(4))
            case _:
                for driver in self.drivers:
                    driver.collect()
                if not bench.status() & DRIVER_OK or bench.status() & NEEDS_RESET:
                    kind = chance.choice((SplitDriver, PackedDriver))
                    self.drivers = bench.begin(kind, chance.choice((0, EVENT_IDX)))
        assert bench.tablet.sent <= bench.tablet.count <= LONGEST
        assert bench.device.queues[0].in_flight == bench.device.queues[1].in_flight == 0


def offer(driver: Driver, chance: random.Random) -> None:
    """A buffer of any shape, most of them sound."""
    parts = []
    for writable in sorted(chance.random() < 0.5 for _ in range(chance.randrange(1, 5))):
        address = chance.randrange(ROOM, RAM_SIZE - 3000)
        length = chance.choice((1, 8, 64, 700, 3000))
        if chance.randrange(60) == 0:
            address, length = chance.choice(((RAM_SIZE - 1, 2), (ROOM, 0), (1 << 63, 8)))
        parts.append(Buffer(address, length, writable=writable))
    if chance.randrange(60) == 0:
        parts.reverse()
    driver.add(parts, indirect=chance.random() < 0.3)


Run = ConsoleRun | EntropyRun | TabletRun


def fuzz(kind: type[Run], limit: fuzzing.Limit, chance: random.Random) -> int:
    """How many steps were made. Raises AssertionError where something is wrong."""
    done = 0
    while left := limit.left(done):
        run = kind(chance)
        for _ in range(min(LENGTH, left)):
            run.step()
            done += 1
    return done


def main() -> int:
    """Fuzz each device for so many steps, or a third of the time."""
    options = fuzzing.parser(__doc__, "steps a device", DEFAULT).parse_args()
    status = 0
    for name, kind in (("console", ConsoleRun), ("entropy", EntropyRun), ("tablet", TabletRun)):
        limit = fuzzing.limit(options, DEFAULT, share=3)
        try:
            done = fuzz(kind, limit, random.Random(options.seed))
        except fuzzing.FAILURES as error:
            traceback.print_exception(error)
            print(f"virtio {name}: seed {options.seed}: a failure")
            status = 1
        else:
            print(f"virtio {name}: {done} steps, seed {options.seed}: no failure")
    return status


if __name__ == "__main__":
    sys.exit(main())
