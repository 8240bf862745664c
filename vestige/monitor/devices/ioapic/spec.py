"""The I/O APIC's registers. Intel 82093AA data sheet (290566-001), section 3.

VERSION 0x20 and the EOI register are those of Intel's ICH (ICH9 data sheet 316972, 13.5).
"""

from enum import IntEnum

from vestige.abi import PINS

RESET_ENTRY = 1 << 16  # masked, 3.2.4


class Register(IntEnum):
    """Offsets from the base address; 32 bits each."""

    SELECT = 0x00  # RW, IOREGSEL: bits 0 to 7 choose what WINDOW shows
    WINDOW = 0x10  # RW, IOWIN
    EOI = 0x40  # WO: bits 0 to 7 are the vector


class Index(IntEnum):
    """What IOREGSEL chooses."""

    ID = 0x00  # RW, bits 24 to 27
    VERSION = 0x01  # RO
    ARBITRATION = 0x02  # RO, bits 24 to 27: as ID where there is no APIC bus
    REDIRECTION = 0x10  # RW: two registers an entry, the low half first


ID = 0xF << 24  # of its register
VERSION = 0x20 | (PINS - 1) << 16  # bits 16 to 23: the highest entry's number


class Entry(IntEnum):
    """Fields of a redirection entry, 3.2.4."""

    VECTOR = 0xFF
    DELIVERY_MODE = 7 << 8
    LOGICAL = 1 << 11
    LOW_ACTIVE = 1 << 13
    REMOTE_IRR = 1 << 14  # RO: a local APIC has the level interrupt and gave no EOI
    LEVEL = 1 << 15
    MASKED = 1 << 16
    # All but delivery status (bit 12, RO) and REMOTE_IRR.
    LOW_WRITABLE = VECTOR | DELIVERY_MODE | LOGICAL | LOW_ACTIVE | LEVEL | MASKED
    DESTINATION = 0xFF << 24  # all of the high half that can be written


class Delivery(IntEnum):
    """Delivery modes; those not here (SMI, NMI, INIT, ExtINT) are edge-triggered always."""

    FIXED = 0 << 8
    LOWEST_PRIORITY = 1 << 8


# Message signalled interrupts: Intel SDM volume 3, 11.11.
MESSAGE_ADDRESS = 0xFEE0_0000
MESSAGE_DESTINATION = 12  # bit position
MESSAGE_REDIRECT = 1 << 3
MESSAGE_LOGICAL = 1 << 2
MESSAGE_ASSERT = 1 << 14
MESSAGE_LEVEL = 1 << 15
