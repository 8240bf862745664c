"""Split virtqueues: descriptor table, available ring, used ring. Virtio 1.2, 2.7.

The driver's area is flags, index, ring and used_event, the device's flags, index, ring and
avail_event; 16 bits each, but for the used ring's elements. Whether an area is RAM was checked
when the queue was enabled. The driver runs on other CPUs: x86 keeps loads in order and stores in
order, so only a load after a store needs a fence.
"""

from vestige.lang.memory import Memory
from vestige.lang.types import u16, u32, u64
from vestige.monitor.devices.virtio.chain import Chain
from vestige.monitor.devices.virtio.spec import (
    DESCRIPTOR_SIZE,
    MAX_CHAIN,
    NO_INTERRUPT,
    Descriptor,
)
from vestige.monitor.devices.virtio.virtqueue import Taken, Virtqueue, passed

INDEX = 2  # offset in both rings
RING = 4
USED_ELEMENT = 8


def available(queue: Virtqueue, ram: Memory) -> bool:
    """Whether the driver has made something available that was not taken."""
    return ram.load16(u64(queue.driver + INDEX)) != queue.next_avail


def take(queue: Virtqueue, chain: Chain, ram: Memory) -> Taken:
    """The oldest available buffer, of which there is one."""
    waiting = u16(ram.load16(u64(queue.driver + INDEX)) - queue.next_avail)
    if waiting > queue.size:
        return Taken.MALFORMED
    place = queue.next_avail & u32(queue.size - 1)
    head = ram.load16(u64(queue.driver + RING + 2 * place))
    chain.begin(head)
    if not walk(queue, chain, head, ram):
        return Taken.MALFORMED
    queue.next_avail += 1
    return Taken.CHAIN


def walk(queue: Virtqueue, chain: Chain, head: u16, ram: Memory) -> bool:
    """Follow a chain to its end; False: it is malformed. 2.7.5.3 for the indirect table.

    Every step adds a run, and there are MAX_CHAIN: a loop ends there.
    """
    table = queue.descriptors
    entries = u32(queue.size)
    indirect = False
    index = u32(head)
    for _ in range(MAX_CHAIN + 2):
        if index >= entries:
            return False
        place = u64(table + DESCRIPTOR_SIZE * index)
        address = ram.load64(place)
        length = ram.load32(u64(place + 8))
        flags = ram.load16(u64(place + 12))
        if flags & Descriptor.INDIRECT:
            if indirect or not queue.indirect or flags & Descriptor.NEXT:
                return False
            if length == 0 or length % DESCRIPTOR_SIZE or not ram.contains(address, length):
                return False
            indirect = True
            table = address
            entries = length // DESCRIPTOR_SIZE
            index = 0
        else:
            if not chain.add(address, length, flags, ram):
                return False
            if not flags & Descriptor.NEXT:
                return True
            index = u32(ram.load16(u64(place + 14)))
    return False


def give(queue: Virtqueue, identifier: u16, written: u32, ram: Memory) -> None:
    """A buffer is done, `written` bytes of its writable part are set. 2.7.8."""
    place = queue.next_used & u32(queue.size - 1)
    element = u64(queue.device + RING + USED_ELEMENT * place)
    ram.store32(element, identifier)
    ram.store32(u64(element + 4), written)
    queue.next_used += 1
    queue.used_since += 1
    ram.store16(u64(queue.device + INDEX), queue.next_used)


def ask(queue: Virtqueue, ram: Memory) -> None:
    """With EVENT_IDX: let the driver notify at the next buffer, and not before. 2.7.10."""
    ram.store16(u64(queue.device + RING + USED_ELEMENT * queue.size), queue.next_avail)


def wanted(queue: Virtqueue, ram: Memory) -> bool:
    """Whether the driver wants an interrupt for what was used since the last. 2.7.7."""
    if queue.event_index:
        event = ram.load16(u64(queue.driver + RING + 2 * queue.size))
        return passed(event, queue.next_used, queue.used_since)
    return not ram.load16(queue.driver) & NO_INTERRUPT
