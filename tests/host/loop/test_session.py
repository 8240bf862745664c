"""Stopping the threads of a run."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from vestige.errors import UsageError
from vestige.host.loop.session import Session


class Waiting:
    """Stands for a thread that leaves its loop once another has been nudged."""

    def __init__(self) -> None:
        self.loop = SimpleNamespace(stop=0)
        self.other: Waiting = self
        self.nudged = self.waits = 0

    @property
    def is_running(self) -> bool:
        return not (self.loop.stop and self.other.nudged)

    def nudge(self) -> None:
        assert self.other.loop.stop
        self.nudged += 1

    def end(self) -> None:
        self.loop.stop = 1

    def wait(self, seconds: float) -> None:
        self.waits += 1
        assert seconds < 1
        assert self.waits < 100, "the other is never told"


def test_no_thread_is_waited_for_before_all_are_told_to_stop() -> None:
    first, second, third = Waiting(), Waiting(), Waiting()
    first.other, second.other, third.other = third, first, second
    session = object.__new__(Session)
    three: list[Any] = [first, second, third]
    session.threads = three
    session._has_begun = True
    session.stop()
    assert not any(each.is_running for each in (first, second, third))
    assert all(each.nudged for each in (first, second, third))


class Staying:
    """Stands for a thread that doesn't leave its loop."""

    def __init__(self) -> None:
        self.loop = SimpleNamespace(stop=0)
        self.who, self.guest, self.is_running, self.is_worker = "CPU 0", None, True, False
        self.went_on = 0

    def nudge(self) -> None:
        assert self.loop.stop

    def wait(self, seconds: float) -> None:
        assert seconds < 1

    def halt(self, where: int) -> None:
        self.loop.stop = where

    def go_on(self) -> None:
        self.went_on += 1
        self.loop.stop = 0


def test_a_pause_that_a_thread_does_not_heed_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    stays: Any = Staying()
    session = object.__new__(Session)
    session.threads = [stays]
    session.is_paused = False
    monkeypatch.setattr(time, "monotonic", iter(range(100)).__next__)
    with pytest.raises(UsageError, match=r"CPU 0 does not stop within 5 s; try again"):
        session.pause()
    assert not session.is_paused
    assert (stays.loop.stop, stays.went_on) == (0, 1)
