"""The MC146818A: Motorola's data sheet. Times are nanoseconds."""

from datetime import UTC, datetime

import pytest

from vestige import abi
from vestige.monitor.clock import SECOND
from vestige.monitor.devices.mc146818.model import IN_PROGRESS, Mc146818
from vestige.monitor.devices.mc146818.spec import (
    CRYSTAL,
    FIRST_UPDATE,
    PERIODS,
    RUNNING,
    UPDATE,
    Cell,
    Port,
)
from vestige.monitor.devices.mc146818.spec import RegisterA as A
from vestige.monitor.devices.mc146818.spec import RegisterB as B
from vestige.monitor.devices.mc146818.spec import RegisterC as C
from vestige.monitor.line import NEVER

BASE = datetime(2026, 11, 29, 12, 34, 56, tzinfo=UTC)
MIB = 1 << 20
DAY = 86_400 * SECOND
RESET = 7 << 4  # DV
TIMES = (Cell.CENTURY, Cell.YEAR, Cell.MONTH, Cell.DAY, Cell.HOURS, Cell.MINUTES, Cell.SECONDS)
ALARMS = (Cell.HOURS_ALARM, Cell.MINUTES_ALARM, Cell.SECONDS_ALARM)


def configured(low: int = 16 * MIB, high: int = 0, cpus: int = 1) -> Mc146818:
    config = abi.Config(date=int(BASE.timestamp()), cpus=cpus)
    config.ram.low_size, config.ram.high_size = low, high
    model = Mc146818()
    model.reset()
    model.configure(config)
    return model


@pytest.fixture
def rtc() -> Mc146818:
    return configured()


def read(rtc: Mc146818, cell: int, now: int = 0) -> int:
    rtc.write(Port.INDEX, 1, cell, now)
    return rtc.read(Port.DATA, 1, now)


def write(rtc: Mc146818, cell: int, value: int, now: int = 0) -> None:
    rtc.write(Port.INDEX, 1, cell, now)
    rtc.write(Port.DATA, 1, value, now)


def shown(rtc: Mc146818, now: int = 0) -> str:
    """The clock, its cells in hexadecimal from the century on."""
    return bytes(read(rtc, cell, now) for cell in TIMES).hex()


def set_clock(rtc: Mc146818, cells: str, bits: int = B.HOURS_24, now: int = 0) -> None:
    write(rtc, Cell.REGISTER_B, B.SET | bits, now)
    for cell, value in zip(TIMES, bytes.fromhex(cells), strict=True):
        write(rtc, cell, value, now)
    write(rtc, Cell.REGISTER_B, bits, now)


def wide(rtc: Mc146818, cell: int, count: int) -> int:
    return int.from_bytes((read(rtc, cell + i) for i in range(count)), "little")


# ---- ports and cells ---------------------------------------------------------------------------


def test_the_index_can_not_be_read_and_its_upper_bit_is_for_nmi(rtc: Mc146818) -> None:
    write(rtc, 0x80 | 0x40, 0x5A)
    assert read(rtc, 0x40) == 0x5A
    assert rtc.read(Port.INDEX, 1, 0) == 0xFF


def test_ram_keeps_what_is_written(rtc: Mc146818) -> None:
    for cell in (0x0E, Cell.SHUTDOWN, 0x10, 0x37, 0x7F):
        assert read(rtc, cell) == 0
        write(rtc, cell, 0xA5)
        assert read(rtc, cell, 3 * DAY) == 0xA5


def test_registers_c_and_d_can_not_be_written(rtc: Mc146818) -> None:
    for cell in (Cell.REGISTER_C, Cell.REGISTER_D):
        write(rtc, cell, 0x7F)
    assert read(rtc, Cell.REGISTER_C) == 0
    assert read(rtc, Cell.REGISTER_D) == 0x80


