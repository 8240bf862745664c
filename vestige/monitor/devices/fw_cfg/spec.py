"""fw_cfg's registers and its DMA. QEMU, docs/specs/fw_cfg.rst."""

from vestige.lang.enumeration import IntEnum, IntFlag


class Register(IntEnum):
    """Offsets from abi.PORT_FW_CFG; Guest-side Hardware Interface."""

    SELECTOR = 0  # WO, 16 bits: the key of an item, whose first byte is the next
    DATA = 1  # RO, 8 bits: the next byte of the item
    DMA_HIGH = 4  # 32 bits, big-endian: the upper half of a DmaAccess's address; reads "QEMU"
    DMA_LOW = 8  # the same of the lower half, whose write starts; reads " CFG"


WRITE_MODE = 1 << 14  # of a key: an item to be written, which none is; Selector Register
DMA_SIGNATURE = int.from_bytes(b"QEMU CFG", "little")  # what the two halves read


class DmaAccess(IntEnum):
    """Offsets in the structure that a DMA operation is told by; big-endian, Guest-side DMA."""

    CONTROL = 0  # 32 bits
    LENGTH = 4  # 32 bits, bytes
    ADDRESS = 8  # 64 bits, guest-physical


DMA_ACCESS_SIZE = 16
KEY_SHIFT = 16  # of the key for SELECT in the control word


class Control(IntFlag):
    """The control word; 0 once the operation has succeeded. Of several the first is done."""

    ERROR = 1 << 0
    READ = 1 << 1
    WRITE = 1 << 4
    SKIP = 1 << 2
    SELECT = 1 << 3  # before any other
