"""What a virtqueue is to the device: where its three areas are, and how far it has come.

Virtio 1.2, 2.6. The areas' contents are the business of split.py and packed.py.
"""

from enum import IntEnum

from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.virtio.spec import (
    DESCRIPTOR_ALIGNMENT,
    DESCRIPTOR_SIZE,
    DEVICE_ALIGNMENT,
    DRIVER_ALIGNMENT,
    EVENT_AREA_SIZE,
    MAX_QUEUE_SIZE,
    NO_VECTOR,
)

NOTHING_ASKED = 1 << 16  # Virtqueue.asked: no place has this number


class Taken(IntEnum):
    """What looking for an available buffer found."""

    NOTHING = 0
    CHAIN = 1
    MALFORMED = 2


class Virtqueue(Struct):
    """One queue. The driver may set what is in the first part while it is not enabled."""

    size: u16  # entries
    vector: u16  # MSI-X vector, or NO_VECTOR
    descriptors: u64  # guest-physical addresses of the areas
    driver: u64
    device: u64

    enabled: u8
    resetting: u8  # to be disabled when nothing of it is under way
    packed: u8  # as negotiated
    indirect: u8
    event_index: u8
    avail_wrap: u8  # packed: wrap counters
    used_wrap: u8
    next_avail: u16  # split: count modulo 2**16; packed: entry
    next_used: u16
    used_since: u16  # entries used since the driver was last interrupted, or let off
    asked: u32  # what the driver was last asked to notify at, or NOTHING_ASKED
    drained: u8  # 1: nothing was left at our last look, and the driver is to be asked
    in_flight: u16  # buffers taken and not given back
    elsewhere: u8  # another replica of the device serves it; what the driver sets is kept here, too

    def clear(self) -> None:
        """Forget what the driver has set, but not whether it is enabled: a reset begins."""
        self.size = MAX_QUEUE_SIZE
        self.vector = NO_VECTOR
        self.descriptors = 0
        self.driver = 0
        self.device = 0
        self.used_since = 0

    def stop(self) -> None:
        """Nothing of it is under way any more: it is as before a driver has set anything."""
        self.enabled = 0
        self.resetting = 0
        self.in_flight = 0

    def begin(self, packed: bool, indirect: bool, event_index: bool) -> None:
        """Enabled: nothing taken, nothing used. 2.8.1: wrap counters begin at 1."""
        self.packed = packed
        self.indirect = indirect
        self.event_index = event_index
        self.avail_wrap = 1
        self.used_wrap = 1
        self.next_avail = 0
        self.next_used = 0
        self.used_since = 0
        self.asked = NOTHING_ASKED
        self.drained = 0
        self.enabled = 1

    def sound(self, packed: bool, ram: Memory) -> bool:
        """Whether size and areas are as 2.6, 2.7 and 2.8 ask, and all of it is RAM."""
        size = self.size
        if size == 0 or size > MAX_QUEUE_SIZE:
            return False
        driver_size = u32(6 + 2 * size)
        device_size = u32(6 + 8 * size)
        if packed:
            driver_size = u32(EVENT_AREA_SIZE)
            device_size = u32(EVENT_AREA_SIZE)
        elif size & u32(size - 1):
            return False
        return (
            self.descriptors % DESCRIPTOR_ALIGNMENT == 0
            and self.driver % DRIVER_ALIGNMENT[packed] == 0
            and self.device % DEVICE_ALIGNMENT == 0
            and ram.contains(self.descriptors, u32(DESCRIPTOR_SIZE * size))
            and ram.contains(self.driver, driver_size)
            and ram.contains(self.device, device_size)
        )


def passed(event: u16, new: u16, since: u16) -> bool:
    """Whether `event` is among the `since` places before `new`, modulo 2**16. 2.7.7.1."""
    return u16(new - event - 1) < since
