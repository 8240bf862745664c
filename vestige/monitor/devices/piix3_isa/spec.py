"""The PIIX3's ISA bridge function. Intel 82371FB/82371SB data sheet (290550), section 2.2."""

from vestige.lang.enumeration import IntEnum, IntFlag

VENDOR = 0x8086
DEVICE = 0x7000
CLASS = 0x06  # bridge
SUBCLASS = 0x01  # to ISA
STATUS_CLEARABLE = 0x38  # bits 11 to 13 of the status: aborts that it signalled or saw
MULTIPLE_FUNCTIONS = 0x80
COMMAND = 0x0F  # memory, ports and special cycles are always on, and it masters the bus


class Register(IntEnum):
    """Configuration registers beyond PCI's own; all RW, of no effect here but the routes."""

    IO_RECOVERY = 0x4C  # IORT
    CHIP_SELECT = 0x4E  # XBCS, 16 bits
    PIRQ_ROUTE = 0x60  # PIRQRCA to PIRQRCD: which IRQ
    TOP_OF_MEMORY = 0x69  # TOM
    MISCELLANEOUS = 0x6A  # MSTAT, 16 bits


PORT_RESET_CONTROL = 0xCF9  # of a byte; 32 bits at 0xCF8 are PCI's


class ResetControl(IntFlag):
    """RC, 2.5.4.1: RW, 8 bits; the other bits read 0."""

    HARD = 1 << 1  # SRST: what RESET does. 1: the machine is reset; 0: its processors are, by INIT
    RESET = 1 << 2  # RCPU: going from 0 to 1 it does that


PIRQS = 4
RESET_RECOVERY = 0x4D
RESET_CHIP_SELECT = 0x0003
NOT_ROUTED = 1 << 7
ROUTE = 0xF  # the IRQ
ROUTE_WRITABLE = NOT_ROUTED | ROUTE
ROUTABLE = 0xDEF8  # a bit for each IRQ that it may be: not 0 to 2, 8, 13
FIRMWARE_ROUTES = (10, 10, 11, 11)  # as SeaBIOS sets them
FIRST_SLOT = 1  # on a 440FX's board this device's INTA is PIRQA, and the next one's PIRQB
RESET_TOP = 0x02
