"""The 8254, and port 0x61. Intel 8254 and PIIX3 data sheets.

Counts are computed from the monitor's clock, so counting costs nothing. Only rising edges of OUT 0,
the ticks, have to come though nobody asks. The worker may be late by many of them: then they are
owed, and come later, never two at once.
"""

from vestige.lang.types import Struct, u8, u32, u64
from vestige.monitor.clock import SECOND
from vestige.monitor.devices.i8254.counter import Counter, Phase
from vestige.monitor.devices.i8254.spec import (
    ACCESS_SHIFT,
    CLOCK,
    COUNTERS,
    READ_BACK,
    REFRESH,
    SELECT_SHIFT,
    Mode,
    NmiStatus,
    ReadBack,
    Register,
)
from vestige.monitor.line import NEVER, Line

PATIENCE = 50_000  # ns: ticks of a period are no nearer to each other
FASTEST = 60  # pulses of CLK: some 50 us. Nothing is owed of a shorter period
MOST_OWED = 10 * CLOCK  # pulses of CLK: the ticks of 10 s


class Pit(Struct):
    """`read` and `write` are the guest's, the rest is the core's. Times are in nanoseconds."""

    line: Line  # OUT 0, but that it stays high until the next tick: to IRQ 0
    deadline: u64  # when the next tick is to come; NEVER: none is
    counters: Counter[COUNTERS]
    speaker: u8  # 1: SPEAKER is set
    owed: u32  # ticks that should have come
    followed: u64  # the pulse of CLK up to which ticks were counted
    ready: u64  # not sooner than this comes the next tick

    def reset(self) -> None:
        """Nothing counts. GATE 0 and 1 are wired high."""
        self.deadline = NEVER
        for i in range(COUNTERS):
            self.counters[i].reset()
            self.counters[i].gate = i != 2

    # ---- the guest ------------------------------------------------------------------------

    def read(self, offset: u8, size: u8, now: u64) -> u8:
        """A register read; `offset` 0 to 4, `size` 1. The control word can't be read."""
        pulse = self.settle(now)
        if offset < COUNTERS:
            return self.counters[offset].read(pulse)
        return self.nmi_status(pulse) if offset == Register.NMI_STATUS else 0xFF

    def write(self, offset: u8, size: u8, value: u8, now: u64) -> None:
        """A register write; `offset` 0 to 4, `size` 1."""
        pulse = self.settle(now)
        if offset < COUNTERS:
            self.counters[offset].write(value, pulse)
            if offset == 0:
                self.programmed(pulse)
        elif offset == Register.NMI_STATUS:
            self.speaker = value & NmiStatus.SPEAKER != 0
            self.counters[2].set_gate(value & NmiStatus.GATE_2 != 0, pulse)
        elif value >> SELECT_SHIFT == READ_BACK:
            self.read_back(value, pulse)
        else:
            self.write_control(value, pulse)

    def nmi_status(self, pulse: u64) -> u8:
        """Port 0x61. There is neither SERR# nor IOCHK#: their bits are 0."""
        status = u8(0)
        if self.counters[2].gate:
            status |= NmiStatus.GATE_2
        if self.speaker:
            status |= NmiStatus.SPEAKER
        if pulse // REFRESH & 1:
            status |= NmiStatus.REFRESH
        if self.counters[2].out(pulse):
            status |= NmiStatus.OUT_2
        return status

    def read_back(self, value: u8, pulse: u64) -> None:
        """Latch count or status, or both, of several counters."""
        for i in range(COUNTERS):
            if value & ReadBack.COUNTER_0 << i:
                if not value & ReadBack.NOT_COUNT:
                    self.counters[i].latch_count(pulse)
                if not value & ReadBack.NOT_STATUS:
                    self.counters[i].latch_status(pulse)

    def write_control(self, value: u8, pulse: u64) -> None:
        """A control word, or the command to latch a count. What counter 0 owes is forgotten."""
        number = value >> SELECT_SHIFT
        if value >> ACCESS_SHIFT & 3 == 0:
            self.counters[number].latch_count(pulse)
            return
        self.counters[number].write_control(value, pulse)
        if number == 0:
            self.owed = 0
            self.ready = 0
            self.programmed(pulse)

    # ---- the core -------------------------------------------------------------------------

    def next_deadline(self) -> u64:
        """When the next tick is to come."""
        return self.deadline

    def expire(self, now: u64) -> None:
        """Time has passed."""
        if self.deadline <= now:
            self.tick(now)

    # ---- inside ---------------------------------------------------------------------------

    def settle(self, now: u64) -> u64:
        """What was due until now comes before an access; the number of the latest pulse of CLK."""
        self.expire(now)
        pulse = pulses(now)
        self.follow(pulse)
        self.counters[1].settle(pulse)
        self.counters[2].settle(pulse)
        return pulse

    def programmed(self, pulse: u64) -> None:
        """Counter 0 was written. Only where it stands OUT can have changed."""
        if self.counters[0].phase == Phase.IDLE:
            self.line.set(self.counters[0].out(pulse))
        self.plan(pulse)

    def tick(self, now: u64) -> None:
        """One tick, if one is owed by now: an edge of its own."""
        pulse = pulses(now)
        self.follow(pulse)
        if self.owed:
            self.owed -= 1
            self.ready = u64(now + self.distance())
            self.line.set(False)
            self.line.set(True)
        self.plan(pulse)

    def follow(self, pulse: u64) -> None:
        """Count the ticks of counter 0 until a pulse, before a new count is loaded and after it."""
        load = self.counters[0].load
        if load <= pulse:
            self.owe(load)
            self.counters[0].settle(pulse)
        self.owe(pulse)

    def owe(self, pulse: u64) -> None:
        """The ticks until a pulse come to those owed, up to what ten seconds have."""
        counter = self.counters[0]
        base = counter.base
        most = 1
        if self.is_periodic() and base >= FASTEST:
            most = MOST_OWED // base
        rises = min(counter.rises(self.followed, pulse), most)
        self.owed = min(self.owed + rises, most)
        self.followed = pulse

    def plan(self, pulse: u64) -> None:
        """Find the next deadline."""
        if self.owed:
            self.deadline = self.ready
        else:
            self.deadline = max(time_of(self.counters[0].next_rise(pulse)), self.ready)

    def is_periodic(self) -> bool:
        """Whether counter 0 ticks again and again."""
        return self.counters[0].mode() in (Mode.RATE_GENERATOR, Mode.SQUARE_WAVE)

    def distance(self) -> u64:
        """From one tick to the next at least: half a period, so that those owed can come."""
        if not self.is_periodic():
            return 0
        return max(self.counters[0].base * (SECOND // 2) // CLOCK, PATIENCE)


def pulses(now: u64) -> u64:
    """How many pulses of CLK there were by a time, exactly: no product needs more than 64 bits."""
    seconds = now // SECOND
    rest = now % SECOND
    return u64(seconds * CLOCK + rest * CLOCK // SECOND)


def time_of(pulse: u64) -> u64:
    """The first nanosecond at or after a pulse of CLK; NEVER of NEVER."""
    if pulse == NEVER:
        return NEVER
    seconds = pulse // CLOCK
    rest = pulse % CLOCK
    return u64(seconds * SECOND + (rest * SECOND + CLOCK - 1) // CLOCK)
