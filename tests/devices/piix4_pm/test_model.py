"""Power management, function 3 of a PC's PIIX: Intel 82371AB data sheet, 7.1 and 7.2."""

import pytest

from vestige.abi import Config as Machine
from vestige.abi import Power
from vestige.monitor.clock import SECOND
from vestige.monitor.devices.pci.spec import Register as PciRegister
from vestige.monitor.devices.piix4_pm.model import HALF, PowerManagement, next_overflow, time_of
from vestige.monitor.devices.piix4_pm.spec import (
    FREQUENCY,
    PORT_PM,
    PORT_PM_UEFI,
    Config,
    Control,
    Event,
    Register,
)
from vestige.monitor.line import NEVER
from vestige.place import GOES_ON, NOWHERE

FIRST_OVERFLOW = time_of(HALF)  # 2.34 s


@pytest.fixture
def pm() -> PowerManagement:
    model = PowerManagement()
    model.reset()
    return model


def read(pm: PowerManagement, register: int, size: int, now: int = 0) -> int:
    return sum(pm.read(register + byte, 1, now) << 8 * byte for byte in range(size))


def write(pm: PowerManagement, register: int, value: int, now: int = 0) -> None:
    """Of 16 bits."""
    for byte in range(2):
        pm.write(register + byte, 1, value >> 8 * byte & 0xFF, now)


def test_it_says_what_it_is(pm: PowerManagement) -> None:
    assert pm.read_config(0, PciRegister.VENDOR, 4) == 0x7113_8086
    assert pm.read_config(0, PciRegister.REVISION, 4) == 0x0680_0003
    assert pm.read_config(0, PciRegister.INTERRUPT_PIN, 1) == 1


@pytest.mark.parametrize(("flash", "ports"), [(0, PORT_PM), (0x8_4000, PORT_PM_UEFI)])
def test_its_ports_are_where_a_firmware_looks(flash: int, ports: int) -> None:
    machine = Machine()
    machine.flash.size = flash
    pm = PowerManagement()
    pm.reset()
    pm.configure(machine)
    assert pm.read_config(0, Config.BASE, 4) == ports | 1
    assert pm.port_offset(ports + Register.CONTROL) == Register.CONTROL
    assert pm.port_offset(ports - 1) == NOWHERE


def test_smi_is_set_up_so_that_no_firmware_waits_for_one(pm: PowerManagement) -> None:
    devactb = pm.read_config(0, 0x58, 4)
    assert devactb >> 25 & 1


def test_the_ports_are_where_pmba_says(pm: PowerManagement) -> None:
    assert pm.read_config(0, Config.BASE, 4) == 0x601
    assert (pm.port_offset(0x600), pm.port_offset(0x63F)) == (0, 0x3F)
    assert {pm.port_offset(0x5FF), pm.port_offset(0x640)} == {NOWHERE}
    pm.write_config(0, Config.BASE, 4, 0xFFFF_B03E)
    assert pm.read_config(0, Config.BASE, 4) == 0xB001
    assert pm.port_offset(0xB008) == Register.TIMER
    assert pm.port_offset(0x608) == NOWHERE


@pytest.mark.parametrize(("register", "value"), [(Config.MISCELLANEOUS, 0xFE), (Config.BASE, 0)])
def test_without_its_enable_bit_or_a_base_they_are_nowhere(
    pm: PowerManagement, register: int, value: int
) -> None:
    pm.write_config(0, register, 4, value)
    assert {pm.port_offset(port) for port in range(1 << 16)} == {NOWHERE}


