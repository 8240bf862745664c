"""Our MC146818 and QEMU's side by side: the same accesses at the same times, the same answers.

What QEMU does otherwise (see the device's page) is left out here, or hidden in the answer.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.qtest.virtual_clock import SHORTEST, VirtualClock
from vestige import abi
from vestige.monitor.clock import SECOND
from vestige.monitor.devices.mc146818.model import IN_PROGRESS, Mc146818
from vestige.monitor.devices.mc146818.place import PORT_INDEX
from vestige.monitor.devices.mc146818.spec import (
    AFTERNOON,
    CRYSTAL,
    DONT_CARE,
    PERIODS,
    RESET_A,
    RUNNING,
    Cell,
    Port,
    RegisterA,
    RegisterB,
    RegisterC,
)

IRQ = 8
ACTIONS = 25  # in one sequence
BASE = datetime(2026, 11, 29, 12, 34, 56, tzinfo=UTC)
ARGUMENTS = ["-rtc", f"base={BASE:%Y-%m-%dT%H:%M:%S},clock=vm"]
QEMU_UIP = 244_140  # ns that UIP is set for
EARLIEST, LATEST = datetime(1980, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
TIMES = (
    Cell.SECONDS, Cell.MINUTES, Cell.HOURS, Cell.DAY_OF_WEEK,
    Cell.DAY, Cell.MONTH, Cell.YEAR, Cell.CENTURY,
)  # fmt: skip
ALARMS = (Cell.SECONDS_ALARM, Cell.MINUTES_ALARM, Cell.HOURS_ALARM)
REGISTERS = (Cell.REGISTER_A, Cell.REGISTER_B, Cell.REGISTER_C, Cell.REGISTER_D)
RAM = (0x0E, *range(0x10, 0x32), *range(0x38, 0x80))  # 0x37 is QEMU's second century
ENABLES = RegisterB.PERIODIC | RegisterB.ALARM | RegisterB.UPDATE_ENDED
ALL = 0xFF


@dataclass(frozen=True)
class Access:
    """One access to a cell; `value` None reads. The bits `compared` of an answer count."""

    cell: int
    value: int | None = None
    compared: int = ALL

    def __str__(self) -> str:
        """As in a log."""
        what = f"{self.cell:#04x}"
        return f"read {what}" if self.value is None else f"{what} := {self.value:#04x}"


@dataclass(frozen=True)
class Pause:
    """Time passes: so many nanoseconds, or up to so many `before` the next second."""

    length: int = 0
    before: int | None = None

    def __str__(self) -> str:
        """As in a log."""
        return f"wait {self.length}" if self.before is None else f"wait until -{self.before}"

    def after(self, now: int) -> int:
        """How long it is, now."""
        return self.length if self.before is None else (-now - self.before) % SECOND


Action = Access | Pause


@dataclass(frozen=True)
class Format:
    """How the clock's cells are to be read."""

    binary: bool = False
    hours_24: bool = True

    @property
    def bits(self) -> int:
        """In register B."""
        return RegisterB.BINARY * self.binary | RegisterB.HOURS_24 * self.hours_24

    def number(self, value: int) -> int:
        """A number of two digits."""
        return value if self.binary else value // 10 << 4 | value % 10

    def hour(self, hour: int) -> int:
        """An hour from 0 to 23."""
        if self.hours_24:
            return self.number(hour)
        return self.number((hour + 11) % 12 + 1) | (AFTERNOON if hour >= 12 else 0)

    def cells(self, date: datetime) -> list[int]:
        """The TIMES of a date."""
        weekday = date.isoweekday() % 7 + 1
        numbers = (weekday, date.day, date.month, date.year % 100, date.year // 100)
        time = [self.number(date.second), self.number(date.minute), self.hour(date.hour)]
        return time + [self.number(number) for number in numbers]


def setting(to: Format, date: datetime, enables: int = 0, pause: int = 0) -> Iterator[Action]:
    """Set the clock with SET, in which it may stand for a while. QEMU's UF goes on in SET."""
    yield Access(Cell.REGISTER_B, RegisterB.SET | to.bits)
    if pause:
        yield Pause(pause)
    for cell, value in zip(TIMES, to.cells(date), strict=True):
        yield Access(cell, value)
    yield Access(Cell.REGISTER_C, compared=0)
    yield Access(Cell.REGISTER_B, to.bits | enables)


def start() -> list[Action]:
    """The actions before every sequence: BCD, 24 hours, no alarm, nothing enabled or pending."""
    return list(setting(Format(), BASE))


def sequence(chance: random.Random) -> list[Action]:
    """Random actions, the interesting values more often."""
    form = Format()
    actions: list[Action] = []
    while len(actions) < ACTIONS:
        match chance.choice(("time", "time", "register", "pause", "pause", "other")):
            case "time":
                actions.append(Access(chance.choice(TIMES)))
            case "register":
                actions.append(Access(chance.choice((*REGISTERS, Cell.REGISTER_C))))
            case "pause":
                actions.append(a_pause(chance))
            case "other":
                form = another(chance, form, actions)
    return actions


def a_pause(chance: random.Random) -> Pause:
    """Less than a millisecond, up to where UIP is set, up to a few seconds or a minute."""
    if chance.random() < 0.25:
        return Pause(before=chance.randrange(50_000, 200_000))
    return Pause(chance.randrange(chance.choice((10**5, 10**8, 10**9, 7 * 10**9, 60 * 10**9))))


def another(chance: random.Random, form: Format, actions: list[Action]) -> Format:
    """Set something; how the cells are read from then on."""
    match chance.choice(("clock", "alarm", "enable", "enable", "rate", "ram")):
        case "clock":
            form = Format(chance.random() < 0.5, chance.random() < 0.5)
            pause = chance.choice((0, 0, chance.randrange(3 * SECOND)))
            enables = chance.randrange(8) << 4
            actions += setting(form, a_date(chance), enables, pause)
        case "alarm":
            values = [form.number(chance.choice((0, 59, chance.randrange(60)))) for _ in range(2)]
            values.append(form.hour(chance.choice((0, 11, 12, 23))))
            for cell, value in zip(ALARMS, values, strict=True):
                any_value = chance.randrange(DONT_CARE, 256)
                actions.append(Access(cell, chance.choice((value, any_value))))
        case "enable":
            others = chance.choice((0, RegisterB.SQUARE_WAVE, RegisterB.DAYLIGHT_SAVING))
            actions.append(Access(Cell.REGISTER_B, form.bits | others | chance.randrange(8) << 4))
        case "rate":
            actions.append(Access(Cell.REGISTER_A, RUNNING | chance.randrange(16)))
        case "ram":
            cell = chance.choice(RAM)
            actions.append(Access(cell, chance.randrange(256)))
            actions.append(Access(cell))
    return form


def a_date(chance: random.Random) -> datetime:
    """Any, or shortly before the end of a minute, day, February or century."""
    ends = (
        datetime(2024, 2, 29, tzinfo=UTC), datetime(2023, 3, 1, tzinfo=UTC),
        datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 3, 1, tzinfo=UTC),
        datetime(2100, 1, 1, tzinfo=UTC), datetime(2026, 7, 4, 12, tzinfo=UTC),
    )  # fmt: skip
    if chance.random() < 0.5:
        return chance.choice(ends) - timedelta(seconds=chance.randrange(1, 5))
    seconds = chance.randrange(int((LATEST - EARLIEST).total_seconds()))
    return EARLIEST + timedelta(seconds=seconds)


