"""The console device. Virtio 1.2, 5.3. Definitions only."""

from vestige.abi import PORT_NAME_SIZE
from vestige.lang.enumeration import IntEnum, IntFlag

CONTROL_SIZE = 8  # bytes of a control message: port (32 bits), event, value (16 each)
MESSAGE_SIZE = CONTROL_SIZE + PORT_NAME_SIZE  # of the longest, PORT_NAME


class Feature(IntEnum):
    """Feature bits, 5.3.3; bit numbers."""

    SIZE = 0
    MULTIPORT = 1


class Queue(IntEnum):
    """Queues, 5.3.2; of port p above 0 the pair is 2 * p + 2 and 2 * p + 3."""

    RECEIVE = 0  # port 0
    TRANSMIT = 1
    CONTROL_RECEIVE = 2  # with MULTIPORT alone
    CONTROL_TRANSMIT = 3


class Config(IntEnum):
    """Fields of the device configuration structure, 5.3.4; all RO here."""

    COLUMNS = 0  # 16 bits
    ROWS = 2  # 16
    MAX_PORTS = 4  # 32
    EMERGENCY_WRITE = 8  # 32, WO; not offered


class Event(IntEnum):
    """What a control message says, 5.3.6.2."""

    DEVICE_READY = 0  # by the driver
    DEVICE_ADD = 1
    DEVICE_REMOVE = 2
    PORT_READY = 3  # by the driver
    CONSOLE_PORT = 4
    RESIZE = 5  # columns, rows follow
    PORT_OPEN = 6  # by either
    PORT_NAME = 7  # the name follows, without a NUL


class Due(IntFlag):
    """Messages a port is to send; they go in the order of their bits."""

    ADD = 1 << 0
    NAME = 1 << 1
    CONSOLE = 1 << 2
    OPEN = 1 << 3
    SIZE = 1 << 4
