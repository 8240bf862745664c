"""A virtqueue's buffers, whichever format was negotiated: taken, given back, told of."""

from vestige.lang.intrinsics import fence
from vestige.lang.memory import Memory
from vestige.lang.types import u16, u32
from vestige.monitor.devices.virtio import packed, split
from vestige.monitor.devices.virtio.chain import Chain
from vestige.monitor.devices.virtio.virtqueue import Taken, Virtqueue

WRAP = 17  # in Virtqueue.asked: above a split ring's index and NOTHING_ASKED


def take(queue: Virtqueue, chain: Chain, ram: Memory) -> Taken:
    """The next buffer the driver made available.

    Where there is none, whoever goes to sleep has to `ask` for a notification before.
    """
    if not available(queue, ram):
        queue.drained = 1
        return Taken.NOTHING
    taken = packed.take(queue, chain, ram) if queue.packed else split.take(queue, chain, ram)
    if taken == Taken.CHAIN:
        queue.in_flight += 1
    return taken


def ask(queue: Virtqueue, ram: Memory) -> bool:
    """Have the driver notify at its next buffer, if nothing was left; whether there is one now.

    What it made available between our last look and our asking it will not tell us of. Without
    EVENT_IDX it notifies at every buffer.
    """
    if not queue.drained:
        return False
    queue.drained = 0
    asked = u32(queue.next_avail | queue.avail_wrap << WRAP)
    if not queue.event_index or queue.asked == asked:
        return False
    queue.asked = asked
    if queue.packed:
        packed.ask(queue, ram)
    else:
        split.ask(queue, ram)
    fence()
    return available(queue, ram)


def available(queue: Virtqueue, ram: Memory) -> bool:
    """Whether there is a buffer to take."""
    return packed.available(queue, ram) if queue.packed else split.available(queue, ram)


def give(queue: Virtqueue, identifier: u16, slots: u16, written: u32, ram: Memory) -> None:
    """Give a buffer back, `written` bytes of its writable part being set."""
    queue.in_flight -= 1
    if queue.packed:
        packed.give(queue, identifier, slots, written, ram)
    else:
        split.give(queue, identifier, written, ram)


def take_interrupt(queue: Virtqueue, ram: Memory) -> bool:
    """Whether to interrupt the driver for what was given back since this was last asked.

    The fence keeps the look at what it wants behind what was given: it says what it wants, and
    then looks for what it was given.
    """
    if queue.used_since == 0:
        return False
    fence()
    wanted = packed.wanted(queue, ram) if queue.packed else split.wanted(queue, ram)
    queue.used_since = 0
    return wanted
