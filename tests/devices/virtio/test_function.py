"""The PCI function: capabilities, BAR, MSI-X table, the window in configuration space."""

import random

import pytest

from tests.devices.virtio.arbitrary import make_accesses
from tests.devices.virtio.bench import Bench
from vestige import abi
from vestige.monitor.devices.virtio.devices import Virtio
from vestige.place import NOWHERE


@pytest.fixture
def bench() -> Bench:
    """A disk with two queues."""
    return Bench()


def test_who_it_is(bench: Bench) -> None:
    assert bench.read_config(0, 4) == 0x1042_1AF4
    assert bench.read_config(8, 1) >= 1
    assert bench.read_config(0x2C, 4) == 0x1042_1AF4
    assert bench.read_config(0x0B, 1) == 1
    assert bench.read_config(0x3D, 1) == 1


def test_every_structure_is_listed_and_inside_the_bar(bench: Bench) -> None:
    kinds = {}
    for number, place in bench.capabilities():
        if number == 9:
            assert bench.read_config(place + 2, 1) >= 16
            kinds[bench.read_config(place + 3, 1)] = place
            assert bench.read_config(place + 4, 1) == 0
            end = bench.read_config(place + 8, 4) + bench.read_config(place + 12, 4)
            assert end <= abi.VIRTIO_BAR_SIZE
    assert sorted(kinds) == [1, 2, 3, 4, 5]
    assert bench.read_config(kinds[2] + 16, 4) == 4
    assert bench.read_config(6, 2) & 0x10


def test_msix_has_a_vector_for_each_queue_and_one_more(bench: Bench) -> None:
    (place,) = (place for number, place in bench.capabilities() if number == 0x11)
    assert bench.read_config(place + 2, 2) & 0x7FF == 2
    table, pending = bench.read_config(place + 4, 4), bench.read_config(place + 8, 4)
    assert (table & 7, pending & 7) == (0, 0)
    assert bench.read(table + 12, 4) == 1
    for vector in range(5):
        for offset in (0, 4, 8):
            bench.write(table + 16 * vector + offset, 4, 0xFFFF_FFFF)
    assert bench.read(table, 4) == 0xFFFF_FFFC
    assert bench.read(table + 32 + 8, 4) == 0xFFFF_FFFF
    assert bench.read(table + 48 + 8, 4) == 0
    bench.write(pending, 4, 0xFFFF_FFFF)
    assert bench.read(pending, 4) == 0


def test_the_bar_is_sized_and_moved(bench: Bench) -> None:
    assert bench.bar() == abi.VIRTIO_BARS
    bench.write_config(0x10, 4, 0xFFFF_FFFF)
    assert bench.read_config(0x10, 4) == 0x1_0000_0000 - abi.VIRTIO_BAR_SIZE
    bench.write_config(0x10, 4, 0xC123_8000)
    bench.write(0x14, 1, 1)
    assert bench.read(0x14, 1) == 1
    assert bench.call(Virtio.memory_offset, bench.virtio, 0, abi.VIRTIO_BARS) == NOWHERE
    bench.write_config(4, 2, 4)
    assert bench.read(0x14, 1) == 0xFF


def test_configuration_space_reaches_the_bar(bench: Bench) -> None:
    window = 0x98
    bench.write_config(window + 4, 1, 0)
    bench.write_config(window + 8, 4, 0x14)
    bench.write_config(window + 12, 4, 1)
    bench.write_config(window + 16, 1, 1)
    assert bench.status() == 1
    assert bench.read_config(window + 16, 1) == 1
    bench.write_config(window + 8, 4, 4)
    bench.write_config(window + 12, 4, 4)
    assert bench.read_config(window + 16, 4) == bench.read(4, 4)


@pytest.mark.parametrize(
    ("bar", "offset", "length"), [(1, 0, 4), (0, 0x8000, 4), (0, 1, 4), (0, 0, 3), (0, 1 << 31, 4)]
)
def test_a_window_to_nowhere_does_nothing(bench: Bench, bar: int, offset: int, length: int) -> None:
    before = bytes(bench.device)
    bench.write_config(0x9C, 1, bar)
    bench.write_config(0xA0, 4, offset)
    bench.write_config(0xA4, 4, length)
    for size in (1, 2, 4):
        bench.write_config(0xA8, size, 0x0101_0101)
        bench.read_config(0xA8, size)
    assert bytes(bench.device) == before


def test_only_present_functions_answer(bench: Bench) -> None:
    numbers = range(abi.MAX_VIRTIO)
    assert [bench.call(Virtio.has_function, bench.virtio, number) for number in numbers] == [
        1, *[0] * (abi.MAX_VIRTIO - 1)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_any_accesses_are_answered_and_compiled_alike(seed: int) -> None:
    make_accesses(Bench(), random.Random(seed), 300)
