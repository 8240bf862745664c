"""The HPET: a counter of 100 MHz and three comparators. IA-PC HPET Specification 1.0a.

The counter is the monitor's clock, from an offset: it costs nothing while nobody looks. A timer
knows the time at which the counter will equal its comparator, its deadline.
"""

from vestige.abi import HPET_IDENTITY
from vestige.lang.types import Struct, u8, u32, u64
from vestige.monitor.devices.hpet.spec import (
    PERIOD,
    RESET_TIMER,
    ROUTE_SHIFT,
    ROUTES,
    TIMER_STRIDE,
    TIMERS,
    Configuration,
    Register,
    TimerConfiguration,
)
from vestige.monitor.line import NEVER, Line
from vestige.monitor.sized import ONES, part_of

TICK = 10  # nanoseconds: PERIOD
PATIENCE = 50_000  # ns: a periodic timer interrupts no more often; what it misses is one with it


class Timer(Struct):
    """One comparator and its interrupt."""

    configuration: u32
    comparator: u64  # the value at which it fires next
    period: u64  # ticks, in periodic mode
    deadline: u64  # when that is; NEVER: not to be foreseen
    line: Line  # to pin `route`

    def has(self, bit: u32) -> bool:
        """Whether a bit of TimerConfiguration is set."""
        return self.configuration & bit != 0

    def route(self) -> u32:
        """The pin of the I/O APIC that it interrupts."""
        return (self.configuration & TimerConfiguration.ROUTE) >> ROUTE_SHIFT

    def mask(self) -> u64:
        """The bits of counter and comparator that it compares."""
        return ONES[4] if self.has(TimerConfiguration.MODE_32) else ONES[8]

    def configure(self, value: u32) -> None:
        """Set what can be set. A pin that it can't use is not taken, 2.3.8."""
        kept = self.configuration & ~TimerConfiguration.WRITABLE
        if not ROUTES >> ((value & TimerConfiguration.ROUTE) >> ROUTE_SHIFT) & 1:
            kept |= self.configuration & TimerConfiguration.ROUTE
            value &= ~TimerConfiguration.ROUTE
        self.configuration = kept | (value & TimerConfiguration.WRITABLE)
        self.comparator &= self.mask()
        self.period &= self.mask()

    def compare(self, value: u64, mask: u64) -> None:
        """Write the bits `mask` of the comparator.

        In periodic mode that is the period; the comparator too where SET_VALUE allows it, once.
        """
        value &= mask & self.mask()
        periodic = self.has(TimerConfiguration.PERIODIC)
        if not periodic or self.has(TimerConfiguration.SET_VALUE):
            self.comparator = (self.comparator & ~mask) | value
        if periodic:
            self.period = (self.period & ~mask) | value
        self.configuration &= ~TimerConfiguration.SET_VALUE

    def foresee(self, counter: u64, now: u64, again: bool) -> None:
        """Find the next deadline; `again`: it has just fired, which is not the next time."""
        ticks = u64(self.comparator - counter) & self.mask()
        if again and ticks == 0:
            ticks = 1 << 32 if self.has(TimerConfiguration.MODE_32) else ONES[8]
        start = now // TICK
        if ticks > NEVER // TICK - start - 1:
            self.deadline = NEVER
        else:
            self.deadline = u64((start + ticks) * TICK)

    def follow(self, counter: u64) -> None:
        """Let a periodic comparator follow the counter: beyond all periods that have passed."""
        if self.has(TimerConfiguration.PERIODIC) and self.period != 0:
            passed = u64(counter - self.comparator) & self.mask()
            steps = u64((passed // self.period + 1) * self.period)
            self.comparator = u64(self.comparator + steps) & self.mask()


class Hpet(Struct):
    """`read` and `write` are the guest's, the rest is the core's. Times are in nanoseconds."""

    configuration: u32
    status: u32
    counter: u64  # the counter while halted; while it runs, its distance to the clock's ticks
    timers: Timer[TIMERS]

    def reset(self) -> None:
        """Halted at 0."""
        for i in range(TIMERS):
            self.timers[i].configuration = RESET_TIMER
            self.timers[i].comparator = ONES[8]
            self.timers[i].deadline = NEVER

    # ---- the guest ------------------------------------------------------------------------

    def read(self, offset: u32, size: u8, now: u64) -> u64:
        """1 to 8 bytes of one aligned 64-bit register; what is reserved reads 0."""
        self.expire(now)
        return part_of(self.register(offset & ~7, now), offset & 7, size)

    def write(self, offset: u32, size: u8, value: u64, now: u64) -> None:
        """A register, or an aligned half of one; other writes do nothing.

        What was due until now comes first: a write must not undo it.
        """
        self.expire(now)
        if size == 8 and offset & 7 == 0:
            self.set_register(offset, value, ONES[8], now)
        elif size == 4 and offset & 3 == 0:
            shift = 8 * (offset & 4)
            half = value & ONES[4]
            self.set_register(offset & ~7, u64(half << shift), u64(ONES[4] << shift), now)

    def register(self, offset: u32, now: u64) -> u64:
        """The 64 bits at `offset`."""
        match offset:
            case Register.CAPABILITIES:
                return PERIOD << 32 | HPET_IDENTITY
            case Register.CONFIGURATION:
                return self.configuration
            case Register.STATUS:
                return self.status
            case Register.COUNTER:
                return self.count(now)
            case _:
                number, own = split(offset)
                if number >= TIMERS:
                    return 0
                timer = self.timers[number]
                if own == Register.TIMER_CONFIGURATION:
                    return ROUTES << 32 | timer.configuration
                return timer.comparator if own == Register.TIMER_COMPARATOR else 0

    def set_register(self, offset: u32, value: u64, mask: u64, now: u64) -> None:
        """Set the bits `mask` of the register at `offset`."""
        match offset:
            case Register.CONFIGURATION:
                if mask & 1:
                    self.configure(u32(value & Configuration.WRITABLE), now)
            case Register.STATUS:
                self.status &= u32(~value & ONES[4])
                self.update_lines()
            case Register.COUNTER:
                if not self.running():
                    self.counter = (self.counter & ~mask) | value
            case _:
                number, own = split(offset)
                if number < TIMERS:
                    self.set_timer(number, own, value, mask, now)

    def set_timer(self, number: u32, own: u32, value: u64, mask: u64, now: u64) -> None:
        """Write one of a timer's registers."""
        timer = self.timers[number]
        if own == Register.TIMER_CONFIGURATION and mask & 1:
            timer.configure(u32(value & ONES[4]))
            if not timer.has(TimerConfiguration.LEVEL):
                self.status &= ~(1 << (number & 7))
        elif own == Register.TIMER_COMPARATOR:
            timer.compare(value, mask)
        if self.running():
            timer.foresee(self.count(now), now, False)
        self.update_lines()

    def configure(self, value: u32, now: u64) -> None:
        """Let the counter run, or halt it where it is."""
        if value == self.configuration:
            return
        ticks = now // TICK
        if value & Configuration.ENABLE:
            self.counter -= ticks
        else:
            self.counter += ticks
        self.configuration = value
        for i in range(TIMERS):
            self.timers[i].deadline = NEVER
            if self.running():
                self.timers[i].foresee(self.count(now), now, False)
        self.update_lines()

    # ---- the core -------------------------------------------------------------------------

    def next_deadline(self) -> u64:
        """When the nearest timer fires. One that nobody would notice does not count."""
        if not self.running():
            return NEVER
        nearest = NEVER
        for i in range(TIMERS):
            timer = self.timers[i]
            if timer.has(TimerConfiguration.INTERRUPT | TimerConfiguration.LEVEL):
                nearest = min(nearest, timer.deadline)
        return nearest

    def expire(self, now: u64) -> None:
        """Fire what is due."""
        for i in range(TIMERS):
            if self.timers[i].deadline <= now:
                self.fire(i, now)

    # ---- inside ---------------------------------------------------------------------------

    def running(self) -> bool:
        """Whether the main counter runs."""
        return self.configuration & Configuration.ENABLE != 0

    def count(self, now: u64) -> u64:
        """The main counter."""
        return u64(self.counter + now // TICK) if self.running() else self.counter

    def fire(self, number: u32, now: u64) -> None:
        """The counter has reached a comparator: 2.3.8 and 2.3.6."""
        timer = self.timers[number]
        counter = self.count(now)
        timer.follow(counter)
        timer.foresee(counter, now, True)
        if timer.has(TimerConfiguration.PERIODIC):
            timer.deadline = max(timer.deadline, min(u64(now + PATIENCE), NEVER - 1))
        if timer.has(TimerConfiguration.LEVEL):
            self.status |= 1 << (number & 7)
        elif timer.has(TimerConfiguration.INTERRUPT):
            timer.line.set(True)
        self.update_lines()

    def update_lines(self) -> None:
        """The lines: as the status is in level mode; an edge has been seen already."""
        for i in range(TIMERS):
            timer = self.timers[i]
            level = timer.has(TimerConfiguration.LEVEL) and self.status & 1 << i != 0
            timer.line.set(level and timer.has(TimerConfiguration.INTERRUPT) and self.running())


def split(offset: u32) -> tuple[u32, u32]:
    """A timer's number and which of its registers; a number that isn't there for anything else."""
    if offset < Register.TIMER_CONFIGURATION:
        return TIMERS, 0
    inside = offset - Register.TIMER_CONFIGURATION
    return inside // TIMER_STRIDE, Register.TIMER_CONFIGURATION + inside % TIMER_STRIDE
