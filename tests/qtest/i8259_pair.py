"""Our pair of 8259A and QEMU's side by side: the same accesses and lines, the same answers.

The CPU's acknowledge cycle is compared with polls of QEMU's chips, which take the same requests.
What QEMU does otherwise (see the device's page) is left out here.
"""

import json
import random
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Any, NamedTuple

from tests.qtest.client import Qtest, qemu
from vestige.claims import offset_in
from vestige.monitor.devices.i8259.model import Pic
from vestige.monitor.devices.i8259.place import PIC
from vestige.monitor.devices.i8259.spec import CASCADE, POLLED, SPURIOUS, Icw4, Ocw2, Ocw3, Register

STEPS = 60  # in one sequence, some of more than one access
MASTER_BASE, SLAVE_BASE = 0x20, 0x28
IRQS = [irq for irq in range(16) if irq != 2]
SLAVE_IRQS = range(8, 16)
COMMANDS = (Register.MASTER_COMMAND, Register.SLAVE_COMMAND)
PORTS = {
    offset_in(PIC, ports, port): port
    for ports in PIC.ports
    for port in range(ports.first, ports.end)
}
POLL = Ocw3.OCW3 | Ocw3.P
# The bits of ICW1 that change nothing: LTIM, ADI and those of an MCS-80's vectors.
NO_MATTER = (0, 0, 0x08, 0x04, 0xE0)
EOIS = (
    Ocw2.NON_SPECIFIC_EOI,
    Ocw2.NON_SPECIFIC_EOI,
    Ocw2.ROTATE_ON_NON_SPECIFIC_EOI,
    Ocw2.SPECIFIC_EOI,
    Ocw2.ROTATE_ON_SPECIFIC_EOI,
)
OTHERS = (
    Ocw2.ROTATE_IN_AEOI_CLEAR,
    Ocw2.ROTATE_IN_AEOI_SET,
    Ocw2.NO_OPERATION,
    Ocw2.SET_PRIORITY,
)


class Action(Enum):
    """What one step is."""

    READ = auto()
    WRITE = auto()
    LINE = auto()
    ACKNOWLEDGE = auto()


class Step(NamedTuple):
    """One of them: of which offset or IRQ, with which value or level."""

    action: Action
    where: int = 0
    value: int = 0

    def __str__(self) -> str:
        """As in a log."""
        return f"{self.action.name.lower()} {self.where} {self.value:#x}"


ACKNOWLEDGE = Step(Action.ACKNOWLEDGE)


class Qemu(NamedTuple):
    """QEMU, and where in it both chips are."""

    qtest: Qtest
    chips: tuple[str, str]


@contextmanager
def running(folder: Path) -> Iterator[Qemu]:
    """QEMU's pc, whose PIC has no other name than the one that QMP tells."""
    ours, theirs = socket.socketpair()
    number = theirs.fileno()
    arguments = [
        *("-chardev", f"socket,id=control,fd={number}"),
        *("-mon", "chardev=control,mode=control"),
    ]
    with ours, theirs, qemu(folder, arguments, files=[number]) as qtest:
        ours.settimeout(60)
        yield Qemu(qtest, find_chips(ours))


def find_chips(link: socket.socket) -> tuple[str, str]:
    """The paths of the master and of the slave, in the order in which QEMU makes them."""
    with link.makefile("rw") as control:
        ask(control, "qmp_capabilities")
        found = ask(control, "qom-list", path="/machine/unattached")
    names = [child["name"] for child in found if child["type"] == "child<isa-i8259>"]
    numbers = sorted(int(name.removeprefix("device[").removesuffix("]")) for name in names)
    master, slave = (f"/machine/unattached/device[{number}]" for number in numbers)
    return master, slave


def ask(control: Any, command: str, **arguments: str) -> Any:
    """The answer of QMP to one command."""
    control.write(json.dumps({"execute": command, "arguments": arguments}))
    control.flush()
    while "return" not in (answer := json.loads(control.readline())):
        if "error" in answer:
            raise RuntimeError(f"QEMU answered {answer} to {command}")
    return answer["return"]