@pytest.mark.parametrize(
    ("now", "count"),
    [
        (0, 0),
        (279, 0),
        (280, 1),
        (SECOND, FREQUENCY),
        (5 * SECOND, 5 * FREQUENCY & 0xFF_FFFF),
        ((1 << 64) - 1, ((1 << 64) - 1) * FREQUENCY // SECOND & 0xFF_FFFF),
    ],
)
def test_the_timer_counts_in_24_bits(pm: PowerManagement, now: int, count: int) -> None:
    assert read(pm, Register.TIMER, 4, now) == count


def test_the_timer_can_not_be_written(pm: PowerManagement) -> None:
    write(pm, Register.TIMER, 0xFFFF, 300)
    assert read(pm, Register.TIMER, 4, 300) == 1


def test_a_change_of_its_highest_bit_is_an_event_until_it_is_cleared(pm: PowerManagement) -> None:
    assert read(pm, Register.STATUS, 2, FIRST_OVERFLOW - 1) == 0
    assert read(pm, Register.TIMER, 4, FIRST_OVERFLOW) == HALF
    assert read(pm, Register.STATUS, 2, FIRST_OVERFLOW) == Event.TIMER_OVERFLOW
    write(pm, Register.STATUS, 0xFFFE, FIRST_OVERFLOW)
    assert read(pm, Register.STATUS, 2, FIRST_OVERFLOW) == Event.TIMER_OVERFLOW
    write(pm, Register.STATUS, Event.TIMER_OVERFLOW, FIRST_OVERFLOW)
    assert read(pm, Register.STATUS, 2, time_of(2 * HALF) - 1) == 0
    assert read(pm, Register.STATUS, 2, time_of(2 * HALF)) == Event.TIMER_OVERFLOW


def test_it_interrupts_where_that_is_enabled_and_only_then_has_a_deadline(
    pm: PowerManagement,
) -> None:
    assert pm.next_deadline() == NEVER
    write(pm, Register.ENABLE, Event.TIMER_OVERFLOW)
    assert pm.next_deadline() == FIRST_OVERFLOW
    pm.expire(FIRST_OVERFLOW - 1)
    assert pm.line.level == 0
    pm.expire(FIRST_OVERFLOW)
    assert (pm.line.level, pm.next_deadline()) == (1, NEVER)
    write(pm, Register.STATUS, Event.TIMER_OVERFLOW, FIRST_OVERFLOW)
    assert (pm.line.level, pm.next_deadline()) == (0, time_of(2 * HALF))
    pm.expire(pm.next_deadline())
    assert pm.line.level == 1
    write(pm, Register.ENABLE, 0, time_of(2 * HALF))
    assert pm.line.level == 0


def test_no_overflow_is_foreseen_at_the_end_of_time() -> None:
    assert next_overflow(NEVER) == NEVER
    assert next_overflow(NEVER - 70 * SECOND) < NEVER


@pytest.mark.parametrize(
    ("register", "kept"),
    [(Register.ENABLE, 0x0521), (Register.GENERAL_ENABLE, 0x0F01), (Register.GENERAL_STATUS, 0)],
)
def test_what_can_be_enabled_is_kept(pm: PowerManagement, register: int, kept: int) -> None:
    write(pm, register, 0xFFFF)
    assert read(pm, register, 2) == kept


def test_acpi_mode_is_always_on(pm: PowerManagement) -> None:
    assert read(pm, Register.CONTROL, 2) == Control.SCI
    write(pm, Register.CONTROL, 0x0400)
    assert read(pm, Register.CONTROL, 2) == 0x0400 | Control.SCI


def test_sleep_type_0_powers_off_and_others_do_nothing(pm: PowerManagement) -> None:
    for kind in range(1, 8):
        write(pm, Register.CONTROL, kind << 10 | Control.SLEEP)
        assert pm.ending() == GOES_ON
        assert read(pm, Register.CONTROL, 2) == kind << 10 | Control.SCI
    write(pm, Register.CONTROL, 0)
    assert pm.ending() == GOES_ON
    write(pm, Register.CONTROL, Control.SLEEP)
    assert pm.ending() == Power.OFF


def test_what_is_not_named_reads_0(pm: PowerManagement) -> None:
    for register in (6, 7, 0xC, 0xD, *range(0x10, 0x40)):
        pm.write(register, 1, 0xFF, 0)
        assert pm.read(register, 1, 0) == 0
