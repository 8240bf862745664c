"""The interval timer: expires after each period that has passed, and interrupts. `spec.py`."""

from tests.visitor.interval_timer.spec import Control, Register, Status
from vestige.lang.types import Struct, u8, u32, u64
from vestige.monitor.line import NEVER, Line
from vestige.monitor.sized import byte_of

MICROSECOND = 1000  # nanoseconds


class IntervalTimer(Struct):
    """Times are in nanoseconds. Periods that pass unseen are one with the next."""

    period: u32  # microseconds
    count: u32
    accesses: u32
    control: u8
    status: u8
    interval: u64  # the period that it runs with
    deadline: u64  # when it expires next; NEVER: it does not run
    line: Line

    def reset(self) -> None:
        """It does not run."""
        self.deadline = NEVER

    # ---- the guest ------------------------------------------------------------------------

    def read(self, offset: u32, size: u8, now: u64) -> u64:
        """1 to 8 bytes."""
        self.expire(now)
        self.accesses += 1
        value = u64(0)
        for i in range(8):
            if i < size:
                value |= u64(self.byte(u32(offset + i)) << 8 * i)
        return value

    def write(self, offset: u32, size: u8, value: u64, now: u64) -> None:
        """1 to 8 bytes, one after the other."""
        self.expire(now)
        self.accesses += 1
        for i in range(8):
            if i < size:
                self.set_byte(u32(offset + i), byte_of(value, i), now)

    def byte(self, offset: u32) -> u8:
        """The byte at `offset`."""
        match offset & ~3:
            case Register.PERIOD:
                return byte_of(self.period, offset & 3)
            case Register.COUNT:
                return byte_of(self.count, offset & 3)
            case Register.ACCESSES:
                return byte_of(self.accesses, offset & 3)
        match offset:
            case Register.CONTROL:
                return self.control
            case Register.STATUS:
                return self.status
            case _:
                return 0

    def set_byte(self, offset: u32, value: u8, now: u64) -> None:
        """Write the byte at `offset`."""
        match offset:
            case Register.CONTROL:
                self.control = value & Control.WRITABLE
                self.start(now)
            case Register.STATUS:
                self.status &= ~value
            case _:
                if offset < Register.COUNT:
                    shift = 8 * (offset & 3)
                    self.period = u32(self.period & ~(0xFF << shift) | value << shift)
        self.update_line()

    # ---- the core -------------------------------------------------------------------------

    def next_deadline(self) -> u64:
        """When it expires."""
        return self.deadline

    def expire(self, now: u64) -> None:
        """Time has passed."""
        if self.deadline <= now:
            self.count += 1
            self.status |= Status.EXPIRED
            self.deadline = u64(now + self.interval)
            self.update_line()

    # ---- inside ---------------------------------------------------------------------------

    def start(self, now: u64) -> None:
        """Begin a period, or stand still."""
        self.deadline = NEVER
        self.interval = self.period * MICROSECOND
        if self.control & Control.RUN and self.period != 0:
            self.deadline = u64(now + self.interval)

    def update_line(self) -> None:
        """The line follows the status."""
        expired = self.status & Status.EXPIRED != 0
        self.line.set(expired and self.control & Control.INTERRUPT != 0)
