"""Stopping the threads of a run."""

from types import SimpleNamespace
from typing import Any

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
    session._gate_is_shut = False  # it has been started
    session.stop()
    assert not any(each.is_running for each in (first, second, third))
    assert all(each.nudged for each in (first, second, third))
