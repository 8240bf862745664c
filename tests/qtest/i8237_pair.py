"""Our DMA controllers and QEMU's side by side: the same accesses, the same answers.

What QEMU does otherwise (see the device's page) is left out here.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

from tests.qtest.client import Qtest
from vestige.monitor.devices.i8237.model import Dma
from vestige.monitor.devices.i8237.spec import PORT_PAGES, PORT_SECOND, Register

STEPS = 80  # in one sequence, some of more than one access
CHANNEL_PAGES = (1, 2, 3, 7, 9, 10, 11, 15)
CONTROLLERS = ((0, 1), (PORT_SECOND, 2))
WRITTEN = (Register.COMMAND, Register.REQUEST, Register.MASK, Register.MODE, Register.ALL_MASKS)
CLEARING = (Register.CLEAR_FLIP_FLOP, Register.MASTER_CLEAR, Register.CLEAR_MASK)


class Access(NamedTuple):
    """One access; `value` None reads."""

    port: int
    value: int | None = None

    def __str__(self) -> str:
        """As in a log."""
        return (
            f"read {self.port:#x}" if self.value is None else f"{self.port:#x} := {self.value:#x}"
        )


def start() -> list[Access]:
    """The accesses before every sequence: all is as after a reset."""
    steps = []
    for base, step in CONTROLLERS:
        steps.append(Access(base + Register.MASTER_CLEAR * step, 0))
        for register in range(8):
            steps += [Access(base + register * step, 0)] * 2
    return steps + [Access(PORT_PAGES + page, 0) for page in CHANNEL_PAGES]


def sequence(chance: random.Random) -> list[Access]:
    """Random accesses. Addresses and counts are written whole: so QEMU takes them at once."""
    steps = start()
    high = [False, False]  # each one's flip-flop
    for _ in range(STEPS):
        number = chance.randrange(2)
        base, step = CONTROLLERS[number]

        def port(register: int, base: int = base, step: int = step) -> int:
            return base + register * step + chance.randrange(step)

        match chance.randrange(6):
            case 0:
                steps.append(Access(port(chance.randrange(8))))
                high[number] = not high[number]
            case 1:
                if high[number]:
                    steps.append(Access(port(Register.CLEAR_FLIP_FLOP), chance.getrandbits(8)))
                    high[number] = False
                target = chance.randrange(8)
                steps += [Access(port(target), chance.getrandbits(8)) for _ in range(2)]
            case 2:
                steps.append(Access(port(chance.choice(WRITTEN)), chance.getrandbits(8)))
            case 3:
                register = chance.choice(CLEARING)
                steps.append(Access(port(register), chance.getrandbits(8)))
                if register != Register.CLEAR_MASK:
                    high[number] = False
            case 4:
                steps.append(Access(port(chance.choice((Register.STATUS, Register.TEMPORARY)))))
            case _:
                page = PORT_PAGES + chance.choice(CHANNEL_PAGES)
                steps.append(Access(page, chance.choice((None, chance.getrandbits(8)))))
    return steps


def ours(steps: Sequence[Access]) -> list[int]:
    """Our answers; a write's is 0."""
    dma = Dma()
    dma.reset()
    answers = []
    for port, value in steps:
        if value is None:
            answers.append(dma.read(port, 1, 0))
        else:
            dma.write(port, 1, value, 0)
            answers.append(0)
    return answers


def theirs(qtest: Qtest, steps: Sequence[Access]) -> list[int]:
    """QEMU's."""
    for port, value in steps:
        if value is None:
            qtest.read(port)
        else:
            qtest.write(port, value)
    return qtest.flush()


def compare(qtest: Qtest, steps: Sequence[Access]) -> str | None:
    """The first difference, with what came before it."""
    mine, others = ours(steps), theirs(qtest, steps)
    for number, (one, other) in enumerate(zip(mine, others, strict=True)):
        if one != other:
            before = "\n".join(map(str, steps[max(0, number - 40) : number + 1]))
            return f"{before}\nis {one:#x} here and {other:#x} there"
    return None
