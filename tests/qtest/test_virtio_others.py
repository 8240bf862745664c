"""The same sequences to the entropy, console and network devices, ours and QEMU's."""

import shutil
import struct
from collections.abc import Iterator

import pytest

from tests.devices.virtio.reference import Buffer, Driver, PackedDriver, SplitDriver
from tests.qtest.virtio_others import (
    CONSOLE,
    DATA,
    ENTROPY,
    NETWORK,
    PORT_NAME,
    Pair,
    message,
    ours,
    qemus,
    receive,
    room,
)
from tests.qtest.virtio_pair import EVENT_IDX, INDIRECT, NEEDS_RESET, VERSION_1

pytestmark = [
    pytest.mark.qtest,
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64"),
]

ALL = pytest.mark.parametrize("number", [ENTROPY, CONSOLE, NETWORK])
FORMATS = pytest.mark.parametrize("kind", [SplitDriver, PackedDriver])
NEXT, WRITE, TABLE = 1, 2, 4
OUTSIDE = 1 << 40
MULTIPORT = 1 << 1
MERGEABLE = 1 << 15
CONTROL = 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20 | 1 << 23  # the queue, and all filters
READY, ADD, PORT_READY, CONSOLE_PORT, OPEN, NAME = 0, 1, 3, 4, 6, 7  # the console's events


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Pair]]:
    """QEMU's, by number."""
    with qemus(tmp_path_factory.mktemp("qemu")) as pairs:
        yield pairs


def both(theirs: list[Pair], number: int) -> tuple[Pair, Pair]:
    """Ours and QEMU's."""
    return ours(number), theirs[number]


# ---- all three ----------------------------------------------------------------------------


@ALL
def test_both_are_the_same_function(theirs: list[Pair], number: int) -> None:
    mine, other = both(theirs, number)
    assert mine.guest.identity() == other.guest.identity()


@ALL
@pytest.mark.parametrize("features", [VERSION_1, VERSION_1 | INDIRECT | EVENT_IDX])
def test_the_steps_of_a_negotiation(theirs: list[Pair], number: int, features: int) -> None:
    for each in both(theirs, number):
        assert each.guest.negotiate(features) == [0, 1, 3, 11]


@ALL
@pytest.mark.parametrize(
    "descriptors",
    [
        [(DATA, 16, NEXT | WRITE, 1), (DATA, 16, NEXT | WRITE, 0)],
        [(DATA, 16, NEXT | WRITE, 16)],
        [(DATA, 17, TABLE, 0)],
        [(DATA, 16, WRITE | NEXT, 1), (DATA, 16, 0, 0)],
    ],
)
def test_what_is_malformed_breaks_both(
    theirs: list[Pair], number: int, descriptors: list[tuple[int, int, int, int]]
) -> None:
    queue = {ENTROPY: 0, CONSOLE: 1, NETWORK: 1}[number]
    for each in both(theirs, number):
        assert each.guest.broken_by(*descriptors, queue=queue)
        assert each.guest.negotiate(VERSION_1)[-1] == 11


@ALL
def test_memory_outside_ram_breaks_ours_alone(theirs: list[Pair], number: int) -> None:
    """2.1.2. QEMU takes what lies there for a device's registers, which it can read and write."""
    queue = {ENTROPY: 0, CONSOLE: 1, NETWORK: 1}[number]
    for each in both(theirs, number):
        side = each.guest.side
        each.guest.negotiate(VERSION_1)
        side.write("common", 0x16, 2, queue)
        side.write("common", 0x18, 2, 16)
        for offset in (0x20, 0x28, 0x30):
            side.write("common", offset + 4, 4, OUTSIDE >> 32)
        side.write("common", 0x1C, 2, 1)
        side.write("common", 0x14, 1, 15)
        each.guest.notify(queue)
        broken = side.read("common", 0x14, 1) & NEEDS_RESET
        assert bool(broken) == (each is not theirs[number])


def test_a_buffer_outside_ram_breaks_ours_alone(theirs: list[Pair]) -> None:
    """The same."""
    mine, other = both(theirs, ENTROPY)
    for each in (mine, other):
        (driver,) = each.guest.start(SplitDriver, 0)
        room(driver, 16, at=OUTSIDE)
        each.guest.notify(0)
        assert len(each.guest.side.settle([driver], 1)) == (each is other)


# ---- entropy ------------------------------------------------------------------------------


