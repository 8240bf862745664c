"""The PIIX3's IDE function. Intel 82371FB/82371SB data sheet (290550), sections 2.3 and 2.7.

Native mode, which the real PIIX3 lacks, is as in the PCI IDE Controller Specification 1.0.
"""

from vestige.abi import PORT_OLD_IDE, PORT_OLD_IDE_SECONDARY
from vestige.lang.enumeration import IntEnum, IntFlag

VENDOR = 0x8086
DEVICE = 0x7010
CLASS = 0x01  # mass storage
SUBCLASS = 0x01  # IDE


class Register(IntEnum):
    """Configuration registers of this function beyond PCI's own."""

    LATENCY_TIMER = 0x0D  # RW, bits 4 to 7; of no effect
    PRIMARY_TIMING = 0x40  # RW, 16 bits: IDETIM
    SECONDARY_TIMING = 0x42
    SECOND_DRIVE_TIMING = 0x44  # RW: SIDETIM


TIMING_ENABLE = 0x80  # bit 15 of IDETIM: the channel's ports are decoded
MASTER_ABORT = 1 << 13  # PCI status, write 1 to clear: nobody answered the bus master


class Interface(IntFlag):
    """Programming interface byte."""

    PRIMARY_NATIVE = 1 << 0
    PRIMARY_PROGRAMMABLE = 1 << 1  # the bit below may be written
    SECONDARY_NATIVE = 1 << 2
    SECONDARY_PROGRAMMABLE = 1 << 3
    BUS_MASTER = 1 << 7
    MODES = PRIMARY_NATIVE | SECONDARY_NATIVE  # the two that say native
    COMPATIBILITY = BUS_MASTER
    NATIVE = BUS_MASTER | MODES | PRIMARY_PROGRAMMABLE | SECONDARY_PROGRAMMABLE


class Bar(IntEnum):
    """BARs: 0 to 3 count only for a channel in native mode; channel 1's are two further."""

    PRIMARY_COMMAND = 0
    PRIMARY_CONTROL = 1
    SECONDARY_COMMAND = 2
    SECONDARY_CONTROL = 3
    BUS_MASTER = 4


CHANNELS = 2
DRIVES = 2  # of a channel
BARS = 5
BAR_STRIDE = 16  # between the first offsets of two BARs' blocks, to the model
COMMAND_BLOCK_SIZE = 8
CONTROL_BLOCK_SIZE = 4
BUS_MASTER_CHANNEL = 8  # ports of a channel
BUS_MASTER_SIZE = BUS_MASTER_CHANNEL * CHANNELS

COMPATIBILITY_COMMAND = (PORT_OLD_IDE, PORT_OLD_IDE_SECONDARY)  # command blocks
COMPATIBILITY_CONTROL = (0x3F4, 0x374)  # control blocks, of which only +2 is claimed
COMPATIBILITY_INTERRUPT = (14, 15)


class BusMasterRegister(IntEnum):
    """Offsets in a channel's 8 bytes of the bus master block, 2.7. The others read 0."""

    COMMAND = 0  # RW: BMICX
    STATUS = 2  # RW and write-1-to-clear: BMISX
    TABLE = 4  # RW, 32 bits: BMIDTPX, bits 0 and 1 are 0


TABLE_ADDRESS = 0xFFFF_FFFC  # of TABLE


class BusMasterCommand(IntFlag):
    """BMICX, 2.7.1."""

    START = 1 << 0
    TO_MEMORY = 1 << 3  # kept for the guest: the direction is the ATA command's
    OFFER = 1 << 4  # RO, reserved in a PIIX3: a start with this bit set may be posted
    WRITABLE = START | TO_MEMORY


class BusMasterStatus(IntFlag):
    """BMISX, 2.7.2: what INTERRUPT and ACTIVE mean together, its table tells."""

    ACTIVE = 1 << 0  # RO: started, and the table has more
    ERROR = 1 << 1  # write 1 to clear: memory did not answer
    INTERRUPT = 1 << 2  # write 1 to clear: INTRQ rose
    CLEARABLE = ERROR | INTERRUPT
    CAPABLE_0 = 1 << 5  # RW: a note of the guest's about drive 0, of no effect
    CAPABLE_1 = 1 << 6  # RW: about drive 1
    CAPABLE = CAPABLE_0 | CAPABLE_1


# A physical region descriptor: 32 bits of address, then these 32.
DESCRIPTOR_SIZE = 8
REGION_ADDRESS = 0xFFFF_FFFE
REGION_LENGTH = 0xFFFE  # bytes; 0 means 64 KiB
REGION_LIMIT = 0x1_0000
END_OF_TABLE = 1 << 31
