"""What a driver asks for by the control queue: filters, address, pairs of queues, offloads."""

import random
import struct

import pytest

from tests.devices.virtio.bench import NEEDS_RESET
from tests.devices.virtio.reference import Driver, PackedDriver, SplitDriver
from tests.devices.virtio_net.bench import (
    ADDRESS,
    CONTROL,
    GUEST_CSUM,
    GUEST_OFFLOADS,
    GUEST_TSO4,
    HEADER,
    MAC,
    MERGEABLE,
    MQ,
    NEEDS_CSUM,
    RX,
    RX_EXTRA,
    SPACE,
    TCPV4,
    VLAN,
    NetBench,
    prefixed,
)
from vestige.abi import NetBackend

OK, REFUSED = 0, 1
ALL = MERGEABLE | CONTROL | RX | RX_EXTRA | VLAN | ADDRESS
STRANGER, GROUP, BROADCAST = (bytes.fromhex(each + "0000000001") for each in ("02", "01", "ff"))
BROADCAST = b"\xff" * 6
FORMATS = pytest.mark.parametrize("kind", [SplitDriver, PackedDriver])


def frame(address: bytes, size: int = 60, tag: int | None = None, seed: int = 1) -> bytes:
    """To this address; with this VLAN's tag."""
    words = b"\x08\x00" if tag is None else struct.pack(">HHH", 0x8100, tag, 0x0800)
    return (address + b"\x02" * 6 + words + random.Random(seed).randbytes(size))[:size]


@pytest.fixture
def bench() -> NetBench:
    """A stream's interface with all that there is to control, not promiscuous."""
    bench = NetBench(NetBackend.STREAM)
    bench.go_with(ALL)
    assert bench.command(b"\0\0\0") == OK
    return bench


def delivers(bench: NetBench, data: bytes) -> bool:
    """Whether the driver gets this frame."""
    bench.space(bench.queues[0], 200)
    bench.bring(prefixed(data))
    got = bench.received(bench.queues[0])
    if not got:
        bench.bring(prefixed(frame(bench.own, seed=9)))  # into the buffer that is left
        assert bench.received(bench.queues[0])[0][12:] == frame(bench.own, seed=9)
        return False
    assert got[0][12:] == data
    return True


def table(unicast: list[bytes], multicast: list[bytes]) -> bytes:
    """The command that sets both."""
    parts = [struct.pack("<I", len(each)) + b"".join(each) for each in (unicast, multicast)]
    return b"\1\0" + b"".join(parts)


# ---- filters ----------------------------------------------------------------------------------


def test_everything_is_delivered_until_the_driver_ends_that() -> None:
    bench = NetBench(NetBackend.STREAM)
    bench.go_with(ALL)
    for address in (MAC, STRANGER, GROUP, BROADCAST):
        assert delivers(bench, frame(address))
    assert delivers(bench, frame(STRANGER, tag=5))


def test_then_its_own_and_everybodys_frames_are(bench: NetBench) -> None:
    assert [delivers(bench, frame(each)) for each in (MAC, BROADCAST, STRANGER, GROUP)] == [
        True, True, False, False
    ]  # fmt: skip
    assert bench.command(b"\0\0\1") == OK
    assert delivers(bench, frame(STRANGER))


@pytest.mark.parametrize(
    ("command", "address", "delivered"),
    [
        (1, GROUP, True), (1, STRANGER, False), (2, STRANGER, True), (2, GROUP, False),
        (4, MAC, False), (5, BROADCAST, False), (5, MAC, True),
    ],
)  # fmt: skip
def test_a_kind_of_frames_is_let_through_or_not(
    bench: NetBench, command: int, address: bytes, delivered: bool
) -> None:
    bench.own = BROADCAST if command == 4 else MAC
    assert bench.command(bytes([0, command, 1])) == OK
    assert delivers(bench, frame(address)) == delivered
    assert bench.command(bytes([0, command, 0])) == OK
    assert delivers(bench, frame(address)) == (address in (MAC, BROADCAST))


def test_no_multicast_is_stronger_than_all_of_it(bench: NetBench) -> None:
    assert bench.command(b"\0\1\1") == OK
    assert bench.command(b"\0\3\1") == OK
    assert not delivers(bench, frame(GROUP))


def test_addresses_of_a_table_are_let_through(bench: NetBench) -> None:
    other = bytes.fromhex("010000000002")
    assert bench.command(table([STRANGER], [GROUP])) == OK
    assert delivers(bench, frame(STRANGER))
    assert delivers(bench, frame(GROUP))
    assert not delivers(bench, frame(other))
    assert bench.command(table([], [other])) == OK
    assert not delivers(bench, frame(STRANGER))
    assert delivers(bench, frame(other))


