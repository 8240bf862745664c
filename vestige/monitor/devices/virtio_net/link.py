"""Between the network device and its files: a stream socket to passt, or a tap's queues.

Of a stream one read is under way at a time; of a tap several, one behind the other, which bring a
packet each (drivers/ring/chain.py). Of what they brought nothing is lost while the driver has no
buffers, and no more is read than there is room for. Frames to be sent collect in one batch
while the ring has the other; while both are full nothing is taken from the driver. A file that
fails takes the link down: the driver is told, and what it sends is dropped.
"""

from vestige.abi import MAX_NET_PAIRS, Config, NetBackend, Ring, Statistics
from vestige.lang.intrinsics import address_of, copy, fill, load8
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, i32, u8, u16, u32, u64
from vestige.monitor.clock import MILLISECOND
from vestige.monitor.devices.virtio.device import VirtioDevice
from vestige.monitor.devices.virtio_net.batch import Batch
from vestige.monitor.devices.virtio_net.model import LENGTH_SIZE, STREAM_FRAME, VirtioNet
from vestige.monitor.devices.virtio_net.segments import Segments
from vestige.monitor.devices.virtio_net.spec import ETHERNET_HEADER, HEADER_SIZE, LINK_UP
from vestige.monitor.drivers.ring.chain import CHAIN, Chain
from vestige.monitor.drivers.ring.driver import NET_TRANSMITS, Owner, RingDriver
from vestige.monitor.drivers.ring.spec import Errno, Opcode
from vestige.monitor.line import NEVER

LONGEST = 0x1_0100  # bytes: more than any packet
INBOX = 2 * LONGEST + 0x1E00  # of it a stream's read fills so much
# In front of a stream's frame there is its length, where virtio's header, which is longer, will
# be: before the first frame there has to be room for that.
FRONT = 8
FIRST_SLOTS = CHAIN * LONGEST  # bytes
BATCHES = 2  # one collects frames while the ring has the other
RETRY = 10 * MILLISECOND  # after EAGAIN


