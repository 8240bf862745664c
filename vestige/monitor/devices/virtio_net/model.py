"""The network device: frames from a driver's buffers, and into them. Virtio 1.2, 5.1.

What is on the other side decides what is offered. A tap knows virtio's header: checksums and
segmentation are left to it. A stream (passt) takes plain frames of up to 65,535 bytes, whatever
the MTU, so the device completes checksums itself, and hands a TCP segment yet to be cut on as the
one large segment that it is.
"""

from vestige.abi import Net, NetBackend
from vestige.lang.intrinsics import address_of, copy, fill, load8, load16, store8
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.virtio.chain import Chain
from vestige.monitor.devices.virtio.device import VirtioDevice
from vestige.monitor.devices.virtio.spec import MAX_QUEUE_SIZE
from vestige.monitor.devices.virtio_net.batch import Batch
from vestige.monitor.devices.virtio_net.checksum import complete
from vestige.monitor.devices.virtio_net.spec import (
    ETHERNET_HEADER,
    HEADER_SIZE,
    LINK_UP,
    MAX_PACKET,
    RECEIVE,
    TRANSMIT,
    Config,
    Feature,
    Flag,
    Gso,
    Header,
)

LENGTH_SIZE = 4  # of the length in front of a stream's frame
STREAM_FRAME = 65_535  # bytes: the longest frame passt takes


class Held(Struct):
    """A receive buffer taken, for a packet that is not complete in its buffers."""

    identifier: u16
    slots: u16
    written: u32


