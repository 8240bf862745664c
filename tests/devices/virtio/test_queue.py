"""Virtqueues against a driver written from the standard, in CPython and compiled."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.devices.virtio.reference import (
    AVAIL,
    DATA,
    INDIRECT,
    NEXT,
    RAM_SIZE,
    WRITE,
    Buffer,
    Driver,
    GuestRam,
    PackedDriver,
    SplitDriver,
)
from tests.twice import Twice, compiled
from vestige.lang.native import NativeImage
from vestige.monitor.devices.virtio.chain import Chain
from vestige.monitor.devices.virtio.queue import ask, give, take, take_interrupt
from vestige.monitor.devices.virtio.virtqueue import Taken, Virtqueue

FORMATS: tuple[type[Driver], ...] = (SplitDriver, PackedDriver)


@cache
def native() -> NativeImage:
    """The queue as machine code."""
    methods = (Virtqueue.begin, Virtqueue.sound, Virtqueue.clear, Virtqueue.stop)
    return compiled(ask, take, give, take_interrupt, *methods)


class Bench:
    """One queue, the driver on one side and the device on the other."""

    def __init__(self, kind: type[Driver], size: int, *, event_index: bool = False) -> None:
        self.ram = GuestRam()
        self.driver = kind(self.ram, size, event_index=event_index)
        self.queue = Virtqueue()
        self.chain = Chain()
        self.call = Twice(native(), (self.ram.bytes, self.queue, self.chain))
        self.call(Virtqueue.clear, self.queue)
        self.call(Virtqueue.stop, self.queue)
        self.queue.size = size
        self.queue.descriptors = self.driver.descriptors
        self.queue.driver = self.driver.driver
        self.queue.device = self.driver.device
        assert self.call(Virtqueue.sound, self.queue, kind.packed, self.ram.memory)
        self.call(Virtqueue.begin, self.queue, kind.packed, 1, event_index)

    def take(self) -> Taken:
        """The device looks for a buffer."""
        return Taken(self.call(take, self.queue, self.chain, self.ram.memory))

    def ask(self) -> bool:
        """The device goes to sleep: whether there is a buffer after all."""
        return self.call(ask, self.queue, self.ram.memory) != 0

    def taken(self) -> list[Buffer]:
        """What the chain says it is."""
        chain = self.chain
        buffers = [
            Buffer(run.address, run.length, number >= chain.readable_count)
            for number, run in enumerate(chain.runs)
            if number < chain.count
        ]
        assert chain.readable == sum(each.length for each in buffers if not each.writable)
        assert chain.writable == sum(each.length for each in buffers if each.writable)
        return buffers

    def give(self, identifier: int, slots: int, written: int) -> None:
        """The device gives a buffer back."""
        self.call(give, self.queue, identifier, slots, written, self.ram.memory)

    def take_interrupt(self) -> bool:
        """Whether the device interrupts."""
        return self.call(take_interrupt, self.queue, self.ram.memory) != 0


@st.composite
def chains(draw: st.DrawFn) -> list[Buffer]:
    """Readable elements, then writable ones; at least one."""
    readable = draw(st.integers(0, 3))
    writable = draw(st.integers(0 if readable else 1, 3))
    return [
        Buffer(
            draw(st.integers(DATA, RAM_SIZE - 600)), draw(st.integers(1, 600)), index >= readable
        )
        for index in range(readable + writable)
    ]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), chains(), st.booleans()),
        st.tuples(st.just("take"), st.integers(1, 4)),
        st.tuples(st.just("give"), st.integers(0, 7), st.integers(0, 4000)),
        st.tuples(st.just("collect")),
        st.tuples(st.just("quiet")),
    ),
    max_size=120,
)


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=60, deadline=None)
@given(size=st.sampled_from((1, 4, 8, 16)), event_index=st.booleans(), steps=STEPS)
def test_every_buffer_arrives_and_returns_and_nobody_waits_in_vain(
    kind: type[Driver],
    size: int,
    event_index: bool,
    steps: list[tuple[object, ...]],
) -> None:
    bench = Bench(kind, size, event_index=event_index)
    driver = bench.driver
    waiting: list[tuple[int, list[Buffer]]] = []  # added, not taken
    flying: list[tuple[int, int, int]] = []  # identifier, slots, number of the driver
    used: list[tuple[int, int]] = []  # given, not collected
    asleep = True  # the device has found nothing, and waits for a notification
    assert bench.take() == Taken.NOTHING
    assert not bench.ask()
    driver.want_interrupt()
    armed = True  # the driver waits for an interrupt
    for name, *arguments in steps:
        if name == "add":
            buffers, indirect = arguments
            assert isinstance(buffers, list)
            number = driver.add(buffers, indirect=bool(indirect))
            if number is not None:
                waiting.append((number, buffers))
                if asleep:
                    assert driver.kick()
                    asleep = False
        elif name == "take":
            for _ in range(int(str(arguments[0]))):
                taken = bench.take()
                if not waiting:
                    assert taken == Taken.NOTHING
                    assert not bench.ask()
                    asleep = True
                    driver.kick()
                    break
                number, buffers = waiting.pop(0)
                assert taken == Taken.CHAIN
                assert bench.taken() == buffers
                flying.append((bench.chain.identifier, bench.chain.slots, number))
        elif name == "give" and flying:
            place, written = (int(str(each)) for each in arguments)
            identifier, slots, number = flying.pop(place % len(flying))
            bench.give(identifier, slots, written)
            used.append((number, written))
            interrupted = bench.take_interrupt()
            if armed:
                assert interrupted
                armed = False
        elif name == "collect":
            assert driver.collect() == used
            used = []
            driver.want_interrupt()
            armed = True
        elif name == "quiet":
            driver.unwant_interrupt()
            armed = False
    assert bench.queue.in_flight == len(flying)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("event_index", [False, True])
def test_many_rounds_of_the_ring(kind: type[Driver], event_index: bool) -> None:
    bench = Bench(kind, 8, event_index=event_index)
    buffers = [Buffer(DATA, 16, writable=False), Buffer(DATA + 64, 512, writable=True)]
    bench.take()
    for turn in range(200):
        assert not bench.ask()
        number = bench.driver.add(buffers, indirect=turn % 3 == 0)
        assert bench.driver.kick()
        bench.driver.want_interrupt()
        assert bench.take() == Taken.CHAIN
        bench.give(bench.chain.identifier, bench.chain.slots, turn)
        assert bench.take_interrupt()
        assert not bench.take_interrupt()
        assert bench.take() == Taken.NOTHING
        assert bench.driver.collect() == [(number, turn)]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_device_that_is_awake_is_not_notified(kind: type[Driver]) -> None:
    bench = Bench(kind, 8, event_index=True)
    buffers = [Buffer(DATA, 16, writable=False)]
    assert bench.take() == Taken.NOTHING
    assert not bench.ask()
    bench.driver.add(buffers)
    assert bench.driver.kick()
    assert bench.take() == Taken.CHAIN
    assert bench.take() == Taken.NOTHING
    bench.driver.add(buffers)
    assert not bench.driver.kick()
    assert bench.ask()
    assert bench.take() == Taken.CHAIN
    assert bench.take() == Taken.NOTHING
    assert not bench.ask()
    bench.driver.add(buffers)
    assert bench.driver.kick()


def test_a_driver_that_wants_no_interrupt_gets_none() -> None:
    for kind in FORMATS:
        bench = Bench(kind, 4)
        bench.driver.add([Buffer(DATA, 1, writable=True)])
        bench.driver.unwant_interrupt()
        bench.take()
        bench.give(bench.chain.identifier, bench.chain.slots, 1)
        assert not bench.take_interrupt()


# ---- malformed -------------------------------------------------------------------------------


def split(*descriptors: tuple[int, int, int, int], size: int = 4) -> Bench:
    """A split queue whose table is this, and whose entry 0 is available."""
    bench = Bench(SplitDriver, size)
    for number, descriptor in enumerate(descriptors):
        bench.ram.poke(bench.driver.descriptors + 16 * number, "QIHH", *descriptor)
    bench.ram.poke(bench.driver.driver, "HHH", 0, 1, 0)
    return bench


def packed(*descriptors: tuple[int, int, int, int]) -> Bench:
    """A packed queue of 4 that begins with these: address, length, ID, flags."""
    bench = Bench(PackedDriver, 4)
    for number, (address, length, identifier, flags) in enumerate(descriptors):
        place = bench.driver.descriptors + 16 * number
        bench.ram.poke(place, "QIHH", address, length, identifier, flags | AVAIL)
    return bench


OUTSIDE = (
    (RAM_SIZE, 1), (RAM_SIZE - 1, 2), (1 << 32, 1), (1 << 63, 512), ((1 << 64) - 1, 2),
    (0, RAM_SIZE + 1), (DATA, 0xFFFF_FFFF), (DATA, 0),
)  # fmt: skip


@pytest.mark.parametrize(("address", "length"), OUTSIDE)
def test_memory_that_is_none_is_malformed(address: int, length: int) -> None:
    assert split((address, length, 0, 0)).take() == Taken.MALFORMED
    assert packed((address, length, 0, 0)).take() == Taken.MALFORMED
    for bench in (split((DATA, 16, INDIRECT, 0)), packed((DATA, 16, 0, INDIRECT))):
        bench.ram.poke(DATA, "QIHH", address, length, 0, 0)
        assert bench.take() == Taken.MALFORMED


@pytest.mark.parametrize(("address", "length"), [*OUTSIDE, (DATA, 8), (DATA, 17)])
def test_an_indirect_table_that_is_none_is_malformed(address: int, length: int) -> None:
    assert split((address, length, INDIRECT, 0)).take() == Taken.MALFORMED
    assert packed((address, length, 0, INDIRECT)).take() == Taken.MALFORMED


def test_loops_end() -> None:
    assert split((DATA, 1, NEXT, 0)).take() == Taken.MALFORMED
    assert split((DATA, 1, NEXT, 1), (DATA, 1, NEXT, 0)).take() == Taken.MALFORMED
    everywhere = packed(*((DATA, 1, 0, NEXT) for _ in range(4)))
    assert everywhere.take() == Taken.MALFORMED
    table = split((DATA, 32, INDIRECT, 0))
    table.ram.poke(DATA, "QIHHQIHH", DATA, 1, NEXT, 1, DATA, 1, NEXT, 0)
    assert table.take() == Taken.MALFORMED


def test_numbers_beyond_the_table_are_malformed() -> None:
    assert split((DATA, 1, NEXT, 4)).take() == Taken.MALFORMED
    bench = split((DATA, 1, 0, 0))
    bench.ram.poke(bench.driver.driver + 4, "H", 4)
    assert bench.take() == Taken.MALFORMED
    bench = split((DATA, 1, 0, 0))
    bench.ram.poke(bench.driver.driver + 2, "H", 5)
    assert bench.take() == Taken.MALFORMED
    table = split((DATA, 16, INDIRECT, 0))
    table.ram.poke(DATA, "QIHH", DATA, 1, NEXT, 1)
    assert table.take() == Taken.MALFORMED


def test_tables_in_tables_and_readable_behind_writable_are_malformed() -> None:
    assert split((DATA, 16, INDIRECT | NEXT, 1), (DATA, 1, 0, 0)).take() == Taken.MALFORMED
    assert packed((DATA, 16, 0, INDIRECT | NEXT), (DATA, 1, 0, 0)).take() == Taken.MALFORMED
    assert packed((DATA, 1, 0, NEXT), (DATA, 16, 0, INDIRECT)).take() == Taken.MALFORMED
    table = split((DATA, 16, INDIRECT, 0))
    table.ram.poke(DATA, "QIHH", DATA + 64, 16, INDIRECT, 0)
    assert table.take() == Taken.MALFORMED
    assert split((DATA, 1, WRITE | NEXT, 1), (DATA, 1, 0, 0)).take() == Taken.MALFORMED
    assert packed((DATA, 1, 0, WRITE | NEXT), (DATA, 1, 0, 0)).take() == Taken.MALFORMED


def test_an_indirect_table_where_none_was_negotiated_is_malformed() -> None:
    for bench in (split((DATA, 16, INDIRECT, 0)), packed((DATA, 16, 0, INDIRECT))):
        bench.ram.poke(DATA, "QIHH", DATA + 64, 16, 0, 0)
        bench.queue.indirect = 0
        assert bench.take() == Taken.MALFORMED
        bench.queue.indirect = 1
        assert bench.take() == Taken.CHAIN


def test_direct_elements_before_a_table_are_one_chain() -> None:
    bench = split((DATA, 3, NEXT, 1), (DATA, 16, INDIRECT, 0))
    bench.ram.poke(DATA, "QIHH", DATA + 64, 16, WRITE, 0)
    assert bench.take() == Taken.CHAIN
    first, second = bench.taken()
    assert (first.length, second) == (3, Buffer(DATA + 64, 16, writable=True))


ADDRESSES = st.one_of(
    st.sampled_from((0x1000, 0x1010, 0x2000, 0x3000, DATA, DATA + 16)),
    st.integers(0, (1 << 64) - 1),
)
LENGTHS = st.one_of(st.sampled_from((0, 1, 16, 32, 128)), st.integers(0, (1 << 32) - 1))
WORDS = st.one_of(st.integers(0, 9), st.integers(0, 0xFFFF))
ANYTHING = st.tuples(ADDRESSES, LENGTHS, WORDS, WORDS | st.sampled_from((0x80, 0x81, 0x84)))


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=200, deadline=None)
@given(
    descriptors=st.lists(ANYTHING, min_size=8, max_size=8),
    ring=st.lists(WORDS, min_size=10, max_size=10),
    event_index=st.booleans(),
)
def test_any_content_of_the_areas_is_answered(
    kind: type[Driver],
    descriptors: list[tuple[int, int, int, int]],
    ring: list[int],
    event_index: bool,
) -> None:
    bench = Bench(kind, 8, event_index=event_index)
    for number, descriptor in enumerate(descriptors):
        bench.ram.poke(bench.driver.descriptors + 16 * number, "QIHH", *descriptor)
        bench.ram.poke(DATA + 16 * number, "QIHH", *descriptor)
    bench.ram.poke(bench.driver.driver, "10H", *ring)
    for _ in range(12):
        if bench.take() == Taken.CHAIN:
            bench.taken()
            bench.give(bench.chain.identifier, bench.chain.slots, 5)
        bench.take_interrupt()


@pytest.mark.parametrize("kind", FORMATS)
def test_areas_have_to_be_aligned_ram(kind: type[Driver]) -> None:
    bench = Bench(kind, 8)
    queue, ram = bench.queue, bench.ram.memory
    for name, wrong in (
        ("size", 0), ("size", 257), ("descriptors", 8), ("driver", 1), ("device", 2),
        ("descriptors", RAM_SIZE - 16), ("driver", RAM_SIZE), ("device", (1 << 64) - 4),
    ):  # fmt: skip
        right = getattr(queue, name)
        setattr(queue, name, wrong)
        assert not bench.call(Virtqueue.sound, queue, kind.packed, ram), name
        setattr(queue, name, right)
    queue.size = 6
    assert bench.call(Virtqueue.sound, queue, kind.packed, ram) == kind.packed
