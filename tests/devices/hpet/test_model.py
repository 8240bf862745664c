"""The HPET: IA-PC HPET Specification 1.0a. Times are nanoseconds, ticks are 10 of them."""

import pytest

from vestige import abi
from vestige.monitor.devices.hpet.model import PATIENCE, Hpet
from vestige.monitor.devices.hpet.spec import FIRST_ROUTE, PERIOD, ROUTES, TIMERS, Register
from vestige.monitor.devices.hpet.spec import TimerConfiguration as Bit
from vestige.monitor.line import NEVER
from vestige.monitor.sized import ONES

COUNTER, CONFIGURATION, STATUS = Register.COUNTER, Register.CONFIGURATION, Register.STATUS
TIMER, COMPARATOR = Register.TIMER_CONFIGURATION, Register.TIMER_COMPARATOR
ROUTE = FIRST_ROUTE << 9


@pytest.fixture
def hpet() -> Hpet:
    model = Hpet()
    model.reset()
    return model


@pytest.fixture
def running(hpet: Hpet) -> Hpet:
    hpet.write(CONFIGURATION, 4, 1, 0)
    return hpet


def edges(hpet: Hpet, number: int = 0) -> bool:
    return hpet.timers[number].line.take_edge()


# ---- the counter -------------------------------------------------------------------------------


def test_it_says_what_it_is(hpet: Hpet) -> None:
    capabilities = hpet.read(Register.CAPABILITIES, 8, 0)
    assert capabilities & 0xFFFF_FFFF == abi.HPET_IDENTITY
    assert capabilities >> 8 & 0x1F == TIMERS - 1
    assert capabilities >> 32 == PERIOD == 10_000_000
    hpet.write(Register.CAPABILITIES, 8, 0, 0)
    assert hpet.read(Register.CAPABILITIES, 8, 0) == capabilities


def test_the_counter_stands_until_it_is_enabled_and_again_when_halted(hpet: Hpet) -> None:
    hpet.write(COUNTER, 8, 1000, 0)
    assert hpet.read(COUNTER, 8, 5000) == 1000
    hpet.write(CONFIGURATION, 4, 1, 5000)
    assert hpet.read(COUNTER, 8, 5009) == 1000
    assert hpet.read(COUNTER, 8, 6000) == 1100
    hpet.write(CONFIGURATION, 4, 0, 7000)
    assert hpet.read(COUNTER, 8, 90_000) == 1200


def test_a_running_counter_can_not_be_written(running: Hpet) -> None:
    running.write(COUNTER, 8, 0, 1000)
    assert running.read(COUNTER, 8, 1000) == 100


def test_the_counter_wraps_at_64_bits(hpet: Hpet) -> None:
    hpet.write(COUNTER, 8, ONES[8], 0)
    hpet.write(CONFIGURATION, 4, 1, 0)
    assert hpet.read(COUNTER, 8, 20) == 1


def test_halves_and_bytes_of_a_register_can_be_read(hpet: Hpet) -> None:
    hpet.write(COUNTER, 8, 0x0123_4567_89AB_CDEF, 0)
    assert hpet.read(COUNTER, 4, 0) == 0x89AB_CDEF
    assert hpet.read(COUNTER + 4, 4, 0) == 0x0123_4567
    assert hpet.read(COUNTER + 3, 1, 0) == 0x89
    hpet.write(COUNTER + 4, 4, 0xFFFF_FFFF, 0)
    assert hpet.read(COUNTER, 8, 0) == 0xFFFF_FFFF_89AB_CDEF


@pytest.mark.parametrize(("offset", "size"), [(0, 1), (0, 2), (2, 4), (4, 8), (1, 1)])
def test_writes_of_anything_but_halves_do_nothing(hpet: Hpet, offset: int, size: int) -> None:
    hpet.write(COUNTER + offset, size, ONES[8], 0)
    assert hpet.read(COUNTER, 8, 0) == 0


def test_what_is_reserved_reads_zero(hpet: Hpet) -> None:
    for offset in (0x8, 0x18, 0x30, 0xE8, 0xF8, TIMER + 0x10, TIMER + 0x20 * TIMERS, 0x3F8):
        hpet.write(offset, 8, ONES[8], 0)
        assert hpet.read(offset, 8, 0) == 0


# ---- timers ------------------------------------------------------------------------------------


def test_a_one_shot_timer_fires_once_at_its_comparator(running: Hpet) -> None:
    running.write(TIMER, 4, Bit.INTERRUPT | ROUTE, 0)
    running.write(COMPARATOR, 8, 500, 0)
    assert running.next_deadline() == 5000
    running.expire(4999)
    assert not edges(running)
    running.expire(5000)
    assert edges(running)
    assert running.timers[0].line.level == 0
    assert running.next_deadline() == NEVER


def test_a_comparator_behind_the_counter_waits_for_the_wrap(running: Hpet) -> None:
    running.write(TIMER, 4, Bit.INTERRUPT | Bit.MODE_32 | ROUTE, 0)
    running.write(COMPARATOR, 4, 100, 2000)
    assert running.next_deadline() == ((1 << 32) + 100) * 10
    running.write(TIMER, 4, Bit.INTERRUPT | ROUTE, 2000)
    assert running.next_deadline() == NEVER


