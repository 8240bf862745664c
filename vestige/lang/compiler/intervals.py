"""Exact intervals of Python integers: what each operation of two ranges can give.

A register holds the low 64 bits of a value; the interval says what the value itself can be.
The ring operations (+ - * << ~ & | ^) are right in the low 64 bits whatever the interval;
everything else needs a value that `fits`.
"""

from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

WORD = 64
MASK = (1 << WORD) - 1
SIGNED_LOW, SIGNED_HIGH = -(1 << WORD - 1), (1 << WORD - 1) - 1
MAX_SHIFT = 255  # the widest left shift whose interval is followed


class Interval(NamedTuple):
    """All integers from `low` to `high`. `flag`: CPython may hold an IntFlag member here."""

    low: int
    high: int
    flag: bool = False

    @property
    def constant(self) -> int | None:
        """The only value, if there is one."""
        return self.low if self.low == self.high else None

    @property
    def fits_unsigned(self) -> bool:
        """Whether the register read as unsigned is the value."""
        return self.low >= 0 and self.high <= MASK

    @property
    def fits_signed(self) -> bool:
        """Whether the register read as signed is the value."""
        return self.low >= SIGNED_LOW and self.high <= SIGNED_HIGH

    @property
    def fits(self) -> bool:
        """Whether the register determines the value."""
        return self.fits_unsigned or self.fits_signed

    def within(self, other: "Interval") -> bool:
        """Whether every value of this one is in `other`."""
        return other.low <= self.low and self.high <= other.high

    def join(self, other: "Interval") -> "Interval":
        """The least interval that holds both."""
        if other.within(self) and (self.flag or not other.flag):
            return self
        return Interval(
            min(self.low, other.low), max(self.high, other.high), self.flag or other.flag
        )

    def meet(self, low: int, high: int) -> "Interval | None":
        """The values from `low` to `high` among these; None if there is none."""
        low, high = max(self.low, low), min(self.high, high)
        if low > high:
            return None
        return self if (low, high) == self[:2] else Interval(low, high, self.flag)

    def __str__(self) -> str:
        if self.constant is not None:
            return number(self.low)
        return f"[{number(self.low)}, {number(self.high)}]"


def number(value: int) -> str:
    """`value` as a person would write it: near powers of two as such, once they are long."""
    sign, size = ("-", -value) if value < 0 else ("", value)
    if size < 1 << 20:
        return str(value)
    for bits in (size.bit_length() - 1, size.bit_length()):
        difference = size - (1 << bits)
        if difference == 0:
            return f"{sign}2**{bits}"
        if abs(difference) < 1 << 10:
            inner = f"2**{bits} {'+' if difference > 0 else '-'} {abs(difference)}"
            return f"-({inner})" if sign else inner
    return hex(value) if value.bit_length() <= 80 else f"about {sign}2**{size.bit_length()}"


BOOLEAN = Interval(0, 1)
UNSIGNED = Interval(0, MASK)
SIGNED = Interval(SIGNED_LOW, SIGNED_HIGH)


def constant(value: int) -> Interval:
    """The interval of one value."""
    return Interval(value, value)


def _hull(values: Iterable[int]) -> Interval:
    found = list(values)
    return Interval(min(found), max(found))


def add(a: Interval, b: Interval) -> Interval:
    """a + b."""
    return Interval(a.low + b.low, a.high + b.high)


def subtract(a: Interval, b: Interval) -> Interval:
    """a - b."""
    return Interval(a.low - b.high, a.high - b.low)


def multiply(a: Interval, b: Interval) -> Interval:
    """a * b."""
    if a.low >= 0 and b.low >= 0:
        return Interval(a.low * b.low, a.high * b.high)
    return _hull(x * y for x, y in product(a[:2], b[:2]))


def _bits(*intervals: Interval) -> int:
    """The least n with every bound in [-2**n, 2**n)."""
    return max((~x if x < 0 else x).bit_length() for i in intervals for x in i[:2])


