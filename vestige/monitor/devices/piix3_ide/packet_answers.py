"""How a command of a packet ends, and its answer in the channel's buffer, which is big-endian."""

from vestige.lang.enumeration import IntEnum
from vestige.lang.intrinsics import address_of, fill
from vestige.lang.types import u8, u16, u32
from vestige.monitor.devices.piix3_ide.channel import Channel
from vestige.monitor.devices.piix3_ide.packet_spec import Sense, SenseKey
from vestige.monitor.devices.piix3_ide.spec import MULTIPLE_BUFFER


class Outcome(IntEnum):
    """How far a command is once its packet was looked at."""

    GOOD = 0  # it is over
    FAILED = 1  # and there is sense data
    DATA = 2  # `filled` bytes of the buffer are its answer
    BLOCKS = 3  # `remaining` sectors from `lba` on are
    PARAMETERS = 4  # it waits for `filled` bytes


def fail(channel: Channel, key: u8, sense: u16) -> u8:
    """FAILED, and why."""
    optical = channel.optical()
    optical.key = key
    optical.sense = sense
    return Outcome.FAILED


def invalid_field(channel: Channel) -> u8:
    """The packet says what it can't."""
    return fail(channel, SenseKey.ILLEGAL_REQUEST, Sense.INVALID_FIELD_IN_PACKET)


def not_ready_or_changed(channel: Channel) -> u8:
    """There is another disc, of which the guest hears by this, or none."""
    optical = channel.optical()
    if optical.has_disc():
        optical.attention = 0
        return fail(channel, SenseKey.UNIT_ATTENTION, Sense.MEDIUM_CHANGED)
    return fail(channel, SenseKey.NOT_READY, optical.absence())


def clear(channel: Channel, size: u16) -> None:
    """Make the buffer's first bytes zeroes."""
    fill(address_of(channel.buffer), 0, min(size, MULTIPLE_BUFFER))


def put16(channel: Channel, place: u16, value: u16) -> None:
    """Two bytes of the buffer."""
    channel.buffer[place % MULTIPLE_BUFFER] = value >> 8
    channel.buffer[(place + 1) % MULTIPLE_BUFFER] = value & 0xFF


def put32(channel: Channel, place: u16, value: u32) -> None:
    """Four bytes of the buffer."""
    put16(channel, place, value >> 16)
    put16(channel, u16(place + 2), value & 0xFFFF)


def packet16(channel: Channel, place: u8) -> u16:
    """Two bytes of the packet."""
    return channel.packet[place % 11] << 8 | channel.packet[place % 11 + 1]


def packet32(channel: Channel, place: u8) -> u32:
    """Four bytes of the packet."""
    return packet16(channel, place) << 16 | packet16(channel, place + 2 & 15)


def answer(channel: Channel, size: u16, allowed: u16) -> u8:
    """The buffer's first bytes are the answer, as far as the host allows."""
    channel.filled = min(size, allowed)
    return Outcome.DATA if channel.filled else Outcome.GOOD
