"""Frames in both directions, over a stream and over a tap, in CPython and compiled."""

import ipaddress
import random
import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.devices.fuzz_network import fuzz
from tests.devices.fuzzing import Limit
from tests.devices.virtio.bench import DRIVER_OK, NEEDS_RESET
from tests.devices.virtio.reference import Buffer, Driver, PackedDriver, SplitDriver
from tests.devices.virtio_net.bench import (
    ADDRESS,
    CONTROL,
    CSUM,
    GUEST_CSUM,
    GUEST_OFFLOADS,
    GUEST_TSO4,
    GUEST_TSO6,
    HEADER,
    MAC,
    MERGEABLE,
    MQ,
    MTU,
    NEEDS_CSUM,
    OUT,
    RX,
    RX_EXTRA,
    SPACE,
    TCPV4,
    TCPV6,
    TSO4,
    TSO6,
    VLAN,
    Header,
    NetBench,
    prefixed,
)
from vestige.abi import NetBackend
from vestige.monitor.drivers.ring.chain import CHAIN
from vestige.monitor.drivers.ring.spec import FIXED_FILE, HARD_LINK

FORMATS = pytest.mark.parametrize("kind", [SplitDriver, PackedDriver])
PLAIN = struct.pack(HEADER, 0, 0, 0, 0, 0, 0, 1)


def frame(size: int, seed: int = 1) -> bytes:
    """Bytes that no other seed gives."""
    return random.Random(seed).randbytes(size)


def with_sum(data: bytes, start: int, offset: int) -> bytes:
    """The Internet checksum, RFC 1071, of data[start:] stored at `start + offset`."""
    covered = data[start:] + b"\0" * (len(data[start:]) % 2)
    total = sum(word for (word,) in struct.iter_unpack(">H", covered))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    place = start + offset
    return data[:place] + struct.pack(">H", ~total & 0xFFFF or 0xFFFF) + data[place + 2 :]


@pytest.fixture
def stream() -> NetBench:
    """passt on the other side."""
    return NetBench(NetBackend.STREAM)


@pytest.fixture
def tap() -> NetBench:
    """A tap there."""
    return NetBench(NetBackend.TAP)


# ---- the configuration ------------------------------------------------------------------------


def test_the_driver_finds_address_link_and_mtu(stream: NetBench) -> None:
    assert bytes(stream.read(0x2000 + index, 1) for index in range(6)) == MAC
    assert stream.read(0x2006, 2) == 1
    assert stream.read(0x2008, 2) == 1
    assert stream.read(0x200A, 2) == MTU
    assert stream.read_config(0, 4) == 0x1041_1AF4
    assert stream.read_config(0x0A, 2) == 0x0200


def test_only_a_tap_gives_frames_without_checksums(stream: NetBench, tap: NetBench) -> None:
    both = CSUM | TSO4 | TSO6 | MERGEABLE | 1 << 3 | 1 << 5 | 1 << 16
    both |= CONTROL | RX | VLAN | RX_EXTRA | ADDRESS
    assert stream.offered() & 0xFF_FFFF == both
    taken = GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6 | GUEST_OFFLOADS
    assert tap.offered() & 0xFF_FFFF == both | taken
    assert NetBench(NetBackend.TAP, 3).offered() & 0xFF_FFFF == both | taken | MQ


# ---- receive ----------------------------------------------------------------------------------


@FORMATS
def test_frames_of_a_stream_arrive(stream: NetBench, kind: type[Driver]) -> None:
    receive, _ = stream.go_with(kind=kind)
    stream.space(receive, 2000, 2000, 2000)
    stream.step()
    stream.bring(prefixed(frame(60), frame(1514)))
    assert stream.received(receive) == [PLAIN + frame(60), PLAIN + frame(1514)]


@FORMATS
def test_a_packet_of_a_tap_arrives_with_its_header(tap: NetBench, kind: type[Driver]) -> None:
    receive, _ = tap.go_with(MERGEABLE | GUEST_CSUM, kind=kind)
    tap.space(receive, 2000)
    tap.step()
    tap.bring(struct.pack(HEADER, NEEDS_CSUM, 0, 0, 0, 34, 16, 0) + frame(100))
    header = struct.pack(HEADER, NEEDS_CSUM, 0, 0, 0, 34, 16, 1)
    assert tap.received(receive) == [header + frame(100)]


