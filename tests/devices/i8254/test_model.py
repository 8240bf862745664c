"""The 8254 and port 0x61: Intel's 8254 data sheet. Times are nanoseconds."""

import random
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.devices.i8254.reference import Chip
from vestige.monitor.clock import SECOND
from vestige.monitor.devices.i8254.model import FASTEST, PATIENCE, Pit, pulses, time_of
from vestige.monitor.devices.i8254.spec import CLOCK, REFRESH, NmiStatus, Status
from vestige.monitor.line import NEVER

CONTROL, NMI_STATUS = 3, 4
CENTURY = 100 * 366 * 86_400 * SECOND
PERIODIC = pytest.mark.parametrize("mode", [2, 3])


@pytest.fixture
def pit() -> Pit:
    model = Pit()
    model.reset()
    return model


def at(pulse: int) -> int:
    """A time in the middle between a pulse of CLK and the next."""
    return (time_of(pulse) + time_of(pulse + 1)) // 2


def program(pit: Pit, number: int, mode: int, count: int, now: int, *, bcd: bool = False) -> None:
    """A control word and a count of two bytes; it is loaded by the next pulse."""
    pit.write(CONTROL, 1, number << 6 | 0x30 | mode << 1 | bcd, now)
    write(pit, number, count, now)


def write(pit: Pit, number: int, count: int, now: int) -> None:
    """A count of two bytes."""
    pit.write(number, 1, count & 0xFF, now)
    pit.write(number, 1, count >> 8, now)


def count(pit: Pit, number: int, now: int) -> int:
    """What is read of a counter of two bytes."""
    low = pit.read(number, 1, now)
    return pit.read(number, 1, now) << 8 | low


def status(pit: Pit, number: int, now: int) -> int:
    """What the read-back command latches and is read."""
    pit.write(CONTROL, 1, 0xE0 | 2 << number, now)
    return pit.read(number, 1, now)


def out(pit: Pit, number: int, pulse: int) -> bool:
    return status(pit, number, at(pulse)) & Status.OUT != 0


def ticks(pit: Pit, until: int) -> Iterator[int]:
    """The times at which OUT 0 rises for a worker that is never late."""
    while (due := pit.next_deadline()) <= until:
        pit.expire(due)
        if pit.line.take_edge():
            yield due


# ---- the clock ---------------------------------------------------------------------------------


@given(st.integers(0, CENTURY))
def test_a_hundred_years_of_pulses_are_exact(now: int) -> None:
    assert pulses(now) == now * CLOCK // SECOND < 1 << 63


