"""What a PC's clock shows at power-on."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from vestige.errors import UsageError
from vestige.host import clock
from vestige.host.options import PC, RunOptions, check

NOW = 1_700_000_000.9
FORMS = "give utc, localtime or YYYY-MM-DDTHH:MM:SS"


@pytest.fixture
def zones(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process's time zone is put back."""
    monkeypatch.setenv("TZ", "")
    yield
    monkeypatch.undo()
    time.tzset()


def test_without_the_option_it_shows_utc() -> None:
    assert clock.date(None, NOW) == clock.date(clock.parse_rtc("utc"), NOW) == int(NOW)


@pytest.mark.parametrize(
    ("zone", "ahead"), [("XYZ-5:30", 5 * 3600 + 1800), ("XYZ3", -3 * 3600), ("XYZ0", 0)]
)
@pytest.mark.usefixtures("zones")
def test_local_time_is_the_host_s(zone: str, ahead: int) -> None:
    os.environ["TZ"] = zone
    time.tzset()
    assert clock.zone(NOW) == ahead
    assert clock.date(clock.parse_rtc("localtime"), NOW) == int(NOW) + ahead


@pytest.mark.parametrize("ahead", [0, 3600, -3600, 20_700, -12_600, 50_400, 1, -61])
@pytest.mark.usefixtures("zones")
def test_a_software_host_has_the_zone_out_here(ahead: int) -> None:
    clock.set_zone(ahead)
    assert clock.zone(NOW) == ahead


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2001-02-03T04:05:06", datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)),
        ("1970-01-01T00:00:00", datetime(1970, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
@pytest.mark.usefixtures("zones")
def test_a_date_is_what_it_shows_whatever_the_host_s_zone(text: str, date: datetime) -> None:
    clock.set_zone(7200)
    assert clock.date(clock.parse_rtc(text), NOW) == int(date.timestamp())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not of this form"),
        ("now", "not of this form"),
        ("UTC", "it is written in small letters"),
        ("LocalTime", "it is written in small letters"),
        ("2001-02-30T00:00:00", "no such date"),
        ("2001-02-03T25:00:00", "no such date"),
        ("10000-01-01T00:00:00", "not of this form"),
        ("1997-12-31 23:59:59", "not of this form"),
        ("1980-01-01", "not of this form"),
        ("1970-01-01T00:00", "not of this form"),
        ("1999-W52-5", "not of this form"),
        ("19991231T235950", "not of this form"),
        ("1999-12-31T23:59:5\u0660", "not of this form"),
        ("1999-12-31T23:59:50.5", "a date ends with its seconds, and has no time zone"),
        ("2001-02-03T04:05:06Z", "a date ends with its seconds, and has no time zone"),
        ("2001-02-03T04:05:06+01:00", "a date ends with its seconds, and has no time zone"),
        ("1969-12-31T23:59:59", "before 1970"),
    ],
)
def test_other_words_are_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError) as refused:
        clock.parse_rtc(text)
    assert str(refused.value) == f"--rtc {text}: {reason}; {FORMS}"


@pytest.mark.parametrize("rtc", ["utc", 0])
def test_the_modern_machine_has_no_such_clock(rtc: clock.Rtc) -> None:
    with pytest.raises(UsageError, match=r"^--rtc: a PC's clock; give --machine pc, too"):
        check(RunOptions("k", rtc=rtc))
    check(RunOptions("k", rtc=rtc, machine=PC))