# ---- sequences ---------------------------------------------------------------------------------


class Kind(NamedTuple):
    """What one sequence uses, as not all goes with all where both do the same."""

    special_mask: bool  # then EOIs are specific
    nested: bool  # special fully nested mode: then the master has the slave's requests alone
    single: bool  # ICW3 and SNGL of any value: then the CPU acknowledges nothing


def write(offset: int, value: int) -> Step:
    """A step's spelling."""
    return Step(Action.WRITE, offset, value)


def start(master_elcr: int = 0, slave_elcr: int = 0) -> list[Step]:
    """The steps before every sequence: lines low, both initialised, nothing requested."""
    steps = [Step(Action.LINE, irq, 0) for irq in IRQS]
    steps += [write(Register.MASTER_ELCR, 0), write(Register.SLAVE_ELCR, 0)]
    steps += words(Register.MASTER_COMMAND, 0x11, (MASTER_BASE, 4, 1))
    steps += words(Register.SLAVE_COMMAND, 0x11, (SLAVE_BASE, 2, 1))
    steps += [write(Register.MASTER_ELCR, master_elcr), write(Register.SLAVE_ELCR, slave_elcr)]
    return steps


def words(chip: int, icw1: int, others: Sequence[int]) -> list[Step]:
    """An initialisation."""
    return [write(chip, icw1), *(write(chip + 1, word) for word in others)]


def sequence(chance: random.Random) -> list[Step]:
    """Random accesses, lines and acknowledgements, then what is left."""
    special = chance.random() < 0.3
    nested = chance.random() < 0.3
    kind = Kind(special, nested, not nested and chance.random() < 0.3)
    levels = set[int]()
    steps = start(chance.getrandbits(8), chance.getrandbits(8))
    for chip in COMMANDS:
        steps += initialize(chip, kind, chance)
    for _ in range(STEPS):
        steps += some(kind, levels, chance)
    return steps + rest(kind)


def some(kind: Kind, levels: set[int], chance: random.Random) -> list[Step]:
    """One step, or a few that belong together; `levels` are the lines that are high."""
    chip = chance.choice(COMMANDS)
    number = chance.randrange(8)
    modes = 20 if kind.special_mask else 4
    match chance.choices(range(7), (40, 20, 15, 8, 12, modes, 2))[0]:
        case 0:
            irq = chance.choice(SLAVE_IRQS if kind.nested else IRQS)
            levels ^= {irq}
            return [Step(Action.LINE, irq, int(irq in levels))]
        case 1:
            return [Step(Action.READ, chance.randrange(6))]
        case 2:
            commands = [Ocw2.SPECIFIC_EOI] if kind.special_mask else EOIS
            return [write(chip, chance.choice(commands) << 5 | number)]
        case 3:
            return [write(chip + 1, chance.getrandbits(8) & chance.getrandbits(8))]
        case 4:
            return [poll(chip, chance) if kind.single else ACKNOWLEDGE, *looks(chip)]
        case 5:
            return ocw(chip, kind, chance)
        case _:
            return initialize(chip, kind, chance)


def poll(chip: int, chance: random.Random) -> Step:
    """A poll command, which chooses what is read besides."""
    return write(chip, POLL | chance.choice((0, Ocw3.RR, Ocw3.RR | Ocw3.RIS)))


def looks(chip: int) -> list[Step]:
    """Reads of IRR, ISR and IMR; the first is a poll's if there was the command."""
    read = [Step(Action.READ, chip)]
    return [
        *read,
        *[write(chip, Ocw3.OCW3 | Ocw3.RR), *read],
        *[write(chip, Ocw3.OCW3 | Ocw3.RR | Ocw3.RIS), *read],
        Step(Action.READ, chip + 1),
    ]


def ocw(chip: int, kind: Kind, chance: random.Random) -> list[Step]:
    """Priorities, or the special mask mode."""
    if not kind.special_mask or chance.random() < 0.3:
        return [write(chip, chance.choice(OTHERS) << 5 | chance.randrange(8))]
    mask = write(chip + 1, 1 << chance.randrange(8))
    mode = write(chip, Ocw3.OCW3 | Ocw3.ESMM | chance.choice((0, Ocw3.SMM)))
    return [mask, mode, mask]  # the second lets QEMU see the mode


