"""Stopping the threads of a run."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from vestige import abi
from vestige.errors import UsageError
from vestige.host.loop.runloop import FUTEX_WAIT, FUTEX_WAKE, SYS_FUTEX, Bells, Door
from vestige.host.loop.session import CpuThread, Session, Submitted
from vestige.lang.intrinsics import address_of, syscall


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


def cpu_thread() -> CpuThread:
    cpu = SimpleNamespace(descriptor=-1, run_address=0, run_size=0)
    machine = SimpleNamespace(cpus=[cpu])
    shown = abi.Cpu()
    twin: Any = SimpleNamespace(
        guest=machine,
        monitor=machine,
        private=SimpleNamespace(cpu=lambda _: shown, shared=abi.Shared),
        queue=0,
        doorbells=SimpleNamespace(bells=Bells()),
        notices=None,
        name_of=lambda _: "CPU 0",
    )
    return CpuThread(twin, 0, (), Submitted())


def test_a_thread_that_ends_before_it_stands_is_not_waited_for() -> None:
    thread = cpu_thread()
    thread.start(lambda _: None)
    thread.stand()
    thread.begin()
    thread.wait(10.0)
    assert not thread.is_running


def test_a_thread_that_stands_is_let_go_by_its_door() -> None:
    thread = cpu_thread()
    entered = []

    def run(each: CpuThread) -> None:
        each.await_begin()
        door = each.loop.door
        door.is_now = Door.AWAITED
        syscall(SYS_FUTEX, address_of(door), FUTEX_WAKE, 1, 0, 0, 0)
        while door.is_now == Door.AWAITED:
            syscall(SYS_FUTEX, address_of(door), FUTEX_WAIT, Door.AWAITED, 0, 0, 0)
        entered.append(door.is_now)

    thread.start(run)
    thread.stand()
    assert thread.loop.door.is_now == Door.AWAITED
    assert not entered
    thread.begin()
    thread.wait(10.0)
    assert entered == [Door.OPEN]
