"""The next alarm against a search of all seconds of a day."""

from hypothesis import given, settings
from hypothesis import strategies as st

from vestige.monitor.devices.mc146818.alarm import ANY, until_alarm

DAY = 86_400


def searched(time: int, hour: int, minute: int, second: int) -> int:
    """The same, a second at a time."""
    for passed in range(1, DAY + 1):
        at = (time + passed) % DAY
        fields = ((hour, at // 3600), (minute, at // 60 % 60), (second, at % 60))
        if all(wanted in (ANY, field) for wanted, field in fields):
            return passed
    raise AssertionError


def of(count: int) -> st.SearchStrategy[int]:
    """A number below `count`, its ends more often, or ANY."""
    return st.sampled_from((0, count - 1, ANY)) | st.integers(0, count - 1)


@settings(max_examples=30, deadline=None)
@given(of(24), of(60), of(60), of(24), of(60), of(60))
def test_the_next_alarm_is_the_first_second_that_matches(
    hour: int, minute: int, second: int, at_hour: int, at_minute: int, at_second: int
) -> None:
    time = at_hour % 24 * 3600 + at_minute % 60 * 60 + at_second % 60
    assert until_alarm(time, hour, minute, second) == searched(time, hour, minute, second)
