"""A large TCP segment cut into those that its driver takes, each with headers of its own.

A tap leaves segments whole, up to 64 KiB of data; a driver that has not agreed to such gets what
a network card would have received. The data stays where it is: each segment's headers are
written in front of its part, over the end of the one before, which is delivered by then.
RFC 9293, 3.1 and 3.7; RFC 791, 3.1; RFC 8200, 3; virtio 1.2, 5.1.6.4 for the packet's header.
"""

from vestige.lang.intrinsics import address_of, copy, fill, load8, load16, store8, store16
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.virtio_net.checksum import complete, folded, total
from vestige.monitor.devices.virtio_net.filter import KIND, TAG, big16
from vestige.monitor.devices.virtio_net.spec import ETHERNET_HEADER, HEADER_SIZE, Flag, Gso, Header

HEADERS = 256  # bytes of headers at most: Ethernet, a tag, IP with options, TCP with options
TAG_SIZE = 4
TCP_SIZE = 20  # without options
TCP_CHECKSUM = 16
TCP_PROTOCOL = 6
FIN, PUSH, REDUCED = 0x01, 0x08, 0x80  # flags: of the last segment alone, and CWR of the first
IP_SIZE = (20, 40)  # of IPv4 without options and of IPv6
ADDRESSES = (12, 8)  # where both addresses are, and how long
ADDRESSES_SIZE = (8, 32)


class Segments(Struct):
    """`headers` are those of the whole, virtio's in front; `size` 0: nothing is being cut."""

    headers: u8[HEADERS]
    size: u32
    data: u16  # bytes of data in each segment but the last
    sixth: u8  # IP version 6, else 4
    network: u16  # where in a frame IP's header begins
    transport: u16  # and TCP's
    number: u32  # of the next segment

    def begin(self, packet: u64, length: u32) -> bool:
        """The packet of `length` bytes there is to be cut; False: it is none that can be."""
        if length <= HEADER_SIZE + ETHERNET_HEADER + TCP_SIZE:
            return False
        frame = u64(packet + HEADER_SIZE)
        kind = load8(u64(packet + Header.GSO_TYPE))
        tagged = big16(u64(frame + KIND)) == TAG
        network = u32(ETHERNET_HEADER + TAG_SIZE) if tagged else u32(ETHERNET_HEADER)
        transport = u32(load16(u64(packet + Header.CHECKSUM_START)))
        sixth = kind == Gso.TCPV6
        if transport < network + IP_SIZE[sixth]:
            return False
        if HEADER_SIZE + transport + TCP_SIZE > length:
            return False
        words = load8(u64(frame + transport + 12)) >> 4
        size = u32(HEADER_SIZE + transport + 4 * words)
        data = load16(u64(packet + Header.GSO_SIZE))
        partial = load8(u64(packet + Header.FLAGS)) & Flag.NEEDS_CSUM != 0
        if 4 * words < TCP_SIZE or size > HEADERS or size >= length or data == 0 or not partial:
            return False
        copy(address_of(self.headers), packet, size)
        self.size = size
        self.data = data
        self.sixth = sixth
        self.network = u16(network)
        self.transport = u16(transport)
        self.number = 0
        return True

    def cut(self, packet: u64, left: u32) -> u32:
        """Make the next segment at `packet`, its data in place behind; its length in all.

        Of the data `left` bytes are there, more than none.
        """
        size = self.size
        data = min(u32(self.data), left)
        last = data == left
        copy(packet, address_of(self.headers), size)
        fill(packet, 0, HEADER_SIZE)
        frame = u64(packet + HEADER_SIZE)
        length = u32(size - HEADER_SIZE + data)
        self.address(frame, length)
        self.sequence(u64(frame + self.transport), last)
        self.check(frame, length)
        self.number += 1
        if last:
            self.size = 0
        return u32(size + data)

    def address(self, frame: u64, length: u32) -> None:
        """IP's header: the length; of version 4 the number, and the header's own checksum."""
        place = u64(frame + self.network)
        if self.sixth:
            store_big16(u64(place + 4), u16(length - self.network - IP_SIZE[1]))
            return
        store_big16(u64(place + 2), u16(length - self.network))
        store_big16(u64(place + 4), u16(big16(u64(place + 4)) + self.number))
        store16(u64(place + 10), 0)
        covered = u32(self.transport - self.network)
        store16(u64(place + 10), u16(~folded(total(place, covered))))

    def sequence(self, place: u64, last: bool) -> None:
        """TCP's header: the number of the first byte, and flags of one segment alone."""
        before = u32(self.number * self.data)
        number = u32(big16(u64(place + 4)) << 16 | big16(u64(place + 6)))
        number = u32(number + before)
        store_big16(u64(place + 4), u16(number >> 16))
        store_big16(u64(place + 6), u16(number))
        flags = load8(u64(place + 13))
        if not last:
            flags &= ~(FIN | PUSH) & 0xFF
        if self.number > 0:
            flags &= ~REDUCED & 0xFF
        store8(u64(place + 13), flags)

    def check(self, frame: u64, length: u32) -> None:
        """TCP's checksum: over addresses, protocol and length, and all from its header on."""
        addresses = u64(frame + self.network + ADDRESSES[self.sixth & 1])
        own = u32(length - self.transport)
        pseudo = u64(total(addresses, ADDRESSES_SIZE[self.sixth & 1]) + (TCP_PROTOCOL << 8))
        pseudo = u64(pseudo + ((own & 0xFF) << 8 | own >> 8 & 0xFF))
        store16(u64(frame + self.transport + TCP_CHECKSUM), folded(pseudo))
        complete(frame, length, self.transport, TCP_CHECKSUM)


def store_big16(address: u64, value: u16) -> None:
    """Store 16 bits, big-endian."""
    store8(address, value >> 8)
    store8(u64(address + 1), value & 0xFF)
