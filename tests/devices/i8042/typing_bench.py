"""The keyboard controller and the stream of its events, without a ring: for fuzzers."""

from vestige.abi import Config
from vestige.lang.types import Struct, u8, u32, u64
from vestige.monitor.devices.i8042.model import KeyboardController
from vestige.monitor.drivers.ring.driver import FIRST_STREAM, Owner, RingDriver
from vestige.monitor.events import ROOM, EventStream


class TypingBench(Struct):
    """`arrive` is the kernel's, `move` the core's, the rest the guest's."""

    stream: EventStream
    controller: KeyboardController
    ring_driver: RingDriver  # without a free place: it submits nothing
    config: Config

    def reset(self) -> None:
        """Power-on, with a file."""
        self.controller.reset()

    def arrive(self, size: u8, kind: u8, rest: u64) -> None:
        """So many bytes have been read, whatever they are: many are of this kind."""
        read = self.ring_driver.streams[Owner.EVENTS - FIRST_STREAM]
        if self.stream.has_event() or read.answered:
            return
        for i in range(size):
            place = u32(self.stream.count + i)
            if place < ROOM:
                value = kind if place % 10 == 0 else u8(rest >> (place % 8 * 8) & 0xFF)
                self.stream.buffer[place] = value
        read.result = size
        read.answered = 1

    def fail(self, number: u8) -> None:
        """Or it failed."""
        read = self.ring_driver.streams[Owner.EVENTS - FIRST_STREAM]
        if not self.stream.has_event():
            read.result = -number
            read.answered = 1

    def move(self, now: u64) -> u64:
        """A turn of the core's; when the next one is due."""
        self.controller.expire(now)
        self.stream.take_read(self.ring_driver, now)
        while self.stream.is_due(now):
            self.stream.was_offered(self.controller.take_event(self.stream, now))
        self.stream.read(self.config, self.ring_driver, now)
        return min(self.stream.next_deadline(), self.controller.next_deadline())

    def read(self, offset: u8, now: u64) -> u8:
        """A register read."""
        return self.controller.read(offset, 1, now)

    def write(self, offset: u8, value: u8, now: u64) -> None:
        """A register write."""
        self.controller.write(offset, 1, value, now)
