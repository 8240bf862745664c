"""What the guest's firmware is told by the host: the table at FIRMWARE_ITEMS.

The host writes it, and the items' bytes behind it, before the monitor's first instruction.
"""

from vestige.lang.enumeration import IntEnum
from vestige.lang.types import Struct, u16, u32

MAX_FIRMWARE_ITEMS = 64


class FirmwareKey(IntEnum):
    """Keys of items. QEMU, docs/specs/fw_cfg.rst, Firmware Configuration Items."""

    SIGNATURE = 0x0000  # "QEMU"
    ID = 0x0001  # the features, 32 bits, little-endian
    CPUS = 0x0005  # how many there are, 16 bits
    # A kernel's parts: where each goes, how large it is, 32 bits, and the part itself.
    KERNEL_ADDRESS = 0x0007
    KERNEL_SIZE = 0x0008
    INITRD_ADDRESS = 0x000A
    INITRD_SIZE = 0x000B
    MOST_CPUS = 0x000F  # how many there may be, 16 bits
    KERNEL_DATA = 0x0011
    INITRD_DATA = 0x0012
    COMMAND_LINE_ADDRESS = 0x0013
    COMMAND_LINE_SIZE = 0x0014
    COMMAND_LINE_DATA = 0x0015
    SETUP_ADDRESS = 0x0016
    SETUP_SIZE = 0x0017
    SETUP_DATA = 0x0018
    FILE_DIRECTORY = 0x0019
    FIRST_FILE = 0x0020  # from here on items have names, which are in the directory


class FirmwareItem(Struct):
    """One item. Its bytes are inside of FIRMWARE_ITEMS_SIZE."""

    key: u16
    size: u32  # bytes
    offset: u32  # of its first byte from the table's


class FirmwareTable(Struct):
    """All items, each with a key of its own."""

    count: u32
    items: FirmwareItem[MAX_FIRMWARE_ITEMS]