@pytest.mark.parametrize(
    ("low", "high", "extended", "above_16"),
    [
        (1 * MIB, 0, 0, 0),
        (16 * MIB, 0, 15 * 1024, 0),
        (64 * MIB, 0, 0xFC00, 48 * 16),
        (3072 * MIB, 5 << 30, 0xFC00, 3056 * 16),
    ],
)
def test_firmware_finds_the_machine_s_size(
    low: int, high: int, extended: int, above_16: int
) -> None:
    rtc = configured(low, high, cpus=4)
    assert wide(rtc, Cell.BASE_MEMORY, 2) == 640
    assert wide(rtc, Cell.EXTENDED_MEMORY, 2) == extended
    assert wide(rtc, Cell.EXTENDED_MEMORY_FOUND, 2) == extended
    assert wide(rtc, Cell.MEMORY_ABOVE_16_MIB, 2) == above_16
    assert wide(rtc, Cell.MEMORY_ABOVE_4_GIB, 3) == high >> 16
    assert read(rtc, Cell.CPUS) == 3
    assert read(rtc, Cell.EQUIPMENT) == 0x06
    assert read(rtc, Cell.BOOT_ORDER) == 0x32
    assert [read(rtc, cell) for cell in (0x10, 0x38)] == [0, 0]
    total = sum(read(rtc, cell) for cell in range(0x10, 0x2E))
    assert (read(rtc, Cell.SUM_HIGH), read(rtc, Cell.SUM_LOW)) == divmod(total, 256)


# ---- time and date -----------------------------------------------------------------------------


def test_it_shows_the_host_s_date_from_time_0_on(rtc: Mc146818) -> None:
    assert shown(rtc) == "20261129123456"
    assert read(rtc, Cell.DAY_OF_WEEK) == 1  # a Sunday
    assert shown(rtc, SECOND - 1) == "20261129123456"
    assert shown(rtc, SECOND) == "20261129123457"
    assert shown(rtc, 30 * DAY) == "20261229123456"
    assert read(rtc, Cell.DAY_OF_WEEK, 30 * DAY) == 3


