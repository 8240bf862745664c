"""What stands above the functions that the fuzzer of the compiler generates."""

PRELUDE = '''\
"""Generated."""

from collections.abc import Callable
from enum import IntEnum, IntFlag

from vestige.lang.intrinsics import check
from vestige.lang.records import Record
from vestige.lang.types import Struct, i8, i16, i32, i64, u8, u16, u32, u64

TABLE = (3, 70000, 0, 12, 255, 8, 1, 9)
SIGNED_TABLE = (-3, 400, 7, -70000)
OCTETS = bytes(range(7, 200, 13))
LIMIT = 11


class Colour(IntEnum):
    RED = 1
    GREEN = 5
    BLUE = 200


class Bit(IntFlag):
    A = 1
    B = 4
    C = 0x80


class Pair(Struct):
    left: i16
    right: u32
    bytes: u8[4]


class Twin(Struct):
    right: u8
    extra: i64
    bytes: u8[4]
    left: u64


def turned(value: u16, by: u8) -> i64:
    return value << (by & 15) | value >> (by & 7)


def apart(value: u16, by: u8) -> i64:
    check(value != 77 or by)
    return value - by if value < 1000 else value // (by + 1)


class Step(Record):
    size: u8
    upper: bool = False


class Row(Record):
    field: str
    pair: str
    number: u16
    timed: bool
    steps: tuple[Step, ...] = ()
    kind: Colour | None = None
    sizes: tuple[int, ...] = ()
    turn: Callable[[u16, u8], i64] = turned
    turns: tuple[Callable[[u16, u8], i64], ...] = ()

    @property
    def mask(self) -> int:
        return sum(1 << (size & 31) for size in self.sizes)

    def weigh(self, value: u16, upper: u8 = 2) -> i64:
        weight: i64 = self.number
        for position, step in enumerate(self.steps):
            if step.upper and upper < step.size:
                return weight
            weight = i64(weight + value * step.size + position)
        for turn in self.turns:
            weight = i64(weight ^ turn(value, upper))
        return weight if value & self.mask else self.turn(value, upper)


ROWS = (
    Row("f0", "pair", 7, timed=True, steps=(Step(3), Step(200, upper=True)), kind=Colour.RED),
    Row("f1", "twin", 300, timed=False, sizes=(4, 9), turn=apart, turns=(turned, apart)),
    Row("f0", "pair", 0, timed=False, steps=(Step(5),), kind=Colour.BLUE, sizes=(-1, 255),
        turns=(apart,)),
)
'''
