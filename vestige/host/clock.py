"""The date that a PC's real-time clock shows when the guest's power comes on: `--rtc`."""

import time

from vestige.errors import UsageError

UTC, LOCAL = "utc", "localtime"
FORM = "YYYY-MM-DDTHH:MM:SS"
LIKE = "0000-00-00T00:00:00"  # where a date has digits
FIRST_YEAR = 1970  # the host tells of a date as of the seconds since

Rtc = str | int  # UTC, LOCAL, or a date: what the clock shows, as seconds from 1970-01-01 00:00


def parse_rtc(text: str) -> Rtc:
    """UTC, LOCAL, or the seconds of a date like 2001-02-03T04:05:06 (FORM, and no other)."""
    if text in (UTC, LOCAL):
        return text
    from datetime import datetime  # noqa: PLC0415 - slow to import, and few runs name a date

    problem, date = "no such date", None
    if text.lower() in (UTC, LOCAL):
        problem = "it is written in small letters"
    elif not _has_form(text[: len(LIKE)]):
        problem = "not of this form"
    elif text[len(LIKE) :]:
        problem = "a date ends with its seconds, and has no time zone"
    else:
        try:
            date = datetime.fromisoformat(text)
        except ValueError:
            date = None
    if date is not None and date.year < FIRST_YEAR:
        date, problem = None, f"before {FIRST_YEAR}"
    if date is None:
        raise UsageError(f"--rtc {text}: {problem}; give {UTC}, {LOCAL} or {FORM}")
    return int((date - datetime(FIRST_YEAR, 1, 1)).total_seconds())


def _has_form(text: str) -> bool:
    digits = "".join("0" if each in "0123456789" else each for each in text)
    return digits == LIKE


def date(rtc: Rtc | None, now: float) -> int:
    """What the clock is to show at `now`, a time.time(); as seconds from 1970-01-01 00:00."""
    if isinstance(rtc, int):
        return rtc
    return int(now) + (zone(now) if rtc == LOCAL else 0)


def zone(now: float) -> int:
    """Seconds by which this host's local time is ahead of UTC at `now`."""
    return time.localtime(now).tm_gmtoff


def set_zone(seconds: int) -> None:
    """Have this process's local time be so far ahead of UTC."""
    import os  # noqa: PLC0415 - the software host's inner half alone

    sign, (minutes, second) = "-" if seconds > 0 else "+", divmod(abs(seconds), 60)
    os.environ["TZ"] = f"<out>{sign}{minutes // 60}:{minutes % 60:02}:{second:02}"
    time.tzset()
