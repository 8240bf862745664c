"""One receive queue: a packet spread over as many of the driver's buffers as it needs. 5.1.6.4."""

from enum import IntEnum

from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u16, u32, u64
from vestige.monitor.devices.virtio.chain import Chain
from vestige.monitor.devices.virtio.device import VirtioDevice
from vestige.monitor.devices.virtio.spec import MAX_QUEUE_SIZE
from vestige.monitor.devices.virtio_net.spec import HEADER_SIZE, Feature, Header


class Delivery(IntEnum):
    """What has become of a packet."""

    WAITING = 0  # for buffers; all of it is to be given again
    DELIVERED = 1
    DROPPED = 2


class Held(Struct):
    """A receive buffer taken, for a packet that is not complete in its buffers."""

    identifier: u16
    slots: u16
    written: u32


class Receiver(Struct):
    """Of the packet being received `done` bytes are in `held` buffers."""

    queue: u16
    source: u16  # which file that packet came from
    held: Held[MAX_QUEUE_SIZE]  # a queue has no more
    held_count: u16
    done: u32
    buffers_low: u64  # guest-physical addresses of the header's two bytes of Header.BUFFERS
    buffers_high: u64

    def settle(self, device: VirtioDevice, ram: Memory) -> None:
        """Give back the buffers of a packet that can't be completed any more: a reset waits."""
        if self.held_count > 0 and device.lost(self.queue):
            self.give_back(device, ram)

    def abandon(self, device: VirtioDevice, ram: Memory) -> None:
        """Give back what is held, without anything in it: the packet goes another way."""
        for i in range(self.held_count):
            self.held[i].written = 0
        self.give_back(device, ram)

    def receive(
        self, device: VirtioDevice, chain: Chain, packet: u64, length: u32, ram: Memory
    ) -> Delivery:
        """Put the `length` bytes at `packet`, header and frame, into receive buffers."""
        while self.done < length:
            if self.held_count >= MAX_QUEUE_SIZE or not device.take(self.queue, chain, ram):
                return Delivery.WAITING
            if not self.put(device, chain, packet, length, ram):
                return Delivery.DROPPED
        ram.store8(self.buffers_low, self.held_count & 0xFF)
        ram.store8(self.buffers_high, self.held_count >> 8)
        self.give_back(device, ram)
        return Delivery.DELIVERED

    def put(
        self, device: VirtioDevice, chain: Chain, packet: u64, length: u32, ram: Memory
    ) -> bool:
        """Put the next part of a packet into the buffer just taken; False: it is dropped."""
        left = u32(length - self.done)
        first = self.done == 0
        if first and (chain.writable < HEADER_SIZE or chain.readable > 0):
            device.fail()
        whole = device.has(Feature.MRG_RXBUF) or chain.writable >= left
        if device.lost(self.queue) or not whole:
            device.give(self.queue, chain.identifier, chain.slots, 0, ram)
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
        self.held_count += 1
        self.done += size
        return True

    def give_back(self, device: VirtioDevice, ram: Memory) -> None:
        """All held buffers, in order; the next packet begins anew."""
        for i in range(self.held_count):
            held = self.held[i]
            device.give(self.queue, held.identifier, held.slots, held.written, ram)
        self.held_count = 0
        self.done = 0