def test_it_never_drifts(rtc: Mc146818) -> None:
    for part in range(1, 3 * 60 * 7):
        rtc.read(Port.DATA, 1, part * SECOND // 7)
    assert shown(rtc, 180 * SECOND - 1) == "20261129123755"
    assert shown(rtc, 180 * SECOND) == "20261129123756"


@pytest.mark.parametrize(
    ("bits", "before", "after"),
    [
        (B.HOURS_24, "20230228235959", "20230301000000"),
        (B.HOURS_24, "20240228235959", "20240229000000"),
        (B.HOURS_24, "21000228235959", "21000301000000"),
        (B.HOURS_24, "19991231235959", "20000101000000"),
        (B.HOURS_24, "99991231235959", "00000101000000"),
        (B.HOURS_24 | B.BINARY, "13630c1f173b3b", "14000101000000"),
        (0, "20260704115959", "20260704920000"),
        (0, "20260704925959", "20260704810000"),
        (0, "20260704125959", "20260704010000"),
        (0, "20260704915959", "20260705120000"),
        (B.BINARY, "141a07040b3b3b", "141a07048c0000"),
    ],
)
def test_every_format_carries(rtc: Mc146818, bits: int, before: str, after: str) -> None:
    set_clock(rtc, before, bits)
    assert shown(rtc, SECOND - 1) == before
    assert shown(rtc, SECOND) == after


def test_set_holds_the_time_and_the_divider_goes_on(rtc: Mc146818) -> None:
    write(rtc, Cell.REGISTER_B, B.SET | B.HOURS_24, SECOND // 2)
    assert shown(rtc, 10 * SECOND) == "20261129123456"
    write(rtc, Cell.REGISTER_B, B.HOURS_24, 10 * SECOND + SECOND // 4)
    assert shown(rtc, 11 * SECOND - 1) == "20261129123456"
    assert shown(rtc, 11 * SECOND) == "20261129123457"


def test_the_day_of_the_week_counts_on_from_what_was_written(rtc: Mc146818) -> None:
    write(rtc, Cell.DAY_OF_WEEK, 7)
    assert read(rtc, Cell.DAY_OF_WEEK) == 7
    assert read(rtc, Cell.DAY_OF_WEEK, DAY) == 1


def test_a_date_that_is_none_is_put_right_at_midnight(rtc: Mc146818) -> None:
    set_clock(rtc, "20230231235958")
    assert shown(rtc, SECOND) == "20230231235959"
    assert shown(rtc, 2 * SECOND) == "20230304000000"
    set_clock(rtc, "20230000235959", now=2 * SECOND)
    assert shown(rtc, 3 * SECOND) == "20230101000000"


@pytest.mark.parametrize("divider", [0, 1, 3, 4, 5, 6, 7])
def test_the_clock_runs_with_one_divider_alone(rtc: Mc146818, divider: int) -> None:
    write(rtc, Cell.REGISTER_A, divider << 4 | 0xF)
    write(rtc, Cell.REGISTER_B, B.PERIODIC | B.UPDATE_ENDED)
    assert rtc.next_deadline() == NEVER
    assert read(rtc, Cell.SECONDS, 5 * SECOND) == 0x56
    assert read(rtc, Cell.REGISTER_C, 5 * SECOND) == 0


def test_the_first_update_begins_half_a_second_after_the_divider(rtc: Mc146818) -> None:
    write(rtc, Cell.REGISTER_A, RESET, SECOND // 3)
    write(rtc, Cell.REGISTER_A, RUNNING, 9 * SECOND)
    first = 9 * SECOND + FIRST_UPDATE + UPDATE
    assert read(rtc, Cell.SECONDS, first - 1) == 0x56
    assert read(rtc, Cell.SECONDS, first) == 0x57
    assert read(rtc, Cell.SECONDS, first + SECOND) == 0x58


# ---- flags and interrupts ----------------------------------------------------------------------


def test_update_in_progress_is_set_from_before_the_update_to_its_end(rtc: Mc146818) -> None:
    rise = SECOND - IN_PROGRESS
    assert IN_PROGRESS == 2_228_000  # table 6
    assert not read(rtc, Cell.REGISTER_A, rise - 1) & A.UPDATE_IN_PROGRESS
    assert read(rtc, Cell.REGISTER_A, rise) & A.UPDATE_IN_PROGRESS
    assert read(rtc, Cell.REGISTER_A, SECOND - 1) & A.UPDATE_IN_PROGRESS
    assert not read(rtc, Cell.REGISTER_A, SECOND) & A.UPDATE_IN_PROGRESS
    write(rtc, Cell.REGISTER_A, 0xFF & ~A.DIVIDER | RUNNING, SECOND)
    assert not read(rtc, Cell.REGISTER_A, SECOND) & A.UPDATE_IN_PROGRESS
    write(rtc, Cell.REGISTER_B, B.SET, 2 * SECOND - 1)
    assert not read(rtc, Cell.REGISTER_A, 2 * SECOND - 1) & A.UPDATE_IN_PROGRESS


def test_update_ended_interrupts_until_register_c_is_read(rtc: Mc146818) -> None:
    write(rtc, Cell.REGISTER_B, B.HOURS_24 | B.UPDATE_ENDED)
    assert rtc.next_deadline() == SECOND
    rtc.expire(SECOND - 1)
    assert rtc.line.level == 0
    rtc.expire(SECOND)
    assert rtc.line.level == 1
    assert rtc.next_deadline() == NEVER
    assert read(rtc, Cell.REGISTER_C, SECOND) == C.REQUEST | C.UPDATE_ENDED | C.PERIODIC
    assert rtc.line.level == 0
    assert read(rtc, Cell.REGISTER_C, SECOND) == 0
    assert rtc.next_deadline() == 2 * SECOND


def test_flags_are_set_without_enables_and_an_enable_finds_them(rtc: Mc146818) -> None:
    assert rtc.next_deadline() == NEVER
    write(rtc, Cell.REGISTER_B, B.HOURS_24 | B.UPDATE_ENDED, 3 * SECOND)
    assert rtc.line.level == 1
    write(rtc, Cell.REGISTER_B, B.HOURS_24, 3 * SECOND)
    assert rtc.line.level == 0
    assert read(rtc, Cell.REGISTER_C, 3 * SECOND) == C.UPDATE_ENDED | C.PERIODIC


def test_set_clears_the_update_enable_and_stops_its_flag(rtc: Mc146818) -> None:
    write(rtc, Cell.REGISTER_B, B.HOURS_24 | B.UPDATE_ENDED | B.ALARM)
    write(rtc, Cell.REGISTER_B, B.SET | B.UPDATE_ENDED | B.ALARM | B.PERIODIC)
    assert read(rtc, Cell.REGISTER_B) == B.SET | B.ALARM | B.PERIODIC
    assert read(rtc, Cell.REGISTER_C, 5 * SECOND) == C.REQUEST | C.PERIODIC


def test_an_alarm_interrupts_at_its_time(rtc: Mc146818) -> None:
    for cell, value in zip(ALARMS, (0x12, 0x35, 0x10), strict=True):
        write(rtc, cell, value)
    write(rtc, Cell.REGISTER_B, B.HOURS_24 | B.ALARM)
    assert rtc.next_deadline() == 14 * SECOND
    assert read(rtc, Cell.REGISTER_C, 14 * SECOND - 1) & C.ALARM == 0
    rtc.expire(14 * SECOND)
    assert rtc.line.level == 1
    assert read(rtc, Cell.REGISTER_C, 14 * SECOND) & C.ALARM
    assert rtc.next_deadline() == 14 * SECOND + DAY


def test_an_alarm_that_need_not_match_comes_each_second(rtc: Mc146818) -> None:
    for cell, value in zip(ALARMS, (0xC0, 0xD5, 0xFF), strict=True):
        write(rtc, cell, value)
    write(rtc, Cell.REGISTER_B, B.HOURS_24 | B.ALARM)
    for second in (1, 2, 3):
        assert rtc.next_deadline() == second * SECOND
        assert read(rtc, Cell.REGISTER_C, second * SECOND) & C.ALARM


@pytest.mark.parametrize("hour", [0x81, 0x12, 0x92])
def test_an_alarm_of_12_hours_knows_the_afternoon(rtc: Mc146818, hour: int) -> None:
    following = {0x81: "20260704925959", 0x12: "20260704915959", 0x92: "20260704115959"}
    set_clock(rtc, following[hour], 0)
    write(rtc, Cell.HOURS_ALARM, hour)
    assert read(rtc, Cell.REGISTER_C, SECOND) & C.ALARM


@pytest.mark.parametrize(
    ("cell", "value"),
    [(Cell.HOURS_ALARM, 0x24), (Cell.MINUTES_ALARM, 0x60), (Cell.SECONDS_ALARM, 0x0A)],
)
def test_an_alarm_at_no_time_never_comes(rtc: Mc146818, cell: int, value: int) -> None:
    for alarm in ALARMS:
        write(rtc, alarm, 0xFF)
    write(rtc, cell, value)
    write(rtc, Cell.REGISTER_B, B.HOURS_24 | B.ALARM)
    assert rtc.next_deadline() == NEVER
    assert read(rtc, Cell.REGISTER_C, 2 * DAY) & C.ALARM == 0


@pytest.mark.parametrize("rate", range(1, 16))
def test_a_periodic_interrupt_has_the_period_of_its_rate(rtc: Mc146818, rate: int) -> None:
    """Table 5; two edges are half a period before and after UIP rises."""
    write(rtc, Cell.REGISTER_A, RUNNING | rate)
    write(rtc, Cell.REGISTER_B, B.HOURS_24 | B.PERIODIC, SECOND - IN_PROGRESS)
    period = PERIODS[rate] * SECOND / CRYSTAL
    read(rtc, Cell.REGISTER_C, SECOND - IN_PROGRESS)
    for edge in range(40):
        due = rtc.next_deadline()
        assert due == pytest.approx(SECOND - IN_PROGRESS + (edge + 0.5) * period, abs=1)
        rtc.expire(due - 1)
        assert rtc.line.level == 0
        flags = C.REQUEST | C.PERIODIC
        assert read(rtc, Cell.REGISTER_C, due) & flags == flags
        assert read(rtc, Cell.REGISTER_C, due) == 0


def test_rates_are_those_of_table_5() -> None:
    hertz = [CRYSTAL // period for period in PERIODS[1:]]
    assert hertz == [256, 128, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2]


def test_periods_that_were_missed_are_one(rtc: Mc146818) -> None:
    write(rtc, Cell.REGISTER_B, B.HOURS_24 | B.PERIODIC)
    rtc.expire(SECOND // 2)
    assert read(rtc, Cell.REGISTER_C, SECOND // 2) == C.REQUEST | C.PERIODIC
    assert rtc.line.level == 0
    assert SECOND // 2 < rtc.next_deadline() <= SECOND // 2 + SECOND // 1024


def test_rate_0_is_none(rtc: Mc146818) -> None:
    write(rtc, Cell.REGISTER_A, RUNNING)
    write(rtc, Cell.REGISTER_B, B.HOURS_24 | B.PERIODIC)
    assert rtc.next_deadline() == NEVER
    assert read(rtc, Cell.REGISTER_C, 5 * SECOND) == C.UPDATE_ENDED
