"""Which frames a driver wants to have: by address, kind and VLAN. Virtio 1.2, 5.1.6.5.1 to 3.
And which it may send where the other side connects from its host.

After a reset every frame is let through, until the driver ends the promiscuous mode.
"""

from vestige.abi import MAC_SIZE
from vestige.lang.intrinsics import load8
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.virtio.chain import Chain
from vestige.monitor.devices.virtio_net.spec import (
    COMMAND_SIZE,
    MAX_ADDRESSES,
    VLAN_IDS,
    Command,
)

VLAN_WORDS = VLAN_IDS // 64
MODES = 6  # commands of the class
GROUP = 1 << 40  # the bit of an address that says it is nobody's alone
BROADCAST = (1 << 48) - 1
COUNT_SIZE = 4  # of the number in front of a table
TAG = 0x8100  # the EtherType of a frame with a VLAN's tag
KIND = 12  # where in a frame that is; the tag follows
VERSION_4, VERSION_6 = 0x0800, 0x86DD  # EtherTypes of IP
DESTINATION_4, DESTINATION_6 = 14 + 16, 14 + 24  # where in a frame without a tag


class Filter(Struct):
    """Addresses are numbers, their first byte the highest."""

    modes: u8[MODES]  # by Command
    addresses: u64[MAX_ADDRESSES]
    count: u32
    overflow: u8  # 1: there are more unicast addresses than that, 2: multicast ones
    vlans: u64[VLAN_WORDS]  # a bit for each of VLAN_IDS

    def reset(self) -> None:
        """Everything is wanted."""
        for i in range(MODES):
            self.modes[i] = i == Command.PROMISCUOUS
        self.count = 0
        self.overflow = 0
        for i in range(VLAN_WORDS):
            self.vlans[i] = 0

    # ---- commands -------------------------------------------------------------------------

    def set_mode(self, mode: u32, on: u8) -> bool:
        """One of the first class; whether there is such a one."""
        if mode >= MODES:
            return False
        self.modes[mode] = on != 0
        return True

    def set_table(self, chain: Chain, ram: Memory) -> bool:
        """Both tables, which must be there in full and nothing behind them."""
        if chain.readable < COMMAND_SIZE + COUNT_SIZE:
            return False
        unicast = chain.read32(COMMAND_SIZE, ram)
        following = u64(COMMAND_SIZE + COUNT_SIZE + MAC_SIZE * unicast)
        if chain.readable < u64(following + COUNT_SIZE):
            return False
        multicast = chain.read32(following, ram)
        if chain.readable != u64(following + COUNT_SIZE + MAC_SIZE * multicast):
            return False
        self.count = 0
        self.overflow = 0
        self.add(chain, COMMAND_SIZE + COUNT_SIZE, unicast, 1, ram)
        self.add(chain, u64(following + COUNT_SIZE), multicast, 2, ram)
        return True

    def add(self, chain: Chain, position: u64, count: u32, kind: u8, ram: Memory) -> None:
        """The addresses of one table."""
        if count > MAX_ADDRESSES - min(self.count, MAX_ADDRESSES):
            self.overflow |= kind
            return
        for i in range(count):
            address = u64(0)
            for j in range(MAC_SIZE):
                byte = chain.read8(u64(position + MAC_SIZE * i + j), ram)
                address = u64(address << 8 | byte)
            self.addresses[self.count % MAX_ADDRESSES] = address
            self.count += 1

    def set_vlan(self, number: u16, wanted: bool) -> bool:
        """Whether frames of this VLAN are wanted; False: there is no such number."""
        if number >= VLAN_IDS:
            return False
        bit = u64(1 << number % 64)
        if wanted:
            self.vlans[number // 64] |= bit
        else:
            self.vlans[number // 64] &= ~bit
        return True

    # ---- frames ---------------------------------------------------------------------------

    def wants(self, frame: u64, own: u64, by_vlan: bool) -> bool:
        """Whether to deliver the frame at `frame`; `own` is the interface's address."""
        if self.modes[Command.PROMISCUOUS]:
            return True
        if by_vlan and big16(u64(frame + KIND)) == TAG:
            number = big16(u64(frame + KIND + 2)) % VLAN_IDS
            if not self.vlans[number // 64] >> number % 64 & 1:
                return False
        address = big48(frame)
        if address == BROADCAST:
            return not self.modes[Command.NO_BROADCAST]
        if address & GROUP:
            if self.modes[Command.NO_MULTICAST]:
                return False
            everyone = self.modes[Command.ALL_MULTICAST] != 0 or self.overflow & 2 != 0
        else:
            if self.modes[Command.NO_UNICAST]:
                return False
            everyone = self.modes[Command.ALL_UNICAST] != 0 or self.overflow & 1 != 0
        return everyone or address == own or self.lists(address)

    def lists(self, address: u64) -> bool:
        """Whether it is in the table."""
        found = False
        for i in range(MAX_ADDRESSES):
            found = found or (i < self.count and self.addresses[i] == address)
        return found


def leaves_its_host(frame: u64, length: u32) -> bool:
    """Whether the packet in the frame may be on a network: not one to the loopback of its sender.

    RFC 1122, 3.2.1.3, and RFC 4291, 2.5: such addresses, that of nobody (which a host takes for
    itself) and one of version 4 in version 6's form are never on a wire. passt connects from its
    host to where a frame says, and its host's loopback is not the guest's to reach.
    """
    kind = big16(u64(frame + KIND))
    if kind == VERSION_4 and length >= DESTINATION_4 + 4:
        first = load8(u64(frame + DESTINATION_4))
        return first not in (0, 127)
    if kind == VERSION_6 and length >= DESTINATION_6 + 16:
        place = u64(frame + DESTINATION_6)
        upper = big48(place) | u64(big48(u64(place + 6)) >> 16)
        return upper != 0
    return True


def big16(address: u64) -> u16:
    """16 bits of a frame, big-endian as all of it."""
    return load8(address) << 8 | load8(u64(address + 1))


def big48(address: u64) -> u64:
    """48 bits."""
    high = u32(big16(address))
    middle = u32(big16(u64(address + 2)))
    return high << 32 | middle << 16 | big16(u64(address + 4))