class Pair:
    """Both, from power-on. Times are in nanoseconds since QEMU's."""

    def __init__(self, clock: VirtualClock):
        self.clock = clock
        self.machine = clock.machine
        self.machine.send("irq_intercept_in ioapic")
        self.machine.flush()
        self.now = clock.now()
        self.model = Mc146818()
        self.model.reset()
        self.configure()
        self.fresh_since = 0  # PF is the same in both a period later, if it is enabled

    def configure(self, low_size: int = 0) -> None:
        """Be in a machine with so many bytes of RAM."""
        config = abi.Config(date=int(BASE.timestamp()), cpus=1)
        config.ram.low_size = low_size
        self.model.configure(config)

    def compare(self, actions: list[Action]) -> str | None:
        """Let both do the same from the same start; their first difference in words."""
        self.clear()
        for action in start():
            self.both(action)
        log = []
        for action in actions:
            mine, other = self.both(action)
            log.append(f"{action} at {self.now}")
            if mine != other:
                return f"{'; '.join(log)}: ours {mine}, QEMU's {other}"
        return None

    def clear(self) -> None:
        """Write what isn't the clock's: no alarm, no rate but the usual, nothing in RAM."""
        for cell in (Cell.REGISTER_A, *ALARMS, *RAM):
            value = RESET_A if cell == Cell.REGISTER_A else 0
            self.ours(Access(cell, value))
            self.machine.write(PORT_INDEX, cell)
            self.machine.write(PORT_INDEX + 1, value)
        self.machine.flush()
        self.fresh_since = self.now

    def both(self, action: Action) -> tuple[tuple[int, int], tuple[int, int]]:
        """The answers of both, and their lines, without what can't be compared."""
        if isinstance(action, Pause):
            self.now = self.clock.step(action.after(self.now))
            while self.now % SECOND < SHORTEST:  # QEMU may not have looked yet
                self.now = self.clock.step(SHORTEST)
            self.model.expire(self.now)
            return self.lines()
        compared = action.compared & self.comparable(action.cell)
        mine, other = self.ours(action) & compared, self.theirs(action) & compared
        if action.cell == Cell.REGISTER_C or action.value is not None:
            self.fresh_since = self.now
        ours, theirs = self.lines()
        return (mine, ours[1]), (other, theirs[1])

    def lines(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Both lines, if neither rests on an edge that one has seen alone."""
        if not self.edges_agree() and self.model.has(RegisterB.PERIODIC):
            return (0, 0), (0, 0)
        self.machine.inb(PORT_INDEX)  # what QEMU tells of interrupts comes before its answer
        return (0, self.model.line.level), (0, int(self.machine.levels.get(IRQ, False)))

    def edges_agree(self) -> bool:
        """Whether PF is set in both: QEMU has periods of its own, and none while PIE is clear."""
        rate = self.model.cells[Cell.REGISTER_A] & RegisterA.RATE
        period = -(-PERIODS[rate] * SECOND // CRYSTAL)
        passed = self.now - self.fresh_since
        return self.model.has(RegisterB.PERIODIC) and 0 < period < passed

    def comparable(self, cell: int) -> int:
        """The bits of a cell that both must have alike now."""
        if cell == Cell.REGISTER_A:
            left = -self.now % SECOND
            return ALL if not QEMU_UIP - 200 <= left <= IN_PROGRESS else 0x7F
        if cell == Cell.REGISTER_C and not self.edges_agree():
            request = RegisterC.REQUEST if self.model.has(RegisterB.PERIODIC) else 0
            return ALL & ~(RegisterC.PERIODIC | request)
        return ALL

    def ours(self, access: Access) -> int:
        """Our answer; a write's is 0."""
        self.model.write(Port.INDEX, 1, access.cell, self.now)
        if access.value is None:
            return self.model.read(Port.DATA, 1, self.now)
        self.model.write(Port.DATA, 1, access.value, self.now)
        return 0

    def theirs(self, access: Access) -> int:
        """QEMU's answer; a write's is 0."""
        self.machine.write(PORT_INDEX, access.cell)
        if access.value is None:
            return self.machine.inb(PORT_INDEX + 1)
        self.machine.write(PORT_INDEX + 1, access.value)
        self.machine.flush()
        return 0