@FORMATS
@pytest.mark.parametrize("features", [0, INDIRECT | EVENT_IDX])
def test_random_bytes_come_alike(theirs: list[Pair], kind: type[Driver], features: int) -> None:
    """5.4.6.1: some of the room is filled, the device says how much, and nothing else is."""
    for each in both(theirs, ENTROPY):
        (driver,) = each.guest.start(kind, features)
        for turn in range(20):
            each.guest.ram.put(DATA, bytes(300))
            room(driver, 1 + turn, 64, 100)
            each.guest.notify(0)
            data = b"".join(receive(each.guest.side, driver))
            assert 0 < len(data) <= 165 + turn
            assert any(data) or len(data) < 5
            assert not any(each.guest.ram.get(DATA + len(data), 300 - len(data)))


def test_a_large_request_is_answered_in_part_by_ours(theirs: list[Pair]) -> None:
    """5.4.6.1: the device may return less than asked, but not nothing."""
    for each, written in zip(both(theirs, ENTROPY), (256, 1000), strict=True):
        (driver,) = each.guest.start(SplitDriver, 0)
        room(driver, 1000)
        each.guest.notify(0)
        assert len(receive(each.guest.side, driver)[0]) == written


# ---- console ------------------------------------------------------------------------------


def say(pair: Pair, driver: Driver, data: bytes, at: int = DATA + 0x800) -> None:
    """A control message, or part of one."""
    pair.guest.ram.put(at, data)
    assert driver.add([Buffer(at, len(data), writable=False)]) is not None
    pair.guest.notify(3)
    pair.guest.side.settle([driver], 1)


def hear(pair: Pair, driver: Driver, count: int) -> list[bytes]:
    """So many control messages."""
    before = dict(driver.outstanding)
    done: list[tuple[int, int]] = []
    while len(done) < count:
        done += pair.guest.side.settle([driver], count - len(done))
    return [pair.guest.ram.get(before[number][0].address, size) for number, size in done]


@FORMATS
def test_ports_are_told_of_alike(theirs: list[Pair], kind: type[Driver]) -> None:
    """In any order; and QEMU's name has a NUL, which 5.3.6.2 says it has not."""
    seen = []
    for each in both(theirs, CONSOLE):
        drivers = each.guest.start(kind, MULTIPORT, *range(6))
        for index in range(12):
            room(drivers[2], 64, at=DATA + 64 * index)
        each.guest.notify(2)
        heard = []
        for words, answers in (
            (message(0, READY), 2),
            (message(0, PORT_READY), 2),
            (message(1, PORT_READY), 2),
        ):
            say(each, drivers[3], words)
            heard.append(sorted(hear(each, drivers[2], answers)))
        seen.append(heard)
    mine, other = seen
    name = message(1, NAME) + PORT_NAME.encode()
    assert mine[0] == [message(0, ADD), message(1, ADD)]
    assert mine[1] == [message(0, CONSOLE_PORT), message(0, OPEN)]
    assert mine[2] == [message(1, OPEN), name]
    assert other == [*mine[:2], [message(1, OPEN), name + b"\0"]]


@pytest.mark.parametrize(
    "words", [b"", message(0, READY)[:7], message(9, PORT_READY), message(1 << 31, OPEN)]
)
def test_a_message_that_means_nothing_is_ignored_by_both(theirs: list[Pair], words: bytes) -> None:
    for each in both(theirs, CONSOLE):
        drivers = each.guest.start(SplitDriver, MULTIPORT, *range(6))
        for index in range(12):
            room(drivers[2], 64, at=DATA + 64 * index)
        each.guest.notify(2)
        if words:
            say(each, drivers[3], words)
        say(each, drivers[3], message(0, READY))
        assert len(hear(each, drivers[2], 2)) == 2
        assert each.guest.side.read("common", 0x14, 1) == 15


@FORMATS
@pytest.mark.parametrize("port", [0, 1])
def test_bytes_go_both_ways_alike(theirs: list[Pair], kind: type[Driver], port: int) -> None:
    for each in both(theirs, CONSOLE):
        drivers = each.guest.start(kind, MULTIPORT, *range(6))
        for index in range(12):
            room(drivers[2], 64, at=DATA + 64 * index)
        for words in (message(0, READY), message(port, PORT_READY), message(port, OPEN)):
            say(each, drivers[3], words)
        hear(each, drivers[2], 4)
        incoming, outgoing = (0, 1) if port == 0 else (4, 5)
        for turn in range(5):
            data = bytes([turn + 33]) * (100 + turn) + b"\n"
            each.guest.ram.put(DATA + 0x1000, data)
            pieces = [
                Buffer(DATA + 0x1000, 3, writable=False),
                Buffer(DATA + 0x1003, len(data) - 3, writable=False),
            ]
            drivers[outgoing].add(pieces)
            each.guest.notify(outgoing)
            assert each.guest.side.settle([drivers[outgoing]], 1)[0][1] == 0
            assert each.other.sent(port, len(data)) == data
            room(drivers[incoming], 5, 200, at=DATA + 0x1000)
            each.guest.notify(incoming)
            each.other.bring(port, data)
            assert receive(each.guest.side, drivers[incoming]) == [data[:5], data[5:]]