def test_reads_of_a_tap_wait_one_behind_the_other(tap: NetBench) -> None:
    tap.go_with()
    reads = tap.reads()
    assert [read.flags for read in reads] == [FIXED_FILE | HARD_LINK] * (CHAIN - 1) + [FIXED_FILE]
    places = sorted(read.address for read in reads)
    assert all(second - first >= reads[0].length for first, second in pairwise(places))
    assert reads[0].length > 65_535 + 12 + 18


def test_packets_of_a_chain_arrive_in_one_look(tap: NetBench) -> None:
    receive, _ = tap.go_with(MERGEABLE)
    tap.space(receive, *[2000] * CHAIN)
    packets = [frame(60 + number, number) for number in range(CHAIN)]
    for number, packet in enumerate(packets):
        assert len(tap.reads()) == CHAIN - number
        tap.bring_unseen(bytes(12) + packet)
    tap.step()
    assert tap.received(receive) == [PLAIN + packet for packet in packets]
    assert len(tap.reads()) == CHAIN


def test_what_moves_until_a_kick_is_counted_both_ways(tap: NetBench) -> None:
    receive, transmit = tap.go_with(MERGEABLE)
    tap.space(receive, 2000)
    tap.step()
    driver = tap.machine.ring_driver
    assert driver.take_moved() == 0
    tap.bring(bytes(12) + frame(900))
    tap.send(transmit, frame(60))
    assert driver.moved == 12 + 900 + 12 + 60
    assert driver.take_moved() == 12 + 900 + 12 + 60
    assert driver.take_moved() == 0


def test_packets_of_a_tap_wait_for_buffers_and_no_more_are_read_than_have_room(
    tap: NetBench,
) -> None:
    receive, _ = tap.go_with(MERGEABLE)
    packets = [frame(900 + number, number) for number in range(2 * CHAIN)]
    for packet in packets[:CHAIN]:
        tap.bring(bytes(12) + packet)
    assert tap.reads() == []
    tap.space(receive, 2000)
    tap.step()
    assert tap.received(receive) == [PLAIN + packets[0]]
    assert tap.reads() == []  # the first slot alone is free: it is used when the others are
    tap.space(receive, *[2000] * (2 * CHAIN - 1))
    tap.step()
    for packet in packets[CHAIN:]:
        tap.bring(bytes(12) + packet)
    assert tap.received(receive) == [PLAIN + packet for packet in packets[1:]]


@FORMATS
@pytest.mark.parametrize("pairs", [1, 2, 4])
def test_every_packet_of_a_tap_arrives_once_and_in_order(kind: type[Driver], pairs: int) -> None:
    chance = random.Random(pairs)
    bench = NetBench(NetBackend.TAP, pairs)
    receive, _ = bench.go_with(MERGEABLE, kind=kind, size=64)
    coming: list[bytes] = []
    arrived: list[bytes] = []
    parts: list[bytes] = []
    space = 0
    for _ in range(2_000):
        if len(coming) < 40 and chance.random() < 0.6 and bench.reads():
            coming.append(frame(chance.choice((60, 1514, 5000)), len(coming)))
            bench.bring_unseen(bytes(12) + coming[-1])
        elif chance.random() < 0.5:
            bench.step()
        elif len(receive.outstanding) < 8:
            bench.space(receive, *[2048] * 4, at=SPACE + 4 * 2048 * space)
            space = (space + 1) % 8
            bench.step()
        parts += bench.received(receive)
        while parts and len(parts) >= (count := struct.unpack_from("<H", parts[0], 10)[0]):
            arrived.append(b"".join(parts[:count])[12:])
            del parts[:count]
        if len(arrived) == 40:
            break
    assert len(arrived) == 40
    assert arrived == coming


def test_reads_lost_by_a_freeze_are_asked_for_again(tap: NetBench) -> None:
    receive, _ = tap.go_with(MERGEABLE)
    tap.space(receive, 2000, 2000)
    tap.bring(bytes(12) + frame(60, 1))
    tap.thaw(MAC)
    assert len(tap.reads()) == CHAIN
    tap.bring(bytes(12) + frame(60, 2))
    assert tap.received(receive) == [PLAIN + frame(60, 1), PLAIN + frame(60, 2)]


