"""The interval timer in the whole monitor, in CPython."""

import pytest

from tests.monitor.rig import Rig
from tests.visitor.inside.machine import US, VECTOR, ask_for, timer_of
from tests.visitor.interval_timer.place import MEMORY, PIN, PORT
from tests.visitor.interval_timer.spec import (
    MEMORY_SIZE,
    REGISTERS,
    Control,
    Register,
    Status,
)

PERIOD, CONTROL, STATUS = (
    PORT + register for register in (Register.PERIOD, Register.CONTROL, Register.STATUS)
)
RUNNING = Control.RUN | Control.INTERRUPT


@pytest.fixture
def rig() -> Rig:
    """A machine that has one."""
    made = Rig()
    ask_for(made)
    return made.start()


@pytest.fixture
def without() -> Rig:
    """A machine that has none."""
    return Rig().start()


def accesses(rig: Rig) -> int:
    """How many have come to the model."""
    return int(timer_of(rig).accesses)


# ---- ports and memory --------------------------------------------------------------------------


def test_a_register_is_read_and_written_at_its_port(rig: Rig) -> None:
    rig.out(PERIOD, 0x12)
    assert rig.inp(PERIOD) == 0x12
    assert timer_of(rig).period == 0x12


@pytest.mark.parametrize("size", [2, 4])
def test_a_wide_access_to_ports_is_one_byte_after_the_other(rig: Rig, size: int) -> None:
    rig.out(PERIOD, 0x1234_5678 & (1 << 8 * size) - 1, size)
    assert accesses(rig) == size
    assert rig.inp(PERIOD, size) == 0x1234_5678 & (1 << 8 * size) - 1
    assert accesses(rig) == 2 * size


def test_an_access_that_leaves_its_ports_is_all_ones_beyond_them(rig: Rig) -> None:
    assert rig.inp(STATUS, 4) == 0xFFFF_FF00
    assert rig.inp(PORT - 1, 2) == 0x00FF
    assert rig.inp(PORT + REGISTERS) == 0xFF


@pytest.mark.parametrize("offset", range(5))  # from there on 8 bytes are not yet at CONTROL
@pytest.mark.parametrize("size", range(1, 9))
def test_an_access_to_memory_of_any_size_is_one_access(rig: Rig, offset: int, size: int) -> None:
    value = 0x8877_6655_4433_2211 & (1 << 8 * size) - 1
    rig.write(MEMORY + offset, value, size)
    assert accesses(rig) == 1
    kept = value << 8 * offset & 0xFFFF_FFFF  # of the period: nothing else there is written
    whole = kept | 2 << 64
    assert rig.read(MEMORY + offset, size) == whole >> 8 * offset & (1 << 8 * size) - 1
    assert accesses(rig) == 2
    assert rig.inp(PERIOD, 4) == kept


def test_beyond_its_memory_nobody_answers(rig: Rig) -> None:
    assert rig.read(MEMORY + MEMORY_SIZE - 2, 2) == 0
    assert rig.read(MEMORY - 1, 1) == rig.read(MEMORY + MEMORY_SIZE, 1) == 0xFF


# ---- time and interrupts -----------------------------------------------------------------------


def begin(rig: Rig, microseconds: int) -> None:
    """Let it run, and interrupt; its worker takes its turn."""
    rig.enable_pin(PIN, VECTOR)
    rig.out(PERIOD, microseconds, 4)
    rig.out(CONTROL, RUNNING)
    rig.work()


def test_its_deadline_is_the_machine_s_and_sets_the_worker_s_timer(rig: Rig) -> None:
    begin(rig, 100)
    assert rig.machine.next_deadline() == timer_of(rig).deadline
    assert rig.wakes == 1
    assert 0 < rig.timer <= 100 * US


def test_when_its_time_has_come_the_worker_has_it_interrupt_by_its_pin(rig: Rig) -> None:
    begin(rig, 100)
    assert rig.rung == []
    rig.now += rig.timer
    rig.work()
    assert rig.rung == [PIN]
    assert rig.routed[-1][0] == PIN
    assert rig.routed[-1][2] & 0xFF == VECTOR
    assert rig.inp(PORT + Register.COUNT, 4) == 1


def test_it_interrupts_again_after_the_next_period(rig: Rig) -> None:
    begin(rig, 100)
    for _ in range(3):
        rig.now = rig.expiry
        rig.work()
        rig.out(STATUS, Status.EXPIRED)
    assert rig.rung == [PIN] * 3
    assert rig.inp(PORT + Register.COUNT, 4) == 3


def test_an_access_after_its_time_finds_that_it_has_expired(rig: Rig) -> None:
    begin(rig, 100)
    rig.now += 200 * US
    assert rig.inp(STATUS) == Status.EXPIRED
    assert rig.rung == [PIN]


def test_stopped_it_has_no_deadline(rig: Rig) -> None:
    begin(rig, 100)
    rig.out(CONTROL, 0)
    rig.now += 200 * US
    rig.work()
    assert (rig.rung, rig.inp(STATUS)) == ([], 0)


# ---- without its option ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 4])
def test_without_its_option_its_ports_are_nobody_s(without: Rig, size: int) -> None:
    without.out(PERIOD, 0, size)
    assert without.inp(PERIOD, size) == (1 << 8 * size) - 1
    assert accesses(without) == 0


@pytest.mark.parametrize("size", range(1, 9))
def test_without_its_option_its_memory_is_nobody_s(without: Rig, size: int) -> None:
    without.write(MEMORY, 0, size)
    assert without.read(MEMORY, size) == (1 << 8 * size) - 1
    assert accesses(without) == 0


def test_without_its_option_no_line_moves(without: Rig) -> None:
    begin(without, 100)
    timer_of(without).line.set(True)
    without.now += 200 * US
    without.work()
    assert without.rung == []
    assert without.timer == 0
