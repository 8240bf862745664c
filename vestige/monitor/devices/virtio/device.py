"""What every virtio device has: status, features, queues, interrupts. Virtio 1.2, 2 and 4.1.4.3.

A device of some type embeds nothing of this and is embedded in nothing: it is given its
`VirtioDevice`, takes buffers from it and gives them back. `broken` in the code below is what the
standard calls DEVICE_NEEDS_RESET: the device does nothing any more until the driver resets it.
"""

from vestige.abi import VIRTIO_QUEUES
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.virtio.chain import Chain
from vestige.monitor.devices.virtio.msix import Msix
from vestige.monitor.devices.virtio.queue import ask, give, take, take_interrupt
from vestige.monitor.devices.virtio.spec import (
    MAX_QUEUE_SIZE,
    NO_VECTOR,
    Common,
    Feature,
    Interrupt,
    Status,
)
from vestige.monitor.devices.virtio.virtqueue import Taken, Virtqueue
from vestige.monitor.line import Line
from vestige.monitor.sized import ONES

LOW = ONES[4]  # half of a register of 64 bits


class VirtioDevice(Struct):
    """State that the common configuration structure shows."""

    queues: Virtqueue[VIRTIO_QUEUES]
    queue_count: u16
    offered: u64  # features
    accepted: u64
    device_feature_select: u32
    driver_feature_select: u32
    status: u8
    generation: u8  # of the device configuration structure
    master: u8  # PCI lets it touch memory
    silent: u8  # PCI lets it not drive the line
    resetting: u8  # a reset waits for what is under way
    was_reset: u8  # output: the device behind has to forget everything; `take_reset`
    queue_select: u16
    config_vector: u16
    interrupts: u8  # Interrupt; used without MSI-X alone
    msix: Msix
    line: Line
    requests: u64  # counters
    failures: u64
    resets: u64

    def reset(self, queues: u16, features: u64) -> None:
        """Power on: a device of so many queues, which offers these features."""
        self.queue_count = queues
        self.offered = features
        self.msix.reset(u16(queues + 1))
        self.clear()
        self.forget()

    def share_out(self, share: u8, shares: u8) -> None:
        """Be one of several replicas: every so many-th queue is this one's to serve."""
        for i in range(VIRTIO_QUEUES):
            self.queues[i].elsewhere = i % shares != share

    def clear(self) -> None:
        """Forget what the driver has set, all but what a reset waits with: it begins."""
        self.device_feature_select = 0
        self.driver_feature_select = 0
        self.queue_select = 0
        self.config_vector = NO_VECTOR
        for i in range(VIRTIO_QUEUES):
            self.queues[i].clear()

    def forget(self) -> None:
        """As after a reset by the driver, which is over."""
        self.accepted = 0
        self.status = 0
        self.resetting = 0
        self.interrupts = 0
        self.was_reset = 1
        self.msix.forget()
        for i in range(VIRTIO_QUEUES):
            self.queues[i].stop()
        self.update_line()

    # ---- for the device behind --------------------------------------------------------------

    def has(self, feature: u8) -> bool:
        """Whether both sides agreed on the feature of this bit number."""
        return self.accepted >> (feature & 63) & 1 != 0

    def running(self) -> bool:
        """Whether buffers may be taken, given back, and the driver told. 2.1.2, 3.1.1."""
        going = self.status & (Status.DRIVER_OK | Status.NEEDS_RESET) == Status.DRIVER_OK
        return going and self.master != 0 and not self.resetting

    def take(self, queue: u16, chain: Chain, ram: Memory) -> bool:
        """Take the next buffer of a queue into `chain`; False: there is none.

        A malformed one breaks the device.
        """
        virtqueue = self.queues[queue]
        ready = virtqueue.enabled and not virtqueue.elsewhere and not virtqueue.resetting
        if not ready or not self.running():
            return False
        match take(virtqueue, chain, ram):
            case Taken.CHAIN:
                self.requests += 1
                return True
            case Taken.MALFORMED:
                self.fail()
                return False
            case _:
                return False

    def ask(self, ram: Memory) -> bool:
        """Have the driver notify of what comes next; whether something has come already.

        Before this a driver with EVENT_IDX may keep silent about all that it makes available.
        """
        come = False
        if self.running():
            for i in range(VIRTIO_QUEUES):
                if i >= self.queue_count:
                    break
                queue = self.queues[i]
                if queue.enabled and not queue.resetting and ask(queue, ram):
                    come = True
        return come

    def lost(self, queue: u16) -> bool:
        """Whether a buffer of that queue can only be forgotten: its memory is the driver's again.

        The device, or the queue, was broken or reset since it was taken.
        """
        broken = self.resetting != 0 or self.status & Status.NEEDS_RESET != 0
        return broken or self.queues[queue].resetting != 0

    def give(self, queue: u16, identifier: u16, slots: u16, written: u32, ram: Memory) -> None:
        """Give back a buffer taken from there, `written` bytes of it being set."""
        virtqueue = self.queues[queue]
        if self.lost(queue):
            virtqueue.in_flight -= 1
            self.settle_resets()
        else:
            give(virtqueue, identifier, slots, written, ram)

    def signal(self, queue: u16, ram: Memory) -> None:
        """Interrupt the driver for what was given back to a queue, if it wants that."""
        virtqueue = self.queues[queue]
        if virtqueue.used_since and self.running() and take_interrupt(virtqueue, ram):
            self.interrupt(Interrupt.QUEUE, virtqueue.vector)

    def config_changed(self) -> None:
        """The device configuration structure has changed: its generation, and an interrupt."""
        self.generation += 1
        if self.running():
            self.interrupt(Interrupt.CONFIGURATION, self.config_vector)

    def fail(self) -> None:
        """The driver has done what it must not: DEVICE_NEEDS_RESET. 2.1.2."""
        if not self.status & Status.NEEDS_RESET:
            running = self.running()
            self.status |= Status.NEEDS_RESET
            self.failures += 1
            if running:
                self.interrupt(Interrupt.CONFIGURATION, self.config_vector)

    def take_reset(self) -> bool:
        """Whether the driver has reset the device since this was last asked."""
        was_reset = self.was_reset != 0
        self.was_reset = 0
        return was_reset

    # ---- interrupts -------------------------------------------------------------------------

    def interrupt(self, reason: Interrupt, vector: u16) -> None:
        """By MSI-X where it is enabled, else by the line. 4.1.5.3."""
        if self.msix.enabled:
            self.msix.send(vector)
        else:
            self.interrupts |= reason
            self.update_line()

    def update_line(self) -> None:
        """The line follows the ISR status."""
        self.line.set(self.interrupts != 0 and not self.msix.enabled and not self.silent)

    def read_interrupt_status(self) -> u8:
        """4.1.4.5: reading it acknowledges."""
        interrupts = self.interrupts
        self.interrupts = 0
        self.update_line()
        return interrupts

    # ---- the common configuration structure ---------------------------------------------------

    def read_common(self, offset: u32) -> u32:
        """The 32 bits at `offset`, a multiple of 4."""
        queue = self.queues[self.queue_select] if self.selected() else self.queues[0]
        there = self.selected()
        match offset:
            case Common.DEVICE_FEATURE_SELECT:
                return self.device_feature_select
            case Common.DEVICE_FEATURE:
                return half(self.offered, self.device_feature_select)
            case Common.DRIVER_FEATURE_SELECT:
                return self.driver_feature_select
            case Common.DRIVER_FEATURE:
                return half(self.accepted, self.driver_feature_select)
            case Common.CONFIG_VECTOR:
                return self.config_vector | self.queue_count << 16
            case Common.STATUS:
                return self.status | self.generation << 8 | self.queue_select << 16
            case Common.QUEUE_SIZE:
                return queue.size | queue.vector << 16 if there else NO_VECTOR << 16
            case Common.QUEUE_ENABLE:
                return queue.enabled | self.queue_select << 16 if there else 0
            case Common.QUEUE_NOTIFY_DATA:
                return queue.resetting << 16 if there else 0
            case _:
                return read_areas(queue, offset) if there else 0

    def write_common(self, offset: u32, size: u8, value: u32, ram: Memory) -> None:
        """A write of a whole register, 64-bit ones by halves; others do nothing. 4.1.3.1."""
        if size == 4:
            match offset:
                case Common.DEVICE_FEATURE_SELECT:
                    self.device_feature_select = value
                case Common.DRIVER_FEATURE_SELECT:
                    self.driver_feature_select = value
                case Common.DRIVER_FEATURE:
                    self.accept(value)
                case _:
                    if self.selected():
                        write_areas(self.queues[self.queue_select], offset, value)
        elif size == 2:
            self.write_common16(offset, value & 0xFFFF, ram)
        elif size == 1 and offset == Common.STATUS:
            self.write_status(value & 0xFF, ram)

    def write_common16(self, offset: u32, value: u16, ram: Memory) -> None:
        """A write of a 16-bit register."""
        if offset == Common.QUEUE_SELECT:
            self.queue_select = value
        elif offset == Common.CONFIG_VECTOR:
            self.config_vector = self.vector(value)
        elif self.selected():
            queue = self.queues[self.queue_select]
            match offset:
                case Common.QUEUE_SIZE:
                    if not queue.enabled and 0 < value <= MAX_QUEUE_SIZE:
                        queue.size = value
                case Common.QUEUE_VECTOR:
                    queue.vector = self.vector(value)
                case Common.QUEUE_ENABLE:
                    if value == 1:
                        self.enable(queue, ram)
                case Common.QUEUE_RESET:
                    if value == 1 and self.has(Feature.RING_RESET) and queue.enabled:
                        queue.resetting = 1
                        queue.clear()
                        self.settle_resets()
                case _:
                    pass

    def selected(self) -> bool:
        """Whether the queue selected exists. 4.1.5.1.3: its size reads 0 otherwise."""
        return self.queue_select < self.queue_count

    def vector(self, value: u16) -> u16:
        """What a vector register holds after this is written to it. 4.1.5.1.2."""
        return value if value < self.msix.count else NO_VECTOR

    def accept(self, value: u32) -> None:
        """The driver's half of the features; frozen once they are negotiated."""
        if not self.status & Status.FEATURES_OK:
            if self.driver_feature_select == 0:
                self.accepted = self.accepted & ~LOW | value
            elif self.driver_feature_select == 1:
                self.accepted = self.accepted & LOW | value << 32

    # ---- status -----------------------------------------------------------------------------

    def write_status(self, value: u8, ram: Memory) -> None:
        """The driver's steps, 3.1.1. Bits stay until a reset; none is set before its time."""
        if value == 0:
            self.resetting = 1
            self.clear()
            self.settle_resets()
            return
        if self.resetting:
            return
        status = self.status | value & Status.WRITABLE
        if not self.acceptable():
            status &= ~Status.FEATURES_OK
        if not status & Status.FEATURES_OK:
            status &= ~Status.DRIVER_OK
        self.status = status

    def acceptable(self) -> bool:
        """Whether the driver's features are a subset that works: 2.2.2, 6.1."""
        return self.accepted & ~self.offered == 0 and self.has(Feature.VERSION_1)

    def enable(self, queue: Virtqueue, ram: Memory) -> None:
        """A queue goes live: if it can't be, the device needs a reset, says who would serve it."""
        if queue.enabled or not self.status & Status.FEATURES_OK:
            return
        packed = self.has(Feature.RING_PACKED)
        if queue.sound(packed, ram):
            queue.begin(packed, self.has(Feature.INDIRECT_DESC), self.has(Feature.EVENT_IDX))
        elif not queue.elsewhere:
            self.fail()

    def settle_resets(self) -> None:
        """Carry out resets that wait for nothing any more.

        What the ring or a controller has begun can't be called back, and may still be written
        to the driver's memory. Until it is done the status, or queue_reset, is not what the
        driver waits for (2.4.1, 2.6.1.1); all else is as after the reset already, so that it is
        the same in all replicas of a device, one of which may wait.
        """
        in_flight = u32(0)
        for i in range(VIRTIO_QUEUES):
            queue = self.queues[i]
            in_flight = u32(in_flight + queue.in_flight)
            if queue.resetting and queue.in_flight == 0:
                queue.stop()
        if self.resetting and in_flight == 0:
            self.resets += 1
            self.forget()


