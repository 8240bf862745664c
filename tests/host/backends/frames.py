"""Frames of a guest that has no VM: what a test writes to passt's stream, and reads from it.

RFC 791, 768, 9293, 2131, 8200.
"""

import ipaddress
import os
import select
import struct

from vestige.host.backends.network import MAC_OF_USER

PATIENCE = 30
TCP, UDP = 6, 17
SYN = 2
BROADCAST = b"\xff" * 6
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# DHCPDISCOVER of the guest's interface.
DISCOVER = (
    struct.pack(">BBBBIHH16x", 1, 1, 6, 0, 0x12345678, 0, 0)
    + MAC_OF_USER.ljust(16, b"\0")
    + bytes(192)
    + bytes.fromhex("63825363 350101 ff")
).ljust(300, b"\0")


def checksum(data: bytes) -> int:
    """RFC 1071."""
    words = struct.iter_unpack(">H", data + bytes(len(data) % 2))
    total: int = sum(word for (word,) in words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(source: Address, to: Address, protocol: int, body: bytes, mac: bytes) -> bytes:
    """A frame of one packet, whose transport checksum is filled in."""
    pseudo = source.packed + to.packed + struct.pack(">II", len(body), protocol)
    place = 16 if protocol == TCP else 6
    body = body[:place] + struct.pack(">H", checksum(pseudo + body)) + body[place + 2 :]
    if to.version == 6:
        header = struct.pack(">IHBB", 6 << 28, len(body), protocol, 64) + source.packed + to.packed
        return mac + MAC_OF_USER + b"\x86\xdd" + header + body
    header = struct.pack(">BBHIBBH", 0x45, 0, 20 + len(body), 0, 64, protocol, 0)
    header += source.packed + to.packed
    header = header[:10] + struct.pack(">H", checksum(header)) + header[12:]
    return mac + MAC_OF_USER + b"\x08\x00" + header + body


def discover() -> bytes:
    """A frame that passt answers at once."""
    udp = struct.pack(">HHHH", 68, 67, 8 + len(DISCOVER), 0) + DISCOVER
    zero, all_ones = ipaddress.IPv4Address(0), ipaddress.IPv4Address(0xFFFF_FFFF)
    return packet(zero, all_ones, UDP, udp, BROADCAST)


def syn(source: Address, to: Address, port: int, mac: bytes) -> bytes:
    """A frame that opens a TCP connection."""
    body = struct.pack(">HHIIBBHHH", 40_000, port, 1, 0, 5 << 4, SYN, 65_535, 0, 0)
    return packet(source, to, TCP, body, mac)


def datagram(source: Address, to: Address, port: int, text: bytes, mac: bytes) -> bytes:
    """A frame of one UDP datagram."""
    return packet(source, to, UDP, struct.pack(">HHHH", 40_001, port, 8 + len(text), 0) + text, mac)


class Stream:
    """passt's stream."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._data = b""

    def send(self, frame: bytes) -> None:
        """One frame."""
        os.write(self._descriptor, struct.pack(">I", len(frame)) + frame)

    def receive(self) -> bytes:
        """The next frame. Raises ConnectionError where nobody is there."""
        while len(self._data) < 4 or len(self._data) < 4 + int.from_bytes(self._data[:4], "big"):
            assert select.select([self._descriptor], [], [], PATIENCE)[0]
            part = os.read(self._descriptor, 65_536)
            if not part:
                raise ConnectionResetError
            self._data += part
        end = 4 + int.from_bytes(self._data[:4], "big")
        frame, self._data = self._data[4:end], self._data[end:]
        return frame

    def lease(self) -> bytes:
        """The frame that offers the guest an address; others that come before are dropped."""
        self.send(discover())
        while DISCOVER[4:8] not in (frame := self.receive()):
            pass
        return frame

    def settle(self) -> None:
        """Until passt has done what all frames so far ask for: it answers within a batch of them
        first, and opens connections behind that.
        """
        self.lease()
        self.lease()
