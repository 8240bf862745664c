"""The same 500 random sequences of accesses to our MC146818 and to QEMU's, at the same times."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.qtest.client import RAM_SIZE
from tests.qtest.mc146818_pair import (
    ARGUMENTS,
    BASE,
    Access,
    Format,
    Pair,
    Pause,
    sequence,
    setting,
)
from tests.qtest.virtual_clock import SHORTEST, with_clock
from vestige.monitor.clock import SECOND
from vestige.monitor.devices.mc146818.spec import (
    BEFORE_UPDATE,
    CRYSTAL,
    FIRST_UPDATE,
    PERIODS,
    RUNNING,
    SUMMED_END,
    SUMMED_FIRST,
    UPDATE,
    Cell,
    RegisterA,
    RegisterB,
    RegisterC,
)

pytestmark = pytest.mark.qtest

SEQUENCES = 50
# Those with an edge in each of two steps at most.
RATES = [rate for rate, period in enumerate(PERIODS) if period * SECOND > 2 * SHORTEST * CRYSTAL]
STOPPED, TEST, RESET = 0 << 4, 3 << 4, 6 << 4  # DV: a time base of 4 MHz, a test, reset


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """QEMU's pc has one at the same ports."""
    with with_clock(tmp_path_factory.mktemp("qemu"), ARGUMENTS) as clock:
        yield Pair(clock)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Pair]:
    """One of a test's own."""
    with with_clock(tmp_path, ARGUMENTS) as clock:
        yield Pair(clock)


def write(pair: Pair, cell: int, value: int) -> None:
    pair.ours(Access(cell, value))
    pair.theirs(Access(cell, value))


def wait(pair: Pair, length: int) -> None:
    pair.both(Pause(length))


def read(pair: Pair, cell: int, bits: int = 0xFF) -> tuple[int, int]:
    """Our answer and QEMU's."""
    return pair.ours(Access(cell)) & bits, pair.theirs(Access(cell)) & bits


