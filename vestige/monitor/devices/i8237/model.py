"""The DMA controllers of a PC. Intel 8237A data sheet; 82371SB data sheet, 2.5.1.

No device of this machine asks for a transfer, so none is made: the registers are what there is.
"""

from vestige.lang.types import Struct, u8, u16, u64
from vestige.monitor.devices.i8237.spec import (
    ALL,
    CHANNELS,
    PAGES,
    PORT_PAGES,
    PORT_SECOND,
    REQUESTS_SHIFT,
    Bit,
    Register,
)


class DmaChannel(Struct):
    """One of four. What is written is what a transfer begins with, and where it stands."""

    address: u16
    count: u16  # less 1
    mode: u8


class DmaController(Struct):
    """One 8237A."""

    channels: DmaChannel[CHANNELS]
    second_byte: u8  # the first/last flip-flop: 1: the next byte of an address or count is the high
    command: u8
    masks: u8  # a bit a channel
    requests: u8  # those by software, a bit a channel

    def clear(self) -> None:
        """Reset, or master clear."""
        self.second_byte = 0
        self.command = 0
        self.masks = ALL
        self.requests = 0

    def read(self, register: u8) -> u8:
        """Of 0 to 15. Those that are not there to be read are 0."""
        if register < Register.STATUS:
            channel = self.channels[register >> 1]
            value = channel.count if register & 1 else channel.address
            high = self.takes_second()
            return value >> 8 if high else value & 0xFF
        match register:
            case Register.STATUS:
                return (self.requests & ALL) << REQUESTS_SHIFT
            case Register.ALL_MASKS:
                return self.masks
            case _:
                return 0

    def write(self, register: u8, value: u8) -> None:
        """The same."""
        if register < Register.STATUS:
            self.write_channel(self.channels[register >> 1], register & 1 != 0, value)
            return
        match register:
            case Register.COMMAND:
                self.command = value
            case Register.REQUEST:
                self.requests = changed(self.requests, value)
            case Register.MASK:
                self.masks = changed(self.masks, value)
            case Register.MODE:
                self.channels[value & Bit.CHANNEL].mode = value
            case Register.CLEAR_FLIP_FLOP:
                self.second_byte = 0
            case Register.MASTER_CLEAR:
                self.clear()
            case Register.CLEAR_MASK:
                self.masks = 0
            case _:
                self.masks = value & ALL

    def write_channel(self, channel: DmaChannel, is_count: bool, value: u8) -> None:
        """One byte of its address or its count, the low one first."""
        before = channel.count if is_count else channel.address
        high = self.takes_second()
        after = u16(value << 8 | before & 0xFF) if high else u16(before & 0xFF00 | value)
        if is_count:
            channel.count = after
        else:
            channel.address = after

    def takes_second(self) -> bool:
        """Whether this byte is the high one; the next is the other."""
        high = self.second_byte != 0
        self.second_byte = not high
        return high


class Dma(Struct):
    """Both, and the page registers: bits 16 to 23 of an address."""

    first: DmaController
    second: DmaController
    pages: u8[PAGES]  # of the channels eight; the others are only kept, the one at port 0x80 too

    def reset(self) -> None:
        """Power on."""
        self.first.clear()
        self.second.clear()

    def read(self, offset: u8, size: u8, now: u64) -> u8:
        """A register read; `offset` is the port, `size` 1."""
        if offset >= PORT_SECOND:
            return self.second.read((offset - PORT_SECOND) >> 1 & 15)
        if offset >= PORT_PAGES:
            return self.pages[offset & PAGES - 1]
        return self.first.read(offset & 15)

    def write(self, offset: u8, size: u8, value: u8, now: u64) -> None:
        """A register write; likewise."""
        if offset >= PORT_SECOND:
            self.second.write((offset - PORT_SECOND) >> 1 & 15, value)
        elif offset >= PORT_PAGES:
            self.pages[offset & PAGES - 1] = value
        else:
            self.first.write(offset & 15, value)


def changed(bits: u8, value: u8) -> u8:
    """A bit a channel, after a write of one channel's."""
    bit = 1 << (value & Bit.CHANNEL)
    return bits | bit if value & Bit.SET else bits & (ALL ^ bit)
