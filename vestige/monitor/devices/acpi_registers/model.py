"""Sleep and reset registers of hardware-reduced ACPI. ACPI specification 6.5, 4.8.3."""

from vestige.abi import RESET_VALUE, SLEEP_TYPE_S5
from vestige.lang.types import Struct, u8
from vestige.monitor.devices.acpi_registers.spec import Power, SleepControl


class AcpiRegisters(Struct):
    """The guest's way to end its machine. Sleep states but S5 don't exist and do nothing."""

    sleep_control: u8
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
