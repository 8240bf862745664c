"""The network device: frames from a driver's buffers, and into them. Virtio 1.2, 5.1.

What is on the other side decides what is offered. A tap knows virtio's header: checksums and
segmentation are left to it, and what it leaves to the driver a driver that won't is spared. A
stream (passt) takes plain frames of up to 65,535 bytes, whatever the MTU, so the device completes
checksums itself, and hands a TCP segment yet to be cut on as the one large segment that it is.
"""

from vestige import abi
from vestige.abi import MAC_SIZE, MAX_NET_PAIRS, NetBackend
from vestige.lang.intrinsics import address_of, copy, fill, load8, load16, store8
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.virtio.chain import Chain
from vestige.monitor.devices.virtio.device import VirtioDevice
from vestige.monitor.devices.virtio_net.batch import Batch
from vestige.monitor.devices.virtio_net.checksum import complete
from vestige.monitor.devices.virtio_net.filter import Filter, leaves_its_host
from vestige.monitor.devices.virtio_net.receiver import Delivery, Receiver
from vestige.monitor.devices.virtio_net.spec import (
    COMMAND_SIZE,
    ETHERNET_HEADER,
    GUEST_OFFLOADS,
    HEADER_SIZE,
    LINK_UP,
    MAX_PACKET,
    OK,
    REFUSED,
    Command,
    Config,
    Feature,
    Flag,
    Gso,
    Header,
)
from vestige.monitor.devices.virtio_net.traffic import Traffic
from vestige.monitor.sized import byte_of

LENGTH_SIZE = 4  # of the length in front of a stream's frame
STREAM_FRAME = 65_535  # bytes: the longest frame passt takes


