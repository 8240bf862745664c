"""What the monitor may log in a run."""

from contextlib import closing

import pytest

from vestige.host.loop.monitor_log import MOST_BYTES, MOST_LINES, MonitorLog


def test_what_a_monitor_logs_is_told_with_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    with closing(MonitorLog()) as log:
        log.take(b"one\x1b\n")
        log.take(b"")
    assert capsys.readouterr().err == "vestige: monitor: one\\x1b\\x0a\n"


@pytest.mark.parametrize(("size", "most"), [(5, MOST_LINES), (1024, MOST_BYTES // 1024)])
def test_what_is_too_much_for_a_run_is_counted(
    capsys: pytest.CaptureFixture[str], size: int, most: int
) -> None:
    with closing(MonitorLog()) as log:
        for _ in range(most + 1_000_000):
            log.take(b"x" * size)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:-1] == [f"vestige: monitor: {'x' * size}"] * most
    assert lines[-1] == (
        f"vestige: 1000000 more lines of the monitor were dropped: a run has {MOST_LINES}"
    )


def test_what_says_nothing_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A monitor that has a disk's failure told logs nothing beside it."""
    with closing(MonitorLog()) as log:
        for _ in range(2 * MOST_LINES):
            log.take(b"")
        log.take(b"a line")
    assert capsys.readouterr().err == "vestige: monitor: a line\n"
