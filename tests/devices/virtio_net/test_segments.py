"""Large TCP segments of a tap, cut for a driver that does not take them whole.

What is made is checked by code of this file alone: lengths, numbers and checksums as a receiver
checks them, and the data put together again.
"""

import random
import struct
from typing import NamedTuple

import pytest

from tests.devices.virtio_net.bench import (
    GUEST_CSUM,
    GUEST_TSO4,
    GUEST_TSO6,
    HEADER,
    MAC,
    MERGEABLE,
    NEEDS_CSUM,
    TCPV4,
    TCPV6,
    NetBench,
)
from vestige.abi import NetBackend
from vestige.monitor.drivers.ring.chain import CHAIN

FIN, SYN, PUSH, ACK, CWR = 0x01, 0x02, 0x08, 0x10, 0x80
SEQUENCE = 0xFFFF_F000  # it wraps on the way
DATA = random.Random(2).randbytes(10_000)


class Shape(NamedTuple):
    """Which headers the segment has."""

    sixth: bool = False
    tag: bool = False
    options: bytes = bytes([1, 1, 8, 10]) + bytes(8)
    flags: int = ACK | PUSH | FIN | CWR
    ip_options: bytes = b""

    def build(self, data: bytes, flags: int = NEEDS_CSUM, size: int = 1460) -> bytes:
        """The packet as a tap gives it, with this much data in each segment to be."""
        ethernet = MAC + b"\x02" * 6 + (b"\x81\x00\x00\x05" if self.tag else b"")
        words = 5 + len(self.options) // 4
        tcp = struct.pack(
            ">HHIIBBHHH", 80, 1024, SEQUENCE, 77, words << 4, self.flags, 512, 0, 0
        ) + self.options  # fmt: skip
        if self.sixth:
            ip = struct.pack(">IHBB", 6 << 28, 0, 6, 64) + b"\x20" * 16 + b"\x21" * 16
        else:
            first = 0x45 + len(self.ip_options) // 4
            ip = struct.pack(">BBHHHBBH", first, 0, 0, 0x1234, 0x4000, 64, 6, 0xDEAD)
            ip += bytes([10, 0, 0, 1, 10, 0, 0, 2]) + self.ip_options
        kind = b"\x86\xdd" if self.sixth else b"\x08\x00"
        start = len(ethernet) + 2 + len(ip)
        gso = TCPV6 if self.sixth else TCPV4
        header = struct.pack(HEADER, flags, gso, 0, size, start, 16, 0)
        return header + ethernet + kind + ip + tcp + data


