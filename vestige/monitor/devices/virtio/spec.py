"""Virtio over PCI. Virtual I/O Device (VIRTIO) Version 1.2, chapters 2, 4.1 and 5; PCI 3.0, 6.8.

Definitions only. Numbers of sections are those of the committee specification 01.
"""

from enum import IntEnum, IntFlag

from vestige.abi import VIRTIO_NOTIFY, VIRTIO_QUEUES

VENDOR = 0x1AF4
DEVICE = 0x1040  # plus the device type, 4.1.2
REVISION = 1  # 4.1.2.1: not a transitional device

MAX_QUEUE_SIZE = 256  # entries of a queue: what every queue offers
MAX_CHAIN = 256  # descriptors of one chain; a longer one, and so every loop, breaks the device
NO_VECTOR = 0xFFFF  # 4.1.4.3: no MSI-X vector
PAGE = 0x1000


class Status(IntFlag):
    """Device status, 2.1. Set by the driver, but for NEEDS_RESET; 0 resets."""

    ACKNOWLEDGE = 1
    DRIVER = 2
    DRIVER_OK = 4
    FEATURES_OK = 8
    NEEDS_RESET = 64
    FAILED = 128
    WRITABLE = ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | FAILED  # what a driver may set


class Feature(IntEnum):
    """Feature bits that don't depend on the device type, chapter 6; bit numbers."""

    INDIRECT_DESC = 28
    EVENT_IDX = 29
    VERSION_1 = 32
    ACCESS_PLATFORM = 33
    RING_PACKED = 34
    ORDER_PLATFORM = 36
    RING_RESET = 40


# What every device offers. ACCESS_PLATFORM and ORDER_PLATFORM change nothing where memory is
# guest-physical memory and the device another CPU, and may be accepted.
COMMON_FEATURES = (
    1 << Feature.INDIRECT_DESC
    | 1 << Feature.EVENT_IDX
    | 1 << Feature.VERSION_1
    | 1 << Feature.ACCESS_PLATFORM
    | 1 << Feature.RING_PACKED
    | 1 << Feature.ORDER_PLATFORM
    | 1 << Feature.RING_RESET
)


class Descriptor(IntFlag):
    """Flags of a descriptor, 2.7.5 and 2.8."""

    NEXT = 1 << 0
    WRITE = 1 << 1  # the device writes it
    INDIRECT = 1 << 2  # it holds a table of descriptors
    AVAIL = 1 << 7  # packed only
    USED = 1 << 15  # packed only


DESCRIPTOR_SIZE = 16
DESCRIPTOR_ALIGNMENT = 16  # 2.7 and 2.8: of the areas
DRIVER_ALIGNMENT = (2, 4)  # split, packed
DEVICE_ALIGNMENT = 4
EVENT_AREA_SIZE = 4  # packed: each event suppression structure, 2.8.10
NO_INTERRUPT = 1  # flags of a split ring's driver area without EVENT_IDX, 2.7.6


class Event(IntEnum):
    """Flags of an event suppression structure, 2.8.10."""

    ENABLE = 0
    DISABLE = 1
    AT = 2  # RING_EVENT_FLAGS_DESC: at the descriptor that the structure names


class Structure(IntEnum):
    """Types of virtio's PCI capabilities, 4.1.4."""

    COMMON = 1
    NOTIFY = 2
    INTERRUPT_STATUS = 3
    DEVICE = 4
    PCI_ACCESS = 5


class Region(IntEnum):
    """Where the structures are in the one BAR, a page each."""

    COMMON = 0x0000
    INTERRUPT_STATUS = 0x1000
    DEVICE = 0x2000
    NOTIFY = VIRTIO_NOTIFY
    VECTORS = 0x4000  # the MSI-X table
    PENDING = 0x5000  # and its pending bits


class Common(IntEnum):
    """Registers of the common configuration structure, 4.1.4.3."""

    DEVICE_FEATURE_SELECT = 0x00  # RW, 32 bits
    DEVICE_FEATURE = 0x04  # RO, 32
    DRIVER_FEATURE_SELECT = 0x08  # RW, 32
    DRIVER_FEATURE = 0x0C  # RW, 32
    CONFIG_VECTOR = 0x10  # RW, 16
    QUEUE_COUNT = 0x12  # RO, 16
    STATUS = 0x14  # RW, 8
    GENERATION = 0x15  # RO, 8
    QUEUE_SELECT = 0x16  # RW, 16
    QUEUE_SIZE = 0x18  # RW, 16
    QUEUE_VECTOR = 0x1A  # RW, 16
    QUEUE_ENABLE = 0x1C  # RW, 16
    QUEUE_NOTIFY_OFFSET = 0x1E  # RO, 16
    QUEUE_DESCRIPTORS = 0x20  # RW, 64 by halves of 32
    QUEUE_DESCRIPTORS_HIGH = 0x24
    QUEUE_DRIVER = 0x28  # RW, 64
    QUEUE_DRIVER_HIGH = 0x2C
    QUEUE_DEVICE = 0x30  # RW, 64
    QUEUE_DEVICE_HIGH = 0x34
    QUEUE_NOTIFY_DATA = 0x38  # RO, 16
    QUEUE_RESET = 0x3A  # RW, 16
    SIZE = 0x3C


class Interrupt(IntFlag):
    """The ISR status register, 4.1.4.5: reading it clears it."""

    QUEUE = 1
    CONFIGURATION = 2


class Capability(IntEnum):
    """Where the capabilities are in configuration space."""

    MSIX = 0x40
    COMMON = 0x50
    INTERRUPT_STATUS = 0x60
    DEVICE = 0x70
    NOTIFY = 0x80
    PCI_ACCESS = 0x98


CAPABILITY_SIZE = 16  # bytes of virtio's, 4.1.4
CAPABILITY_SIZE_MORE = 20  # with a multiplier or data behind


class Access(IntEnum):
    """Fields of the PCI access capability, 4.1.4.9, as offsets in configuration space."""

    BAR = Capability.PCI_ACCESS + 4  # RW, 8 bits
    OFFSET = Capability.PCI_ACCESS + 8  # RW, 32
    LENGTH = Capability.PCI_ACCESS + 12  # RW, 32
    DATA = Capability.PCI_ACCESS + 16  # RW: an access of the BAR
    END = Capability.PCI_ACCESS + 20


class MsixControl(IntFlag):
    """Message control of MSI-X, PCI 3.0, 6.8.2.3."""

    MASKED = 1 << 14  # all vectors
    ENABLED = 1 << 15


VECTORS = VIRTIO_QUEUES + 1  # of a function at most: a queue's each, and the configuration's
VECTOR_SIZE = 16  # bytes of an entry of the MSI-X table, 6.8.2.6 and following
VECTOR_MASKED = 1  # bit 0 of its vector control
