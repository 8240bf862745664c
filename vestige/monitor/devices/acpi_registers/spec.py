"""Sleep, reset and PM1 registers. ACPI specification 6.5, sections 4.8.3.1 to 4.8.3.7."""

from enum import IntEnum, IntFlag


class SleepControl(IntFlag):
    """SLEEP_CONTROL_REG, 4.8.3.7: RW, 8 bits."""

    TYPE = 7 << 2  # SLP_TYP, as _Sx names it
    ENABLE = 1 << 5  # SLP_EN: WO, goes to sleep


class SleepStatus(IntFlag):
    """SLEEP_STATUS_REG, 4.8.3.7: 8 bits."""

    WAKE = 1 << 7  # WAK_STS: a 1 clears it; nothing here wakes, so it is never set


class Pm1(IntEnum):
    """The PM1 event and control blocks, byte by byte; 4.8.3.1 and 4.8.3.2."""

    STATUS = 0  # RW1C, 16 bits: no event happens here
    ENABLE = 2  # RW, 16 bits
    CONTROL = 4  # RO, low half: MODE
    SLEEP = 5  # high half: as SleepControl


MODE = 1 << 0  # SCI_EN: ACPI mode, always


class Power(IntEnum):
    """What the guest asked for."""

    ON = 0
    OFF = 1
    RESET = 2
