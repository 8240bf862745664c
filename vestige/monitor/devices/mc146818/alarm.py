"""When an alarm is next. MC146818A data sheet, Time, calendar, and alarm locations."""

from vestige.lang.types import u8, u32

ANY = 0xFE  # an hour, minute or second that need not match


def until_alarm(time: u32, hour: u8, minute: u8, second: u8) -> u32:
    """The seconds from a time of day, in seconds, to the next that matches; 1 to a day's.

    Of each it finds the next that matches; if that is not now, the smaller ones begin anew.
    """
    first_second = 0 if second == ANY else second
    first_minute = 0 if minute == ANY else minute
    at: u32 = time % 86_400 + 1
    if second != ANY:
        at = at + (60 + second % 60 - at % 60) % 60
    if minute != ANY:
        minutes = (60 + minute % 60 - at // 60 % 60) % 60
        if minutes != 0:
            at = u32((at // 60 + minutes) * 60 + first_second)
    if hour != ANY:
        hours = (24 + hour % 24 - at // 3600 % 24) % 24
        if hours != 0:
            at = u32((at // 3600 + hours) * 3600 + first_minute * 60 + first_second)
    return u32(at - time % 86_400)