def test_a_32_bit_one_shot_timer_fires_once_a_wrap(running: Hpet) -> None:
    running.write(TIMER, 4, Bit.INTERRUPT | Bit.MODE_32 | ROUTE, 0)
    running.write(COMPARATOR, 4, 100, 0)
    for wraps in range(3):
        due = ((wraps << 32) + 100) * 10
        assert running.next_deadline() == due
        running.expire(due)
        assert edges(running)


def test_a_periodic_timer_fires_at_every_period_and_misses_none_for_good(running: Hpet) -> None:
    running.write(TIMER, 4, Bit.INTERRUPT | Bit.PERIODIC | Bit.SET_VALUE | ROUTE, 0)
    running.write(COMPARATOR, 8, 30_000, 0)  # the first time, as Linux sets it up
    running.write(COMPARATOR, 8, 10_000, 0)  # the period
    assert running.next_deadline() == 300_000
    running.expire(300_000)
    assert edges(running)
    assert running.next_deadline() == 400_000
    running.expire(655_000)  # late: two and a half periods are one interrupt
    assert edges(running)
    assert not edges(running)
    assert running.next_deadline() == 705_000  # not sooner than PATIENCE
    assert running.read(COMPARATOR, 8, 655_000) == 70_000


def test_a_short_period_does_not_take_all_time(running: Hpet) -> None:
    running.write(TIMER, 4, Bit.INTERRUPT | Bit.PERIODIC | Bit.SET_VALUE | ROUTE, 0)
    running.write(COMPARATOR, 8, 1, 0)
    now = running.next_deadline()
    for _ in range(10):
        running.expire(now)
        assert running.next_deadline() == now + PATIENCE
        now += PATIENCE


def test_without_set_value_a_periodic_comparator_keeps_its_place(running: Hpet) -> None:
    running.write(TIMER, 4, Bit.INTERRUPT | Bit.PERIODIC | Bit.SET_VALUE | ROUTE, 0)
    running.write(COMPARATOR, 8, 1000, 0)
    running.write(COMPARATOR, 8, 7000, 0)
    assert running.read(COMPARATOR, 8, 0) == 1000
    assert not running.timers[0].has(Bit.SET_VALUE)


def test_a_level_interrupt_stays_until_its_status_is_cleared(running: Hpet) -> None:
    running.write(TIMER + 0x20, 4, Bit.INTERRUPT | Bit.LEVEL | ROUTE, 0)
    running.write(COMPARATOR + 0x20, 8, 100, 0)
    running.expire(1000)
    assert running.read(STATUS, 4, 1000) == 2
    assert running.timers[1].line.level == 1
    running.write(STATUS, 4, 1, 1100)
    assert running.timers[1].line.level == 1
    running.write(STATUS, 4, 2, 1100)
    assert (running.read(STATUS, 4, 1200), running.timers[1].line.level) == (0, 0)


def test_a_level_timer_that_may_not_interrupt_still_tells(running: Hpet) -> None:
    running.write(TIMER, 4, Bit.LEVEL | ROUTE, 0)
    running.write(COMPARATOR, 8, 100, 0)
    assert running.read(STATUS, 4, 2000) == 1
    assert running.timers[0].line.level == 0
    running.write(TIMER, 4, Bit.LEVEL | Bit.INTERRUPT | ROUTE, 2000)
    assert running.timers[0].line.level == 1


def test_halting_silences_a_level_interrupt(running: Hpet) -> None:
    running.write(TIMER, 4, Bit.INTERRUPT | Bit.LEVEL | ROUTE, 0)
    running.write(COMPARATOR, 8, 100, 0)
    running.expire(1000)
    running.write(CONFIGURATION, 4, 0, 1000)
    assert running.timers[0].line.level == 0
    assert running.next_deadline() == NEVER


def test_what_was_due_is_not_lost_by_a_write(running: Hpet) -> None:
    running.write(TIMER, 4, Bit.INTERRUPT | ROUTE, 0)
    running.write(COMPARATOR, 8, 100, 0)
    running.write(COMPARATOR, 8, 900, 1500)
    assert edges(running)
    assert running.next_deadline() == 9000


def test_a_timer_that_would_not_be_noticed_wakes_nobody(running: Hpet) -> None:
    running.write(COMPARATOR, 8, 100, 0)
    assert running.next_deadline() == NEVER


def test_only_pins_it_can_use_are_taken(hpet: Hpet) -> None:
    for pin in range(32):
        before = hpet.timers[0].route()
        hpet.write(TIMER, 4, pin << 9, 0)
        assert hpet.timers[0].route() == (pin if ROUTES >> pin & 1 else before)
    assert hpet.read(TIMER, 8, 0) >> 32 == ROUTES


def test_what_a_timer_can_do_is_not_for_writing(hpet: Hpet) -> None:
    hpet.write(TIMER, 8, ONES[8] & ~Bit.ROUTE, 0)
    configuration = hpet.read(TIMER, 8, 0)
    assert configuration & (Bit.CAN_PERIODIC | Bit.CAN_64) == Bit.CAN_PERIODIC | Bit.CAN_64
    assert configuration & 0xC081 == 0  # no delivery by message, reserved bits
