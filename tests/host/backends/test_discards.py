"""Holes that the monitor asks for: made in its disks that may have any, and nowhere else."""

import errno
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from vestige import abi
from vestige.errors import UsageError
from vestige.host.backends.discards import Discards
from vestige.host.backends.disks import DiskImage, open_disk
from vestige.host.options import DiskOption

SIZE = 1 << 20
SECTORS = SIZE // abi.SECTOR
FILE = 3


def opened(path: Path) -> DiskImage:
    try:
        return open_disk(DiskOption(str(path), discard=True))
    except UsageError as error:
        pytest.skip(str(error))


class Host:
    """An image, and the monitor's end of a socket."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(b"x" * SIZE)
        self.path = path
        self.image: DiskImage = opened(path)
        self.discards = Discards({FILE: (self.image.descriptor, 0, self.image.sectors)}, 2)
        self.discards.start()
        self.ends = [socket.socket(fileno=os.dup(each)) for each in self.discards.descriptors]
        for end in self.ends:
            end.settimeout(10)

    def ask(self, message: bytes, ring: int = 0) -> int:
        self.ends[ring].send(message)
        answer = self.ends[ring].recv(100)
        assert len(answer) == abi.DISCARD_ANSWER_SIZE
        return int.from_bytes(answer, "little")

    def close(self) -> None:
        self.discards.close()
        self.image.close()
        for end in self.ends:
            end.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with closing(Host(tmp_path / "disk")) as made:
        yield made


def order(file: int, sector: int, sectors: int) -> bytes:
    return bytes(abi.DiscardOrder(file=file, sector=sector, sectors=sectors))


def test_a_hole_is_made_and_the_file_keeps_its_length(host: Host) -> None:
    before = host.path.stat().st_blocks
    assert host.ask(order(FILE, 8, 1024)) == 0
    assert host.ask(order(FILE, SECTORS - 8, 8), ring=1) == 0
    expected = bytearray(b"x" * SIZE)
    for first, count in ((8, 1024), (SECTORS - 8, 8)):
        expected[first * abi.SECTOR : (first + count) * abi.SECTOR] = bytes(count * abi.SECTOR)
    assert host.path.read_bytes() == expected
    assert host.path.stat().st_blocks < before


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (order(FILE, SECTORS, 1), errno.EINVAL),
        (order(FILE, SECTORS - 1, 2), errno.EINVAL),
        (order(FILE, 0, 0), errno.EINVAL),
        (order(FILE, 1, 2**64 - 1), errno.EINVAL),
        (order(FILE, 2**64 - 1, 2), errno.EINVAL),
        (order(FILE, 2**55, 1), errno.EINVAL),
        (order(FILE + 1, 0, 1), errno.EBADF),
        (order(2**64 - 1, 0, 1), errno.EBADF),
        (b"x", errno.EINVAL),
        (b"x" * 25, errno.EINVAL),
        (order(FILE, 0, 1) * 100, errno.EINVAL),
    ],
)
def test_nothing_else_is_touched(host: Host, message: bytes, error: int) -> None:
    assert host.ask(message) == error
    assert host.path.read_bytes() == b"x" * SIZE


def test_who_takes_no_answer_holds_up_nobody(host: Host) -> None:
    first, _ = host.ends
    for number in range(2000):
        first.send(order(FILE, number, 1))
    assert host.ask(order(FILE, 0, 8), ring=1) == 0


def test_closing_ends_the_thread_and_leaves_nothing_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208
    Host(tmp_path / "disk").close()
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before  # noqa: PTH208
