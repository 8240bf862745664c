"""PCI configuration. PCI Local Bus Specification 3.0, chapter 6 and section 3.2.2.3.2."""

from enum import IntEnum, IntFlag

HEADER_SIZE = 64  # bytes of that which mean the same for all functions
CONFIG_SIZE = 256  # bytes of a conventional function's configuration space
INTERRUPT_PINS = 4  # INTA to INTD, 2.2.6


class Register(IntEnum):
    """Offsets in a type 00h header, 6.1."""

    VENDOR = 0x00  # RO, 16 bits
    DEVICE = 0x02  # RO, 16 bits
    COMMAND = 0x04  # RW, 16 bits
    STATUS = 0x06  # RO and write-1-to-clear, 16 bits
    REVISION = 0x08  # RO
    PROGRAMMING_INTERFACE = 0x09  # RO
    SUBCLASS = 0x0A  # RO
    CLASS = 0x0B  # RO
    HEADER_TYPE = 0x0E  # RO
    BAR0 = 0x10  # RW; six of 32 bits
    SUBSYSTEM_VENDOR = 0x2C  # RO, 16 bits
    SUBSYSTEM = 0x2E  # RO, 16 bits
    EXPANSION_ROM = 0x30  # RW, 32 bits; of its address and bit 0, which switches it on
    CAPABILITIES = 0x34  # RO: where the first one is
    INTERRUPT_LINE = 0x3C  # RW: the firmware's note, of no effect
    INTERRUPT_PIN = 0x3D  # RO: 1 is INTA


class Command(IntFlag):
    """Command register, 6.2.2."""

    IO = 1 << 0
    MEMORY = 1 << 1
    BUS_MASTER = 1 << 2
    INTERRUPT_DISABLE = 1 << 10


CAPABILITY_VENDOR, CAPABILITY_MSIX = 0x09, 0x11  # appendix H
BAR_IO = 1  # bit 0 of an I/O BAR, 6.2.5.1
BAR_IO_ADDRESS = 0xFFFC
BAR_PREFETCHABLE = 1 << 3  # of a memory BAR: reading has no effect, and writes may be merged
BAR_MEMORY_ADDRESS = 0xFFFF_FFF0
STATUS_CAPABILITIES = 1 << 4  # of the status register, 6.2.3
STATUS_FAST_BACK_TO_BACK = 1 << 7
STATUS_MEDIUM_DEVSEL = 1 << 9  # how fast it claims a cycle
STATUS_PIIX = STATUS_FAST_BACK_TO_BACK | STATUS_MEDIUM_DEVSEL  # a PIIX3's and a 440FX's, fixed


class Address(IntEnum):
    """CONFIG_ADDRESS, 3.2.2.3.2."""

    ENABLE = 1 << 31
    BUS = 0xFF << 16
    DEVICE = 0x1F << 11
    FUNCTION = 7 << 8
    REGISTER = 0x3F << 2
    WRITABLE = ENABLE | BUS | DEVICE | FUNCTION | REGISTER  # the other bits read 0


class HostBridge(IntEnum):
    """Who the host bridge says it is."""

    VENDOR = 0x8086
    DEVICE = 0x0D57
    CLASS = 0x06  # bridge; subclass 0: host
    DEVICE_440FX = 0x1237
    REVISION_440FX = 0x02
    PAM = 0x59  # of programmable attribute maps
    PAMS = 7
    SMRAM = 0x72
