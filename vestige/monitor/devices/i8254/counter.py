"""One counter of an 8254. Intel 8254 data sheet, Mode Definitions; names are the data sheet's.

Times are pulses of CLK since the clock's zero. A counter does nothing between accesses: it knows at
which pulse its counting element had which value, and so what it has at any later one.
"""

from enum import IntEnum

from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.i8254.spec import (
    ACCESS_SHIFT,
    MODE_SHIFT,
    Access,
    Control,
    Mode,
    Status,
)
from vestige.monitor.line import NEVER

BINARY, DECIMAL = 0x1_0000, 10_000  # what a count of 0 is


class Phase(IntEnum):
    """What the counting element does."""

    IDLE = 0  # it stands: nothing was loaded since the control word
    HELD = 1  # it stands while GATE is low
    COUNTING = 2


class Counter(Struct):
    """`settle` comes before any other call at a later pulse."""

    control: u8  # Control.KEPT
    gate: u8  # GATE, 0 or 1
    phase: u8  # Phase
    null_count: u8
    count: u32  # what the count register says; 0: nothing was written since the control word
    load: u64  # the pulse at which that is loaded; NEVER: it isn't to be foreseen
    since: u64  # the pulse at which the counting element was loaded, or went on
    base: u32  # what it had then; what it has, while it stands
    zero: u64  # the pulse at which it first reaches 0; NEVER: not while it stands
    high: u8  # OUT at `since`, in mode 3
    low_byte: u8  # the first of two that are written
    second_write: u8  # the next byte written is the second of two
    second_read: u8  # the same of those read, if no count is latched
    latched: u16  # the count that is
    unread: u8  # Access: the bytes of it that are still to be read
    status: u8  # the status that is latched
    status_latched: u8

    def reset(self) -> None:
        """The data sheet leaves all undefined: as after a control word of two bytes, mode 0."""
        self.write_control(Access.BOTH << ACCESS_SHIFT, 0)

    # ---- the guest ------------------------------------------------------------------------

    def write_control(self, value: u8, pulse: u64) -> None:
        """Operations Common to All Modes: control logic is reset, OUT is at once as at first."""
        self.stop(Phase.IDLE, pulse)
        self.control = value & Control.KEPT
        self.null_count = 1
        self.count = 0
        self.load = NEVER
        self.second_write = 0
        self.second_read = 0
        self.unread = 0
        self.status_latched = 0

    def write(self, value: u8, pulse: u64) -> None:
        """Write Operations. In mode 0 the first byte of two stops it, and OUT is low."""
        match self.access():
            case Access.LOW:
                self.write_count(value, pulse)
            case Access.HIGH:
                self.write_count(value << 8, pulse)
            case _ if self.second_write:
                self.second_write = 0
                self.write_count(value << 8 | self.low_byte, pulse)
            case _:
                self.second_write = 1
                self.low_byte = value
                if self.mode() == Mode.TERMINAL_COUNT:
                    self.stop(Phase.IDLE, pulse)
                    self.load = NEVER

    def write_count(self, value: u16, pulse: u64) -> None:
        """When it is loaded the modes say: by the next pulse, at a trigger, when a cycle ends."""
        self.count = decimal(value) or DECIMAL if self.has(Control.BCD) else value or BINARY
        self.null_count = 1
        match self.mode():
            case Mode.TERMINAL_COUNT:
                self.stop(Phase.IDLE, pulse)
                self.load = pulse + 1
            case Mode.SOFTWARE_STROBE:
                self.load = pulse + 1
            case Mode.RATE_GENERATOR | Mode.SQUARE_WAVE:
                if self.phase == Phase.IDLE:
                    self.load = pulse + 1
                elif self.phase == Phase.COUNTING:
                    self.load = self.cycle_end(pulse)

    def read(self, pulse: u64) -> u8:
        """Read Operations: the latched status, then the latched count, else the count as it is."""
        if self.status_latched:
            self.status_latched = 0
            return self.status
        if self.unread:
            if self.unread & Access.LOW:
                self.unread &= Access.HIGH
                return self.latched & 0xFF
            self.unread = 0
            return self.latched >> 8
        count = self.shown(pulse)
        high = self.access() == Access.HIGH
        if self.access() == Access.BOTH:
            high = self.second_read != 0
            self.second_read ^= 1
        return count >> 8 if high else count & 0xFF

    def latch_count(self, pulse: u64) -> None:
        """Counter Latch Command. A second one is ignored until the count has been read."""
        if not self.unread:
            self.latched = self.shown(pulse)
            self.unread = self.access()

    def latch_status(self, pulse: u64) -> None:
        """Read-Back Command. A second one is ignored until the status has been read."""
        if not self.status_latched:
            self.status_latched = 1
            self.status = self.control
            if self.null_count:
                self.status |= Status.NULL_COUNT
            if self.out(pulse):
                self.status |= Status.OUT

    def set_gate(self, level: bool, pulse: u64) -> None:
        """Drive GATE. Gate Pin Operations Summary: what its edges do in each mode."""
        before = self.gate != 0
        self.gate = level
        if level and not before:
            self.rise(pulse)
        elif before and not level:
            self.fall(pulse)

    def rise(self, pulse: u64) -> None:
        """GATE rises: a trigger in modes 1, 2, 3 and 5; in the others counting goes on."""
        match self.mode():
            case Mode.ONE_SHOT | Mode.HARDWARE_STROBE:
                if self.count:
                    self.load = pulse + 1
            case Mode.RATE_GENERATOR | Mode.SQUARE_WAVE:
                if self.phase == Phase.HELD:
                    self.load = pulse + 1
            case _:
                if self.phase == Phase.HELD:
                    self.phase = Phase.COUNTING
                    self.since = pulse
                    if self.zero == NEVER:
                        self.zero = pulse + self.base

    def fall(self, pulse: u64) -> None:
        """GATE falls, or is low when a count is loaded: it stands, but in modes 1 and 5."""
        if self.phase != Phase.COUNTING:
            return
        match self.mode():
            case Mode.ONE_SHOT | Mode.HARDWARE_STROBE:
                pass
            case Mode.RATE_GENERATOR | Mode.SQUARE_WAVE:
                self.stop(Phase.HELD, pulse)
                self.load = NEVER
            case _:
                self.stop(Phase.HELD, pulse)
                if self.zero > pulse:
                    self.zero = NEVER

    # ---- time -----------------------------------------------------------------------------

    def settle(self, pulse: u64) -> None:
        """Pulses have come until this one: load what was to be loaded."""
        load = self.load
        if load > pulse:
            return
        self.high = self.phase != Phase.COUNTING or self.out(load)
        self.load = NEVER
        self.null_count = 0
        self.since = load
        self.base = self.count
        self.zero = load + self.count
        self.phase = Phase.COUNTING
        if not self.gate:
            self.fall(load)

    def out(self, pulse: u64) -> bool:
        """The output OUT."""
        mode = self.mode()
        if self.phase == Phase.IDLE:
            return mode != Mode.TERMINAL_COUNT
        match mode:
            case Mode.TERMINAL_COUNT | Mode.ONE_SHOT:
                return pulse >= self.zero
            case Mode.SOFTWARE_STROBE | Mode.HARDWARE_STROBE:
                return pulse != self.zero
            case _ if self.phase == Phase.HELD:
                return True
            case Mode.RATE_GENERATOR:
                return self.position(pulse) + 1 != self.base
            case _:
                return (self.position(pulse) < self.first_half()) == (self.high != 0)

    def element(self, pulse: u64) -> u32:
        """What the counting element has. In mode 3 it goes by twos, from an even number."""
        base = self.base
        if self.phase != Phase.COUNTING:
            return base
        match self.mode():
            case Mode.RATE_GENERATOR:
                return u32(base - self.position(pulse))
            case Mode.SQUARE_WAVE:
                position = self.position(pulse)
                half = self.first_half()
                if position >= half:
                    position = position - half
                return u32((base & ~1) - 2 * position)
            case _:
                passed = u64(pulse - self.since)
                if passed <= base:
                    return u32(base - passed)
                most = self.modulus()  # below 0 it goes on from the highest number
                return u32(most - u64(passed - base) % most) % most

    def cycle_end(self, pulse: u64) -> u64:
        """When a count that is written now is loaded: in mode 3 half a cycle has its end, too."""
        position = self.position(pulse)
        left = u64(self.base - position)
        if self.mode() == Mode.SQUARE_WAVE and position < self.first_half():
            left = u64(self.first_half() - position)
        return u64(pulse + left)

    # ---- rising edges of OUT while GATE is always high ------------------------------------

    def rises(self, after: u64, until: u64) -> u64:
        """How many there were after one pulse until another, of what is loaded."""
        if self.phase != Phase.COUNTING:
            return 0
        match self.mode():
            case Mode.RATE_GENERATOR | Mode.SQUARE_WAVE:
                return u64(self.cycles(until) - self.cycles(after))
            case Mode.SOFTWARE_STROBE:
                return after <= self.zero < until
            case _:
                return after < self.zero <= until

    def next_rise(self, after: u64) -> u64:
        """The first after a pulse, of what is loaded and of what will be; NEVER: there is none."""
        rise = NEVER
        if self.phase == Phase.COUNTING:
            rise = self.first_rise(self.since, self.base, self.high == 0, after)
        load = self.load
        if rise <= load:
            return rise
        low = self.phase == Phase.COUNTING and not self.out(load)
        return self.first_rise(load, self.count, low, load)

    def first_rise(self, since: u64, count: u32, low: bool, after: u64) -> u64:
        """The first after a pulse, of a count loaded at `since`; `low`: mode 3's OUT is then."""
        match self.mode():
            case Mode.RATE_GENERATOR | Mode.SQUARE_WAVE:
                if count < 2:
                    return NEVER
                first = u64(since + count)
                if low and self.mode() == Mode.SQUARE_WAVE:
                    first = u64(since + count // 2)
                if after < first:
                    return first
                return u64(first + (u64(after - first) // count + 1) * count)
            case Mode.SOFTWARE_STROBE:
                first = u64(since + count + 1)
            case _:
                first = u64(since + count)
        return first if after < first else NEVER

    def cycles(self, pulse: u64) -> u64:
        """How often OUT has risen since the count was loaded, in modes 2 and 3."""
        base = self.base
        if base < 2:
            return 0
        passed = u64(pulse - self.since)
        if self.mode() == Mode.SQUARE_WAVE and not self.high:
            passed = u64(passed + base - base // 2)
        return passed // base

    # ---- inside ---------------------------------------------------------------------------

    def has(self, bits: u8) -> bool:
        """Whether one of these of Control is set."""
        return self.control & bits != 0

    def access(self) -> u8:
        """An Access."""
        return self.control >> ACCESS_SHIFT & 3

    def mode(self) -> u8:
        """A Mode."""
        mode = self.control >> MODE_SHIFT & 7
        return mode if mode <= Mode.HARDWARE_STROBE else mode & 3

    def modulus(self) -> u32:
        """How many numbers the counting element has."""
        return DECIMAL if self.has(Control.BCD) else BINARY

    def stop(self, phase: u8, pulse: u64) -> None:
        """The counting element stands."""
        self.base = self.element(pulse)
        self.phase = phase

    def position(self, pulse: u64) -> u32:
        """How far the cycle is, in modes 2 and 3."""
        return u32(u64(pulse - self.since) % self.base)

    def first_half(self) -> u32:
        """How long OUT stays as it was when the count was loaded, in mode 3: high is longer."""
        return (self.base + 1) // 2 if self.high else self.base // 2

    def shown(self, pulse: u64) -> u16:
        """The counting element as the guest reads it."""
        count = self.element(pulse)
        if not self.has(Control.BCD):
            return count & 0xFFFF
        shown: u16 = 0
        for shift in (0, 4, 8, 12):
            shown |= count % 10 << shift
            count //= 10
        return shown


def decimal(value: u16) -> u16:
    """A count of four digits. A digit above 9, which is none, is worth what it says."""
    return (value >> 12) * 1000 + (value >> 8 & 0xF) * 100 + (value >> 4 & 0xF) * 10 + (value & 0xF)
