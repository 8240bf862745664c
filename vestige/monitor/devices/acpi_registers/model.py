"""Sleep and reset registers of hardware-reduced ACPI, and PM1. ACPI specification 6.5, 4.8.3."""

from vestige.abi import RESET_VALUE, SLEEP_TYPE_S5
from vestige.lang.types import Struct, u8
from vestige.monitor.devices.acpi_registers.spec import MODE, Pm1, Power, SleepControl


class AcpiRegisters(Struct):
    """The guest's way to end its machine. Sleep states but S5 don't exist and do nothing."""

    sleep_control: u8
    pm1_enable: u8[2]
    power: u8  # output: Power

    def read_sleep_control(self) -> u8:
        """The sleep type last written; the enable bit always reads 0."""
        return self.sleep_control

    def read_sleep_status(self) -> u8:
        """No wake event ever."""
        return 0

    def write_sleep_control(self, value: u8) -> None:
        """With the enable bit, go to the state named by the type."""
        self.sleep_control = value & SleepControl.TYPE
        if value & SleepControl.ENABLE and (value & SleepControl.TYPE) >> 2 == SLEEP_TYPE_S5:
            self.power = Power.OFF

    def write_reset(self, value: u8) -> None:
        """The FADT's reset register: one value resets, the others do nothing."""
        if value == RESET_VALUE:
            self.power = Power.RESET

    def read_pm1(self, offset: u8) -> u8:
        """A byte of the PM1 blocks, by Pm1."""
        match offset:
            case Pm1.CONTROL:
                return MODE
            case Pm1.SLEEP:
                return self.sleep_control
            case _:
                if Pm1.ENABLE <= offset < Pm1.CONTROL:
                    return self.pm1_enable[offset - Pm1.ENABLE]
                return 0

    def write_pm1(self, offset: u8, value: u8) -> None:
        """A byte of the PM1 blocks, by Pm1."""
        if offset == Pm1.SLEEP:
            self.write_sleep_control(value)
        elif Pm1.ENABLE <= offset < Pm1.CONTROL:
            self.pm1_enable[offset - Pm1.ENABLE] = value
