"""Our UART and QEMU's ISA serial port side by side: the same accesses, the same answers.

QEMU's virtual clock stands still here, and so does ours: neither times out.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.qtest.client import Qtest
from vestige.abi import PORT_UART
from vestige.monitor.devices.uart16550.model import Uart
from vestige.monitor.devices.uart16550.spec import Enable, Fifo, ModemStatus, Register

IRQ = 4
ACCESSES = 40  # in one sequence

# Where each sequence starts: 115200 baud, 8 bits, FIFOs off and empty, nothing pending.
START = (
    (Register.LINE_CONTROL, 0x83),
    (Register.DATA, 1),
    (Register.INTERRUPT_ENABLE, 0),
    (Register.LINE_CONTROL, 0x03),
    (Register.MODEM_CONTROL, 0),
    (Register.INTERRUPT_ENABLE, 0),
    (Register.FIFO_CONTROL, 0x07),
    (Register.FIFO_CONTROL, 0),
    (Register.SCRATCH, 0),
    (Register.MODEM_CONTROL, 0x10),
    (Register.DATA, 0),
    (Register.MODEM_CONTROL, 0),
)
SETTLE = (Register.DATA, Register.LINE_STATUS, Register.MODEM_STATUS)

WEIGHTS = (8, 4, 3, 2, 3, 4, 1, 1)  # how often each offset is used


@dataclass(frozen=True)
class Access:
    """One access; `value` None reads."""

    offset: int
    value: int | None


@dataclass(frozen=True)
class Difference:
    """What the two answered differently; at the end, how often they interrupted."""

    sequence: list[Access]
    index: int
    ours: int
    theirs: int

    def __str__(self) -> str:
        """The accesses up to the difference, then both answers."""
        steps = [
            f"read {a.offset}" if a.value is None else f"{a.offset} := {a.value:#04x}"
            for a in self.sequence[: self.index + 1]
        ]
        return f"{'; '.join(steps)}: ours {self.ours:#04x}, QEMU's {self.theirs:#04x}"


def sequence(chance: random.Random) -> list[Access]:
    """Random accesses, the interesting values more often."""
    return [access(chance) for _ in range(ACCESSES)]


def access(chance: random.Random) -> Access:
    """One random access. What QEMU leaves out (see the device's page) is left out here."""
    offset = chance.choices(range(8), WEIGHTS)[0]
    if chance.random() < 0.5:
        return Access(offset, None)
    value = chance.randrange(256)
    match offset:
        case Register.LINE_CONTROL:
            value = chance.choice((0x03, 0x03, 0x1B, 0x83, value))
        case Register.MODEM_CONTROL:
            value = chance.choice((0, 0x0B, 0x10, 0x1B, value))
        case Register.FIFO_CONTROL:
            value = chance.choice((0, 1, 7, 0xC1, 0x87, value | Fifo.ENABLE))
        case Register.INTERRUPT_ENABLE:
            value = chance.choice((0, 1, 2, 7, value)) & ~Enable.MODEM_STATUS
    return Access(offset, value)


def ours(uart: Uart, accesses: list[Access]) -> Iterator[int]:
    """Our answers; a write's is 0."""
    for step in accesses:
        if step.value is None:
            yield uart.read(step.offset, 1, 0)
        else:
            uart.write(step.offset, 1, step.value, 0)
            yield 0
        while length := uart.output_length():
            uart.output_done(length)


def theirs(qemu: Qtest, accesses: list[Access]) -> list[int]:
    """QEMU's answers; a write's is 0."""
    for step in accesses:
        if step.value is None:
            qemu.read(PORT_UART + step.offset)
        else:
            qemu.write(PORT_UART + step.offset, step.value)
    return qemu.flush()


def start() -> list[Access]:
    """The accesses before every sequence."""
    return [Access(*pair) for pair in START] + [Access(offset, None) for offset in SETTLE]


def compare(qemu: Qtest, accesses: list[Access]) -> Difference | None:
    """Both from the same start through the same accesses; their first difference."""
    uart = Uart()
    uart.reset()
    list(ours(uart, start()))
    theirs(qemu, start())
    uart.line.take_edge()
    before = interrupts(qemu)
    edges = 0
    answers = []
    for answer in ours(uart, accesses):
        edges += uart.line.take_edge()
        answers.append(answer)
    pairs = zip(answers, theirs(qemu, accesses), strict=True)
    for index, (mine, other) in enumerate(pairs):
        compared = ~ModemStatus.DELTAS if accesses[index].offset == Register.MODEM_STATUS else 0xFF
        if (mine ^ other) & compared:
            return Difference(accesses, index, mine, other)
    theirs_edges = interrupts(qemu) - before
    if edges != theirs_edges:
        return Difference(accesses, len(accesses) - 1, edges, theirs_edges)
    return None


def interrupts(qemu: Qtest) -> int:
    """How often QEMU's port has raised its interrupt line, seen at the I/O APIC."""
    return qemu.interrupts.get(IRQ, 0)
