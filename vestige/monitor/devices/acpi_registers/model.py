"""Sleep and reset registers of hardware-reduced ACPI, and PM1. ACPI specification 6.5, 4.8.3."""

from vestige.abi import RESET_VALUE, SLEEP_TYPE_S5, Power
from vestige.lang.types import Struct, u8, u64
from vestige.monitor.devices.acpi_registers.spec import (
    MODE,
    PM1_ENABLE_SIZE,
    Register,
    SleepControl,
)
from vestige.place import GOES_ON


class AcpiRegisters(Struct):
    """The guest's way to end its machine. Sleep states but S5 don't exist and do nothing."""

    sleep_control: u8
    pm1_enable: u8[PM1_ENABLE_SIZE]
    wish: u8  # output: the abi.Power asked for, or GOES_ON

    def reset(self) -> None:
        """Nothing asked for, no event enabled."""
        self.sleep_control = 0
        self.wish = GOES_ON
        for i in range(PM1_ENABLE_SIZE):
            self.pm1_enable[i] = 0

    def read(self, offset: u8, size: u8, now: u64) -> u8:
        """A register read; `size` 1. No event ever happens, and nothing wakes."""
        match offset:
            case Register.SLEEP_CONTROL | Register.PM1_SLEEP:
                return self.sleep_control  # the type last written; the enable bit reads 0
            case Register.PM1_CONTROL:
                return MODE
            case Register.RESET:
                return 0xFF
            case _:
                if Register.PM1_ENABLE <= offset < Register.PM1_CONTROL:
                    return self.pm1_enable[offset - Register.PM1_ENABLE]
                return 0

    def write(self, offset: u8, size: u8, value: u8, now: u64) -> None:
        """A register write; `size` 1."""
        match offset:
            case Register.SLEEP_CONTROL | Register.PM1_SLEEP:
                self.write_sleep_control(value)
            case Register.RESET:
                if value == RESET_VALUE:
                    self.wish = Power.RESET
            case _:
                if Register.PM1_ENABLE <= offset < Register.PM1_CONTROL:
                    self.pm1_enable[offset - Register.PM1_ENABLE] = value

    def write_sleep_control(self, value: u8) -> None:
        """With the enable bit, go to the state named by the type."""
        self.sleep_control = value & SleepControl.TYPE
        if value & SleepControl.ENABLE and (value & SleepControl.TYPE) >> 2 == SLEEP_TYPE_S5:
            self.wish = Power.OFF

    # ---- the core -------------------------------------------------------------------------

    def ending(self) -> u8:
        """How the guest wants its machine to end, or GOES_ON."""
        return self.wish