@pytest.mark.parametrize("seed", range(10))
def test_both_answer_alike(pair: Pair, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(SEQUENCES):
        difference = pair.compare(sequence(chance))
        assert difference is None, difference


@pytest.mark.parametrize("rate", RATES)
def test_both_have_the_same_periods(pair: Pair, rate: int) -> None:
    period = PERIODS[rate] * SECOND // CRYSTAL
    write(pair, Cell.REGISTER_A, RUNNING | rate)
    write(pair, Cell.REGISTER_B, RegisterB.HOURS_24 | RegisterB.PERIODIC)
    read(pair, Cell.REGISTER_C)
    counts = [0, 0]
    for _ in range(64):
        wait(pair, max(SHORTEST, period // 4))
        for whose, flag in enumerate(read(pair, Cell.REGISTER_C, RegisterC.PERIODIC)):
            counts[whose] += flag != 0
    write(pair, Cell.REGISTER_B, RegisterB.HOURS_24)
    assert counts[0] >= 16
    assert abs(counts[0] - counts[1]) <= 2


def test_firmware_finds_a_machine_of_the_same_size(fresh: Pair) -> None:
    fresh.configure(low_size=RAM_SIZE)
    cells: list[int] = [Cell.EQUIPMENT, Cell.CPUS]
    cells += [Cell.BASE_MEMORY + byte for byte in range(2)]
    cells += [Cell.EXTENDED_MEMORY + byte for byte in range(2)]
    cells += [Cell.EXTENDED_MEMORY_FOUND + byte for byte in range(2)]
    cells += [Cell.MEMORY_ABOVE_16_MIB + byte for byte in range(2)]
    cells += [Cell.MEMORY_ABOVE_4_GIB + byte for byte in range(3)]
    for cell in cells:
        ours, theirs = read(fresh, cell)
        assert ours == theirs, hex(cell)


# ---- the rows of the page ----------------------------------------------------------------------


def test_the_periodic_flag_needs_no_enable_here(fresh: Pair) -> None:
    wait(fresh, SECOND)
    assert read(fresh, Cell.REGISTER_C, RegisterC.PERIODIC) == (RegisterC.PERIODIC, 0)


def test_the_first_period_is_as_the_divider_stands_here(fresh: Pair) -> None:
    wait(fresh, SECOND // 10)
    write(fresh, Cell.REGISTER_A, RUNNING | RegisterA.RATE)  # 0.5 s, at 0.25 and 0.75 s
    read(fresh, Cell.REGISTER_C)
    write(fresh, Cell.REGISTER_B, RegisterB.HOURS_24 | RegisterB.PERIODIC)
    wait(fresh, SECOND // 5)
    assert read(fresh, Cell.REGISTER_C, RegisterC.PERIODIC) == (RegisterC.PERIODIC, 0)


def test_update_in_progress_covers_the_update_here(fresh: Pair) -> None:
    fresh.both(Pause(before=UPDATE))
    uip = RegisterA.UPDATE_IN_PROGRESS
    assert read(fresh, Cell.REGISTER_A, uip) == (uip, 0)
    fresh.both(Pause(before=BEFORE_UPDATE - SHORTEST // 2))
    assert read(fresh, Cell.REGISTER_A, uip) == (uip, uip)


def test_set_stops_update_ended_here(fresh: Pair) -> None:
    write(fresh, Cell.REGISTER_B, RegisterB.SET | RegisterB.HOURS_24)
    read(fresh, Cell.REGISTER_C)
    wait(fresh, 2 * SECOND)
    ended = RegisterC.UPDATE_ENDED
    assert read(fresh, Cell.REGISTER_C, ended) == (0, ended)


def test_a_write_of_the_time_leaves_the_divider_alone_here(fresh: Pair) -> None:
    wait(fresh, SECOND * 9 // 10)
    write(fresh, Cell.SECONDS, 0x10)
    wait(fresh, SECOND * 2 // 10)
    assert read(fresh, Cell.SECONDS) == (0x11, 0x10)


def test_a_change_of_format_leaves_the_cells_alone_here(fresh: Pair) -> None:
    write(fresh, Cell.REGISTER_B, RegisterB.HOURS_24 | RegisterB.BINARY)
    assert read(fresh, Cell.MINUTES) == (0x34, 34)


def test_the_day_of_the_week_is_what_was_written_here(fresh: Pair) -> None:
    write(fresh, Cell.DAY_OF_WEEK, 5)
    assert read(fresh, Cell.DAY_OF_WEEK) == (5, 1)


def test_a_day_that_is_none_stays_to_midnight_here(fresh: Pair) -> None:
    write(fresh, Cell.DAY, 0x31)
    assert read(fresh, Cell.DAY) == (0x31, 0x01)


def test_an_alarm_at_no_time_never_comes_here(fresh: Pair) -> None:
    for action in setting(Format(), BASE.replace(hour=0, minute=59, second=58)):
        fresh.both(action)
    write(fresh, Cell.HOURS_ALARM, 0x25)
    wait(fresh, 3 * SECOND)
    assert read(fresh, Cell.REGISTER_C, RegisterC.ALARM) == (0, RegisterC.ALARM)


def test_the_clock_stands_with_another_time_base_here(fresh: Pair) -> None:
    write(fresh, Cell.REGISTER_A, STOPPED)
    wait(fresh, 2 * SECOND)
    assert read(fresh, Cell.SECONDS) == (0x56, 0x58)


def test_the_first_update_begins_half_a_second_after_reset_here(fresh: Pair) -> None:
    write(fresh, Cell.REGISTER_A, RESET)
    wait(fresh, 3 * SECOND)
    assert read(fresh, Cell.SECONDS) == (0x56, 0x56)
    write(fresh, Cell.REGISTER_A, RUNNING)
    wait(fresh, FIRST_UPDATE + UPDATE // 2)
    assert read(fresh, Cell.SECONDS) == (0x56, 0x57)
    wait(fresh, UPDATE)
    assert read(fresh, Cell.SECONDS) == (0x57, 0x57)


def test_a_divider_that_stands_sets_no_flag_here(fresh: Pair) -> None:
    write(fresh, Cell.REGISTER_A, RESET | RegisterA.RATE)
    write(fresh, Cell.REGISTER_B, RegisterB.HOURS_24 | RegisterB.PERIODIC)
    read(fresh, Cell.REGISTER_C)
    wait(fresh, 2 * SECOND)
    flags = RegisterC.REQUEST | RegisterC.PERIODIC
    assert read(fresh, Cell.REGISTER_C) == (0, flags)
    write(fresh, Cell.REGISTER_A, TEST)
    wait(fresh, 2 * SECOND)
    assert read(fresh, Cell.REGISTER_C, RegisterC.UPDATE_ENDED) == (0, RegisterC.UPDATE_ENDED)


def test_firmware_finds_a_sum_and_a_disk_to_boot_from_here(fresh: Pair) -> None:
    fresh.configure(low_size=RAM_SIZE)
    low = sum(read(fresh, cell)[0] for cell in range(SUMMED_FIRST, SUMMED_END)) & 0xFF
    assert read(fresh, Cell.SUM_LOW) == (low, 0)
    assert read(fresh, Cell.BOOT_ORDER) == (0x32, 0x12)
    assert read(fresh, 0x38) == (0, 0x30)


def test_one_cell_is_the_century_here(fresh: Pair) -> None:
    write(fresh, 0x37, 0x21)
    assert read(fresh, 0x37) == (0x21, 0x21)
    assert read(fresh, Cell.CENTURY) == (0x20, 0x21)


def test_any_year_is_counted_here(fresh: Pair) -> None:
    write(fresh, Cell.CENTURY, 0x23)
    ours, theirs = read(fresh, Cell.CENTURY)
    assert ours == 0x23 != theirs
