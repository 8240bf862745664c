"""The network device. Virtio 1.2, 5.1. Definitions only."""

from vestige.lang.enumeration import IntEnum, IntFlag

VLAN_IDS = 4096
MAX_ADDRESSES = 64  # of the filter's table; with more, all of their kind are let through

HEADER_SIZE = 12  # bytes in front of every frame, 5.1.6: with num_buffers, always there since 1.0
ETHERNET_HEADER = 14
# The longest frame: an IP packet of 65,535 bytes, the Ethernet header, a VLAN tag.
MAX_FRAME = 65_535 + ETHERNET_HEADER + 4
MAX_PACKET = HEADER_SIZE + MAX_FRAME


class Feature(IntEnum):
    """Feature bits, 5.1.3; bit numbers."""

    CSUM = 0  # the device completes checksums
    GUEST_CSUM = 1  # the driver takes frames whose checksum is not complete
    CTRL_GUEST_OFFLOADS = 2  # and may change its mind about that, and the next two
    MTU = 3
    MAC = 5
    GUEST_TSO4 = 7  # the driver takes TCP segments yet to be cut
    GUEST_TSO6 = 8
    HOST_TSO4 = 11  # the device does
    HOST_TSO6 = 12
    MRG_RXBUF = 15
    STATUS = 16
    CTRL_VQ = 17  # there is a control queue
    CTRL_RX = 18
    CTRL_VLAN = 19
    CTRL_RX_EXTRA = 20
    MQ = 22  # several pairs of queues
    CTRL_MAC_ADDR = 23


# What CTRL_GUEST_OFFLOADS is about.
GUEST_OFFLOADS = 1 << Feature.GUEST_CSUM | 1 << Feature.GUEST_TSO4 | 1 << Feature.GUEST_TSO6


class Header(IntEnum):
    """Fields of struct virtio_net_hdr, 5.1.6, little-endian."""

    FLAGS = 0  # 8 bits
    GSO_TYPE = 1  # 8
    HEADER_LENGTH = 2  # 16
    GSO_SIZE = 4  # 16
    CHECKSUM_START = 6  # 16, from the frame's first byte
    CHECKSUM_OFFSET = 8  # 16, from there
    BUFFERS = 10  # 16; of a received frame alone


class Flag(IntFlag):
    """Header flags."""

    NEEDS_CSUM = 1
    DATA_VALID = 2


class Gso(IntEnum):
    """What a frame is to be cut into."""

    NONE = 0
    TCPV4 = 1
    TCPV6 = 4


class Config(IntEnum):
    """Fields of the device configuration structure, 5.1.4; all RO here."""

    MAC = 0  # 6 bytes
    STATUS = 6  # 16 bits
    MAX_PAIRS = 8  # 16
    MTU = 10  # 16
    SIZE = 12


LINK_UP = 1  # Config.STATUS


class Command(IntEnum):
    """Class, and command in it by 256s, of what the control queue carries. 5.1.6.5."""

    PROMISCUOUS = 0x000  # 8 bits: on or off; so are all of the class
    ALL_MULTICAST = 0x001
    ALL_UNICAST = 0x002
    NO_MULTICAST = 0x003
    NO_UNICAST = 0x004
    NO_BROADCAST = 0x005
    TABLE_SET = 0x100  # two tables, unicast and multicast: 32 bits of count, then addresses
    ADDRESS_SET = 0x101  # 6 bytes
    VLAN_ADD = 0x200  # 16 bits
    VLAN_DELETE = 0x201
    PAIRS_SET = 0x400  # 16 bits
    OFFLOADS_SET = 0x500  # 64 bits


COMMAND_SIZE = 2  # bytes in front of a command's own data
OK, REFUSED = 0, 1  # the answer, 8 bits
