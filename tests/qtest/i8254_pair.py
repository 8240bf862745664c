"""Our 8254 and QEMU's side by side: the same accesses at the same times, the same answers.

QEMU's virtual clock can't be stepped, so QEMU's CPU makes the accesses, each at the time that a
script says (i8254_script.s); ours are made at the times at which QEMU's were. QEMU loads a count
when it is written, a chip by the next pulse of CLK: so counts, and GATE, are written shortly before
a pulse, and all is read in the middle between two. What QEMU does otherwise (see the device's page)
is left out here.
"""

import contextlib
import random
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.assembly import assembled
from tests.qtest.client import Qtest, qemu
from vestige.monitor.devices.i8254.model import Pit, time_of
from vestige.monitor.devices.i8254.spec import COUNTERS, Access, Mode, NmiStatus, Status

SOURCE = Path(__file__).with_name("i8254_script.s")
START, SCRIPT, ENTRY = 0x500, 0x1_0000, struct.Struct("<IHBBI4x")
LEAST_RAM = 0xA_0000  # where a segment's RAM ends
READ, WRITE, END = range(3)
CONTROL, NMI_STATUS = 0x43, 0x61
EARLY = 250  # ns before a pulse: a count is to be written
LATE = 150  # ns: an access may be so late
ACCESSES = 40  # in one sequence, some of them of several
TRIGGERED = (Mode.ONE_SHOT, Mode.HARDWARE_STROBE)
INVERTED = (*TRIGGERED, Mode.RATE_GENERATOR, Mode.SOFTWARE_STROBE)  # OUT is, in QEMU
PERIODIC = (Mode.RATE_GENERATOR, Mode.SQUARE_WAVE)


@dataclass(frozen=True)
class Step:
    """One access after a pulse of CLK; `value` None reads, and the bits `ignored` may differ."""

    pulse: int
    port: int
    value: int | None = None
    ignored: int = 0
    shift: int = 0  # ns: so much later than such an access is otherwise

    @property
    def due(self) -> int:
        """When, in nanoseconds: in the middle, or where it acts by the next pulse, before that."""
        following = time_of(self.pulse + 1)
        if self.value is None or self.port == CONTROL:
            return (time_of(self.pulse) + following) // 2 + self.shift
        return following - EARLY + self.shift

    def __str__(self) -> str:
        """As in a log."""
        what = "read" if self.value is None else f"{self.value:#04x} to"
        return f"{self.pulse}: {what} {self.port:#x}"


class Script:
    """Steps, each at a later pulse than the one before."""

    def __init__(self, pulse: int = 1) -> None:
        self.pulse = pulse
        self.steps: list[Step] = []

    def wait(self, pulses: int) -> None:
        """Let the next step be so much later."""
        self.pulse += pulses

    def read(self, port: int, ignored: int = 0) -> None:
        """IN."""
        self.pulse += 1
        self.steps.append(Step(self.pulse, port, None, ignored))

    def write(self, port: int, *values: int) -> None:
        """OUT, each value at a pulse of its own."""
        for value in values:
            self.pulse += 1
            self.steps.append(Step(self.pulse, port, value))


class RandomScript(Script):
    """A random sequence, without what QEMU does otherwise."""

    def __init__(self, chance: random.Random, pulse: int) -> None:
        super().__init__(pulse)
        self.chance = chance
        self.modes, self.accesses = [0] * COUNTERS, [0] * COUNTERS
        self.latched = [0] * COUNTERS  # bytes of a count
        self.status: list[int | None] = [None] * COUNTERS  # the bits of it that differ
        self.write(NMI_STATUS, NmiStatus.GATE_2)
        for number in range(COUNTERS):
            for _ in range(3):
                self.read(0x40 + number, ignored=0xFF)
            self.program(number)
        for _ in range(ACCESSES):
            self.wait(chance.choice((0, 0, 1, 2, chance.randrange(300))))
            if chance.random() < 0.01:
                self.wait(chance.randrange(70_000))
            self.act(chance.randrange(COUNTERS))

    def act(self, number: int) -> None:
        """One access, or several that belong together."""
        match self.chance.choices(range(7), (8, 3, 3, 2, 2, 2, 2))[0]:
            case 0:
                self.read_counter(number)
            case 1:
                self.write(CONTROL, number << 6)
                self.latch_count(number)
            case 2:
                self.read_back(self.chance.randrange(64))
            case 3:
                out = NmiStatus.OUT_2 if self.modes[2] in INVERTED else 0
                self.read(NMI_STATUS, NmiStatus.REFRESH | out)
            case 4:
                self.write_nmi_control()
            case 5 if self.modes[number] in (Mode.TERMINAL_COUNT, Mode.SOFTWARE_STROBE):
                self.write_count(number)
            case _:
                while self.status[number] is not None or self.latched[number]:
                    self.read_counter(number)
                self.program(number)

    def program(self, number: int) -> None:
        """A control word and a count; in modes 1 and 5 the trigger, too."""
        mode = self.chance.choice(range(6) if number == 2 else (0, 2, 3, 4))
        access = self.chance.choice((Access.LOW, Access.HIGH, Access.BOTH, Access.BOTH))
        self.modes[number], self.accesses[number] = mode, access
        self.write(CONTROL, number << 6 | access << 4 | mode << 1)
        self.write_count(number)
        if mode in TRIGGERED:
            self.write(NMI_STATUS, 0, NmiStatus.GATE_2)

    def write_count(self, number: int) -> None:
        """Low counts more often; in mode 3 even ones."""
        access, port = self.accesses[number], 0x40 + number
        high = self.chance.choice((0, 0, 1, self.chance.randrange(256)))
        low = self.chance.choice((0, 2, 3, 4, 9, self.chance.randrange(256)))
        if self.modes[number] in PERIODIC and (low == 1 or self.modes[number] == Mode.SQUARE_WAVE):
            low &= 0xFE
        if access & Access.LOW:
            self.write(port, low)
        if access & Access.HIGH:
            self.write(port, high)

    def write_nmi_control(self) -> None:
        """GATE 2 falls only to rise again, and only where that is a trigger."""
        speaker = self.chance.choice((0, NmiStatus.SPEAKER))
        if self.modes[2] not in (Mode.TERMINAL_COUNT, Mode.SOFTWARE_STROBE):
            self.write(NMI_STATUS, speaker)
        self.write(NMI_STATUS, speaker | NmiStatus.GATE_2)

    def read_back(self, what: int) -> None:
        """The read-back command."""
        self.write(CONTROL, 0xC0 | what)
        for number in range(COUNTERS):
            if what & 2 << number:
                if not what & 0x20:
                    self.latch_count(number)
                if not what & 0x10 and self.status[number] is None:
                    self.status[number] = Status.OUT if self.modes[number] in INVERTED else 0

    def latch_count(self, number: int) -> None:
        """A count is latched."""
        self.latched[number] = self.latched[number] or int(self.accesses[number]).bit_count()

    def read_counter(self, number: int) -> None:
        """A byte of whatever is to be read."""
        ignored = self.status[number]
        self.read(0x40 + number, ignored or 0)
        if ignored is not None:
            self.status[number] = None
        elif self.latched[number]:
            self.latched[number] -= 1


