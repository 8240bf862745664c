"""Our flash memory and QEMU's side by side: the same accesses, the same answers.

What QEMU does otherwise (see the device's page) is left out here: programs only clear bits, what is
begun is confirmed, and its buffer is filled in order from a multiple of ours on.
"""

import random
from ctypes import addressof, c_uint8
from dataclasses import dataclass

from tests.qtest.client import Qtest
from vestige.abi import FLASH, HIGH_RAM
from vestige.monitor.devices.i28f640j5.model import Flash
from vestige.monitor.devices.i28f640j5.spec import (
    BLOCK,
    BUFFER,
    CONFIRM,
    LOCK_SET,
    Command,
)

BLOCKS = 4
SIZE = BLOCKS * BLOCK
FIRST = HIGH_RAM - SIZE  # where QEMU has the first of them
SAME_IN_QUERY = [n for n in range(0x10, 0x40) if n not in (0x27, 0x2A, 0x3F)]
OTHERS = sorted(set(range(0x100)) - {0x00, *Command, 0xF0})  # no commands
SPOTS = (0, 1, BLOCK - 1, BLOCK, SIZE - 1)


@dataclass(frozen=True)
class Access:
    """A read at an offset, or a write of a value."""

    offset: int
    value: int | None = None


class Ours:
    """A model of ours over a buffer."""

    def __init__(self, contents: bytes) -> None:
        self.memory = (c_uint8 * SIZE).from_buffer_copy(contents)
        self.model = Flash()
        self.model.reset()
        self.model.address, self.model.size = FIRST, SIZE
        self.model.array = addressof(self.memory)

    def run(self, steps: list[Access]) -> list[int]:
        """The values of the reads."""
        answers = []
        for step in steps:
            offset = FIRST + step.offset - FLASH
            if step.value is None:
                answers.append(int(self.model.read(offset, 1, 0)))
            else:
                self.model.write(offset, 1, step.value, 0)
        return answers


def run(theirs: Qtest, steps: list[Access]) -> list[int]:
    """The same by QEMU's."""
    for step in steps:
        if step.value is None:
            theirs.send(f"readb {FIRST + step.offset:#x}")
        else:
            theirs.send(f"writeb {FIRST + step.offset:#x} {step.value:#x}")
    answers = theirs.flush()
    return [answer for step, answer in zip(steps, answers, strict=True) if step.value is None]


class Sequences:
    """Makes sequences; it knows the array, since a program is to clear bits alone."""

    def __init__(self, chance: random.Random, contents: bytes) -> None:
        self.chance = chance
        self.array = bytearray(contents)

    def sequence(self) -> list[Access]:
        """Some commands, with reads between them, and reads of the array at the end."""
        makers = (
            *(self.program, self.program, self.erase, self.buffer, self.lock, self.status),
            *(self.clear, self.identifiers, self.query, self.nothing),
        )
        steps: list[Access] = []
        for _ in range(self.chance.randrange(1, 8)):
            steps += self.chance.choice(makers)()
            if self.chance.random() < 0.3:
                steps += self.read_array()
        return steps + self.read_array()

    def offset(self) -> int:
        """Any of the array's."""
        return self.chance.choice((*SPOTS, self.chance.randrange(SIZE)))

    def look(self) -> list[Access]:
        """A read or none."""
        return [Access(self.offset())] * self.chance.randrange(2)

    def read_array(self) -> list[Access]:
        """From some places."""
        reads = [Access(self.offset()) for _ in range(6)]
        return [Access(self.offset(), Command.READ_ARRAY), *reads]

    def cleared(self, offset: int) -> int:
        """What can be programmed there: what is there, less some bits."""
        self.array[offset] &= self.chance.getrandbits(8)
        return self.array[offset]

    def program(self) -> list[Access]:
        """A byte."""
        offset = self.offset()
        command = self.chance.choice((Command.PROGRAM, Command.PROGRAM_10))
        steps = [Access(self.offset(), command), *self.look()]
        return [*steps, Access(offset, self.cleared(offset)), *self.look()]

    def erase(self) -> list[Access]:
        """A block: QEMU goes by the first address, the data sheet by the second."""
        block = self.chance.randrange(BLOCKS) * BLOCK
        self.array[block : block + BLOCK] = b"\xff" * BLOCK
        first, second = (block + self.chance.randrange(BLOCK) for _ in range(2))
        return [Access(first, Command.ERASE), *self.look(), Access(second, CONFIRM), *self.look()]

    def buffer(self) -> list[Access]:
        """Some bytes, one behind the other."""
        start = self.chance.randrange(SIZE // BUFFER) * BUFFER
        count = self.chance.randrange(1, BUFFER + 1)
        steps = [Access(start, Command.WRITE_TO_BUFFER), *self.look(), Access(start, count - 1)]
        steps += [Access(start + n, self.cleared(start + n)) for n in range(count)]
        return [*steps, Access(start, CONFIRM), *self.look()]

    def lock(self) -> list[Access]:
        """Set or clear a lock that there isn't."""
        word = self.chance.choice((CONFIRM, LOCK_SET))
        return [Access(self.offset(), Command.LOCK), *self.look(), Access(self.offset(), word)]

    def status(self) -> list[Access]:
        """Read it."""
        return [Access(self.offset(), Command.READ_STATUS), *self.look(), *self.look()]

    def clear(self) -> list[Access]:
        """Clear it, and maybe read it."""
        return [Access(self.offset(), Command.CLEAR_STATUS), *self.look(), *self.status()]

    def identifiers(self) -> list[Access]:
        """Of blocks' locks: the two numbers are other ones."""
        block = self.chance.randrange(BLOCKS) * BLOCK
        return [Access(self.offset(), Command.READ_IDENTIFIERS), Access(block + 2)]

    def query(self) -> list[Access]:
        """Some of the data; then it is left, as QEMU takes nothing else."""
        reads = [Access(self.chance.choice(SAME_IN_QUERY)) for _ in range(4)]
        return [Access(self.offset(), Command.QUERY), *reads, *self.read_array()]

    def nothing(self) -> list[Access]:
        """What is no command."""
        return [Access(self.offset(), self.chance.choice(OTHERS)), *self.look()]


def compare(ours: Ours, theirs: Qtest, steps: list[Access]) -> str | None:
    """What the first read that differs is, in words."""
    mine, other = ours.run(steps), run(theirs, steps)
    reads = [number for number, step in enumerate(steps) if step.value is None]
    for number, left, right in zip(reads, mine, other, strict=True):
        if left != right:
            before = steps[: number + 1]
            return f"ours {left:#x}, QEMU's {right:#x} after {before}"
    return None