class NetworkLink(Struct):
    """One file, and the pair of queues of its number. Of its inbox [first, end) is not delivered.

    A tap's packets come into slots of LONGEST bytes there, and are taken in their order.
    """

    pair: u16
    file: u32
    inbox: u64  # address
    slots: u16  # that there are
    slot: u16  # the next packet is in this one
    first: u32
    end: u32
    packet: u32  # bytes, with the header, of the packet being delivered; 0: none
    sending: u8  # which batch the ring has
    again: u64  # when to try once more what the file was not ready for; 0: no need
    segments: Segments
    batches: Batch[BATCHES]

    def attach(self, pair: u16, file: u32, inbox: u64, slots: u16) -> None:
        """Power on: the state is zero. Or have another file: half of what came from the one before,
        or went there, is dropped.
        """
        self.pair = pair
        self.file = file
        self.inbox = inbox
        self.slots = slots
        self.again = 0
        self.segments.size = 0
        self.end = u32(self.first + self.packet)
        batch = self.batches[self.sending & 1]
        if batch.begun():
            batch.abandon()

    def move(
        self,
        net: VirtioNet,
        device: VirtioDevice,
        config: Config,
        ring_driver: RingDriver,
        now: u64,
    ) -> None:
        """Move on what can be moved."""
        if now >= self.again:
            self.again = 0
        self.deliver(net, device, config.ram)
        while self.take_read(net, device, ring_driver, now):
            self.deliver(net, device, config.ram)
        self.read(net, ring_driver, config.ring)
        self.take_written(net, device, ring_driver, now)
        self.send(net, device, config, ring_driver)

    def transmit_owner(self, number: u8) -> u8:
        """Whose its writes are in the ring, by number below NET_TRANSMITS."""
        return u8(Owner.NET_WRITE + NET_TRANSMITS * self.pair + number)

    def fail(self, net: VirtioNet, device: VirtioDevice) -> None:
        """The other side is gone, or talks nonsense."""
        if net.link:
            net.link = 0
            device.config_changed()
        self.first = 0
        self.end = 0
        self.packet = 0
        self.segments.size = 0

    # ---- from the file --------------------------------------------------------------------

    def take_read(
        self, net: VirtioNet, device: VirtioDevice, ring_driver: RingDriver, now: u64
    ) -> bool:
        """Look what the next read has brought, when all that is whole is delivered; False: there is
        none. 0 is the end of a stream.
        """
        chain = ring_driver.chains[self.pair]
        if self.packet > 0 or chain.answered == 0:
            return False
        result = chain.take()
        room = u32(INBOX - self.end)
        if net.backend == NetBackend.TAP:
            self.first = u32(self.slot * LONGEST)
            self.end = self.first
            self.slot += 1
            room = LONGEST
        if not net.passes():
            return True
        if 0 < result <= room:
            self.end += result
        elif result == -Errno.EAGAIN:
            self.again = u64(now + RETRY)
        elif result != -Errno.EINTR:
            self.fail(net, device)
        return True

    def deliver(self, net: VirtioNet, device: VirtioDevice, ram: Memory) -> None:
        """Give the driver every packet that is here in full."""
        while self.packet > 0 or self.next_packet(net, device):
            start = u64(self.inbox + self.first)
            if not net.receive(device, self.pair, start, self.packet, ram):
                return
            self.first += self.packet
            self.packet = 0

    def next_packet(self, net: VirtioNet, device: VirtioDevice) -> bool:
        """Make `packet` the next one; False: there is none, or not all of it."""
        if net.backend == NetBackend.TAP:
            return self.next_of_tap(net, device)
        while self.end - self.first >= LENGTH_SIZE:
            length = u32(0)
            for i in range(LENGTH_SIZE):
                byte = load8(u64(self.inbox + self.first + i))
                length = length << 8 & 0xFFFF_FF00 | byte
            if length > STREAM_FRAME:
                self.fail(net, device)
                return False
            if self.end - self.first < LENGTH_SIZE + length:
                return False
            if length >= ETHERNET_HEADER:
                self.first -= HEADER_SIZE - LENGTH_SIZE
                fill(u64(self.inbox + self.first), 0, HEADER_SIZE)
                self.packet = u32(HEADER_SIZE + length)
                return True
            net.traffic.drop_received()
            self.first += LENGTH_SIZE + length
        return False

    def next_of_tap(self, net: VirtioNet, device: VirtioDevice) -> bool:
        """What was read is one packet, or what is left of one being cut."""
        waiting = u32(self.end - self.first)
        place = u64(self.inbox + self.first)
        if self.segments.size == 0:
            if waiting < HEADER_SIZE + ETHERNET_HEADER:
                if waiting > 0:
                    net.traffic.drop_received()
                self.first = self.end
                return False
            if not net.must_be_cut(device, place):
                self.packet = waiting
                return True
            if not self.segments.begin(place, waiting):
                net.traffic.drop_received()
                self.first = self.end
                return False
            self.first += self.segments.size
            waiting = u32(waiting - self.segments.size)
        self.first -= self.segments.size
        self.packet = self.segments.cut(u64(self.inbox + self.first), waiting)
        return True

    def read(self, net: VirtioNet, ring_driver: RingDriver, ring: Ring) -> None:
        """Ask for more when what was asked for has come, and there is room."""
        chain = ring_driver.chains[self.pair]
        if chain.pending > 0 or self.again or not net.passes():
            return
        if net.backend == NetBackend.TAP:
            self.read_packets(chain, ring_driver, ring)
            return
        if self.packet > 0:
            return
        waiting = u32(self.end - self.first)
        if waiting == 0 or self.end > INBOX - LONGEST:
            copy(u64(self.inbox + FRONT), u64(self.inbox + self.first), waiting)
            self.first = FRONT
            self.end = u32(FRONT + waiting)
        place = u64(self.inbox + self.end)
        ring_driver.read_on(self.pair, self.file, place, u32(INBOX - self.end), 1, ring)

    def read_packets(self, chain: Chain, ring_driver: RingDriver, ring: Ring) -> None:
        """A tap's next ones: into the slots behind those that still have one, or from the first."""
        if self.packet == 0 and chain.answered == 0:
            self.slot = 0
        following = u32(self.slot + chain.answered)
        if following < self.slots:
            place = u64(self.inbox + following * LONGEST)
            count = u32(self.slots - following)
            ring_driver.read_on(self.pair, self.file, place, LONGEST, count, ring)

    # ---- to the file ----------------------------------------------------------------------

    def take_written(
        self, net: VirtioNet, device: VirtioDevice, ring_driver: RingDriver, now: u64
    ) -> None:
        """Look which writes are done."""
        batch = self.batches[self.sending & 1]
        for i in range(NET_TRANSMITS):
            owner = self.transmit_owner(i)
            if ring_driver.take_answer(owner):
                batch.pending -= 1
                self.written(net, device, batch, ring_driver.result_of(owner), now)

    def written(
        self, net: VirtioNet, device: VirtioDevice, batch: Batch, result: i32, now: u64
    ) -> None:
        """One write's result. A tap that refuses a frame has dropped that frame."""
        if net.backend == NetBackend.TAP:
            if result < 0:
                net.traffic.drop_sent()
        elif 0 < result <= u32(batch.used - batch.sent):
            batch.sent += result
        elif result == -Errno.EAGAIN:
            self.again = u64(now + RETRY)
        elif result != -Errno.EINTR:
            batch.sent = batch.used
            self.fail(net, device)

    def send(
        self, net: VirtioNet, device: VirtioDevice, config: Config, ring_driver: RingDriver
    ) -> None:
        """Collect frames, and give them to the ring; what the ring has is left alone."""
        batch = self.batches[self.sending & 1]
        if batch.gone(net.backend):
            batch.reset()
            self.sending ^= 1
            batch = self.batches[self.sending & 1]
        following = self.batches[self.sending & 1 ^ 1]
        if following.count == 0:
            net.transmit(device, self.pair, batch, config.ram)
        self.submit(net, batch, ring_driver, config.ring)
        net.transmit(device, self.pair, following, config.ram)

    def submit(self, net: VirtioNet, batch: Batch, ring_driver: RingDriver, ring: Ring) -> None:
        """Give the ring what it can take of a batch: frames of a tap, the rest of a stream."""
        data = address_of(batch.data)
        if net.backend == NetBackend.STREAM:
            left = u32(batch.used - batch.sent)
            if left > 0 and batch.pending == 0 and not self.again:
                place = u64(data + batch.sent)
                owner = self.transmit_owner(0)
                if ring_driver.stream(owner, Opcode.WRITE_FIXED, self.file, place, left, ring):
                    batch.pending = 1
            return
        for i in range(NET_TRANSMITS):
            owner = self.transmit_owner(i)
            if batch.given < batch.count and not ring_driver.busy(owner):
                start = batch.starts[batch.given]
                length = u32(batch.starts[batch.given + 1] - start)
                place = u64(data + start)
                if ring_driver.stream(owner, Opcode.WRITE_FIXED, self.file, place, length, ring):
                    batch.given += 1
                    batch.pending += 1