class VirtioNet(Struct):
    """One network interface. Of its pairs of queues the first `pairs` are in use."""

    backend: u8  # abi.NetBackend
    link: u8  # LINK_UP, or 0
    home: u8[MAC_SIZE]  # the address with which the driver begins that comes next
    known: u8[MAC_SIZE]  # that with which the one has begun that there is
    is_strange: u8  # they differ: no frame passes
    mac: u8[MAC_SIZE]
    mtu: u16
    most_pairs: u16
    pairs: u16
    offloads_off: u64  # of GUEST_OFFLOADS, what the driver no longer wants
    filter: Filter
    header: u8[HEADER_SIZE]  # of the packet being sent
    receivers: Receiver[MAX_NET_PAIRS]
    traffic: Traffic
    chain: Chain

    # ---- set-up ---------------------------------------------------------------------------

    def configure(self, config: abi.Config) -> None:
        """Be what the host says, the state being zero. The link is up."""
        net = config.net
        self.backend = net.backend
        self.link = LINK_UP
        self.mtu = net.mtu
        self.most_pairs = min(net.pairs, MAX_NET_PAIRS)
        for i in range(MAX_NET_PAIRS):
            self.receivers[i].queue = 2 * i
        self.settle(net)
        self.forget()

    def settle(self, net: abi.Net) -> None:
        """Have the address of a network that may be another, which a driver finds at a reset.

        Until then the guest would go by an address that another copy of it may have there, in the
        middle of the same connections: so no frame passes.
        """
        self.is_strange = 0
        for i in range(MAC_SIZE):
            self.home[i] = net.mac[i]
            if self.home[i] != self.known[i]:
                self.is_strange = 1

    def passes(self) -> bool:
        """Whether there is another side for the driver's frames."""
        return self.link != 0 and self.is_strange == 0

    def forget(self) -> None:
        """As after a reset by the driver."""
        self.pairs = 1
        self.offloads_off = 0
        self.filter.reset()
        self.is_strange = 0
        for i in range(MAC_SIZE):
            self.known[i] = self.home[i]
            self.mac[i] = self.home[i]

    def features(self) -> u64:
        """What of the network device's own is offered."""
        features = (
            1 << Feature.CSUM
            | 1 << Feature.MAC
            | 1 << Feature.HOST_TSO4
            | 1 << Feature.HOST_TSO6
            | 1 << Feature.MRG_RXBUF
            | 1 << Feature.STATUS
            | 1 << Feature.CTRL_VQ
            | 1 << Feature.CTRL_RX
            | 1 << Feature.CTRL_VLAN
            | 1 << Feature.CTRL_RX_EXTRA
            | 1 << Feature.CTRL_MAC_ADDR
        )
        if self.mtu:
            features |= 1 << Feature.MTU
        if self.most_pairs > 1:
            features |= 1 << Feature.MQ
        if self.backend == NetBackend.TAP:
            features |= GUEST_OFFLOADS | 1 << Feature.CTRL_GUEST_OFFLOADS
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
                return self.most_pairs | self.mtu << 16
            case _:
                return 0

    def address(self) -> u64:
        """The interface's address as a number, its first byte the highest."""
        address = u64(0)
        for i in range(MAC_SIZE):
            address = u64(address << 8 | self.mac[i])
        return address

    # ---- the control queue ------------------------------------------------------------------

    def service(self, device: VirtioDevice, chain: Chain, ram: Memory) -> None:
        """Do what the driver asks for, and what a reset does."""
        if device.take_reset():
            self.forget()
        for i in range(MAX_NET_PAIRS):
            self.receivers[i].settle(device, ram)
        queue = u16(2 * self.most_pairs if device.has(Feature.MQ) else 2)
        while device.has(Feature.CTRL_VQ) and device.take(queue, chain, ram):
            written = u32(0)
            if chain.readable < COMMAND_SIZE or chain.writable == 0:
                device.fail()
            else:
                chain.write8(0, OK if self.obey(device, chain, ram) else REFUSED, ram)
                written = u32(1)
            device.give(queue, chain.identifier, chain.slots, written, ram)

    def obey(self, device: VirtioDevice, chain: Chain, ram: Memory) -> bool:
        """Carry out the command in `chain`; False: it can't be. 5.1.6.5."""
        command = u32(chain.read8(0, ram) << 8 | chain.read8(1, ram))
        size = u64(chain.readable - COMMAND_SIZE)
        value = chain.read64(COMMAND_SIZE, ram)
        match command:
            case Command.PROMISCUOUS | Command.ALL_MULTICAST:
                allowed = size == 1 and device.has(Feature.CTRL_RX)
                return allowed and self.filter.set_mode(command, value & 1)
            case (
                Command.ALL_UNICAST
                | Command.NO_MULTICAST
                | Command.NO_UNICAST
                | Command.NO_BROADCAST
            ):
                allowed = size == 1 and device.has(Feature.CTRL_RX_EXTRA)
                return allowed and self.filter.set_mode(command, value & 1)
            case Command.TABLE_SET:
                return device.has(Feature.CTRL_RX) and self.filter.set_table(chain, ram)
            case Command.ADDRESS_SET:
                return size == MAC_SIZE and self.set_address(device, value)
            case Command.VLAN_ADD | Command.VLAN_DELETE:
                allowed = size == 2 and device.has(Feature.CTRL_VLAN)
                wanted = command == Command.VLAN_ADD
                return allowed and self.filter.set_vlan(u16(value), wanted)
            case Command.PAIRS_SET:
                return size == 2 and self.set_pairs(device, u16(value), ram)
            case Command.OFFLOADS_SET:
                return size == 8 and self.set_offloads(device, value)
            case _:
                return False

    def set_address(self, device: VirtioDevice, value: u64) -> bool:
        """The interface's address, its first byte the lowest of `value`."""
        if not device.has(Feature.CTRL_MAC_ADDR):
            return False
        for i in range(MAC_SIZE):
            self.mac[i] = byte_of(value, i)
        return True

    def set_pairs(self, device: VirtioDevice, pairs: u16, ram: Memory) -> bool:
        """How many pairs are in use. A packet half way in one queue may have to take another."""
        if not device.has(Feature.MQ) or not 1 <= pairs <= self.most_pairs:
            return False
        for i in range(MAX_NET_PAIRS):
            self.receivers[i].abandon(device, ram)
        self.pairs = pairs
        return True

    def set_offloads(self, device: VirtioDevice, offloads: u64) -> bool:
        """Which of the offloads it has agreed to the driver wants from now on."""
        agreed = u64(device.accepted & GUEST_OFFLOADS)
        if not device.has(Feature.CTRL_GUEST_OFFLOADS) or offloads & ~agreed:
            return False
        self.offloads_off = u64(agreed & ~offloads)
        return True

    def takes(self, device: VirtioDevice, offload: u8) -> bool:
        """Whether the driver takes frames with this of GUEST_OFFLOADS, now."""
        return device.has(offload) and self.offloads_off >> (offload & 63) & 1 == 0

    # ---- receive --------------------------------------------------------------------------

    def receiver_of(self, source: u16) -> Receiver:
        """The queue in use that frames of this file go to."""
        return self.receivers[source % max(self.pairs, 1)]

    def is_halfway(self, source: u16) -> bool:
        """Whether a packet of this file is half in its buffers: it must end before others begin."""
        receiver = self.receiver_of(source)
        return receiver.held_count > 0 and receiver.source == source

    def receive(
        self, device: VirtioDevice, source: u16, packet: u64, length: u32, ram: Memory
    ) -> bool:
        """Put the `length` bytes at `packet`, header and frame, into receive buffers.

        True: it is done with, delivered or dropped. False: the driver has no buffer for the
        rest; call again with the same packet.
        """
        receiver = self.receiver_of(source)
        receiver.settle(device, ram)
        if receiver.held_count > 0 and receiver.source != source:
            return False
        frame = u64(packet + HEADER_SIZE)
        size = u32(length - HEADER_SIZE)
        if receiver.done == 0:
            if not self.filter.wants(frame, self.address(), device.has(Feature.CTRL_VLAN)):
                return True
            self.prepare(device, packet, size)
            receiver.source = source
        match receiver.receive(device, self.chain, packet, length, ram):
            case Delivery.WAITING:
                return False
            case Delivery.DELIVERED:
                self.traffic.receive(size)
            case _:
                self.traffic.drop_received()
        return True

    def prepare(self, device: VirtioDevice, packet: u64, size: u32) -> None:
        """Complete the checksum for a driver that has not agreed to do so. 5.1.6.4."""
        if not self.takes(device, Feature.GUEST_CSUM):
            if load8(u64(packet + Header.FLAGS)) & Flag.NEEDS_CSUM:
                start = load16(u64(packet + Header.CHECKSUM_START))
                offset = load16(u64(packet + Header.CHECKSUM_OFFSET))
                complete(u64(packet + HEADER_SIZE), size, start, offset)
            fill(packet, 0, HEADER_SIZE)

    def must_be_cut(self, device: VirtioDevice, packet: u64) -> bool:
        """Whether that is a large segment of a kind that the driver does not take whole."""
        match load8(u64(packet + Header.GSO_TYPE)):
            case Gso.NONE:
                return False
            case Gso.TCPV4:
                whole = self.takes(device, Feature.GUEST_TSO4)
            case _:
                whole = self.takes(device, Feature.GUEST_TSO6)
        return not whole or not self.takes(device, Feature.GUEST_CSUM)

    # ---- transmit -------------------------------------------------------------------------

    def transmit(self, device: VirtioDevice, pair: u16, batch: Batch, ram: Memory) -> None:
        """Take what the driver has to send by this pair, as long as the batch has room."""
        chain = self.chain
        queue = u16(2 * pair + 1)
        while pair < self.pairs and batch.open() and device.take(queue, chain, ram):
            if chain.readable < HEADER_SIZE or chain.writable > 0:
                device.fail()
            elif self.acceptable(device) and self.collect(device, batch, ram):
                self.traffic.send(u32(chain.readable - HEADER_SIZE))
            else:
                self.traffic.drop_sent()
            device.give(queue, chain.identifier, chain.slots, 0, ram)

    def acceptable(self, device: VirtioDevice) -> bool:
        """Whether there is another side, which can take a frame of this length at all."""
        chain = self.chain
        longest = u32(MAX_PACKET)
        if self.backend == NetBackend.STREAM:
            longest = u32(HEADER_SIZE + STREAM_FRAME)
        shortest = HEADER_SIZE + ETHERNET_HEADER
        return self.passes() and shortest <= chain.readable <= longest and device.running()

    def collect(self, device: VirtioDevice, batch: Batch, ram: Memory) -> bool:
        """Put a frame into the batch; False: not with that header, or not to that address."""
        chain = self.chain
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
        if not leaves_its_host(frame, size):
            return False
        for i in range(LENGTH_SIZE):
            store8(u64(place + i), byte_of(size, LENGTH_SIZE - 1 - i))
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