def checksum(data: bytes) -> int:
    """RFC 1071; 0 for data that has the right one in it."""
    total: int = sum(word for (word,) in struct.iter_unpack(">H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def check(packet: bytes, shape: Shape) -> tuple[int, int, int, bytes]:
    """A receiver's checks; IP's number, TCP's, its flags, and the data."""
    assert packet[:12] == struct.pack(HEADER, 0, 0, 0, 0, 0, 0, 1)
    ip = packet[12 + 14 + 4 * shape.tag :]
    number = 0
    if shape.sixth:
        assert struct.unpack_from(">H", ip, 4)[0] == len(ip) - 40
        addresses, tcp = ip[8:40], ip[40:]
    else:
        size = 4 * (ip[0] & 15)
        assert struct.unpack_from(">H", ip, 2)[0] == len(ip)
        assert checksum(ip[:size]) == 0
        (number,) = struct.unpack_from(">H", ip, 4)
        addresses, tcp = ip[12:20], ip[size:]
    assert checksum(addresses + struct.pack(">HH", 6, len(tcp)) + tcp) == 0
    words = tcp[12] >> 4
    assert tcp[20 : 4 * words] == shape.options
    return number, struct.unpack_from(">I", tcp, 4)[0], tcp[13], tcp[4 * words :]


def deliver(packet: bytes, features: int, buffers: int = 12) -> list[bytes]:
    """What a driver with these features gets, in buffers of 2,000 bytes."""
    bench = NetBench(NetBackend.TAP)
    receive, _ = bench.go_with(MERGEABLE | features)
    bench.space(receive, *[2000] * buffers)
    bench.bring(packet)
    return bench.received(receive)


@pytest.mark.parametrize(
    "shape",
    [
        Shape(), Shape(tag=True), Shape(options=b""), Shape(ip_options=bytes(8)),
        Shape(sixth=True), Shape(sixth=True, tag=True, options=b""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("features", [0, GUEST_CSUM])
@pytest.mark.parametrize("length", [1461, 2920, 10_000])
def test_a_segment_is_cut(shape: Shape, features: int, length: int) -> None:
    packets = deliver(shape.build(DATA[:length]), features)
    assert len(packets) == -(-length // 1460)
    data = b""
    for index, packet in enumerate(packets):
        number, sequence, flags, part = check(packet, shape)
        assert sequence == (SEQUENCE + len(data)) % (1 << 32)
        assert shape.sixth or number == 0x1234 + index
        last = index + 1 == len(packets)
        expected = shape.flags & ~(0 if last else FIN | PUSH) & ~(CWR if index else 0)
        assert flags == expected
        data += part
    assert data == DATA[:length]


@pytest.mark.parametrize(
    ("shape", "features"),
    [
        (Shape(), GUEST_TSO6 | GUEST_CSUM),
        (Shape(sixth=True), GUEST_TSO4 | GUEST_CSUM),
        (Shape(), GUEST_TSO4),  # 5.1.3.1: not without GUEST_CSUM
    ],
)
def test_only_what_was_agreed_on_stays_whole(shape: Shape, features: int) -> None:
    assert len(deliver(shape.build(DATA[:4000]), features)) == 3


@pytest.mark.parametrize(
    ("shape", "features"), [(Shape(), GUEST_TSO4), (Shape(sixth=True), GUEST_TSO6)]
)
def test_a_driver_that_takes_it_gets_it_as_it_is(shape: Shape, features: int) -> None:
    packet = shape.build(DATA)
    pieces = deliver(packet, features | GUEST_CSUM)
    whole = b"".join(pieces)
    assert whole == packet[:10] + struct.pack("<H", len(pieces)) + packet[12:]


def test_segments_wait_for_buffers() -> None:
    bench = NetBench(NetBackend.TAP)
    receive, _ = bench.go_with(MERGEABLE)
    bench.bring(Shape().build(DATA))
    assert len(bench.reads()) == CHAIN - 1
    data = b""
    for _ in range(7):
        bench.space(receive, 2000)
        bench.step()
        (packet,) = bench.received(receive)
        data += check(packet, Shape())[3]
    assert data == DATA
    assert len(bench.reads()) == CHAIN - 1


def malformed() -> list[bytes]:
    """Packets that can't be cut."""
    good = Shape().build(DATA)
    start = 6  # of where the checksum begins
    words = 12 + 34 + 12  # of TCP's header
    return [
        Shape().build(DATA, flags=0),
        Shape().build(DATA, size=0),
        Shape().build(b""),
        good[:60],
        good[:start] + struct.pack("<H", 30) + good[start + 2 :],
        good[:start] + struct.pack("<H", 0xFFFF) + good[start + 2 :],
        good[:words] + b"\x40" + good[words + 1 :],
        good[:start] + struct.pack("<H", 400) + good[start + 2 :],
    ]


@pytest.mark.parametrize("packet", malformed())
def test_what_can_not_be_cut_is_dropped(packet: bytes) -> None:
    bench = NetBench(NetBackend.TAP)
    receive, _ = bench.go_with(MERGEABLE)
    bench.space(receive, 2000)
    bench.bring(packet)
    assert bench.shared.statistics.net.received_dropped == 1
    bench.bring(bytes(12) + MAC + bytes(54))
    assert bench.received(receive)[-1][12:] == MAC + bytes(54)
