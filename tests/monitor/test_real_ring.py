"""The ring driver over the host's own restricted io_uring, both in this process."""

import errno
import os
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.host.files.lifted import limited_file_size
from tests.monitor.real_ring import Bench
from vestige.errors import UsageError
from vestige.host.backends.discards import Discards
from vestige.host.backends.disks import open_disk
from vestige.host.options import DiskOption
from vestige.monitor.block import Operation

DISK_SIZE = 4 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A disk image."""
    image = tmp_path / "disk"
    image.write_bytes(random.Random(3).randbytes(DISK_SIZE))
    return image


@pytest.fixture
def bench(path: Path) -> Iterator[Bench]:
    """The driver with that disk."""
    disk, eventfd = os.open(path, os.O_RDWR), os.eventfd(0)
    try:
        with closing(Bench([disk], eventfd)) as bench:
            yield bench
    except UsageError as error:
        pytest.skip(str(error))
    finally:
        os.close(disk)
        os.close(eventfd)


def test_what_is_written_is_in_the_file_and_read_back(bench: Bench, path: Path) -> None:
    chance = random.Random(4)
    expected = bytearray(path.read_bytes())
    for _ in range(20):
        cuts = sorted(chance.sample(range(0, 48 << 20, 64 << 10), 40))
        segments = [(cut, 512 * chance.randrange(1, 100)) for cut in cuts]
        total = sum(length for _, length in segments)
        lba = chance.randrange((DISK_SIZE - total) // 512)
        data = chance.randbytes(total)
        put(bench, segments, data)
        assert bench.run(Operation.WRITE, lba, segments) == 0
        expected[512 * lba : 512 * lba + total] = data
        put(bench, segments, bytes(total))
        assert bench.run(Operation.READ, lba, segments) == 0
        assert take(bench, segments) == data
    assert bench.run(Operation.FLUSH, 0, []) == 0
    assert path.read_bytes() == expected


def test_what_is_discarded_becomes_holes_that_the_host_makes(path: Path) -> None:
    expected = bytearray(path.read_bytes())
    eventfd = os.eventfd(0)
    try:
        made = open_disk(DiskOption(str(path), discard=True))
    except UsageError as error:
        pytest.skip(str(error))
    with closing(made) as image:
        discards = Discards({0: (image.descriptor, 0, image.sectors)}, 1)
        discards.start()
        try:
            with closing(Bench([image.descriptor], eventfd, discards.descriptors[0])) as bench:
                ranges = [(8, 8), (100, 3), (DISK_SIZE // 512 - 1, 1)]
                assert bench.discard(ranges) == 0
                assert bench.discard([(0, 1), (DISK_SIZE // 512, 1), (1, 1)]) == errno.EINVAL
                assert bench.run(Operation.READ, 8, [(0, 512)]) == 0
                assert take(bench, [(0, 512)]) == bytes(512)
                counted = bench.statistics
                assert (counted.discards, counted.ring_errors) == (4, 1)
        except UsageError as error:
            pytest.skip(str(error))
        finally:
            discards.close()
    os.close(eventfd)
    for first, count in (*ranges, (0, 1)):
        expected[512 * first : 512 * (first + count)] = bytes(512 * count)
    assert path.read_bytes() == expected


def test_a_disk_that_became_shorter_is_an_error(bench: Bench, path: Path) -> None:
    os.truncate(path, DISK_SIZE // 2)
    assert bench.run(Operation.READ, DISK_SIZE // 512 - 1, [(0, 512)]) == 5


def test_a_write_that_the_file_refuses_is_its_errno(bench: Bench, path: Path) -> None:
    put(bench, [(0, 1024)], b"x" * 1024)
    with limited_file_size(DISK_SIZE):
        assert bench.run(Operation.WRITE, DISK_SIZE // 512 - 1, [(0, 1024)]) == errno.EFBIG
        assert bench.run(Operation.READ, 0, [(0, 512)]) == 0
    assert bench.run(Operation.WRITE, DISK_SIZE // 512 - 1, [(0, 1024)]) == 0


def test_a_write_without_room_is_its_errno(path: Path) -> None:
    full, eventfd = os.open("/dev/full", os.O_RDWR), os.eventfd(0)
    try:
        with closing(Bench([full], eventfd)) as bench:
            assert bench.run(Operation.WRITE, 0, [(0, 512)]) == errno.ENOSPC
            assert bench.run(Operation.READ, 0, [(0, 512)]) == 0
    except UsageError as error:
        pytest.skip(str(error))
    finally:
        os.close(full)
        os.close(eventfd)


def put(bench: Bench, segments: list[tuple[int, int]], data: bytes) -> None:
    """Spread `data` over the segments."""
    view, start = bench.memory.region.view, 0
    for offset, length in segments:
        view[offset : offset + length] = data[start : start + length]
        start += length


def take(bench: Bench, segments: list[tuple[int, int]]) -> bytes:
    """What lies in the segments."""
    view = bench.memory.region.view
    return b"".join(bytes(view[offset : offset + length]) for offset, length in segments)


def test_a_file_that_was_exchanged_is_the_one_that_is_read(bench: Bench, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"other!!!" * 512)
    descriptor = os.open(other, os.O_RDONLY)
    bench.ring.exchange(0, descriptor)
    os.close(descriptor)  # the ring has it
    assert bench.run(Operation.READ, 1, [(0, 1024)]) == 0
    assert take(bench, [(0, 1024)]) == b"other!!!" * 128
    assert bench.run(Operation.WRITE, 0, [(0, 512)]) == errno.EBADF
    with pytest.raises(UsageError, match="takes no other file"):
        bench.ring.exchange(9, 0)
