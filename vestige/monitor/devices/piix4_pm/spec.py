"""The PIIX4's function 3. Intel 82371AB data sheet (290562), 7.1 and 7.2; ACPI 6.5, 4.8."""

from vestige.lang.enumeration import IntEnum, IntFlag

VENDOR = 0x8086
DEVICE = 0x7113
REVISION = 3  # a PIIX4M: Linux reads an older one's timer three times, because it may misread
CLASS = 0x06  # bridge
SUBCLASS = 0x80  # to something else
STATUS_CLEARABLE = 0x38  # bits 11 to 13 of the status: aborts that it signalled or saw

PORT_PM = 0x600  # where the ports are at reset here, and where SeaBIOS puts them
PORT_PM_UEFI = 0xB000  # the same with a UEFI firmware: OVMF switches a machine off nowhere else
PORTS = 64
BASE_MASK = 0xFFC0  # of PMBA
SMBUS_BASE_MASK = 0xFFF0
IS_PORT = 1  # bit 0 of a base address, which is read-only

FREQUENCY = 3_579_545  # Hz, of the power management timer
TIMER_BITS = 24


class Config(IntEnum):
    """Configuration registers beyond PCI's own, 7.1. Those of no effect here are kept."""

    BASE = 0x40  # PMBA, 32 bits
    KEPT = 0x44  # RW, up to MISCELLANEOUS: CNTA to DEVRESJ, what the PIIX4 watches and traps
    SMI_ENABLE = 0x5B  # the last byte of DEVACTB
    MISCELLANEOUS = 0x80  # PMREGMISC
    SMBUS_BASE = 0x90  # SMBBA, 32 bits
    SMBUS_CONFIGURATION = 0xD2  # SMBHSTCFG, and three bytes of its slave's
    SMBUS_KEPT = 4


PORTS_ENABLED = 1 << 0  # PMIOSE, of PMREGMISC
APMC_ENABLED = 1 << 1  # bit 25 of DEVACTB: a write to port 0xB2 makes an SMI


class Register(IntEnum):
    """Offsets from PMBA, byte by byte, 7.2; what is not named reads 0 here."""

    STATUS = 0x00  # PMSTS, 16 bits: RW1C
    ENABLE = 0x02  # PMEN, 16 bits: RW
    CONTROL = 0x04  # PMCNTRL, 16 bits: RW
    TIMER = 0x08  # PMTMR, 32 bits: RO
    GENERAL_STATUS = 0x0C  # GPSTS, 16 bits: RW1C, no event sets one
    GENERAL_ENABLE = 0x0E  # GPEN, 16 bits: RW


REGISTERS_END = 0x10  # of those


class Event(IntFlag):
    """Bits of PMSTS and PMEN."""

    TIMER_OVERFLOW = 1 << 0  # the timer's highest bit has changed: ACPI 6.5, 4.8.3.1.1
    GLOBAL = 1 << 5
    POWER_BUTTON = 1 << 8
    CLOCK = 1 << 10


ENABLE_WRITABLE = Event.TIMER_OVERFLOW | Event.GLOBAL | Event.POWER_BUTTON | Event.CLOCK
GENERAL_ENABLE_WRITABLE = 0x0F01  # lid, ring, USB, external event, thermal override


class Control(IntFlag):
    """Bits of PMCNTRL."""

    SCI = 1 << 0  # SCI_EN: reads 1, as where ACPI mode is the only one (ACPI 6.5, 4.8.3.2.1)
    BUS_MASTER_RELOAD = 1 << 1  # BRLD_EN_BM: kept
    SLEEP_TYPE = 7 << 10  # SUS_TYP
    SLEEP = 1 << 13  # SUS_EN: WO


CONTROL_WRITABLE = Control.BUS_MASTER_RELOAD | Control.SLEEP_TYPE
SOFT_OFF = 0  # SUS_TYP
SLEEP_TYPE_SHIFT = 10