@given(st.integers(0, CENTURY * CLOCK // SECOND))
def test_the_time_of_a_pulse_is_the_first_at_which_it_has_come(pulse: int) -> None:
    now = time_of(pulse)
    assert pulses(now) == pulse
    assert now == 0 or pulses(now - 1) < pulse


# ---- pulse by pulse ----------------------------------------------------------------------------


class Both:
    """A counter of the model and the chip, side by side."""

    def __init__(self, number: int, chance: random.Random) -> None:
        self.pit, self.number, self.chance = Pit(), number, chance
        self.pit.reset()
        self.chip = Chip(gate=number != 2)
        self.modes = range(6) if number == 2 else (0, 2, 3, 4)
        self.decimal = False

    def control(self, now: int) -> None:
        """A control word."""
        mode, self.decimal = self.chance.choice(self.modes), self.chance.random() < 0.3
        self.pit.write(CONTROL, 1, self.number << 6 | 0x30 | mode << 1 | self.decimal, now)
        self.chip.control(mode, decimal=self.decimal)

    def first_byte(self, now: int, value: int) -> None:
        """The first byte of a count."""
        self.pit.write(self.number, 1, value & 0xFF, now)
        self.chip.first_byte()

    def second_byte(self, now: int, value: int) -> None:
        """The second one."""
        self.pit.write(self.number, 1, value >> 8, now)
        digits = int(f"{value:x}") if self.decimal else value
        self.chip.count(digits or self.chip.modulus)

    def count(self, now: int) -> None:
        """A count, low numbers more often."""
        value = self.chance.choice((0, 2, 3, 4, 5, 7, 8, 9, 0x10, 0x11, 0x9999))
        self.first_byte(now, value)
        self.second_byte(now, value)

    def gate(self, now: int) -> None:
        """GATE 2, low or high."""
        level = self.chance.random() < 0.6
        if self.number == 2:
            self.pit.write(NMI_STATUS, 1, level, now)
            self.chip.drive(gate=level)

    def compare(self, now: int) -> None:
        """All that can be read."""
        found = status(self.pit, self.number, now)
        assert bool(found & Status.OUT) == self.chip.out
        assert bool(found & Status.NULL_COUNT) == self.chip.null_count
        if self.chip.loaded:
            assert count(self.pit, self.number, now) == self.chip.shown()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_at_each_pulse_it_is_as_the_data_sheet_s_chip(number: int) -> None:
    for seed in range(60):
        chance = random.Random(seed)
        both = Both(number, chance)
        for pulse in range(120):
            for _ in range(chance.choice((0, 0, 0, 1, 1, 2))):
                act = chance.choices((both.control, both.count, both.gate), (1, 3, 6))[0]
                act(at(pulse))
            both.compare(at(pulse))
            both.chip.clock()


@pytest.mark.parametrize("mode", [0, 2, 3, 4])
def test_out_0_rises_when_the_data_sheet_s_chip_says(mode: int) -> None:
    """Counts are written again and again, without a control word; FASTEST keeps PATIENCE out."""
    for seed in range(5):
        chance = random.Random(seed)
        pit, chip = Pit(), Chip()
        pit.reset()
        pit.write(CONTROL, 1, 0x30 | mode << 1, at(0))
        chip.control(mode)
        pit.line.take_edge()
        expected: list[int] = []
        found: list[int] = []
        for pulse in range(1500):
            if pulse == 0 or chance.random() < 0.005:
                value = chance.randrange(FASTEST, 200)
                write(pit, 0, value, at(pulse))
                chip.first_byte()
                chip.count(value)
            before = chip.out
            chip.clock()
            if chip.out and not before:
                expected.append(time_of(pulse + 1))
            found += ticks(pit, at(pulse + 1))
        assert found == expected != []


def test_a_long_count_is_seen_from_anywhere(pit: Pit) -> None:
    program(pit, 1, 2, 0, at(0))
    assert count(pit, 1, at(1)) == 0  # 65,536
    assert count(pit, 1, at(2)) == 0xFFFF
    assert count(pit, 1, at(1 + 0x1_0000 * 1_000_000_007 + 5)) == 0xFFFB


# ---- writing and reading -----------------------------------------------------------------------


def test_after_reset_nothing_counts_and_nobody_is_woken(pit: Pit) -> None:
    for number in range(3):
        assert status(pit, number, 10**9) == Status.NULL_COUNT | 0x30
        assert count(pit, number, 10**9) == 0
    assert (pit.next_deadline(), pit.line.level, pit.line.rose) == (NEVER, 0, 0)


def test_one_byte_of_a_count_leaves_the_other_0(pit: Pit) -> None:
    pit.write(CONTROL, 1, 0x54, at(0))  # counter 1, the low byte, mode 2
    pit.write(1, 1, 0x34, at(0))
    assert [pit.read(1, 1, at(2)) for _ in range(2)] == [0x33, 0x33]
    pit.write(CONTROL, 1, 0x64, at(2))  # the high byte
    pit.write(1, 1, 0x12, at(2))
    assert [pit.read(1, 1, at(4)) for _ in range(2)] == [0x11, 0x11]  # of 0x11FF


def test_reads_and_writes_have_an_order_of_bytes_each(pit: Pit) -> None:
    program(pit, 1, 4, 0x1234, at(0))
    assert pit.read(1, 1, at(1)) == 0x34
    pit.write(1, 1, 0x78, at(1))
    assert pit.read(1, 1, at(1)) == 0x12
    pit.write(1, 1, 0x56, at(1))
    assert count(pit, 1, at(2)) == 0x5678


def test_a_control_word_begins_both_orders_anew(pit: Pit) -> None:
    program(pit, 1, 4, 0x1234, at(0))
    pit.read(1, 1, at(1))
    pit.write(1, 1, 0x78, at(1))
    program(pit, 1, 4, 0x5678, at(1))
    assert count(pit, 1, at(2)) == 0x5678


def test_a_latched_count_stays_until_it_is_read_or_the_counter_is_programmed(pit: Pit) -> None:
    program(pit, 1, 2, 1000, at(0))
    pit.write(CONTROL, 1, 0x40, at(11))
    pit.write(CONTROL, 1, 0x40, at(21))  # ignored
    assert count(pit, 1, at(31)) == 990
    assert count(pit, 1, at(31)) == 970
    pit.write(CONTROL, 1, 0x40, at(31))
    program(pit, 1, 2, 500, at(40))
    assert count(pit, 1, at(41)) == 500


def test_the_read_back_command_latches_several_counters_at_once(pit: Pit) -> None:
    for number in range(3):
        program(pit, number, 4, 1000 * (number + 1), at(0))
    pit.write(NMI_STATUS, 1, NmiStatus.GATE_2, at(1))
    pit.write(CONTROL, 1, 0xDC, at(101))  # counts of 1 and 2
    assert [count(pit, number, at(201)) for number in range(3)] == [800, 1900, 2900]


def test_a_latched_status_is_read_before_a_latched_count(pit: Pit) -> None:
    program(pit, 1, 3, 0x1234, at(0), bcd=True)
    pit.write(CONTROL, 1, 0xC4, at(1))
    pit.write(CONTROL, 1, 0xC4, at(700))  # ignored, both
    assert pit.read(1, 1, at(700)) == Status.OUT | 0x37
    assert count(pit, 1, at(700)) == 0x1234


def test_a_control_word_releases_a_latched_status(pit: Pit) -> None:
    pit.write(CONTROL, 1, 0xE4, at(0))
    program(pit, 1, 4, 0x1234, at(0))
    assert count(pit, 1, at(1)) == 0x1234


def test_the_status_shows_a_mode_as_it_was_written(pit: Pit) -> None:
    for written, really in ((6, 2), (7, 3)):
        program(pit, 1, written, 100, at(0))
        assert status(pit, 1, at(0)) & 0xE == written << 1
        shown = count(pit, 1, at(11))
        program(pit, 1, really, 100, at(0))
        assert count(pit, 1, at(11)) == shown


def test_the_control_word_can_not_be_read(pit: Pit) -> None:
    assert pit.read(CONTROL, 1, 0) == 0xFF


def test_a_digit_that_is_none_is_worth_what_it_says(pit: Pit) -> None:
    program(pit, 1, 4, 0x000F, at(0), bcd=True)
    assert count(pit, 1, at(1)) == 0x0015
    program(pit, 1, 4, 0xFFFF, at(1), bcd=True)
    assert count(pit, 1, at(2)) == 0x6665
    assert out(pit, 1, 2 + 16664)
    assert not out(pit, 1, 2 + 16665)


# ---- port 0x61 ---------------------------------------------------------------------------------


def test_port_61_keeps_two_bits_and_shows_two(pit: Pit) -> None:
    program(pit, 2, 0, 10, at(0))
    shown = NmiStatus.GATE_2 | NmiStatus.SPEAKER | NmiStatus.OUT_2
    pit.write(NMI_STATUS, 1, 0xFF, at(1))
    assert pit.read(NMI_STATUS, 1, at(10)) & ~NmiStatus.REFRESH == 3
    assert pit.read(NMI_STATUS, 1, at(11)) & ~NmiStatus.REFRESH == shown
    pit.write(NMI_STATUS, 1, 0, at(11))
    assert pit.read(NMI_STATUS, 1, at(12)) & ~NmiStatus.REFRESH == NmiStatus.OUT_2


def test_the_refresh_bit_changes_each_15_microseconds(pit: Pit) -> None:
    bits = [pit.read(NMI_STATUS, 1, at(pulse)) & NmiStatus.REFRESH for pulse in range(5 * REFRESH)]
    assert bits == [0x10 * (pulse // REFRESH % 2) for pulse in range(5 * REFRESH)]
    assert 15_000 < time_of(REFRESH) < 15_100


# ---- the line ----------------------------------------------------------------------------------


@PERIODIC
def test_a_period_is_a_tick(pit: Pit, mode: int) -> None:
    program(pit, 0, mode, 1193, at(0))
    pit.line.take_edge()
    assert list(ticks(pit, SECOND)) == [time_of(1 + 1193 * n) for n in range(1, 1001)]
    assert pit.line.level == 1


@pytest.mark.parametrize(("mode", "rises"), [(0, 101), (4, 102)])
def test_a_count_that_ends_is_one_tick(pit: Pit, mode: int, rises: int) -> None:
    program(pit, 0, mode, 100, at(0))
    pit.line.take_edge()
    assert list(ticks(pit, SECOND)) == [time_of(rises)]
    assert pit.next_deadline() == NEVER


@pytest.mark.parametrize("mode", [1, 5])
def test_what_only_a_gate_can_start_wakes_nobody(pit: Pit, mode: int) -> None:
    program(pit, 0, mode, 100, at(0))
    assert pit.next_deadline() == NEVER


@PERIODIC
def test_a_count_of_1_which_is_illegal_wakes_nobody(pit: Pit, mode: int) -> None:
    program(pit, 0, mode, 1, at(0))
    assert pit.next_deadline() == NEVER


def test_the_line_is_high_from_a_control_word_on_but_in_mode_0(pit: Pit) -> None:
    pit.write(CONTROL, 1, 0x34, at(0))
    assert (pit.line.level, pit.line.take_edge()) == (1, True)
    pit.write(CONTROL, 1, 0x30, at(1))
    assert (pit.line.level, pit.line.take_edge()) == (0, False)


def test_in_mode_0_a_count_lowers_the_line(pit: Pit) -> None:
    program(pit, 0, 0, 100, at(0))
    pit.expire(at(200))
    assert pit.line.level == 1
    pit.write(0, 1, 50, at(200))  # the first byte of two
    assert (pit.line.level, pit.next_deadline()) == (0, NEVER)


def test_the_line_stays_high_until_the_next_tick(pit: Pit) -> None:
    program(pit, 0, 3, 1000, at(0))
    pit.expire(at(1001))
    assert pit.line.take_edge()
    write(pit, 0, 2000, at(1700))
    assert not out(pit, 0, 1700)
    assert (pit.line.level, pit.line.rose) == (1, 0)


def test_a_tick_that_was_due_is_not_lost_by_a_write(pit: Pit) -> None:
    program(pit, 0, 0, 100, at(0))
    program(pit, 0, 0, 100, at(200))
    assert pit.line.take_edge()
    assert pit.next_deadline() == time_of(301)


def test_only_ticks_of_a_period_keep_a_distance(pit: Pit) -> None:
    program(pit, 0, 2, 2, at(0))
    pit.expire(at(3))
    program(pit, 0, 0, 10, at(4))
    assert pit.next_deadline() == time_of(15)
    pit.expire(time_of(15))
    write(pit, 0, 10, at(15))
    assert pit.next_deadline() == time_of(26)


@PERIODIC
def test_ticks_of_a_late_worker_come_one_in_half_a_period(pit: Pit, mode: int) -> None:
    program(pit, 0, mode, 1193, at(0))
    pit.line.take_edge()
    late = 3 * SECOND
    found = list(late_ticks(pit, late, 10 * SECOND))
    gaps = [after - before for before, after in pairwise(found)]
    half = 1193 * SECOND // CLOCK // 2
    assert min(gaps) == half
    assert len(found) == (pulses(10 * SECOND) - 1) // 1193  # none is lost
    caught_up = next(now for now, gap in zip(found, gaps, strict=False) if gap > half)
    assert late + 2.9 * SECOND < caught_up < late + 3.1 * SECOND


def late_ticks(pit: Pit, late: int, until: int) -> Iterator[int]:
    """The times of all ticks for a worker that comes for the first time when it is late."""
    pit.expire(late)
    assert pit.line.take_edge()
    assert not pit.line.take_edge()
    yield late
    yield from ticks(pit, until)


@PERIODIC
def test_no_more_is_owed_than_the_ticks_of_ten_seconds(pit: Pit, mode: int) -> None:
    program(pit, 0, mode, 11932, at(0))
    pit.line.take_edge()
    day = 86_400 * SECOND
    pit.read(0, 1, day // 2)
    pit.line.take_edge()
    found = sum(1 for _ in late_ticks(pit, day, day + 30 * SECOND))
    assert 4000 - 5 <= found <= 4000 + 5  # 10 s and 30 s


@PERIODIC
@pytest.mark.parametrize("value", [2, 3, FASTEST - 1])
def test_a_short_period_does_not_take_all_time_and_owes_nothing(
    pit: Pit, mode: int, value: int
) -> None:
    program(pit, 0, mode, value, at(0))
    pit.line.take_edge()
    found = list(ticks(pit, SECOND // 100))
    gaps = [after - before for before, after in pairwise(found)]
    assert min(gaps) >= PATIENCE
    assert max(gaps) < 2 * PATIENCE
    now = found[-1]
    write(pit, 0, 1193, now)
    assert sum(1 for _ in ticks(pit, now + SECOND // 100)) <= 11


def test_counts_are_right_whatever_is_owed(pit: Pit) -> None:
    program(pit, 0, 2, 1193, at(0))
    pit.expire(at(1 + 1193 * 1000))
    for passed in (0, 5, 1192):
        assert count(pit, 0, at(1 + 1193 * 1001 + passed)) == 1193 - passed
    assert pit.owed > 900


def test_a_control_word_forgets_what_is_owed(pit: Pit) -> None:
    program(pit, 0, 2, 1193, at(0))
    pit.expire(SECOND)
    pit.line.take_edge()
    program(pit, 0, 2, 0, SECOND)
    assert list(ticks(pit, 2 * SECOND)) == [
        time_of(pulses(SECOND) + 1 + 0x1_0000 * n) for n in range(1, 19)
    ]