def bit_and(a: Interval, b: Interval) -> Interval:
    """a & b: no greater than an operand that can't be negative."""
    flag = a.flag or b.flag
    positive = [x.high for x in (a, b) if x.low >= 0]
    if positive:
        return Interval(0, min(positive), flag)
    bits = _bits(a, b)
    return Interval(-(1 << bits), max(a.high, b.high, -1), flag)


def bit_or(a: Interval, b: Interval) -> Interval:
    """a | b: no new bit above the highest of either; no less than a positive operand."""
    flag, bits = a.flag or b.flag, _bits(a, b)
    if a.low >= 0 and b.low >= 0:
        return Interval(max(a.low, b.low), (1 << bits) - 1, flag)
    high = -1 if a.high < 0 or b.high < 0 else (1 << bits) - 1
    return Interval(-(1 << bits), high, flag)


def bit_xor(a: Interval, b: Interval) -> Interval:
    """a ^ b."""
    bits = _bits(a, b)
    low = 0 if a.low >= 0 and b.low >= 0 else -(1 << bits)
    return Interval(low, (1 << bits) - 1, a.flag or b.flag)


def shift_left(a: Interval, count: Interval) -> Interval:
    """a << count, for a count in [0, MAX_SHIFT]."""
    return _hull(x << n for x, n in product(a[:2], count[:2]))


def shift_right(a: Interval, count: Interval) -> Interval:
    """a >> count, for a count that is not negative."""
    counts = (min(n, 2 * MAX_SHIFT + WORD) for n in count[:2])
    return _hull(x >> n for x, n in product(a[:2], tuple(counts)))


def _divisors(b: Interval) -> list[Interval]:
    """The parts of b below and above zero."""
    parts = (b.meet(b.low, -1), b.meet(1, b.high))
    return [part for part in parts if part is not None]


def floor_divide(a: Interval, b: Interval) -> Interval:
    """a // b for b != 0; b must be able to be something else."""
    return _hull(x // y for part in _divisors(b) for x, y in product(a[:2], part[:2]))


def modulo(a: Interval, b: Interval) -> Interval:
    """a % b for b != 0: the sign is the divisor's."""
    if a.constant is not None and b.constant is not None:
        return constant(a.low % b.low)
    if a.low >= 0 and b.low > a.high:
        return Interval(a.low, a.high)
    low, high = min(0, b.low + 1), max(0, b.high - 1)
    if a.low >= 0 and b.low >= 0:
        high = min(high, a.high)
    return Interval(low, high)


def negate(a: Interval) -> Interval:
    """-a."""
    return Interval(-a.high, -a.low)


def invert(a: Interval) -> Interval:
    """~a, of an integer that is no IntFlag."""
    return Interval(~a.high, ~a.low)


def wrap(a: Interval, kind: Interval, bits: int) -> Interval:
    """a modulo 2**bits, in the range of `kind`."""
    if a.within(kind):
        return Interval(a.low, a.high)
    if a.low - kind.low >> bits == a.high - kind.low >> bits:
        offset = (a.low - kind.low >> bits) << bits
        return Interval(a.low - offset, a.high - offset)
    return kind


BINARY = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "&": bit_and,
    "|": bit_or,
    "^": bit_xor,
    "<<": shift_left,
    ">>": shift_right,
    "//": floor_divide,
    "%": modulo,
}
NEGATED = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "==": "!=", "!=": "=="}
MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "!=": "!="}


def compare(operator: str, a: Interval, b: Interval) -> Interval:
    """The truth of `a operator b`: 0, 1 or either."""
    if refine(operator, a, b) is None:
        return constant(0)
    if refine(NEGATED[operator], a, b) is None:
        return constant(1)
    return BOOLEAN


def refine(operator: str, a: Interval, b: Interval) -> Interval | None:
    """What `a` can be where `a operator b` holds; None where it can't hold."""
    match operator:
        case "<":
            return a.meet(a.low, b.high - 1)
        case "<=":
            return a.meet(a.low, b.high)
        case ">":
            return a.meet(b.low + 1, a.high)
        case ">=":
            return a.meet(b.low, a.high)
        case "==":
            return a.meet(b.low, b.high)
    excluded = b.constant
    if excluded is None:
        return a
    low = a.low + (a.low == excluded)
    return a.meet(low, a.high - (a.high == excluded))
