"""The 8259A's command words. Intel 8259A data sheet (231468-003), "Programming the 8259A".

The trigger registers (ELCR), and what a PC has no use for, are those of Intel's PIIX3 (82371SB data
sheet, 290550, "Interrupt Controller Registers").
"""

from vestige.abi import PORT_PIC, PORT_SLAVE_PIC
from vestige.lang.enumeration import IntEnum, IntFlag

MASTER_PORT = PORT_PIC  # IRQ 0 to 7
SLAVE_PORT = PORT_SLAVE_PIC  # IRQ 8 to 15
ELCR_PORT = 0x4D0
CASCADE = 2  # the master's input to which the slave's INT leads, IRQ 2
SPURIOUS = 7  # the input that is answered where none asks: "a default IR7 will occur"
NO_SLAVE = 7  # the slave's address until ICW3


class Register(IntEnum):
    """Offsets to the model. The bit of value 1 is the pin A0."""

    MASTER_COMMAND = 0  # WO ICW1, OCW2, OCW3; RO IRR or ISR
    MASTER_DATA = 1  # RW OCW1, the IMR; WO ICW2 to ICW4
    SLAVE_COMMAND = 2
    SLAVE_DATA = 3
    MASTER_ELCR = 4  # RW
    SLAVE_ELCR = 5  # RW


DATA = 1 << 0  # of an offset: A0
SLAVE = 1 << 1  # of an offset: which chip
# Inputs that can be level-triggered: not IRQ 0 to 2, 8, 13.
MASTER_LEVEL = 0xF8
SLAVE_LEVEL = 0xDE
FIRMWARE_LEVEL = 0x0C  # of the slave's, as SeaBIOS leaves it: IRQ 10 and 11, PCI's


class Word(IntEnum):
    """What the next write with A0 set is."""

    OCW1 = 0
    ICW2 = 2
    ICW3 = 3
    ICW4 = 4


class Icw1(IntFlag):
    """Initialization command word 1. Of the other bits LTIM (8) is disabled in a PIIX3."""

    IC4 = 1 << 0  # ICW4 follows
    SNGL = 1 << 1  # there is one chip: no ICW3 follows
    ICW1 = 1 << 4  # this word is ICW1


VECTOR = 0xF8  # of ICW2; the number of the input is below
ADDRESS = 7  # of a slave's ICW3; a master's has a bit for each input with a slave


class Icw4(IntFlag):
    """Initialization command word 4. A PC's is always in 8086 mode, and never buffered."""

    AEOI = 1 << 1  # automatic end of interrupt
    SFNM = 1 << 4  # special fully nested mode


LEVEL = 7  # of OCW2: an input
COMMAND_SHIFT = 5


class Ocw2(IntEnum):
    """Operation command word 2: the bits R, SL and EOI."""

    ROTATE_IN_AEOI_CLEAR = 0
    NON_SPECIFIC_EOI = 1
    NO_OPERATION = 2
    SPECIFIC_EOI = 3
    ROTATE_IN_AEOI_SET = 4
    ROTATE_ON_NON_SPECIFIC_EOI = 5
    SET_PRIORITY = 6
    ROTATE_ON_SPECIFIC_EOI = 7


class Ocw3(IntFlag):
    """Operation command word 3."""

    RIS = 1 << 0  # with RR: the ISR is read, without: the IRR
    RR = 1 << 1
    P = 1 << 2  # poll: the next read is an acknowledge cycle
    OCW3 = 1 << 3  # this word is OCW3, where ICW1's bit isn't set
    SMM = 1 << 5  # with ESMM: special mask mode, on or off
    ESMM = 1 << 6


POLLED = 1 << 7  # of what a poll reads: there was a request, whose input is in bits 0 to 2
