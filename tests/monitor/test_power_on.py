"""What a machine is when its power comes on, however long its monitor's counter has run."""

from tests.monitor.rig import Rig
from vestige import abi
from vestige.monitor.core.trap_turn import power_on

HOUR = 3600 * 1_000_000_000  # nanoseconds
DATE = 946_684_799  # 1999-12-31 23:59:59
SECONDS, MINUTES, HOURS, YEAR = 0x00, 0x02, 0x04, 0x09


def pc(*, counted: int) -> Rig:
    """Powered on after so many nanoseconds, without a firmware."""
    rig = Rig()
    config = rig.shared.config
    config.board, config.vga, config.date = abi.Board.PC, 1, DATE
    rig.now = counted
    with rig.entered(rig.cpus[0]):
        power_on(rig.machine, rig.shared)
    return rig


def cell(rig: Rig, number: int) -> int:
    """Of the MC146818, which counts in BCD."""
    rig.out(0x70, number)
    return rig.inp(0x71)


def test_a_pc_s_clock_shows_the_date_it_was_given_however_long_its_counter_has_run() -> None:
    for counted in (0, 15 * HOUR, 5000 * HOUR):
        rig = pc(counted=counted)
        assert [cell(rig, each) for each in (YEAR, HOURS, MINUTES, SECONDS)] == [
            0x99, 0x23, 0x59, 0x59
        ]  # fmt: skip
        rig.now += HOUR // 3600
        assert [cell(rig, each) for each in (YEAR, HOURS, MINUTES, SECONDS)] == [0, 0, 0, 0]


def test_a_screen_is_told_of_before_the_guest_does_anything() -> None:
    assert pc(counted=0).shared.screen.kind == abi.ScreenKind.TEXT
