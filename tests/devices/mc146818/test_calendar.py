"""The calendar against Python's."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestige.monitor.devices.mc146818.calendar import YEARS, date_of, day_number

FIRST = datetime.date(1, 1, 1)


@given(st.dates())
def test_days_are_numbered_and_found_again(date: datetime.date) -> None:
    number = day_number(date.year, date.month, date.day)
    assert number - day_number(1, 1, 1) == (date - FIRST).days
    assert date_of(number) == (date.year, date.month, date.day)


@pytest.mark.parametrize(
    ("year", "days"), [(0, 29), (1900, 28), (2000, 29), (2023, 28), (2024, 29), (2100, 28)]
)
def test_february(year: int, days: int) -> None:
    last = day_number(year, 3, 1) - 1
    assert date_of(last) == (year, 2, days)


def test_after_the_last_year_comes_the_first() -> None:
    assert date_of(day_number(YEARS - 1, 12, 31) + 1) == (0, 1, 1)


def test_a_day_that_a_month_lacks_is_in_the_next() -> None:
    assert date_of(day_number(2023, 2, 31)) == (2023, 3, 3)