class VirtioNet(Struct):
    """One network interface. Of the packet being received `done` bytes are in `held` buffers."""

    backend: u8  # abi.NetBackend
    link: u8  # LINK_UP, or 0
    mac: u8[6]
    mtu: u16
    header: u8[12]  # HEADER_SIZE: of the packet being sent
    held: Held[256]  # MAX_QUEUE_SIZE: a queue has no more
    held_count: u16
    done: u32
    buffers_low: u64  # guest-physical addresses of the header's two bytes of Header.BUFFERS
    buffers_high: u64
    received: u64  # counters
    received_bytes: u64
    received_dropped: u64
    sent: u64
    sent_bytes: u64
    sent_dropped: u64

    # ---- set-up ---------------------------------------------------------------------------

    def attach(self, net: Net) -> None:
        """Be what the host says, the state being zero. The link is up."""
        self.backend = net.backend
        self.link = LINK_UP
        self.mtu = net.mtu
        for i in range(6):
            self.mac[i] = net.mac[i]

    def features(self) -> u64:
        """What of the network device's own is offered."""
        features = (
            1 << Feature.CSUM
            | 1 << Feature.MAC
            | 1 << Feature.HOST_TSO4
            | 1 << Feature.HOST_TSO6
            | 1 << Feature.MRG_RXBUF
            | 1 << Feature.STATUS
        )
        if self.mtu:
            features |= 1 << Feature.MTU
        if self.backend == NetBackend.TAP:
            features |= 1 << Feature.GUEST_CSUM
        return u64(features)

    def read_config(self, offset: u32) -> u32:
        """The 32 bits at `offset` of the device configuration structure, a multiple of 4."""
        mac = self.mac
        match offset:
            case Config.MAC:
                return mac[0] | mac[1] << 8 | mac[2] << 16 | mac[3] << 24
            case 4:  # STATUS is its upper half
                return mac[4] | mac[5] << 8 | self.link << 16
            case Config.MAX_PAIRS:  # and MTU
                return 1 | self.mtu << 16
            case _:
                return 0

    # ---- receive --------------------------------------------------------------------------

    def settle(self, device: VirtioDevice, ram: Memory) -> None:
        """Give back the buffers of a packet that can't be completed any more: a reset waits."""
        if self.held_count > 0 and device.lost(RECEIVE):
            self.give_back(device, ram)

    def receive(
        self, device: VirtioDevice, chain: Chain, packet: u64, length: u32, ram: Memory
    ) -> bool:
        """Put the `length` bytes at `packet`, header and frame, into receive buffers.

        True: it is done with, delivered or dropped. False: the driver has no buffer for the
        rest; call again with the same packet.
        """
        self.settle(device, ram)
        if self.done == 0:
            self.prepare(device, packet, length)
        while self.done < length:
            if self.held_count >= MAX_QUEUE_SIZE or not device.take(RECEIVE, chain, ram):
                return False
            if not self.put(device, chain, packet, length, ram):
                return True
        ram.store8(self.buffers_low, self.held_count & 0xFF)
        ram.store8(self.buffers_high, self.held_count >> 8)
        self.received = u64(self.received + 1)
        self.received_bytes = u64(self.received_bytes + u32(length - HEADER_SIZE))
        self.give_back(device, ram)
        return True

    def prepare(self, device: VirtioDevice, packet: u64, length: u32) -> None:
        """Complete the checksum for a driver that has not agreed to do so. 5.1.6.4."""
        if not device.has(Feature.GUEST_CSUM):
            if load8(u64(packet + Header.FLAGS)) & Flag.NEEDS_CSUM:
                start = load16(u64(packet + Header.CHECKSUM_START))
                offset = load16(u64(packet + Header.CHECKSUM_OFFSET))
                complete(u64(packet + HEADER_SIZE), u32(length - HEADER_SIZE), start, offset)
            fill(packet, 0, HEADER_SIZE)

    def put(
        self, device: VirtioDevice, chain: Chain, packet: u64, length: u32, ram: Memory
    ) -> bool:
        """Put the next part of a packet into the buffer just taken; False: it is dropped."""
        left = u32(length - self.done)
        first = self.done == 0
        if first and (chain.writable < HEADER_SIZE or chain.readable > 0):
            device.fail()
        whole = device.has(Feature.MRG_RXBUF) or chain.writable >= left
        if device.lost(RECEIVE) or not whole:
            device.give(RECEIVE, chain.identifier, chain.slots, 0, ram)
            self.received_dropped = u64(self.received_dropped + 1)
            self.give_back(device, ram)
            return False
        if first:
            self.buffers_low = chain.place(Header.BUFFERS)
            self.buffers_high = chain.place(Header.BUFFERS + 1)
        size = chain.fill(0, u64(packet + self.done), left, ram)
        held = self.held[self.held_count]
        held.identifier = chain.identifier
        held.slots = chain.slots
        held.written = size
        self.held_count = u16(self.held_count + 1)
        self.done = u32(self.done + size)
        return True

    def give_back(self, device: VirtioDevice, ram: Memory) -> None:
        """All held buffers, in order; the next packet begins anew."""
        for i in range(self.held_count):
            held = self.held[i]
            device.give(RECEIVE, held.identifier, held.slots, held.written, ram)
        self.held_count = 0
        self.done = 0

    # ---- transmit -------------------------------------------------------------------------

    def transmit(self, device: VirtioDevice, chain: Chain, batch: Batch, ram: Memory) -> None:
        """Take what the driver has to send, as long as the batch has room."""
        while batch.open() and device.take(TRANSMIT, chain, ram):
            if chain.readable < HEADER_SIZE or chain.writable > 0:
                device.fail()
            elif self.acceptable(device, chain) and self.collect(device, chain, batch, ram):
                self.sent = u64(self.sent + 1)
                self.sent_bytes = u64(self.sent_bytes + u64(chain.readable - HEADER_SIZE))
            else:
                self.sent_dropped = u64(self.sent_dropped + 1)
            device.give(TRANSMIT, chain.identifier, chain.slots, 0, ram)

    def acceptable(self, device: VirtioDevice, chain: Chain) -> bool:
        """Whether the other side can take a frame of this length at all, and the link is up."""
        longest = u32(MAX_PACKET)
        if self.backend == NetBackend.STREAM:
            longest = u32(HEADER_SIZE + STREAM_FRAME)
        shortest = HEADER_SIZE + ETHERNET_HEADER
        return self.link != 0 and shortest <= chain.readable <= longest and device.running()

    def collect(self, device: VirtioDevice, chain: Chain, batch: Batch, ram: Memory) -> bool:
        """Put a frame into the batch; False: its header is none that was agreed on."""
        chain.drain(0, address_of(self.header), HEADER_SIZE, ram)
        if not self.agreed(device):
            return False
        place = batch.place()
        size = u32(chain.readable - HEADER_SIZE)
        if self.backend == NetBackend.TAP:
            copy(place, address_of(self.header), HEADER_SIZE)
            chain.drain(HEADER_SIZE, u64(place + HEADER_SIZE), size, ram)
            batch.add(u32(HEADER_SIZE + size))
            return True
        frame = u64(place + LENGTH_SIZE)
        chain.drain(HEADER_SIZE, frame, size, ram)
        for i in range(LENGTH_SIZE):
            store8(u64(place + i), size >> 8 * (LENGTH_SIZE - 1 - i) & 0xFF)
        if self.header[Header.FLAGS] & Flag.NEEDS_CSUM:
            start = self.field(Header.CHECKSUM_START)
            if not complete(frame, size, start, self.field(Header.CHECKSUM_OFFSET)):
                return False
        batch.add(u32(LENGTH_SIZE + size))
        return True

    def agreed(self, device: VirtioDevice) -> bool:
        """Whether the driver may ask for what its header asks; all else in it is cleared."""
        header = self.header
        header[Header.FLAGS] &= Flag.NEEDS_CSUM
        header[Header.BUFFERS] = 0
        header[Header.BUFFERS + 1] = 0
        partial = header[Header.FLAGS] != 0
        match header[Header.GSO_TYPE]:
            case Gso.NONE:
                return not partial or device.has(Feature.CSUM)
            case Gso.TCPV4:
                return partial and device.has(Feature.HOST_TSO4)
            case Gso.TCPV6:
                return partial and device.has(Feature.HOST_TSO6)
            case _:
                return False

    def field(self, offset: u32) -> u16:
        """A 16-bit field of the header."""
        return self.header[offset] | self.header[offset + 1] << 8