def half(features: u64, select: u32) -> u32:
    """32 of 64 features; there are no more."""
    match select:
        case 0:
            return features & LOW
        case 1:
            return features >> 32
        case _:
            return 0


def read_areas(queue: Virtqueue, offset: u32) -> u32:
    """Halves of the 64-bit registers of a queue; 0 at any other offset."""
    match offset:
        case Common.QUEUE_DESCRIPTORS:
            return queue.descriptors & LOW
        case Common.QUEUE_DESCRIPTORS_HIGH:
            return queue.descriptors >> 32
        case Common.QUEUE_DRIVER:
            return queue.driver & LOW
        case Common.QUEUE_DRIVER_HIGH:
            return queue.driver >> 32
        case Common.QUEUE_DEVICE:
            return queue.device & LOW
        case Common.QUEUE_DEVICE_HIGH:
            return queue.device >> 32
        case _:
            return 0


def write_areas(queue: Virtqueue, offset: u32, value: u32) -> None:
    """Set half of a 64-bit register, while the queue is not enabled."""
    if queue.enabled:
        return
    match offset:
        case Common.QUEUE_DESCRIPTORS:
            queue.descriptors = queue.descriptors & ~LOW | value
        case Common.QUEUE_DESCRIPTORS_HIGH:
            queue.descriptors = queue.descriptors & LOW | value << 32
        case Common.QUEUE_DRIVER:
            queue.driver = queue.driver & ~LOW | value
        case Common.QUEUE_DRIVER_HIGH:
            queue.driver = queue.driver & LOW | value << 32
        case Common.QUEUE_DEVICE:
            queue.device = queue.device & ~LOW | value
        case Common.QUEUE_DEVICE_HIGH:
            queue.device = queue.device & LOW | value << 32
        case _:
            pass
