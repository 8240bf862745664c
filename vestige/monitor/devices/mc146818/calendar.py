"""Dates and days: the Gregorian calendar, years 0 to 9999. A count of days begins before year 0."""

from vestige.lang.types import u32, u64

YEARS = 10_000
CYCLE = 400  # years, after which the calendar repeats itself
DAYS_IN_CYCLE = 146_097
DAYS_IN_100_YEARS = 36_524  # but the last of a cycle, which has one more
DAYS_IN_4_YEARS = 1461
# Years begin in March here, so that a leap day ends one: the days before each month.
DAYS_BEFORE = (0, 31, 61, 92, 122, 153, 184, 214, 245, 275, 306, 337)
MONTHS = len(DAYS_BEFORE)
MARCH = 3


def day_number(year: u32, month: u32, day: u32) -> u32:
    """The days from 1 March of the year -400 to a date; `month` 1 to 12.

    A `day` that the month doesn't have is as many days after its first.
    """
    since = CYCLE + year % YEARS - (month < MARCH)
    leaps = since // 4 - since // 100 + since // CYCLE
    return u32(since * 365 + leaps + DAYS_BEFORE[(month + MONTHS - MARCH) % MONTHS] + day - 1)


def date_of(number: u64) -> tuple[u32, u32, u32]:
    """The year, month and day of a day's number. After 9999-12-31 comes 0000-01-01."""
    cycles = number // DAYS_IN_CYCLE
    left = number % DAYS_IN_CYCLE
    centuries = min(left // DAYS_IN_100_YEARS, 3)
    left = u64(left - centuries * DAYS_IN_100_YEARS)
    fours = left // DAYS_IN_4_YEARS
    left %= DAYS_IN_4_YEARS
    years = min(left // 365, 3)
    left = u64(left - years * 365)
    month: u32 = 0
    while month < MONTHS - 1 and DAYS_BEFORE[month + 1] <= left:
        month = month + 1
    day = u32(left - DAYS_BEFORE[month] + 1)
    year = u64(cycles * CYCLE + centuries * 100 + fours * 4 + years + YEARS - CYCLE)
    if month < MONTHS + 1 - MARCH:
        return year % YEARS, month + MARCH, day
    return (year + 1) % YEARS, month + MARCH - MONTHS, day
