"""Interval rules against all values: sound always, exact where they claim to be."""

import operator
from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestige.lang.compiler import intervals
from vestige.lang.compiler.intervals import BINARY, Interval, number

OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "//": operator.floordiv,
    "%": operator.mod,
}
EXACT = ("+", "-", "*", "//")
COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@st.composite
def small(draw: st.DrawFn) -> Interval:
    low = draw(st.integers(-20, 20))
    return Interval(low, low + draw(st.integers(0, 12)))


def values(interval: Interval) -> range:
    return range(interval.low, interval.high + 1)


@pytest.mark.parametrize("symbol", OPERATIONS)
@given(a=small(), b=small())
def test_every_result_is_inside(symbol: str, a: Interval, b: Interval) -> None:
    pairs = [(x, y) for x, y in product(values(a), values(b)) if y or symbol not in "//%"]
    if not pairs:
        return
    results = [OPERATIONS[symbol](x, y) for x, y in pairs]
    interval = BINARY[symbol](a, b)
    assert interval.low <= min(results)
    assert max(results) <= interval.high
    if symbol in EXACT:
        assert interval == Interval(min(results), max(results))


@pytest.mark.parametrize("symbol", ["<<", ">>"])
@given(a=small(), low=st.integers(0, 8), more=st.integers(0, 8))
def test_every_shift_is_inside(symbol: str, a: Interval, low: int, more: int) -> None:
    counts = Interval(low, low + more)
    shift = operator.lshift if symbol == "<<" else operator.rshift
    results = [shift(x, n) for x, n in product(values(a), values(counts))]
    assert BINARY[symbol](a, counts) == Interval(min(results), max(results))


@given(a=small())
def test_negation_and_inversion_are_exact(a: Interval) -> None:
    assert intervals.negate(a) == Interval(-a.high, -a.low)
    assert intervals.invert(a) == Interval(~a.high, ~a.low)


@pytest.mark.parametrize("kind", [Interval(0, 7), Interval(-4, 3)])
@given(a=small())
def test_wrapping_is_inside_and_keeps_what_fits(kind: Interval, a: Interval) -> None:
    wrapped = intervals.wrap(a, kind, 3)
    results = [(x - kind.low) % 8 + kind.low for x in values(a)]
    assert wrapped.low <= min(results)
    assert max(results) <= wrapped.high
    assert wrapped.within(kind)
    if a.within(kind):
        assert wrapped == a


@pytest.mark.parametrize("symbol", COMPARISONS)
@given(a=small(), b=small())
def test_a_comparison_is_decided_only_where_all_agree(
    symbol: str, a: Interval, b: Interval
) -> None:
    truths = {COMPARISONS[symbol](x, y) for x, y in product(values(a), values(b))}
    decided = intervals.compare(symbol, a, b).constant
    if decided is not None:
        assert truths == {bool(decided)}


@pytest.mark.parametrize("symbol", COMPARISONS)
@given(a=small(), b=small())
def test_narrowing_keeps_every_value_that_can_hold(symbol: str, a: Interval, b: Interval) -> None:
    holding = {x for x, y in product(values(a), values(b)) if COMPARISONS[symbol](x, y)}
    narrowed = intervals.refine(symbol, a, b)
    if narrowed is None:
        assert not holding
    else:
        assert holding <= set(values(narrowed))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (-65536, "-65536"),
        (1 << 64, "2**64"),
        ((1 << 64) - 1, "2**64 - 1"),
        (-(1 << 63), "-2**63"),
        (-((1 << 63) - 1), "-(2**63 - 1)"),
        ((1 << 32) + 2, "2**32 + 2"),
        (0x12345678, "0x12345678"),
        (3 << 200, "about 2**202"),
    ],
)
def test_numbers_read_as_people_write_them(value: int, text: str) -> None:
    assert number(value) == text
