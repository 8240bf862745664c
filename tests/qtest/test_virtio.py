"""The same virtqueue sequences to our virtio disk and to QEMU's, well-formed and malformed."""

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.devices.virtio.reference import Buffer, Driver, PackedDriver, SplitDriver
from tests.qtest.client import qemu
from tests.qtest.virtio_disk import FLUSH, PAYLOAD, DiskGuest, OurDisk, arguments, make_image
from tests.qtest.virtio_pair import EVENT_IDX, INDIRECT, VERSION_1, Qemus

pytestmark = [
    pytest.mark.qtest,
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64"),
]

NEXT, WRITE, TABLE = 1, 2, 4
IN, OUT, FLUSH_OUT, GET_ID, WRITE_ZEROES = 0, 1, 4, 8, 13
OUTSIDE = 1 << 40
DATA = PAYLOAD


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[DiskGuest, DiskGuest]]:
    """A driver on our disk, and one on QEMU's."""
    image = tmp_path / "disk.img"
    content = make_image(image)
    with qemu(tmp_path, arguments(image)) as qtest:
        theirs = Qemus(qtest)
        guest = DiskGuest(theirs)
        yield DiskGuest(OurDisk(content)), guest
        del guest.ram
        theirs.close()


@pytest.mark.parametrize("features", [VERSION_1, VERSION_1 | INDIRECT | EVENT_IDX | FLUSH])
def test_the_steps_of_a_negotiation(pair: tuple[DiskGuest, DiskGuest], features: int) -> None:
    ours, theirs = pair
    assert ours.negotiate(features) == theirs.negotiate(features) == [0, 1, 3, 11]


def test_the_registers_of_queues(pair: tuple[DiskGuest, DiskGuest]) -> None:
    ours, theirs = pair
    assert ours.registers(2) == theirs.registers(2)
    for guest in pair:
        guest.start(SplitDriver, INDIRECT)
    assert ours.registers(2) == theirs.registers(2)


@pytest.mark.parametrize("kind", [SplitDriver, PackedDriver])
@pytest.mark.parametrize("features", [FLUSH, FLUSH | INDIRECT | EVENT_IDX])
def test_requests_are_answered_alike(
    pair: tuple[DiskGuest, DiskGuest], kind: type[Driver], features: int
) -> None:
    seen = []
    for guest in pair:
        (driver,) = guest.start(kind, features)
        answers: list[object] = []
        for turn in range(20):
            sector, indirect = turn * 7, features & INDIRECT != 0 and turn % 2 == 0
            guest.ram.put(DATA, bytes([turn + 1]) * 1024)
            data = (Buffer(DATA, 512, writable=False), Buffer(DATA + 512, 512, writable=False))
            answers.append(guest.ask(driver, OUT, sector, *data, indirect=indirect))
            room = (Buffer(DATA, 100, writable=True), Buffer(DATA + 0x800, 1436, writable=True))
            answers.append(guest.ask(driver, IN, sector, *room, indirect=indirect))
            answers += [guest.ram.get(DATA, 100), guest.ram.get(DATA + 0x800, 1436)]
            answers.append(guest.ask(driver, FLUSH_OUT, 0))
        answers.append(guest.ask(driver, GET_ID, 0, Buffer(DATA, 20, writable=True))[0])
        answers.append(guest.ram.get(DATA, 20).partition(b"\0")[0])  # padding is not QEMU's
        seen.append(answers)
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("kind", "sector", "part"),
    [
        (IN, 1000, Buffer(DATA, 512, writable=True)),
        (IN, 999, Buffer(DATA, 1024, writable=True)),
        (IN, 1 << 60, Buffer(DATA, 512, writable=True)),
        (OUT, 1000, Buffer(DATA, 512, writable=False)),
        (99, 0, Buffer(DATA, 512, writable=True)),
    ],
)
def test_requests_are_refused_alike(
    pair: tuple[DiskGuest, DiskGuest], kind: int, sector: int, part: Buffer
) -> None:
    statuses = [
        guest.ask(guest.start(SplitDriver, FLUSH)[0], kind, sector, part)[0] for guest in pair
    ]
    assert statuses[0] == statuses[1] != 0


@pytest.mark.parametrize(
    "ranges",
    [
        [(0, 1, 0), (1, 1, 0)],
        [(0, 1, 0), (1, 1, 2)],
        [(0, 1, 2)],
        [(1000, 1, 0)],
        [(999, 2, 1)],
        [(0, 0xFFFF_FFFF, 0)],
    ],
)
def test_ranges_of_zeroes_are_refused_alike(
    pair: tuple[DiskGuest, DiskGuest], ranges: list[tuple[int, int, int]]
) -> None:
    content = b"".join(struct.pack("<QII", *each) for each in ranges)
    statuses = []
    for guest in pair:
        (driver,) = guest.start(SplitDriver, FLUSH)
        guest.ram.put(DATA, content)
        part = Buffer(DATA, len(content), writable=False)
        statuses.append(guest.ask(driver, WRITE_ZEROES, 0, part)[0])
    assert statuses[0] == statuses[1] != 0


@pytest.mark.parametrize(
    "descriptors",
    [
        [(OUTSIDE, 16, 0, 0)],
        [(DATA, 0, 0, 0)],
        [(DATA, 16, NEXT, 0)],
        [(DATA, 16, NEXT, 1), (DATA, 16, NEXT, 0)],
        [(DATA, 16, NEXT, 16)],
        [(DATA, 17, TABLE, 0)],
        [(DATA, 0, TABLE, 0)],
        [(DATA, 16, TABLE | NEXT, 1), (DATA, 16, 0, 0)],
        [(DATA, 16, WRITE | NEXT, 1), (DATA, 16, 0, 0)],
        [(DATA, 15, NEXT, 1), (DATA, 1, WRITE, 0)],
        [(DATA, 16, 0, 0)],
    ],
)
def test_what_is_malformed_breaks_both(
    pair: tuple[DiskGuest, DiskGuest], descriptors: list[tuple[int, int, int, int]]
) -> None:
    ours, theirs = pair
    assert ours.broken_by(*descriptors)
    assert theirs.broken_by(*descriptors)
    for guest in pair:
        assert guest.ask(guest.start(SplitDriver, FLUSH)[0], FLUSH_OUT, 0)[0] == 0


def test_more_available_than_the_queue_holds_breaks_both(pair: tuple[DiskGuest, DiskGuest]) -> None:
    for guest in pair:
        assert guest.broken_by((DATA, 16, 0, 0), available=17)


def test_a_subset_without_version_1_is_refused_by_ours_alone(
    pair: tuple[DiskGuest, DiskGuest],
) -> None:
    """6.1: a device may fail a driver without it. QEMU goes on as the legacy device it was."""
    ours, theirs = pair
    assert ours.negotiate(INDIRECT)[-1] == 3
    assert theirs.negotiate(INDIRECT)[-1] == 11
