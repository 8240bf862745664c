"""Between the keyboard controller and the file of events: each when the guest can take it.

An event is given when the guest has read what the one before sent, and no sooner than a quick
typist makes it: so none is lost, not in the keyboard's buffer of 16 bytes, nor in those of drivers
that read at once and keep little, as a BIOS does. Till then the events stay in the file.
"""

from vestige.abi import (
    EVENT_BUTTONS,
    EVENT_CODE,
    EVENT_SIZE,
    EVENT_WHEEL,
    EVENT_X,
    EVENT_Y,
    Config,
    EventKind,
)
from vestige.lang.intrinsics import address_of
from vestige.lang.types import Struct, i32, u8, u16, u32, u64
from vestige.monitor.clock import MILLISECOND
from vestige.monitor.devices.i8042.model import KeyboardController
from vestige.monitor.drivers.ring.driver import Owner, RingDriver
from vestige.monitor.drivers.ring.spec import Errno
from vestige.monitor.line import NEVER
from vestige.monitor.streams import RETRY

ROOM = 16 * EVENT_SIZE  # bytes
PACE = 10 * MILLISECOND  # from a key's going down or up to the next


class EventsLink(Struct):
    """What lies between. Times are nanoseconds."""

    buffer: u8[ROOM]
    count: u16  # bytes in it
    used: u16  # how many of them have been given
    ended: u8  # nothing comes any more
    blocked: u8  # 1: the next event waits for the guest, not for a time
    after: u64  # no event before this time
    read_after: u64  # nothing is read before this time

    def connect(self, config: Config) -> None:
        """Nothing waits. Without a file, or a ring to reach it, nothing comes."""
        self.ended = not config.events.present or not config.ring.present

    def move(
        self, controller: KeyboardController, config: Config, ring_driver: RingDriver, now: u64
    ) -> None:
        """Give what can be given, ask for more."""
        self.take_read(ring_driver, now)
        self.blocked = 0
        while self.has_event() and now >= self.after and not self.blocked:
            if self.give(controller, now):
                self.used += EVENT_SIZE
            else:
                self.blocked = 1
        self.read(config, ring_driver, now)

    def next_deadline(self) -> u64:
        """When `move` has something to do though nothing else happens."""
        if self.has_event():
            return NEVER if self.blocked else self.after
        return self.read_after if self.read_after else NEVER

    def flush(self) -> None:
        """Nothing is written."""

    def idle(self, controller: KeyboardController, ring_driver: RingDriver) -> bool:
        """Nothing is to be waited for at the machine's end."""
        return True

    # ---- events ---------------------------------------------------------------------------

    def has_event(self) -> bool:
        """Whether a whole one is there."""
        return self.used + EVENT_SIZE <= self.count

    def give(self, controller: KeyboardController, now: u64) -> bool:
        """Do the next event; False: the guest can't take it yet."""
        match self.buffer[self.used]:
            case EventKind.PRESS:
                if not controller.takes_keys():
                    return False
                controller.press(self.word(EVENT_CODE), now)
                if self.used + 2 * EVENT_SIZE <= self.count:
                    controller.stop_repeating()  # what follows is there, and may come late
                self.after = u64(now + PACE)
            case EventKind.RELEASE:
                if not controller.takes_keys():
                    return False
                controller.release(self.word(EVENT_CODE), now)
                self.after = u64(now + PACE)
            case EventKind.POINTER:
                if not controller.takes_pointer():
                    return False
                x, y = signed(self.word(EVENT_X)), signed(self.word(EVENT_Y))
                wheel = signed(self.word(EVENT_WHEEL))
                return controller.move(x, y, wheel, self.buffer[self.used + EVENT_BUTTONS], now)
            case EventKind.WAIT:
                self.after = u64(now + self.word(EVENT_CODE) * MILLISECOND)
            case _:
                pass
        return True

    def word(self, offset: u8) -> u16:
        """16 bits of the next event."""
        place = u32(self.used + offset)
        return self.buffer[place] | self.buffer[place + 1] << 8

    # ---- the file -------------------------------------------------------------------------

    def take_read(self, ring_driver: RingDriver, now: u64) -> None:
        """Look whether the last read has brought something."""
        if not ring_driver.take_answer(Owner.EVENTS):
            return
        result = ring_driver.result_of(Owner.EVENTS)
        if result > 0:
            self.count = u16(min(self.count + u32(result), ROOM))
        elif result == -Errno.EAGAIN:
            self.read_after = u64(now + RETRY)
        elif result != -Errno.EINTR:
            self.ended = 1

    def read(self, config: Config, ring_driver: RingDriver, now: u64) -> None:
        """Ask for more once all is given but for a part of an event, which moves to the front."""
        if self.ended or self.has_event() or now < self.read_after:
            return
        self.read_after = 0
        if ring_driver.busy(Owner.EVENTS):
            return
        rest = u16(self.count - self.used)
        for i in range(rest):
            self.buffer[i] = self.buffer[self.used + i]
        self.count = rest
        self.used = 0
        place = u64(address_of(self.buffer) + rest)
        ring_driver.read_stream(
            Owner.EVENTS, config.events.file, place, u32(ROOM - rest), config.ring
        )


def signed(value: u16) -> i32:
    """What 16 bits say in two's complement."""
    return value - 0x10000 if value & 0x8000 else value