class Machine:
    """A QEMU whose CPU carries out scripts."""

    def __init__(self, qtest: Qtest, done: socket.socket) -> None:
        self.ram, self.done = qtest.ram, done

    def run(self, steps: Sequence[Step]) -> tuple[list[int], list[int]]:
        """The answers, and at which times they were given; a write's answer is what it wrote."""
        size = ENTRY.size
        assert SCRIPT + size * (len(steps) + 1) <= LEAST_RAM
        for number, step in enumerate(steps):
            what = READ if step.value is None else WRITE
            entry = ENTRY.pack(step.due, step.port, what, step.value or 0, 0)
            self.ram[SCRIPT + size * number : SCRIPT + size * (number + 1)] = entry
        end = SCRIPT + size * len(steps)
        self.ram[end : end + size] = ENTRY.pack(0, 0, END, 0, 0)
        self.ram[START] = 1
        assert len(self.done.recv(1)) == 1
        entries = list(ENTRY.iter_unpack(self.ram[SCRIPT:end]))
        times = [entry[4] for entry in entries]
        for step, time in zip(steps, times, strict=True):
            assert 0 <= time - step.due <= LATE, f"QEMU's {step} came late, at {time}"
        return [entry[3] for entry in entries], times


@contextlib.contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """A QEMU of which each instruction takes 8 ns of its virtual clock."""
    near, far = socket.socketpair()
    near.settimeout(60)
    arguments = [
        *("-icount", "shift=3,sleep=off", "-chardev", f"socket,id=done,fd={far.fileno()}"),
        *("-device", "isa-debugcon,iobase=0xe9,chardev=done"),
    ]
    code, files = assembled(SOURCE, folder), [far.fileno()]
    with near, far, qemu(folder, arguments, files=files, firmware=code) as qtest:
        yield Machine(qtest, near)


def ours(steps: Sequence[Step], times: Sequence[int]) -> list[int]:
    """Our answers from reset; a write's is what it wrote."""
    pit = Pit()
    pit.reset()
    answers = []
    for step, now in zip(steps, times, strict=True):
        offset = step.port - 0x40 if step.port != NMI_STATUS else 4
        if step.value is None:
            answers.append(pit.read(offset, 1, now))
        else:
            pit.write(offset, 1, step.value, now)
            answers.append(step.value)
    return answers


def compare(qemus: Machine, sequences: Sequence[Sequence[Step]]) -> str | None:
    """Both through the same sequences, one after the other; their first difference in words."""
    theirs, times = qemus.run([step for steps in sequences for step in steps])
    first = 0
    for steps in sequences:
        part = slice(first, first + len(steps))
        first = part.stop
        pairs = zip(ours(steps, times[part]), theirs[part], strict=True)
        for index, (mine, other) in enumerate(pairs):
            if (mine ^ other) & ~steps[index].ignored:
                log = "; ".join(map(str, steps[: index + 1]))
                return f"{log}: ours {mine:#04x}, QEMU's {other:#04x}"
    return None


def sequences(chance: random.Random, count: int) -> list[list[Step]]:
    """Random sequences, each later than the one before."""
    made: list[list[Step]] = []
    pulse = 10
    for _ in range(count):
        script = RandomScript(chance, pulse)
        made.append(script.steps)
        pulse = script.pulse
    return made