def initialize(chip: int, kind: Kind, chance: random.Random) -> list[Step]:
    """An initialisation, some begun twice; the slave moves after the master's, so QEMU sees it."""
    master = chip == Register.MASTER_COMMAND
    icw1 = 0x10 | chance.choice(NO_MATTER)
    others = [MASTER_BASE if master else SLAVE_BASE]
    if kind.single and chance.random() < 0.5:
        icw1 |= 2
    else:
        others.append(chance.getrandbits(8) if kind.single else 4 if master else 2)
    if kind.nested or chance.random() < 0.7:
        icw1 |= 1
        automatic = Icw4.AEOI if master and chance.random() < 0.5 else 0
        others.append(1 | automatic | (Icw4.SFNM if kind.nested else 0))
    steps = words(chip, icw1, others)
    steps[:0] = steps[: chance.randrange(len(steps))]
    if master:
        steps.append(write(Register.SLAVE_COMMAND, Ocw2.SPECIFIC_EOI << 5 | chance.randrange(8)))
    return steps


def rest(kind: Kind) -> list[Step]:
    """What both have left at the end."""
    steps = [] if kind.single else [ACKNOWLEDGE] * 3
    for chip in COMMANDS:
        steps += looks(chip)
    return steps


# ---- both --------------------------------------------------------------------------------------


def ours(steps: Sequence[Step]) -> list[int]:
    """Our answers; a write's is 0, that of an acknowledgement is INTR (bit 8) and the vector."""
    pic = Pic()
    pic.reset()
    return [our_answer(pic, step) for step in steps]


def our_answer(pic: Pic, step: Step) -> int:
    """Our answer to one step."""
    match step.action:
        case Action.READ:
            return pic.read(step.where, 1, 0)
        case Action.WRITE:
            pic.write(step.where, 1, step.value, 0)
        case Action.LINE:
            before = pic.lines
            after = before & ~(1 << step.where) | step.value << step.where
            pic.take_lines(after, after & ~before)
        case Action.ACKNOWLEDGE:
            return pic.intr() << 8 | pic.acknowledge()
    return 0


def theirs(machine: Qemu, steps: Sequence[Step]) -> list[int]:
    """QEMU's answers, likewise."""
    qtest = machine.qtest
    answers = []
    for step in steps:
        match step.action:
            case Action.READ:
                qtest.read(PORTS[step.where])
            case Action.WRITE:
                qtest.write(PORTS[step.where], step.value)
            case Action.LINE:
                chip = machine.chips[step.where >> 3]
                qtest.send(f"set_irq_in {chip} unnamed-gpio-in {step.where & 7} {step.value}")
            case Action.ACKNOWLEDGE:
                answers += qtest.flush()
                answers.append(their_acknowledgement(machine))
    return answers + qtest.flush()


def their_acknowledgement(machine: Qemu) -> int:
    """What the CPU would have got, by polls."""
    asked, number = polled(machine, Register.MASTER_COMMAND)
    vector = MASTER_BASE + number
    if number == CASCADE:
        _, number = polled(machine, Register.SLAVE_COMMAND)
        vector = SLAVE_BASE + number
    return asked << 8 | vector


def polled(machine: Qemu, chip: int) -> tuple[bool, int]:
    """Whether there was a request at one chip, and which a poll took; the spurious one else."""
    machine.qtest.write(PORTS[chip], POLL)
    answer = machine.qtest.inb(PORTS[chip])
    return (True, answer & 7) if answer & POLLED else (False, SPURIOUS)


def compare(machine: Qemu, steps: Sequence[Step]) -> str | None:
    """Both from the same start through the same steps; their first difference in words."""
    pairs = zip(ours(steps), theirs(machine, steps), strict=True)
    for index, (mine, other) in enumerate(pairs):
        if mine != other:
            log = "; ".join(map(str, steps[: index + 1]))
            return f"{log}: ours {mine:#x}, QEMU's {other:#x}"
    return None
