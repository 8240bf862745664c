"""Sleep and reset registers: ACPI specification 6.5, 4.8.3."""

import pytest

from vestige.abi import Power
from vestige.monitor.devices.acpi_registers.model import AcpiRegisters
from vestige.monitor.devices.acpi_registers.spec import Register
from vestige.place import GOES_ON

ENABLE = 1 << 5


def powered_on() -> AcpiRegisters:
    acpi = AcpiRegisters()
    acpi.reset()
    return acpi


def test_s5_with_the_enable_bit_powers_off() -> None:
    acpi = powered_on()
    acpi.write(Register.SLEEP_CONTROL, 1, 5 << 2, 0)
    assert acpi.ending() == GOES_ON
    acpi.write(Register.SLEEP_CONTROL, 1, 5 << 2 | ENABLE, 0)
    assert acpi.ending() == Power.OFF


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 6, 7])
def test_other_sleep_types_do_nothing(kind: int) -> None:
    acpi = powered_on()
    acpi.write(Register.SLEEP_CONTROL, 1, kind << 2 | ENABLE, 0)
    assert acpi.ending() == GOES_ON


def test_the_enable_bit_reads_zero_and_the_type_stays() -> None:
    acpi = powered_on()
    acpi.write(Register.SLEEP_CONTROL, 1, 0xFF, 0)
    assert acpi.read(Register.SLEEP_CONTROL, 1, 0) == 7 << 2
    assert acpi.read(Register.SLEEP_STATUS, 1, 0) == 0


def test_only_the_reset_value_resets() -> None:
    acpi = powered_on()
    for value in range(256):
        if value != 1:
            acpi.write(Register.RESET, 1, value, 0)
    assert acpi.ending() == GOES_ON
    acpi.write(Register.RESET, 1, 1, 0)
    assert acpi.ending() == Power.RESET
