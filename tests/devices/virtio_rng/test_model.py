"""The entropy device: whose bytes go where, and that each goes once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.devices.virtio.bench import EVENT_IDX, NEEDS_RESET
from tests.devices.virtio.plain import ROOM
from tests.devices.virtio.reference import Buffer, Driver, PackedDriver, SplitDriver
from tests.devices.virtio_rng.bench import EntropyBench
from tests.twice import compiled
from vestige.monitor.devices.virtio_rng.model import POOL_SIZE, VirtioEntropy

KINDS = pytest.mark.parametrize("kind", [SplitDriver, PackedDriver])
FORMATS = st.sampled_from([SplitDriver, PackedDriver])


def room(length: int, place: int = ROOM) -> Buffer:
    return Buffer(place, length, writable=True)


@pytest.fixture
def bench() -> EntropyBench:
    return EntropyBench()


def test_what_a_driver_finds(bench: EntropyBench) -> None:
    assert bench.read_config(0, 4) == 0x1044_1AF4
    assert bench.read_config(8, 4) >> 16 == 0x00FF
    assert bench.offered() & 0xFFFFFF == 0
    assert bench.read(0x12, 2) == 1
    assert bench.read(0x2000, 4) == 0


@KINDS
def test_a_buffer_comes_back_with_bytes(bench: EntropyBench, kind: type[Driver]) -> None:
    (driver,) = bench.begin(kind)
    number = driver.add([room(40), room(24, ROOM + 0x100)])
    bench.service()
    assert driver.collect() == []
    data = bench.fill()
    assert driver.collect() == [(number, 64)]
    given_away = bench.ram.get(ROOM, 40) + bench.ram.get(ROOM + 0x100, 24)
    assert given_away == data[-64:]
    assert bench.device.line.level == 1


def test_bytes_are_wanted_for_a_driver_alone(bench: EntropyBench) -> None:
    assert not bench.entropy.wants(bench.device)
    bench.begin()
    assert bench.entropy.wants(bench.device)
    bench.fill()
    assert not bench.entropy.wants(bench.device)
    bench.write(0x14, 1, 0)
    assert not bench.entropy.wants(bench.device)


def test_a_buffer_larger_than_what_there_is(bench: EntropyBench) -> None:
    (driver,) = bench.begin()
    driver.add([room(POOL_SIZE + 100)])
    driver.add([room(10)])
    bench.fill(30)
    assert [written for _, written in driver.collect()] == [30]
    bench.fill()
    assert [written for _, written in driver.collect()] == [10]


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=12),
    fills=st.lists(st.integers(1, POOL_SIZE), min_size=1, max_size=4),
    kind=FORMATS,
    event_index=st.booleans(),
)
def test_no_byte_is_given_twice_nor_kept(
    sizes: list[int], fills: list[int], kind: type[Driver], event_index: bool
) -> None:
    bench = EntropyBench()
    (driver,) = bench.begin(kind, EVENT_IDX if event_index else 0)
    places = {}
    for index, size in enumerate(sizes):
        number = driver.add([room(size, ROOM + index * 300)])
        assert number is not None
        places[number] = ROOM + index * 300
    bench.service()
    made = b""
    got = b""
    for count in fills:
        if bench.entropy.wants(bench.device):
            made += bench.fill(count)
            for number, written in driver.collect():
                got += bench.ram.get(places[number], written)
    kept = bytes(bench.entropy.pool)
    assert not any(kept[bench.entropy.count :])
    assert sorted(got + kept[: bench.entropy.count]) == sorted(made)


@pytest.mark.parametrize("part", [Buffer(ROOM, 8, writable=False), None])
def test_a_buffer_to_be_read_breaks_the_device(bench: EntropyBench, part: Buffer | None) -> None:
    (driver,) = bench.begin()
    driver.add([part, room(8, ROOM + 8)] if part else [Buffer(ROOM, 8, writable=False)])
    bench.fill()
    assert bench.status() & NEEDS_RESET
    assert bench.device.queues[0].in_flight == 0
    (driver,) = bench.begin()
    driver.add([room(8)])
    bench.service()
    assert [written for _, written in driver.collect()] == [8]


def test_a_host_without_bytes_says_so(bench: EntropyBench) -> None:
    (driver,) = bench.begin()
    driver.add([room(8)])
    bench.entropy.fail()
    bench.service()
    assert bench.status() & NEEDS_RESET
    assert driver.collect() == []
    assert not bench.entropy.wants(bench.device)


def test_wants_compiled_as_in_cpython() -> None:
    image = compiled(VirtioEntropy.wants, VirtioEntropy.filled, VirtioEntropy.fail)
    bench = EntropyBench()
    for started in (False, True):
        if started:
            bench.begin()
        for count, failed in ((0, 0), (0, 1), (5, 0)):
            bench.entropy.count, bench.entropy.failed = count, failed
            expected = bench.entropy.wants(bench.device)
            assert image["VirtioEntropy.wants"](bench.entropy, bench.device) == expected