def test_a_table_too_long_lets_all_of_its_kind_through(bench: NetBench) -> None:
    many = [struct.pack(">HI", 0x0100, number) for number in range(100, 165)]
    assert bench.command(table([STRANGER], many)) == OK
    assert delivers(bench, frame(GROUP))
    assert not delivers(bench, frame(bytes.fromhex("020000000009")))
    assert bench.command(table([], many[:64])) == OK
    assert not delivers(bench, frame(GROUP))
    assert delivers(bench, frame(many[63]))


def test_frames_of_a_vlan_are_delivered_if_it_is_asked_for(bench: NetBench) -> None:
    assert not delivers(bench, frame(MAC, tag=5))
    assert bench.command(b"\2\0" + struct.pack("<H", 5)) == OK
    assert delivers(bench, frame(MAC, tag=5))
    assert delivers(bench, frame(MAC, tag=0xE005))
    assert not delivers(bench, frame(MAC, tag=6))
    assert bench.command(b"\2\1" + struct.pack("<H", 5)) == OK
    assert not delivers(bench, frame(MAC, tag=5))


def test_the_address_can_be_changed_until_a_reset(bench: NetBench) -> None:
    assert bench.command(b"\1\1" + STRANGER) == OK
    bench.own = STRANGER
    assert bytes(bench.read(0x2000 + index, 1) for index in range(6)) == STRANGER
    assert not delivers(bench, frame(MAC))
    bench.write(0x14, 1, 0)
    bench.step()
    assert bytes(bench.read(0x2000 + index, 1) for index in range(6)) == MAC


def test_a_reset_forgets_the_filters(bench: NetBench) -> None:
    assert bench.command(table([], [GROUP])) == OK
    bench.write(0x14, 1, 0)
    bench.step()
    bench.go_with(ALL)
    assert delivers(bench, frame(STRANGER))
    assert bench.command(b"\0\0\0") == OK
    assert not delivers(bench, frame(GROUP))


# ---- what can't be ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        b"\0\0", b"\0\0\0\0", b"\0\6\1", b"\1\1" + bytes(5), b"\1\2", b"\1\0\0\0\0\0",
        b"\1\0\1\0\0\0" + bytes(9), b"\1\0" + b"\xff" * 4 + bytes(10), table([MAC], []) + b"x",
        b"\2\0\0", b"\2\0\0\x10", b"\2\2\0\0", b"\3\0", b"\4\0\1\0", b"\5\0" + bytes(8), b"\6\0",
    ],
)  # fmt: skip
def test_a_command_that_can_not_be_is_refused(bench: NetBench, command: bytes) -> None:
    assert bench.command(command) == REFUSED
    assert bench.command(b"\0\1\1") == OK


@pytest.mark.parametrize(
    "command", [b"\0\0\1", b"\0\2\1", table([], []), b"\1\1" + MAC, b"\2\0\1\0"]
)
def test_what_was_not_negotiated_is_refused(command: bytes) -> None:
    bench = NetBench(NetBackend.STREAM)
    bench.go_with(CONTROL)
    assert bench.command(command) == REFUSED


@pytest.mark.parametrize(("command", "answer"), [(b"\0\0\1", 0), (b"\0", 1), (b"", 1)])
def test_a_buffer_that_is_no_command_breaks_the_device(
    bench: NetBench, command: bytes, answer: int
) -> None:
    assert bench.command(command, answer) is None
    assert bench.status() & NEEDS_RESET


# ---- pairs of queues ----------------------------------------------------------------------


def pairs(number: int) -> bytes:
    """The command for so many."""
    return b"\4\0" + struct.pack("<H", number)


def of_tap(data: bytes, flags: int = 0, kind: int = 0, size: int = 0) -> bytes:
    """As a tap gives it."""
    return struct.pack(HEADER, flags, kind, 0, size, 34, 16, 0) + data


