"""Packed virtqueues: one ring of descriptors, two event suppression structures. Virtio 1.2, 2.8.

A descriptor is address, length, buffer ID, flags. Both sides write into the one ring; a wrap
counter each, which changes at every round, tells what of it is new. The first 16 bits of an
event suppression structure name a descriptor and its wrap counter (bit 15), the others are
flags. Order of accesses: as in split.py.
"""

from vestige.lang.memory import Memory
from vestige.lang.types import u16, u32, u64
from vestige.monitor.devices.virtio.chain import Chain
from vestige.monitor.devices.virtio.spec import DESCRIPTOR_SIZE, Descriptor, Event
from vestige.monitor.devices.virtio.virtqueue import Taken, Virtqueue, passed

WRAP = 15  # bit of the wrap counter in an event suppression structure
AVAIL = 7  # bits of the flags
USED = 15


def available(queue: Virtqueue, ram: Memory) -> bool:
    """Whether the next descriptor was made available in this round. 2.8.1."""
    place = u64(queue.descriptors + DESCRIPTOR_SIZE * queue.next_avail)
    flags = ram.load16(u64(place + 14))
    return flags >> AVAIL & 1 == queue.avail_wrap and flags >> USED & 1 != queue.avail_wrap


def take(queue: Virtqueue, chain: Chain, ram: Memory) -> Taken:
    """The next available buffer, of which there is one. Its ID is in its last descriptor, 2.8.6."""
    chain.begin(0)
    slot = u32(queue.next_avail)
    for _ in range(queue.size):
        place = u64(queue.descriptors + DESCRIPTOR_SIZE * slot)
        address = ram.load64(place)
        length = ram.load32(u64(place + 8))
        flags = ram.load16(u64(place + 14))
        chain.identifier = ram.load16(u64(place + 12))
        chain.slots += 1
        slot = u32(slot + 1)
        if slot >= queue.size:
            slot = u32(0)
        if flags & Descriptor.INDIRECT:
            alone = chain.slots == 1 and not flags & Descriptor.NEXT
            if not alone or not queue.indirect or not walk_table(chain, address, length, ram):
                return Taken.MALFORMED
        elif not chain.add(address, length, flags, ram):
            return Taken.MALFORMED
        if not flags & Descriptor.NEXT:
            if slot <= queue.next_avail:
                queue.avail_wrap ^= 1
            queue.next_avail = u16(slot)
            return Taken.CHAIN
    return Taken.MALFORMED


def walk_table(chain: Chain, table: u64, size: u32, ram: Memory) -> bool:
    """An indirect table: all of its descriptors, in their order. 2.8.7."""
    if size == 0 or size % DESCRIPTOR_SIZE or not ram.contains(table, size):
        return False
    place = table
    for _ in range(size // DESCRIPTOR_SIZE):
        address = ram.load64(place)
        length = ram.load32(u64(place + 8))
        flags = ram.load16(u64(place + 14))
        if not chain.add(address, length, flags, ram):
            return False
        place = u64(place + DESCRIPTOR_SIZE)
    return True


def give(queue: Virtqueue, identifier: u16, slots: u16, written: u32, ram: Memory) -> None:
    """A buffer is done: a used descriptor in place of its first, the flags last. 2.8.8."""
    place = u64(queue.descriptors + DESCRIPTOR_SIZE * queue.next_used)
    flags = Descriptor.AVAIL | Descriptor.USED if queue.used_wrap else 0
    if written > 0:
        flags |= Descriptor.WRITE
    ram.store32(u64(place + 8), written)
    ram.store16(u64(place + 12), identifier)
    ram.store16(u64(place + 14), flags)
    queue.used_since += slots
    following = u32(queue.next_used + slots)
    if following >= queue.size:
        following = u32(following - queue.size)
        queue.used_wrap ^= 1
    queue.next_used = u16(following)


def ask(queue: Virtqueue, ram: Memory) -> None:
    """With EVENT_IDX: let the driver notify at the next buffer, and not before. 2.8.10."""
    ram.store16(queue.device, u16(queue.next_avail | queue.avail_wrap << WRAP))
    ram.store16(u64(queue.device + 2), Event.AT)


def wanted(queue: Virtqueue, ram: Memory) -> bool:
    """Whether the driver wants an interrupt for what was used since the last."""
    flags = ram.load16(u64(queue.driver + 2))
    if flags == Event.AT and queue.event_index:
        at = ram.load16(queue.driver)
        event = u16(at & ((1 << WRAP) - 1))
        if at >> WRAP != queue.used_wrap:
            event = u16(event - queue.size)
        return passed(event, queue.next_used, queue.used_since)
    return flags != Event.DISABLE
