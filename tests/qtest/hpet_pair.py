"""Our HPET and QEMU's side by side: the same accesses, the same answers.

QEMU's virtual clock stands still here, and so does ours: counters keep their values, and no
comparator is reached. What QEMU does otherwise (see the device's page) is left out here.
"""

import random
from dataclasses import dataclass

from tests.qtest.client import Qtest
from vestige import abi
from vestige.monitor.devices.hpet.model import Hpet
from vestige.monitor.devices.hpet.spec import FIRST_ROUTE, TIMERS, Register
from vestige.monitor.devices.hpet.spec import TimerConfiguration as Bit

ACCESSES = 40  # in one sequence
STRIDE = 0x20
NOT_DUE = 1 << 31  # a counter that no comparator of 31 bits equals
ROUTES = range(FIRST_ROUTE, FIRST_ROUTE + 3)  # both take these
FLAGS = (Bit.LEVEL, Bit.INTERRUPT, Bit.PERIODIC, Bit.SET_VALUE, Bit.MODE_32)
TIMER_HIGH = Register.TIMER_CONFIGURATION + 4  # the pins a timer can use


@dataclass(frozen=True)
class Access:
    """One 32-bit access; `value` None reads."""

    offset: int
    value: int | None

    def __str__(self) -> str:
        """As in a log."""
        if self.value is None:
            return f"read {self.offset:#x}"
        return f"{self.offset:#x} := {self.value:#x}"


def start() -> list[Access]:
    """The accesses before every sequence: halted, comparators 0, nothing pending or due."""
    accesses = [Access(Register.CONFIGURATION, 0), Access(Register.STATUS, 7)]
    accesses += [Access(Register.COUNTER, NOT_DUE), Access(Register.COUNTER + 4, 0)]
    for timer in range(TIMERS):
        base = timer * STRIDE
        for flags in (Bit.PERIODIC | Bit.SET_VALUE, Bit.PERIODIC, 0):
            configuration = FIRST_ROUTE << 9 | flags
            for half in (0, 4):
                accesses.append(Access(base + Register.TIMER_CONFIGURATION, configuration))
                accesses.append(Access(base + Register.TIMER_COMPARATOR + half, 0))
    return accesses


def sequence(chance: random.Random) -> list[Access]:
    """Random accesses to everything but the capabilities' and routes' read-only bits."""
    wide = chance.random() < 0.5
    return [access(chance, wide=wide) for _ in range(ACCESSES)]


def access(chance: random.Random, *, wide: bool) -> Access:
    """One random access; comparators have 64 bits, or may have 32."""
    base = chance.randrange(TIMERS) * STRIDE
    offset = chance.choice(
        (
            Register.CONFIGURATION,
            Register.STATUS,
            Register.COUNTER,
            Register.COUNTER + 4,
            base + Register.TIMER_CONFIGURATION,
            base + Register.TIMER_COMPARATOR,
            base + Register.TIMER_COMPARATOR + 4 * wide,
        )
    )
    if chance.random() < 0.5:
        return Access(offset, None)
    value = chance.getrandbits(31)
    if offset == Register.CONFIGURATION:
        value = chance.randrange(2)
    elif offset == Register.COUNTER + 4:
        value = chance.randrange(1 << 24)
    elif offset == base + Register.TIMER_CONFIGURATION:
        flags = sum(int(flag) for flag in FLAGS if chance.random() < 0.5)
        flags &= ~Bit.MODE_32 if wide else -1
        value = chance.choice(ROUTES) << 9 | flags
    return Access(offset, value)


def ours(accesses: list[Access]) -> list[int]:
    """Our answers; a write's is 0."""
    hpet = Hpet()
    hpet.reset()
    answers = []
    for step in accesses:
        if step.value is None:
            answers.append(hpet.read(step.offset, 4, 0))
        else:
            hpet.write(step.offset, 4, step.value, 0)
            answers.append(0)
    return answers


def theirs(qemu: Qtest, accesses: list[Access]) -> list[int]:
    """QEMU's answers; a write's is 0."""
    for step in accesses:
        if step.value is None:
            qemu.send(f"readl {abi.HPET + step.offset:#x}")
        else:
            qemu.send(f"writel {abi.HPET + step.offset:#x} {step.value:#x}")
    return qemu.flush()


def compare(qemu: Qtest, accesses: list[Access]) -> str | None:
    """Both from the same start through the same accesses; their first difference in words."""
    everything = start() + accesses
    pairs = zip(ours(everything), theirs(qemu, everything), strict=True)
    for index, (mine, other) in enumerate(pairs):
        if mine != other:
            log = "; ".join(map(str, everything[len(start()) : index + 1]))
            return f"{log}: ours {mine:#x}, QEMU's {other:#x}"
    return None
