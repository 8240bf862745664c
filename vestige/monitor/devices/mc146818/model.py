"""The MC146818A, a PC's real-time clock, with its CMOS RAM. Motorola MC146818A data sheet.

The clock costs nothing while nobody looks: at an access, and when an interrupt is due, it makes up
for the seconds since. They are counted from one time on, so it never drifts.
"""

from vestige.abi import KIB, MIB, Config, FloppyDrive
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.clock import SECOND
from vestige.monitor.devices.mc146818.alarm import ANY, until_alarm
from vestige.monitor.devices.mc146818.calendar import date_of, day_number
from vestige.monitor.devices.mc146818.spec import (
    AFTERNOON,
    BASE_KIB,
    BEFORE_UPDATE,
    CELLS,
    COPROCESSOR,
    CRYSTAL,
    DISK_THEN_CD,
    DONT_CARE,
    EXTENDED_KIB,
    FIRST_UPDATE,
    FLOPPY,
    PERIODS,
    POINTER,
    RESET_A,
    RESET_B,
    RESUMING,
    RUNNING,
    SECOND_FLOPPY,
    SUMMED_END,
    SUMMED_FIRST,
    UPDATE,
    VALID,
    Cell,
    Port,
    RegisterA,
    RegisterB,
    RegisterC,
)
from vestige.monitor.line import NEVER, Line
from vestige.monitor.sized import byte_of

IN_PROGRESS = BEFORE_UPDATE + UPDATE  # ns: UIP, at the end of each second
DAY = 86_400  # seconds
EPOCH = day_number(1970, 1, 1)
THURSDAY = 5  # which that was
CHUNK = 64 * KIB
NOTHING = 0xFF  # drives the bus: what a read of the index port gives
NO_MATCH = 0xFF  # of an alarm's cell: no time has that value