def test_a_tap_packet_without_its_checksum_is_completed_for_a_driver_that_wants_it(
    tap: NetBench,
) -> None:
    receive, _ = tap.go_with(MERGEABLE)
    tap.space(receive, 2000)
    tap.bring(struct.pack(HEADER, NEEDS_CSUM, 0, 0, 0, 34, 16, 0) + frame(101))
    assert tap.received(receive) == [PLAIN + with_sum(frame(101), 34, 16)]


@FORMATS
def test_a_large_frame_is_spread_over_buffers(stream: NetBench, kind: type[Driver]) -> None:
    receive, _ = stream.go_with(kind=kind, size=128)
    stream.space(receive, *[1000] * 66)
    stream.bring(prefixed(frame(65_535), frame(200)))
    parts = stream.received(receive)
    assert len(parts) == 66 + 0
    assert parts[0][:12] == PLAIN[:10] + struct.pack("<H", 66)
    assert b"".join(parts)[12:] == frame(65_535)
    stream.space(receive, 500)
    stream.step()
    assert stream.received(receive) == [PLAIN + frame(200)]


def test_what_finds_no_buffers_waits_and_nothing_more_is_read(stream: NetBench) -> None:
    receive, _ = stream.go_with()
    stream.bring(prefixed(frame(3000), frame(70)))
    assert stream.reads() == []
    stream.space(receive, 1000)
    stream.step()
    stream.step()
    assert stream.received(receive) == []
    stream.space(receive, 1000, 1500, 100, at=SPACE + 1000)
    stream.step()
    parts = stream.received(receive)
    assert b"".join(parts[:3]) == PLAIN[:10] + b"\3\0" + frame(3000)
    assert parts[3] == PLAIN + frame(70)
    assert len(stream.reads()) == 1


def test_a_frame_that_does_not_fit_is_dropped_without_mergeable_buffers(stream: NetBench) -> None:
    receive, _ = stream.go_with(0)
    stream.space(receive, 100, 100)
    stream.bring(prefixed(frame(89), frame(88)))
    assert stream.received(receive) == [b"", PLAIN + frame(88)]
    assert stream.shared.statistics.net.received_dropped == 1


def test_a_receive_buffer_too_small_for_the_header_breaks_the_device(stream: NetBench) -> None:
    receive, _ = stream.go_with()
    stream.space(receive, 11)
    stream.bring(prefixed(frame(60)))
    assert stream.status() & NEEDS_RESET


def test_a_reset_gives_up_a_packet_half_way(stream: NetBench) -> None:
    receive, _ = stream.go_with()
    stream.space(receive, 1000, 1000)
    stream.bring(prefixed(frame(3000)))
    stream.write(0x14, 1, 0)
    stream.step()
    assert stream.status() == 0
    receive, _ = stream.go_with()
    stream.space(receive, 4000)
    stream.step()
    assert stream.received(receive) == [PLAIN + frame(3000)]


@pytest.mark.parametrize("length", [65_536, 0xFFFF_FFFF])
def test_an_impossible_length_takes_the_link_down(stream: NetBench, length: int) -> None:
    stream.go_with()
    stream.bring(struct.pack(">I", length))
    assert stream.read(0x2006, 2) == 0
    assert stream.reads() == []
    assert stream.shared.statistics.net.down


def test_frames_below_an_ethernet_header_are_dropped_and_counted(stream: NetBench) -> None:
    receive, _ = stream.go_with()
    stream.space(receive, 200, 200)
    stream.bring(prefixed(b"", frame(60), b"", b"", frame(13), frame(14)))
    assert stream.received(receive) == [PLAIN + frame(60), PLAIN + frame(14)]
    assert stream.shared.statistics.net.received_dropped == 4
    assert stream.read(0x2006, 2) == 1


def test_a_frame_that_is_dropped_may_come_in_parts(stream: NetBench) -> None:
    receive, _ = stream.go_with()
    stream.space(receive, 200)
    data = prefixed(frame(13), frame(60))
    for number in range(len(data)):
        stream.bring(data[number : number + 1])
    assert stream.received(receive) == [PLAIN + frame(60)]
    assert stream.shared.statistics.net.received_dropped == 1


