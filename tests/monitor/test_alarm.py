"""The boot CPU keeps the timer: who has it when, and that somebody has."""

import pytest

from tests.monitor.rig import Rig
from tests.monitor.test_external import can_take_one, machine
from vestige import abi
from vestige.monitor.core import alarm as module
from vestige.monitor.line import NEVER

PERIOD = 4_000_152  # ns: 4773 of the PIT's
COUNT = 4773
TIMER = 0x20  # its vector


def started(*, has_bell: bool = True, count: int = COUNT) -> Rig:
    """A PC whose PIT ticks, and whose boot CPU's guest can take interrupts."""
    rig = machine(abi.Board.PC, has_bell=has_bell)
    can_take_one(rig, True)
    for port, value in ((0x43, 0x34), (0x40, count & 0xFF), (0x40, count >> 8)):
        rig.out(port, value)
    rig.out(0x20, 0x20)
    rig.work()
    return rig


def comes(rig: Rig) -> tuple[int, int, int]:
    """The boot CPU's guest exits for its alarm or a call: the answer, its vector, its alarm."""
    rig.cpus[0].exit.reason = abi.ExitReason.INTERRUPTED
    rig.enter()
    argument = rig.cpus[0].argument
    return rig.reply, argument[0], argument[2]


def left(rig: Rig) -> int:
    """The worker's timer expires, and it leaves that to the boot CPU; the alarm."""
    rig.now = rig.expiry
    before = rig.bells
    rig.work()
    assert rig.bells == before + 1
    assert rig.expiry == NEVER, "the worker has set its timer"
    reply, vector, alarm = comes(rig)
    assert (reply, vector) == (abi.Call.INJECT, TIMER)
    return alarm


def test_a_tick_is_left_to_the_boot_cpu_and_so_are_those_that_follow() -> None:
    rig = started()
    alarm = left(rig)
    wakes = rig.wakes
    for _ in range(50):
        assert abs(alarm - PERIOD) < 1000
        rig.out(0x20, 0x20)
        assert rig.reply == abi.Call.DONE
        rig.now += alarm
        reply, vector, alarm = comes(rig)
        assert (reply, vector) == (abi.Call.INJECT, TIMER)
    assert (rig.wakes, rig.expiry) == (wakes, NEVER)


def test_without_a_bell_the_worker_keeps_it() -> None:
    rig = started(has_bell=False)
    rig.now = rig.expiry
    rig.work()
    assert rig.now < rig.expiry <= rig.now + PERIOD


def test_an_exit_before_its_time_orders_what_is_left() -> None:
    rig = started()
    alarm = left(rig)
    rig.out(0x20, 0x20)
    rig.now += 1_000_000
    reply, vector, again = comes(rig)
    assert (reply, vector) == (abi.Call.INJECT, abi.NO_VECTOR)
    assert 0 <= alarm - 1_000_000 - again < 1000


def test_it_is_given_back_where_no_interrupt_comes_of_it() -> None:
    rig = started()
    alarm = left(rig)
    rig.out(0x20, 0x20)
    rig.out(0x21, 1)  # masked
    rig.now += alarm
    wakes = rig.wakes
    assert comes(rig)[0] == abi.Call.DONE
    assert rig.wakes == wakes + 1
    rig.work()
    assert rig.now < rig.expiry <= rig.now + PERIOD


def test_it_is_given_back_where_the_next_is_far(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = started()
    alarm = left(rig)
    rig.out(0x20, 0x20)
    rig.now += alarm
    wakes = rig.wakes
    monkeypatch.setattr(module, "SOON", PERIOD // 2)
    assert comes(rig) == (abi.Call.INJECT, TIMER, 0)
    assert rig.wakes == wakes + 1
    rig.work()
    assert rig.now < rig.expiry <= rig.now + PERIOD


def test_what_is_due_earlier_is_the_workers() -> None:
    rig = started()
    left(rig)
    rig.out(0x20, 0x20)
    wakes = rig.wakes
    for port, value in ((0x43, 0x34), (0x40, 1193 & 0xFF), (0x40, 1193 >> 8)):
        rig.out(port, value)
    rig.out(0x20, 0x20)
    assert rig.wakes > wakes
    rig.work()
    assert rig.now < rig.expiry <= rig.now + 1_000_000


def test_no_timer_is_left_that_an_alarm_under_way_would_come_too_late_for() -> None:
    rig = started()
    rig.machine.alarm_due = rig.expiry + 2 * PERIOD
    rig.now = rig.expiry
    rig.work()
    assert rig.now < rig.expiry <= rig.now + PERIOD
    assert comes(rig)[:2] == (abi.Call.INJECT, TIMER)
    assert rig.cpus[0].argument[2] == 0


def test_none_is_left_that_is_far(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = started()
    rig.now = rig.expiry
    monkeypatch.setattr(module, "SOON", PERIOD // 2)
    rig.work()
    assert rig.now < rig.expiry <= rig.now + PERIOD