def test_without_multiport_there_is_one_port_for_both(theirs: list[Pair]) -> None:
    for each in both(theirs, CONSOLE):
        incoming, outgoing = each.guest.start(SplitDriver, 0, 0, 1)
        each.guest.ram.put(DATA, b"hello\n")
        outgoing.add([Buffer(DATA, 6, writable=False)])
        each.guest.notify(1)
        assert each.other.sent(0, 6) == b"hello\n"
        room(incoming, 16)
        each.guest.notify(0)
        each.other.bring(0, b"there")
        assert receive(each.guest.side, incoming) == [b"there"]


# ---- network ------------------------------------------------------------------------------


def frame(size: int) -> bytes:
    """For the guest, from one that is not."""
    return bytes.fromhex("525400123456 020000000001 0800") + bytes(
        index * 7 & 0xFF for index in range(size - 14)
    )


@FORMATS
@pytest.mark.parametrize("features", [0, MERGEABLE, MERGEABLE | INDIRECT | EVENT_IDX])
def test_frames_go_both_ways_alike(theirs: list[Pair], kind: type[Driver], features: int) -> None:
    """But for num_buffers without MRG_RXBUF: 5.1.6.4.1 wants 1, QEMU sets none."""
    seen = []
    for each in both(theirs, NETWORK):
        incoming, outgoing = each.guest.start(kind, features, 0, 1)
        got = []
        for size in (60, 61, 100, 1514):
            each.guest.ram.put(DATA, bytes([0xEE]) * 2000)
            room(incoming, 12, 1000, 700)
            each.guest.notify(0)
            each.other.bring(0, frame(size))
            header, *data = receive(each.guest.side, incoming)
            got.append((header[: 12 if features & MERGEABLE else 10], data))
            assert b"".join(data) == frame(size)
            each.guest.ram.put(DATA, bytes(12) + frame(size))
            outgoing.add([
                Buffer(DATA, 12, writable=False), Buffer(DATA + 12, size, writable=False)
            ])  # fmt: skip
            each.guest.notify(1)
            assert each.guest.side.settle([outgoing], 1)[0][1] == 0
            expected = len(frame(size)) + 4
            assert each.other.sent(0, expected)[4:] == frame(size)
        seen.append(got)
    assert seen[0] == seen[1]


@FORMATS
def test_a_frame_is_merged_from_buffers_alike(theirs: list[Pair], kind: type[Driver]) -> None:
    seen = []
    for each in both(theirs, NETWORK):
        incoming, _ = each.guest.start(kind, MERGEABLE, 0, 1)
        each.guest.ram.put(DATA, bytes(2000))
        for index in range(4):
            room(incoming, 300, at=DATA + 300 * index)
        before = dict(incoming.outstanding)
        each.guest.notify(0)
        each.other.bring(0, frame(1000))
        done: list[tuple[int, int]] = []
        while len(done) < 4:
            done += each.guest.side.settle([incoming], 4 - len(done))
        seen.append([
            each.guest.ram.get(before[number][0].address, size) for number, size in done
        ])  # fmt: skip
    assert seen[0] == seen[1]
    assert b"".join(seen[0]) == bytes(10) + b"\4\0" + frame(1000)


def test_a_frame_to_be_written_breaks_both(theirs: list[Pair]) -> None:
    for each in both(theirs, NETWORK):
        assert each.guest.broken_by((DATA, 100, WRITE, 0), queue=1)


def test_a_frame_without_its_header_breaks_ours() -> None:
    """QEMU 7.2 ends at an assertion of its own."""
    assert ours(NETWORK).guest.broken_by((DATA, 11, 0, 0), queue=1)


def test_a_receive_buffer_to_be_read_breaks_both(theirs: list[Pair]) -> None:
    for each in both(theirs, NETWORK):
        incoming, _ = each.guest.start(SplitDriver, 0, 0, 1)
        incoming.add([Buffer(DATA, 2000, writable=False)])
        room(incoming, 2000)
        each.guest.notify(0)
        each.other.bring(0, frame(100))
        each.guest.side.settle([incoming], 3)
        assert each.guest.side.read("common", 0x14, 1) & NEEDS_RESET


def command(pair: Pair, driver: Driver, data: bytes, at: int = DATA + 0x2000) -> int:
    """What the network's control queue answers, in a byte."""
    pair.guest.ram.put(at, data + b"\xee")
    room = Buffer(at + len(data), 1, writable=True)
    driver.add([Buffer(at, len(data), writable=False), room])
    pair.guest.notify(2)
    ((_, written),) = pair.guest.side.settle([driver], 1)
    assert written == 1
    return pair.guest.ram.get(at + len(data), 1)[0]