class Mc146818(Struct):
    """`read` and `write` are the guest's, the rest is the core's. Times are in nanoseconds."""

    index: u8  # the cell at the data port
    cells: u8[CELLS]  # registers and RAM, right at `seen`
    second: u64  # when the second began in which `seen` is, modulo 2^64
    seen: u64
    deadline: u64  # when a flag comes that interrupts; NEVER: none does
    line: Line  # IRQ, asserted while IRQF is set

    def reset(self) -> None:
        """Power on. The clock runs in BCD and 24 hours; RAM is 0."""
        self.cells[Cell.REGISTER_A] = RESET_A
        self.cells[Cell.REGISTER_B] = RESET_B
        self.cells[Cell.REGISTER_D] = VALID
        self.deadline = NEVER

    def configure(self, config: Config) -> None:
        """Show `config.date` at power-on, and tell firmware how large the machine is."""
        self.second = config.power_on
        self.seen = config.power_on
        days = config.date // DAY
        self.set_time(config.date % DAY)
        self.set_date(u64(days + EPOCH))
        self.cells[Cell.DAY_OF_WEEK] = (days + THURSDAY - 1) % 7 + 1
        low = config.ram.low_size
        extended = min(max(low, MIB) - MIB, EXTENDED_KIB * KIB) // KIB
        self.cells[Cell.EQUIPMENT] = COPROCESSOR | POINTER | self.floppies(config)
        self.set_bytes(Cell.BASE_MEMORY, 2, BASE_KIB)
        self.set_bytes(Cell.EXTENDED_MEMORY, 2, extended)
        self.set_bytes(Cell.EXTENDED_MEMORY_FOUND, 2, extended)
        self.set_bytes(Cell.MEMORY_ABOVE_16_MIB, 2, (max(low, 16 * MIB) - 16 * MIB) // CHUNK)
        self.set_bytes(Cell.MEMORY_ABOVE_4_GIB, 3, config.ram.high_size // CHUNK)
        self.cells[Cell.CPUS] = config.cpus - 1
        self.cells[Cell.BOOT_ORDER] = DISK_THEN_CD
        total: u32 = 0
        for cell in range(SUMMED_FIRST, SUMMED_END):
            total = u32(total + self.cells[cell])
        self.cells[Cell.SUM_HIGH] = total >> 8
        self.cells[Cell.SUM_LOW] = total

    def floppies(self, config: Config) -> u8:
        """Tell firmware of the drives; what the equipment is of them."""
        first, second = config.floppies[0], config.floppies[1]
        self.cells[Cell.FLOPPIES] = u8(first << 4 | second)
        if first == FloppyDrive.NONE:
            return 0
        return FLOPPY | (SECOND_FLOPPY if second else 0)

    # ---- the guest ------------------------------------------------------------------------

    def is_quiet_read(self, offset: u32) -> bool:
        """Whether a read changes nothing: of the index port, where nothing drives the bus."""
        return offset != Port.DATA

    def read(self, offset: u8, size: u8, now: u64) -> u8:
        """A port read; `size` 1."""
        if offset != Port.DATA:
            return NOTHING
        self.catch_up(now)
        index = self.index & CELLS - 1
        value = self.cells[index]
        if index == Cell.REGISTER_A and self.update_in_progress():
            value |= RegisterA.UPDATE_IN_PROGRESS
        elif index == Cell.REGISTER_C:
            self.cells[index] = 0
            self.drive()
        return value

    def write(self, offset: u8, size: u8, value: u8, now: u64) -> None:
        """A port write; `size` 1. Registers C and D can't be written."""
        if offset != Port.DATA:
            self.index = value & CELLS - 1
            return
        self.catch_up(now)
        index = self.index & CELLS - 1
        match index:
            case Cell.REGISTER_A:
                self.set_register_a(value)
            case Cell.REGISTER_B:
                self.set_register_b(value)
            case Cell.REGISTER_C | Cell.REGISTER_D:
                return
            case _:
                self.cells[index] = value
        self.drive()

    def set_register_a(self, value: u8) -> None:
        """Choose divider and rate. The first update is half a second after the divider starts."""
        stood = not self.running()
        self.cells[Cell.REGISTER_A] = value & (RegisterA.DIVIDER | RegisterA.RATE)
        if stood:
            self.second = u64(self.seen + FIRST_UPDATE + UPDATE - SECOND)

    def set_register_b(self, value: u8) -> None:
        """Choose interrupts and format. SET clears UIE."""
        if value & RegisterB.SET:
            value &= 0xFF ^ RegisterB.UPDATE_ENDED
        self.cells[Cell.REGISTER_B] = value

    # ---- the core -------------------------------------------------------------------------

    def next_deadline(self) -> u64:
        """When the line rises; NEVER: not by itself, or it is up."""
        return self.deadline

    def expire(self, now: u64) -> None:
        """Raise the line if that is due."""
        if now >= self.deadline:
            self.catch_up(now)

    def resumes(self) -> bool:
        """Whether firmware goes on after a reset of the processors, by the shutdown code."""
        return self.cells[Cell.SHUTDOWN] in RESUMING

    # ---- inside: the divider and the flags --------------------------------------------------

    def running(self) -> bool:
        """Whether the divider counts: table 4, for the crystal that a PC has."""
        return self.cells[Cell.REGISTER_A] & RegisterA.DIVIDER == RUNNING

    def updating(self) -> bool:
        """Whether there is an update each second: Update cycle."""
        return self.running() and not self.has(RegisterB.SET)

    def update_in_progress(self) -> bool:
        """Register A, UIP, at `seen`: an update cycle is under way or near."""
        return self.updating() and u64(self.seen - self.second) >= SECOND - IN_PROGRESS

    def catch_up(self, now: u64) -> None:
        """Set the flags and the time as they are now. Periods that were missed are one flag."""
        if self.running():
            if self.has_edge_until(now):
                self.cells[Cell.REGISTER_C] |= RegisterC.PERIODIC
            seconds = u64(now - self.second) // SECOND
            if seconds != 0:
                self.second += seconds * SECOND
                if self.updating():
                    self.update(seconds)
        self.seen = now
        self.drive()

    def update(self, seconds: u64) -> None:
        """The update cycles of so many seconds, 1 or more."""
        self.cells[Cell.REGISTER_C] |= RegisterC.UPDATE_ENDED
        if seconds >= self.until_alarm():
            self.cells[Cell.REGISTER_C] |= RegisterC.ALARM
        time = u64(self.time() + seconds)
        self.set_time(time % DAY)
        if time >= DAY:
            self.next_days(time // DAY)

    def drive(self) -> None:
        """IRQF and the line, as flags and enables are; and when that changes by itself."""
        flags = self.cells[Cell.REGISTER_C] & RegisterC.FLAGS
        request = flags & self.cells[Cell.REGISTER_B] != 0
        self.cells[Cell.REGISTER_C] = flags | (RegisterC.REQUEST if request else 0)
        self.line.set(request)
        self.deadline = NEVER if request else self.next_flag()

    def next_flag(self) -> u64:
        """When the next flag comes whose interrupt is enabled."""
        enabled = self.cells[Cell.REGISTER_B]
        nearest = NEVER
        if not enabled & RegisterC.FLAGS or not self.running():
            return nearest
        if enabled & RegisterB.PERIODIC:
            nearest = self.next_edge()
        if self.updating():
            if enabled & RegisterB.UPDATE_ENDED:
                nearest = min(nearest, u64(self.second + SECOND))
            elif enabled & RegisterB.ALARM:
                seconds = self.until_alarm()
                if seconds != NEVER:
                    nearest = min(nearest, u64(self.second + seconds * SECOND))
        return nearest

    # ---- inside: periodic interrupts --------------------------------------------------------

    def period(self) -> u16:
        """Register A, RS: the period in those of the crystal; 0: there is none."""
        return PERIODS[self.cells[Cell.REGISTER_A] & RegisterA.RATE]

    def has_edge_until(self, now: u64) -> bool:
        """Whether the divider's selected tap has had an edge after `seen`."""
        period = self.period()
        time = u64(now - self.seen)
        if period == 0 or time >= SECOND:
            return period != 0
        position = u64(self.seen - self.second)
        return edges(position, period) != edges(u64(position + time), period)

    def next_edge(self) -> u64:
        """When that tap has its next edge; NEVER: none is selected."""
        period = self.period()
        if period == 0:
            return NEVER
        next_one = u64(edges(u64(self.seen - self.second), period) + 1)
        crystal = u64(next_one * period - period // 2)
        return u64(self.second - IN_PROGRESS + rounded_up(crystal))

    # ---- inside: time, date and alarm -------------------------------------------------------

    def time(self) -> u32:
        """The time of day that the cells say, in seconds; a day or more where it is none."""
        hour = self.hour_of(self.cells[Cell.HOURS])
        minute = self.number_of(self.cells[Cell.MINUTES])
        return hour * 3600 + minute * 60 + self.number_of(self.cells[Cell.SECONDS])

    def set_time(self, time: u64) -> None:
        """Show a time of day, in seconds."""
        self.cells[Cell.HOURS] = self.hour_as_cell(u8(time // 3600))
        self.cells[Cell.MINUTES] = self.as_cell(u8(time // 60 % 60))
        self.cells[Cell.SECONDS] = self.as_cell(u8(time % 60))

    def next_days(self, days: u64) -> None:
        """So many midnights, 1 or more. The day of the week counts on from what was written."""
        century = self.number_of(self.cells[Cell.CENTURY])
        year = century * 100 + self.number_of(self.cells[Cell.YEAR])
        month = min(max(self.number_of(self.cells[Cell.MONTH]), 1), 12)
        day = self.number_of(self.cells[Cell.DAY])
        self.set_date(u64(day_number(year, month, day) + days))
        weekday = self.number_of(self.cells[Cell.DAY_OF_WEEK])
        self.cells[Cell.DAY_OF_WEEK] = u64(weekday + 6 + days) % 7 + 1

    def set_date(self, number: u64) -> None:
        """Show a day, by the number that the calendar gives it."""
        year, month, day = date_of(number)
        self.cells[Cell.CENTURY] = self.as_cell(u8(year // 100))
        self.cells[Cell.YEAR] = self.as_cell(u8(year % 100))
        self.cells[Cell.MONTH] = self.as_cell(u8(month))
        self.cells[Cell.DAY] = self.as_cell(u8(day))

    def until_alarm(self) -> u64:
        """The seconds to the next update that sets AF; NEVER: none does."""
        hour = self.alarm(Cell.HOURS_ALARM)
        minute = self.alarm(Cell.MINUTES_ALARM)
        second = self.alarm(Cell.SECONDS_ALARM)
        if max(hour, minute, second) == NO_MATCH:
            return NEVER
        return until_alarm(self.time(), hour, minute, second)

    def alarm(self, cell: u8) -> u8:
        """What an alarm's cell waits for: a number, ANY or NO_MATCH."""
        value = self.cells[cell]
        if value & DONT_CARE == DONT_CARE:
            return ANY
        if cell == Cell.HOURS_ALARM:
            hour = self.hour_of(value)
            return hour if hour < 24 and self.hour_as_cell(hour) == value else NO_MATCH
        number = self.number_of(value)
        return number if number < 60 and self.as_cell(number) == value else NO_MATCH

    def number_of(self, value: u8) -> u8:
        """What a cell's value means, in BCD or binary as DM has it."""
        if self.has(RegisterB.BINARY):
            return value
        return (value >> 4) * 10 + (value & 0xF)

    def as_cell(self, number: u8) -> u8:
        """A number of two digits as a cell has it."""
        return number if self.has(RegisterB.BINARY) else u8(number // 10 << 4 | number % 10)

    def hour_of(self, value: u8) -> u8:
        """What HOURS or HOURS_ALARM means, from 0 on."""
        if self.has(RegisterB.HOURS_24):
            return self.number_of(value)
        hour = self.number_of(value & (AFTERNOON - 1)) % 12
        return hour + 12 if value & AFTERNOON else hour

    def hour_as_cell(self, hour: u8) -> u8:
        """An hour from 0 on as these have it: 12 is midnight or noon where there are 12."""
        if self.has(RegisterB.HOURS_24):
            return self.as_cell(hour)
        value = self.as_cell((hour + 11) % 12 + 1)
        return value | AFTERNOON if hour >= 12 else value

    def has(self, bit: u8) -> bool:
        """Whether a bit of register B is set."""
        return self.cells[Cell.REGISTER_B] & bit != 0

    def set_bytes(self, cell: u8, count: u8, value: u64) -> None:
        """Set so many cells to a value, the lowest byte first."""
        for i in range(count):
            self.cells[cell + i] = byte_of(value, i)


def edges(position: u64, period: u16) -> u64:
    """How many edges a tap has had since UIP rose in the second before; `position` in this, in ns.

    Update cycle, the figure of UIP and periodic interrupts: UIP rises halfway between two edges.
    `period` is in those of the crystal.
    """
    crystal = u64((position + IN_PROGRESS) * CRYSTAL) // SECOND
    return u64(crystal + period // 2) // max(period, 1)


def rounded_up(crystal: u64) -> u64:
    """The time after which so many of the crystal's periods have ended."""
    return u64(crystal * SECOND + CRYSTAL - 1) // CRYSTAL