@pytest.mark.parametrize("result", [0, -104])
def test_the_end_of_the_stream_takes_the_link_down(stream: NetBench, result: int) -> None:
    _, transmit = stream.go_with()
    stream.interrupts()
    stream.write(0x10, 2, 2)
    generation = stream.read(0x15, 1)
    (read,) = stream.reads()
    stream.finish(read, result)
    assert stream.read(0x2006, 2) == 0
    assert stream.read(0x15, 1) != generation
    stream.send(transmit, frame(100))
    assert stream.writes() == []
    assert transmit.collect()
    assert stream.shared.statistics.net.sent_dropped == 1


def test_a_short_packet_of_a_tap_is_nothing(tap: NetBench) -> None:
    receive, _ = tap.go_with(MERGEABLE | GUEST_CSUM)
    tap.space(receive, 200, 200)
    tap.bring(bytes(25))
    assert tap.received(receive) == []
    assert tap.shared.statistics.net.received_dropped == 1
    tap.bring(bytes(12) + frame(60))
    assert tap.received(receive) == [PLAIN + frame(60)]


def test_a_file_that_is_not_ready_is_asked_again_later(stream: NetBench) -> None:
    stream.go_with()
    (read,) = stream.reads()
    stream.finish(read, -11)
    assert stream.reads() == []
    stream.now = stream.deadline()
    stream.step()
    assert len(stream.reads()) == 1


# ---- transmit ---------------------------------------------------------------------------------


@FORMATS
@pytest.mark.parametrize("cut", [0, 5, 12, 20])
def test_a_frame_goes_out_with_its_length_in_front(
    stream: NetBench, kind: type[Driver], cut: int
) -> None:
    _, transmit = stream.go_with(kind=kind)
    stream.send(transmit, frame(60), cut=cut)
    assert [written for _, written in transmit.collect()] == [0]
    assert stream.take_all() == [prefixed(frame(60))]


def test_frames_collect_while_others_go_out(stream: NetBench) -> None:
    _, transmit = stream.go_with()
    for number in range(5):
        stream.send(transmit, frame(100 + number))
    assert stream.take_all() == [
        prefixed(frame(100)), prefixed(*(frame(100 + number) for number in range(1, 5)))
    ]  # fmt: skip


def test_a_write_done_in_part_is_continued(stream: NetBench) -> None:
    _, transmit = stream.go_with()
    stream.send(transmit, frame(1000))
    stream.send(transmit, frame(999))
    assert b"".join(stream.take_all(most=64)) == prefixed(frame(1000), frame(999))


def test_while_nothing_goes_out_the_driver_keeps_its_frames(stream: NetBench) -> None:
    _, transmit = stream.go_with(size=64)
    for _ in range(8):
        stream.send(transmit, frame(40_000))
    taken = len(transmit.collect())
    assert 3 <= taken < 8
    assert b"".join(stream.take_all()) == prefixed(*[frame(40_000)] * 8)
    assert len(transmit.collect()) == 8 - taken


def test_a_checksum_is_completed_for_a_stream(stream: NetBench) -> None:
    _, transmit = stream.go_with(CSUM)
    stream.send(transmit, frame(61), Header(NEEDS_CSUM, start=34, offset=16))
    assert stream.take_all() == [prefixed(with_sum(frame(61), 34, 16))]


def test_a_checksum_of_zero_is_stored_as_ones(stream: NetBench) -> None:
    _, transmit = stream.go_with(CSUM)
    data = bytes(34) + b"\xff\xff" + bytes(26)
    stream.send(transmit, data, Header(NEEDS_CSUM, start=34, offset=6))
    assert stream.take_all() == [prefixed(data[:40] + b"\xff\xff" + data[42:])]


def test_a_segment_to_be_cut_goes_to_a_stream_in_one(stream: NetBench) -> None:
    _, transmit = stream.go_with(CSUM | TSO4)
    header = Header(NEEDS_CSUM, TCPV4, 54, 1460, 34, 16)
    stream.send(transmit, frame(60_000), header)
    assert stream.take_all() == [prefixed(with_sum(frame(60_000), 34, 16))]


def test_a_tap_is_given_the_header_and_each_frame_alone(tap: NetBench) -> None:
    _, transmit = tap.go_with(CSUM | TSO6)
    header = Header(NEEDS_CSUM, TCPV6, 54, 1440, 34, 16, 7)
    tap.send(transmit, frame(9000), header._replace(flags=0xFF))
    tap.send(transmit, frame(60))
    packed = struct.pack(HEADER, *header._replace(buffers=0))
    assert tap.take_all() == [packed + frame(9000), bytes(12) + frame(60)]


