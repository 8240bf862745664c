"""Sleep, reset and PM1 registers. ACPI specification 6.5, sections 4.8.3.1 to 4.8.3.7."""

from enum import IntEnum, IntFlag

from vestige.abi import (
    PORT_PM1_CONTROL,
    PORT_PM1_EVENT,
    PORT_RESET,
    PORT_SLEEP_CONTROL,
    PORT_SLEEP_STATUS,
)


class Register(IntEnum):
    """Offsets from abi.PORT_SLEEP_CONTROL, byte by byte; those between are nobody's."""

    SLEEP_CONTROL = 0  # RW: SleepControl
    SLEEP_STATUS = PORT_SLEEP_STATUS - PORT_SLEEP_CONTROL  # RO: SleepStatus
    RESET = PORT_RESET - PORT_SLEEP_CONTROL  # WO: RESET_VALUE resets, 4.8.3.6
    PM1_STATUS = PORT_PM1_EVENT - PORT_SLEEP_CONTROL  # RW1C, 16 bits: no event happens here
    PM1_ENABLE = PM1_STATUS + 2  # RW, 16 bits
    PM1_CONTROL = PORT_PM1_CONTROL - PORT_SLEEP_CONTROL  # RO, low half: MODE
    PM1_SLEEP = PM1_CONTROL + 1  # its high half: as SLEEP_CONTROL


class SleepControl(IntFlag):
    """SLEEP_CONTROL_REG, 4.8.3.7: RW, 8 bits."""

    TYPE = 7 << 2  # SLP_TYP, as _Sx names it
    ENABLE = 1 << 5  # SLP_EN: WO, goes to sleep


class SleepStatus(IntFlag):
    """SLEEP_STATUS_REG, 4.8.3.7: 8 bits."""

    WAKE = 1 << 7  # WAK_STS: a 1 clears it; nothing here wakes, so it is never set


PM1_ENABLE_SIZE = 2  # bytes of PM1_ENABLE
MODE = 1 << 0  # SCI_EN: ACPI mode, always