@FORMATS
def test_each_pair_in_use_has_its_own_file(kind: type[Driver]) -> None:
    bench = NetBench(NetBackend.TAP, 2)
    bench.go_with(ALL | MQ, kind)
    assert bench.read(0x2008, 2) == 2
    assert bench.command(pairs(2)) == OK
    for number in (0, 1):
        bench.space(bench.queues[2 * number], 200, at=SPACE + 200 * number)
        bench.step()
        bench.bring(of_tap(frame(MAC, seed=number)), number)
        got = bench.received(bench.queues[2 * number])
        assert [data[12:] for data in got] == [frame(MAC, seed=number)]
        bench.send(bench.queues[2 * number + 1], frame(MAC, seed=3 + number))
        assert [each.file for each in bench.writes()] == [number]
        assert bench.take_all() == [bytes(12) + frame(MAC, seed=3 + number)]


def test_frames_of_all_files_come_by_the_pairs_in_use() -> None:
    bench = NetBench(NetBackend.TAP, 3)
    bench.go_with(ALL | MQ)
    bench.space(bench.queues[0], 200, 200, 200, 200)
    for number in (2, 0, 1):
        bench.bring(of_tap(frame(MAC, seed=number)), number)
    seen = [data[12:] for data in bench.received(bench.queues[0])]
    assert seen == [frame(MAC, seed=number) for number in (2, 0, 1)]
    bench.send(bench.queues[3], frame(MAC))
    assert bench.writes() == []
    assert bench.command(pairs(2)) == OK
    bench.step()
    assert len(bench.take_all()) == 1


def test_packets_of_two_files_do_not_mix_in_one_queue() -> None:
    bench = NetBench(NetBackend.TAP, 2)
    bench.go_with(ALL | MQ, size=64)
    bench.space(bench.queues[0], *[100] * 4)
    bench.bring(of_tap(frame(MAC, 900, seed=1)), 1)
    bench.bring(of_tap(frame(MAC, 300, seed=0)), 0)
    assert bench.received(bench.queues[0]) == []
    bench.space(bench.queues[0], *[100] * 20, at=SPACE + 400)
    bench.step()
    data = b"".join(bench.received(bench.queues[0]))
    assert data[12:912] == frame(MAC, 900, seed=1)
    assert data[924:] == frame(MAC, 300, seed=0)


def test_a_packet_half_way_takes_its_new_way_whole() -> None:
    bench = NetBench(NetBackend.TAP, 2)
    bench.go_with(ALL | MQ, size=64)
    bench.space(bench.queues[0], *[100] * 4)
    bench.bring(of_tap(frame(MAC, 900)), 1)
    assert bench.command(pairs(2)) == OK
    assert bench.received(bench.queues[0]) == [b""] * 4
    bench.space(bench.queues[2], 1000, at=SPACE + 400)
    bench.step()
    assert bench.received(bench.queues[2])[0][12:] == frame(MAC, 900)


@pytest.mark.parametrize("number", [0, 4, 0xFFFF])
def test_pairs_that_are_not_there_are_refused(number: int) -> None:
    bench = NetBench(NetBackend.TAP, 3)
    bench.go_with(ALL | MQ)
    assert bench.command(pairs(number)) == REFUSED
    assert bench.command(pairs(3)) == OK


def test_without_mq_the_third_queue_is_for_control() -> None:
    bench = NetBench(NetBackend.TAP, 3)
    bench.go_with(ALL)
    assert bench.command(b"\0\0\0") == OK
    assert bench.command(pairs(1)) == REFUSED


# ---- offloads -----------------------------------------------------------------------------


def test_the_driver_may_change_its_mind_about_offloads() -> None:
    bench = NetBench(NetBackend.TAP)
    bench.go_with(ALL | GUEST_CSUM | GUEST_TSO4 | GUEST_OFFLOADS)
    data = frame(MAC, 100)
    partial = of_tap(data, NEEDS_CSUM)
    for offloads, kept in ((0, False), (GUEST_CSUM, True)):
        assert bench.command(b"\5\0" + struct.pack("<Q", offloads)) == OK
        bench.space(bench.queues[0], 200)
        bench.bring(partial)
        ((header, got),) = [(each[:12], each[12:]) for each in bench.received(bench.queues[0])]
        assert (header[0] == NEEDS_CSUM) == kept
        assert (got == data) == kept
    assert bench.command(b"\5\0" + struct.pack("<Q", 1 << 8)) == REFUSED  # not agreed on
    assert bench.command(b"\5\0" + struct.pack("<Q", GUEST_CSUM | GUEST_TSO4)) == OK
    bench.space(bench.queues[0], 9000)
    bench.bring(of_tap(frame(MAC, 5000), NEEDS_CSUM, TCPV4, 1000))
    (whole,) = bench.received(bench.queues[0])
    assert whole[12:] == frame(MAC, 5000)
    assert whole[1] == TCPV4