def test_frames_a_tap_refuses_are_counted_and_the_link_stays(tap: NetBench) -> None:
    _, transmit = tap.go_with()
    tap.send(transmit, frame(60))
    tap.finish(tap.writes()[0], -22)
    tap.send(transmit, frame(61))
    assert tap.take_all() == [bytes(12) + frame(61)]
    assert tap.shared.statistics.net.sent_dropped == 1
    assert tap.read(0x2006, 2) == 1


@pytest.mark.parametrize(
    ("features", "header", "size"),
    [
        (0, Header(NEEDS_CSUM, start=34, offset=16), 100),  # CSUM not negotiated
        (CSUM, Header(NEEDS_CSUM, start=34, offset=65), 100),  # behind the frame
        (CSUM, Header(NEEDS_CSUM, start=0xFFFF, offset=0xFFFF), 100),
        (CSUM, Header(NEEDS_CSUM, TCPV4, 54, 1460, 34, 16), 2000),  # HOST_TSO4 not negotiated
        (CSUM | TSO4, Header(0, TCPV4, 54, 1460, 34, 16), 2000),  # TSO without a checksum
        (CSUM | TSO4, Header(NEEDS_CSUM, TCPV6, 54, 1460, 34, 16), 2000),
        (CSUM | TSO4 | TSO6, Header(NEEDS_CSUM, 3, 42, 1460, 34, 6), 2000),  # UDP
        (0, Header(), 13),
        (0, Header(), 65_536),
    ],
)
def test_a_frame_that_no_driver_may_send_is_dropped(
    stream: NetBench, features: int, header: Header, size: int
) -> None:
    _, transmit = stream.go_with(features)
    stream.send(transmit, frame(size), header)
    assert len(transmit.collect()) == 1
    assert stream.writes() == []
    assert stream.shared.statistics.net.sent_dropped == 1
    stream.send(transmit, frame(60))
    assert stream.take_all() == [prefixed(frame(60))]


def test_a_buffer_without_a_whole_header_breaks_the_device(stream: NetBench) -> None:
    _, transmit = stream.go_with()
    transmit.add([Buffer(SPACE, 11, writable=False)])
    stream.step()
    assert stream.status() & NEEDS_RESET
    stream.write(0x14, 1, 0)
    assert stream.status() == 0


def test_a_buffer_to_be_sent_that_is_writable_breaks_the_device(stream: NetBench) -> None:
    _, transmit = stream.go_with()
    transmit.add([Buffer(SPACE, 100, writable=True)])
    stream.step()
    assert stream.status() & NEEDS_RESET


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_is_answered_and_compiled_alike(seed: int) -> None:
    assert fuzz(Limit(150), random.Random(seed)) == (150, None)


# ---- all of it --------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(("bring", "bring", "send", "send", "space", "take")),
        st.integers(14, 9000) | st.sampled_from((60, 1514)),
    ),
    max_size=16,
)


@FORMATS
@settings(max_examples=15, deadline=None)
@given(steps=STEPS)
def test_every_frame_arrives_once_and_in_order(
    kind: type[Driver], steps: list[tuple[str, int]]
) -> None:
    bench = NetBench(NetBackend.STREAM)
    receive, transmit = bench.go_with(kind=kind, size=64)
    coming, arrived, going, gone = b"", b"", b"", b""
    space = 0
    for number, (name, size) in enumerate(steps):
        if name == "bring" and bench.reads():
            coming += (data := prefixed(frame(size, size)))
            bench.bring(data)
        elif name == "send":
            going += prefixed(frame(size, size))
            bench.send(transmit, frame(size, size), at=OUT + 0x2800 * number)
            transmit.collect()
        elif name == "space" and len(receive.outstanding) < 40:
            bench.space(receive, *[4096] * 4, at=SPACE + 4096 * space)
            space = (space + 4) % 44
            bench.step()
        elif name == "take" and bench.writes():
            gone += bench.take(most=size)
        parts = bench.received(receive)
        while parts:
            (count,) = struct.unpack_from("<H", parts[0], 10)
            arrived += prefixed(b"".join(parts[:count])[12:])
            del parts[:count]
    assert coming.startswith(arrived)
    assert going == gone + b"".join(bench.take_all())
    assert bench.status() & (DRIVER_OK | NEEDS_RESET) == DRIVER_OK


