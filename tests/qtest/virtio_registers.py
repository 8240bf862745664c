"""Random accesses to the common and device structures of virtio devices, ours and QEMU's.

What QEMU does otherwise (see the page on virtio's transport) is left out here: a driver that
breaks the order of 3.1.1, features that were not offered, registers of a queue that isn't there.
"""

import random
from typing import NamedTuple

from tests.qtest.virtio_pair import QUEUE_AREA, QUEUES, VERSION_1, Guest

ACCESSES = 60  # in one sequence
# What a driver may accept of both sides: indirect descriptors, events, the packed format.
COMMON_FEATURES = (1 << 28, 1 << 29, 1 << 34, 1 << 40)
READABLE = {0x00: 4, 0x08: 4, 0x0C: 4, 0x10: 2, 0x12: 2, 0x14: 1, 0x15: 1, 0x16: 2}
QUEUE_READABLE = {0x18: 2, 0x1A: 2, 0x1C: 2, 0x1E: 2, 0x3A: 2}
AREAS = range(0x20, 0x38, 4)
ABSENT = 20  # a queue that no device has


class Access(NamedTuple):
    """One access; `value` None reads."""

    structure: str
    offset: int
    size: int
    value: int | None = None

    def __str__(self) -> str:
        """As in a log."""
        if self.value is None:
            return f"read{8 * self.size} {self.structure}+{self.offset:#x}"
        return f"{self.structure}+{self.offset:#x} := {self.value:#x}"


class Sequence:
    """Accesses from a reset on, and as much of the device's state as decides what may follow."""

    def __init__(self, chance: random.Random, queues: int, config: int) -> None:
        """A device of so many queues, with so many bytes of configuration."""
        self.chance, self.queues, self.config = chance, queues, config
        self.accesses: list[Access] = []
        self.reset()
        while len(self.accesses) < ACCESSES:
            self.step()

    def reset(self) -> None:
        """And nothing selected, and queues of one size: the device chooses what they begin with."""
        self.status = 0
        self.features = 0
        self.selected = 0
        self.enabled: set[int] = set()
        self.put(0x14, 1, 0)
        self.put(0x00, 4, 0)
        for half in (0, 1):
            self.put(0x08, 4, half)
            self.put(0x0C, 4, 0)
        for queue in reversed(range(self.queues)):
            self.put(0x16, 2, queue)
            self.put(0x18, 2, 16)

    def put(self, offset: int, size: int, value: int) -> None:
        """A write of the common structure."""
        self.accesses.append(Access("common", offset, size, value))

    def step(self) -> None:
        """One thing a driver may do."""
        there = self.selected < self.queues
        free = there and self.selected not in self.enabled
        match self.chance.randrange(12):
            case 0 | 1 | 2 | 3:
                self.look(there=there)
            case 4:
                numbers = (*range(self.queues), *range(self.queues), ABSENT, ABSENT + 1)
                self.selected = self.chance.choice(numbers)
                self.put(0x16, 2, self.selected)
            case 5:
                self.put(self.chance.choice((0x00, 0x08)), 4, self.chance.choice((0, 1, 2, 7)))
            case 6 if free:
                self.put(0x18, 2, self.chance.choice((2, 4, 64, 128)))
            case 7:
                offset = 0x1A if there and self.chance.random() < 0.5 else 0x10
                vectors = (0, 1, self.queues, self.queues + 1, 0x100, 0xFFFF)
                self.put(offset, 2, self.chance.choice(vectors))
            case 8 if free:
                self.put(self.chance.choice(AREAS), 4, self.chance.getrandbits(32))
            case 9:
                self.next_status()
            case 10 if free and self.status >= 11:
                self.enable()
            case 11 if self.chance.random() < 0.2:
                self.reset()
            case _:
                self.look(there=there)

    def look(self, *, there: bool) -> None:
        """Read something."""
        if self.config and self.chance.random() < 0.3:
            size = self.chance.choice((1, 2, 4))
            offset = self.chance.randrange(0, self.config - size + 1, size)
            self.accesses.append(Access("device", offset, size))
            return
        offsets = {**READABLE, **QUEUE_READABLE, **dict.fromkeys(AREAS, 4)} if there else READABLE
        if not there and self.chance.random() < 0.3:
            offsets = {0x18: 2}
        offset = self.chance.choice(tuple(offsets))
        self.accesses.append(Access("common", offset, offsets[offset]))

    def next_status(self) -> None:
        """The next step of 3.1.1; features before the third."""
        if self.status == 3:
            chosen = sum(each for each in COMMON_FEATURES if self.chance.random() < 0.5)
            for half in (0, 1):
                self.put(0x08, 4, half)
                self.put(0x0C, 4, (VERSION_1 | chosen) >> 32 * half & 0xFFFF_FFFF)
        following = {0: 1, 1: 3, 3: 11, 11: 15, 15: 15}
        self.status = following[self.status]
        self.put(0x14, 1, self.status)

    def enable(self) -> None:
        """The queue selected."""
        place = QUEUES + self.selected * QUEUE_AREA
        self.put(0x18, 2, 16)
        for offset, area in ((0x20, place), (0x28, place + 0x400), (0x30, place + 0x800)):
            self.put(offset, 4, area)
            self.put(offset + 4, 4, 0)
        self.put(0x1C, 2, 1)
        self.enabled.add(self.selected)


def answers(guest: Guest, accesses: list[Access]) -> list[int]:
    """What a side answers; a write's is 0."""
    guest.ram.put(QUEUES, bytes(8 * QUEUE_AREA))
    found = []
    for each in accesses:
        if each.value is None:
            found.append(guest.side.read(each.structure, each.offset, each.size))
        else:
            guest.side.write(each.structure, each.offset, each.size, each.value)
            found.append(0)
    return found


def difference(ours: Guest, theirs: Guest, accesses: list[Access]) -> str | None:
    """The first, in words."""
    pairs = zip(answers(ours, accesses), answers(theirs, accesses), strict=True)
    for index, (mine, other) in enumerate(pairs):
        if mine != other:
            log = "; ".join(map(str, accesses[: index + 1]))
            return f"{log}: ours {mine:#x}, QEMU's {other:#x}"
    return None