class NetworkLinks(Struct):
    """One for each pair of queues."""

    is_back: u8  # the link was down, and is up again: the driver is to be told
    pairs: u16  # that there are; 0: no interface
    slots: u8[FIRST_SLOTS]  # the first pairs'
    links: NetworkLink[MAX_NET_PAIRS]  # what is behind the first may not be the ring's
    more_slots: u8[FIRST_SLOTS]  # the other pairs'

    def connect(self, config: Config) -> None:
        """Power on. The slots are shared out among the pairs that there are."""
        self.pairs = config.net.pairs
        each = u16(CHAIN if self.pairs <= 2 else CHAIN // 2)
        for i in range(MAX_NET_PAIRS):
            number = u32(i * each % CHAIN)
            place = address_of(self.slots if i * each < CHAIN else self.more_slots)
            inbox = u64(place + number * LONGEST)
            self.links[i].attach(i, config.net.files[i], inbox, each)

    def renew(self, net: VirtioNet, config: Config) -> None:
        """The other side is a new one, which may want another address of the guest's."""
        net.settle(config.net)
        self.is_back = net.link == 0
        net.link = LINK_UP

    def next_deadline(self) -> u64:
        """When `move` has something to do though nothing else happens."""
        due = NEVER
        for i in range(min(self.pairs, MAX_NET_PAIRS)):
            again = self.links[i].again
            if again:
                due = min(due, again)
        return due

    def flush(self) -> None:
        """What it has is written at once anyway."""

    def take(
        self,
        net: VirtioNet,
        device: VirtioDevice,
        config: Config,
        ring_driver: RingDriver,
        now: u64,
    ) -> bool:
        """Go on with the packets that are half in a queue's buffers."""
        for i in range(MAX_NET_PAIRS):
            if net.is_halfway(i):
                self.links[i].deliver(net, device, config.ram)
        return False

    def move(
        self,
        net: VirtioNet,
        device: VirtioDevice,
        config: Config,
        ring_driver: RingDriver,
        statistics: Statistics,
        now: u64,
    ) -> None:
        """Move frames on in both directions, as far as they get."""
        if self.is_back:
            self.is_back = 0
            device.config_changed()
        for i in range(MAX_NET_PAIRS):
            if i < config.net.pairs:
                self.links[i].move(net, device, config, ring_driver, now)
        shown = statistics.net
        shown.down = not net.passes()
        shown.received = net.traffic.received
        shown.received_bytes = net.traffic.received_bytes
        shown.received_dropped = net.traffic.received_dropped
        shown.sent = net.traffic.sent
        shown.sent_bytes = net.traffic.sent_bytes
        shown.sent_dropped = net.traffic.sent_dropped

    def idle(self, net: VirtioNet, ring_driver: RingDriver) -> bool:
        """Whether nothing waits to go out that somebody would miss: a network may lose frames."""
        return True