# ---- where a frame goes -------------------------------------------------------------------------


def packet_to(address: str) -> bytes:
    """A frame of an empty IP packet."""
    to = ipaddress.ip_address(address)
    head, kind = (frame(16), b"\x08\0") if to.version == 4 else (frame(24), b"\x86\xdd")
    return frame(12) + kind + head + to.packed


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3"),
        *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:0.0.0.0"),
    ],
)
@pytest.mark.parametrize("more", [b"", b"data"])
def test_no_frame_to_a_loopback_reaches_a_stream(
    stream: NetBench, address: str, more: bytes
) -> None:
    _, transmit = stream.go_with()
    stream.send(transmit, packet_to(address) + more)
    stream.send(transmit, packet_to("192.0.2.1"))
    assert stream.take() == prefixed(packet_to("192.0.2.1"))
    assert stream.shared.statistics.net.sent_dropped == 1


@pytest.mark.parametrize(
    "address",
    ["1.2.3.4", "126.0.0.1", "128.0.0.1", "255.255.255.255", "fe80::1", "64:ff9b::7f00:1"],
)
def test_other_frames_do(stream: NetBench, address: str) -> None:
    _, transmit = stream.go_with()
    stream.send(transmit, packet_to(address))
    assert stream.take() == prefixed(packet_to(address))


def test_of_a_packet_cut_short_there_is_no_address_to_look_at(stream: NetBench) -> None:
    _, transmit = stream.go_with()
    short = packet_to("127.0.0.1")[:-1]
    stream.send(transmit, short)
    assert stream.take() == prefixed(short)


def test_a_tap_is_a_network_with_rules_of_its_own(tap: NetBench) -> None:
    _, transmit = tap.go_with()
    tap.send(transmit, packet_to("127.0.0.1"))
    assert packet_to("127.0.0.1") in tap.take()


# ---- a thaw -----------------------------------------------------------------------------------

OTHER = bytes.fromhex("525400abcdef")


def address(bench: NetBench) -> bytes:
    """In the configuration structure."""
    return bench.read(0x2000, 4).to_bytes(4, "little") + bench.read(0x2004, 2).to_bytes(2, "little")


def test_on_another_network_no_frame_passes_until_a_driver_finds_its_address(
    stream: NetBench,
) -> None:
    """Another copy of the guest may have the one that the driver knows, and its connections."""
    receive, transmit = stream.go_with()
    stream.thaw(OTHER)
    assert address(stream) == MAC
    assert stream.shared.statistics.net.down
    stream.space(receive, 200)
    stream.send(transmit, frame(60))
    assert (stream.reads(), stream.writes()) == ([], [])
    stream.write(0x14, 1, 0)
    stream.step()
    assert address(stream) == OTHER
    receive, transmit = stream.go_with()
    assert not stream.shared.statistics.net.down
    stream.space(receive, 200)
    stream.bring(prefixed(frame(70)))
    assert stream.received(receive) == [PLAIN + frame(70)]
    stream.send(transmit, frame(80))
    assert stream.take() == prefixed(frame(80))


def test_frozen_before_a_driver_has_found_it_and_back_on_its_own_network_frames_pass(
    stream: NetBench,
) -> None:
    receive, transmit = stream.go_with()
    stream.thaw(OTHER)
    stream.thaw(MAC)
    stream.space(receive, 200)
    stream.bring(prefixed(frame(60)))
    assert stream.received(receive) == [PLAIN + frame(60)]
    stream.send(transmit, frame(80))
    assert stream.take() == prefixed(frame(80))


def test_a_link_that_was_down_is_up_behind_a_thaw_and_the_driver_is_told_once(
    stream: NetBench,
) -> None:
    stream.go_with()
    (read,) = stream.reads()
    stream.finish(read, 0)
    assert stream.read(0x2006, 2) == 0
    generation = stream.read(0x15, 1)
    stream.thaw(MAC)
    assert stream.read(0x2006, 2) == 1
    assert stream.read(0x15, 1) == generation + 1
    stream.step()
    stream.thaw(MAC)
    assert stream.read(0x15, 1) == generation + 1
    assert len(stream.reads()) == 1
