"""What is done at keyboard, mouse and tablet, as it comes from the host: abi/events.py.

An event is given to a device when the guest has read what the one before sent, and a key no sooner
than a quick typist presses it: so none is lost, not in the keyboard's buffer of 16 bytes, nor in
those of drivers that read at once and keep little, as a BIOS does. Till then the events stay in the
file.
"""

from vestige.abi import EVENT_CODE, EVENT_SIZE, Config, EventKind
from vestige.lang.enumeration import IntEnum
from vestige.lang.intrinsics import address_of
from vestige.lang.types import Struct, i32, u8, u16, u32, u64
from vestige.monitor.clock import MILLISECOND
from vestige.monitor.drivers.ring.driver import Owner, RingDriver
from vestige.monitor.drivers.ring.spec import Errno
from vestige.monitor.line import NEVER
from vestige.monitor.streams import RETRY

ROOM = 16 * EVENT_SIZE  # bytes
PACE = 10 * MILLISECOND  # from a key's going down or up to the next


class Taken(IntEnum):
    """What a device says of an event that it is offered."""

    NOT_MINE = 0
    DONE = 1
    LATER = 2  # the guest can't take it yet


class EventStream(Struct):
    """Those that wait. Times are nanoseconds."""

    buffer: u8[ROOM]
    count: u16  # bytes in it
    used: u16  # how many of them have been given
    present: u8  # there are events
    ended: u8  # nothing comes any more
    blocked: u8  # 1: the next event waits for the guest, not for a time
    after: u64  # no event before this time
    read_after: u64  # nothing is read before this time

    def connect(self, config: Config) -> None:
        """Power on; the struct is all zeroes. Without a file, or a ring to reach it, nothing
        comes.
        """
        self.present = config.events.present and config.ring.present
        self.ended = 0

    def next_deadline(self) -> u64:
        """When there is something to do though nothing else happens."""
        if self.has_event():
            return NEVER if self.blocked else self.after
        return self.read_after if self.read_after else NEVER

    # ---- the next event -------------------------------------------------------------------

    def has_event(self) -> bool:
        """Whether a whole one is there."""
        return self.used + EVENT_SIZE <= self.count

    def is_followed(self) -> bool:
        """Whether the one behind the next is there, too."""
        return self.used + 2 * EVENT_SIZE <= self.count

    def is_due(self, now: u64) -> bool:
        """Whether the next one is to be offered; a wait that is due begins, and is over."""
        while self.has_event() and now >= self.after and not self.blocked:
            if self.byte(0) != EventKind.WAIT:
                return True
            self.after = u64(now + self.word(EVENT_CODE) * MILLISECOND)
            self.used += EVENT_SIZE
        return False

    def was_offered(self, taken: u8) -> None:
        """What came of it. One that is nobody's is dropped."""
        if taken == Taken.LATER:
            self.blocked = 1
        else:
            self.used += EVENT_SIZE

    def pause(self, now: u64) -> None:
        """No key at once behind this one."""
        self.after = u64(now + PACE)

    def byte(self, offset: u8) -> u8:
        """One of the next event's."""
        return self.buffer[u32(self.used + offset)]

    def word(self, offset: u8) -> u16:
        """16 bits of it."""
        return self.byte(offset) | self.byte(u8(offset + 1)) << 8

    def signed(self, offset: u8) -> i32:
        """What they say in two's complement."""
        value = self.word(offset)
        return value - 0x10000 if value & 0x8000 else value

    # ---- the file -------------------------------------------------------------------------

    def take_read(self, ring_driver: RingDriver, now: u64) -> None:
        """Look whether the last read has brought something."""
        self.blocked = 0
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