def table(unicast: list[bytes], multicast: list[bytes]) -> bytes:
    """The command that sets both."""
    parts = [struct.pack("<I", len(each)) + b"".join(each) for each in (unicast, multicast)]
    return b"\1\0" + b"".join(parts)


STRANGER, GROUP = bytes.fromhex("020000000009"), bytes.fromhex("010000000009")


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"\0\0\1", 0), (b"\0\1\0", 0), (b"\0\2\1", 0), (b"\0\3\1", 0), (b"\0\4\1", 0),
        (b"\0\5\1", 0), (b"\0\6\1", 1), (b"\0\0", 1), (b"\7\0\1", 1),
        (table([], []), 0), (table([STRANGER], [GROUP, GROUP]), 0),
        (table([STRANGER] * 65, [GROUP]), 0), (table([STRANGER], []) + b"x", 1),
        (table([STRANGER], [])[:-1], 1), (b"\1\0", 1), (b"\1\0" + b"\xff" * 8, 1),
        (b"\1\1" + STRANGER, 0), (b"\1\1" + STRANGER[1:], 1), (b"\1\1" + STRANGER + b"x", 1),
        (b"\1\2", 1), (b"\2\0\5\0", 0), (b"\2\1\5\0", 0), (b"\2\0\0\x10", 1),
        (b"\2\2\5\0", 1), (b"\2\0\5", 1), (b"\4\0\1\0", 1), (b"\4\0\2\0", 1),
        (b"\5\0" + bytes(8), 1),
    ],
)  # fmt: skip
def test_commands_are_answered_alike(theirs: list[Pair], data: bytes, answer: int) -> None:
    for each in both(theirs, NETWORK):
        *_, control = each.guest.start(SplitDriver, MERGEABLE | CONTROL, 0, 1, 2)
        assert command(each, control, data) == answer


@pytest.mark.parametrize(("data", "answer"), [(b"\0", 1), (b"\0\0\1", 0)])
def test_a_buffer_that_is_no_command_breaks_both(
    theirs: list[Pair], data: bytes, answer: int
) -> None:
    for each in both(theirs, NETWORK):
        *_, control = each.guest.start(SplitDriver, MERGEABLE | CONTROL, 0, 1, 2)
        parts = [Buffer(DATA, len(data), writable=False)]
        control.add([*parts, *([Buffer(DATA + 64, 1, writable=True)] if answer else [])])
        each.guest.notify(2)
        each.guest.side.settle([control], 1)
        assert each.guest.side.read("common", 0x14, 1) & NEEDS_RESET


@pytest.mark.parametrize(
    "commands",
    [
        [],
        [b"\0\0\0"],
        [b"\0\0\0", b"\0\1\1"],
        [b"\0\0\0", b"\0\2\1"],
        [b"\0\0\0", b"\0\1\1", b"\0\3\1"],
        [b"\0\0\0", b"\0\5\1"],
        [b"\0\0\0", b"\1\1" + STRANGER],
        [b"\0\0\0", table([STRANGER], [])],
        [b"\0\0\0", table([], [GROUP])],
        [b"\0\0\0", table([STRANGER], [bytes([1, 0, 0, 0, 0, n]) for n in range(100, 165)])],
        [b"\0\0\0", b"\2\0\5\0"],
    ],
)
def test_both_let_the_same_frames_through(theirs: list[Pair], commands: list[bytes]) -> None:
    """Each followed by a broadcast, or by one to us where those are not wanted."""
    seen = []
    for each in both(theirs, NETWORK):
        incoming, _, control = each.guest.start(SplitDriver, MERGEABLE | CONTROL, 0, 1, 2)
        for data in commands:
            assert command(each, control, data) == 0
        known = frame(60) if b"\0\5\1" in commands else b"\xff" * 6 + frame(60)[6:]
        got = []
        for address in (frame(60)[:6], STRANGER, GROUP, b"\xff" * 6):
            for tag in (b"", b"\x81\0\0\5", b"\x81\0\0\6"):
                data = address + known[6:12] + tag + known[12:]
                room(incoming, 200)
                each.guest.notify(0)
                each.other.bring(0, data)
                each.other.bring(0, known + bytes(4))
                first = receive(each.guest.side, incoming)[0][12:]
                got.append(first == data)
                if got[-1]:
                    room(incoming, 200)
                    each.guest.notify(0)
                    assert receive(each.guest.side, incoming)[0][12:] == known + bytes(4)
        seen.append(got)
    assert seen[0] == seen[1]
