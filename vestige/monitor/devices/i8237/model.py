"""The DMA controllers of a PC. Intel 8237A data sheet; 82371SB data sheet, 2.5.1.

A device of 8 bits asks for a transfer by one of channels 0 to 3, through the core. Nobody asks the
second controller, and its channel 4, by which an AT's first one asks, is taken as open.
"""

from vestige.abi import Config
from vestige.lang.intrinsics import copy, fill
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.i8237.spec import (
    ALL,
    CHANNELS,
    PAGE_OF,
    PAGE_SHIFT,
    PAGES,
    PORT_PAGES,
    PORT_SECOND,
    REQUESTS_SHIFT,
    Bit,
    Command,
    Mode,
    Register,
    Transfer,
)

WHOLE = 0x1_0000  # bytes of a page, in which an address stays
FLOATING = 0xFF  # what a device reads where no memory answers


class DmaChannel(Struct):
    """One of four. What is written is what a transfer begins with, and where it stands."""

    address: u16
    count: u16  # less 1
    base_address: u16  # as written, for autoinitialization
    base_count: u16
    mode: u8

    def begin_again(self) -> None:
        """Autoinitialization."""
        self.address = self.base_address
        self.count = self.base_count

    def length(self, most: u32) -> u32:
        """How many bytes, 1 to `most`, follow each other in memory before the count ends."""
        if self.mode & Mode.DOWN:
            return 1
        return min(most, self.count + 1, WHOLE - self.address)

    def pass_by(self, length: u32) -> bool:
        """So many bytes of `length` have moved; whether the count has ended."""
        ended = length > self.count
        down = self.mode & Mode.DOWN != 0
        self.address = u16(self.address - length if down else self.address + length)
        self.count = u16(self.count - length)
        return ended


class DmaController(Struct):
    """One 8237A."""

    channels: DmaChannel[CHANNELS]
    second_byte: u8  # the first/last flip-flop: 1: the next byte of an address or count is the high
    command: u8
    masks: u8  # a bit a channel
    requests: u8  # those by software, a bit a channel
    asking: u8  # those by devices, likewise
    ended: u8  # channels whose count has ended since the status was read

    def clear(self) -> None:
        """Reset, or master clear."""
        self.second_byte = 0
        self.command = 0
        self.masks = ALL
        self.requests = 0
        self.ended = 0

    def read(self, register: u8) -> u8:
        """Of 0 to 15. Those that are not there to be read are 0."""
        if register < Register.STATUS:
            channel = self.channels[register >> 1]
            value = channel.count if register & 1 else channel.address
            high = self.takes_second()
            return value >> 8 if high else value & 0xFF
        match register:
            case Register.STATUS:
                ended = self.ended
                self.ended = 0
                return u8((self.requests | self.asking) & ALL) << REQUESTS_SHIFT | ended & ALL
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
        after = high_or_low(before, value, high)
        if is_count:
            channel.count = after
            channel.base_count = u16(high_or_low(channel.base_count, value, high))
        else:
            channel.address = after
            channel.base_address = u16(high_or_low(channel.base_address, value, high))

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
    ram: Memory
    terminal: u8  # TC, of the latest transfer

    def configure(self, config: Config) -> None:
        """After `reset`."""
        self.ram.set(config.ram)

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

    # ---- devices ----------------------------------------------------------------------------

    def ask(self, number: u8, asks: bool) -> None:
        """The device of channel 0 to 3 asks for a transfer, or no longer."""
        bit = 1 << (number & 3)
        self.first.asking = self.first.asking & (ALL ^ bit) | (bit if asks else 0)

    def is_open(self, number: u8) -> bool:
        """Whether the channel answers its device."""
        controller = self.first
        mode = controller.channels[number & 3].mode
        masked = controller.masks >> (number & 3) & 1 != 0 or controller.command & Command.DISABLE
        return not masked and mode & Mode.SERVICE != Mode.CASCADE

    def transfer(self, number: u8, buffer: u64, length: u32, to_memory: bool) -> u32:
        """Move up to `length` bytes between `buffer` and memory; how many, before the count ended.

        The channel must be open. Each byte is counted, whatever becomes of it: what isn't for this
        direction, or for memory, is lost.
        """
        channel = self.first.channels[number & 3]
        moved = u32(0)
        while moved < length:
            part = channel.length(u32(length - moved))
            address = self.pages[PAGE_OF[number & 3]] << PAGE_SHIFT | channel.address
            self.move(channel.mode, address, u64(buffer + moved), part, to_memory)
            moved = u32(moved + part)
            if channel.pass_by(part):
                self.end(number)
                break
        return moved

    def move(self, mode: u8, address: u32, buffer: u64, length: u32, to_memory: bool) -> None:
        """Bytes that follow each other, of one page."""
        kind = int(mode & Mode.TYPE)
        there = self.ram.contains(address, length)
        if to_memory and kind == Transfer.WRITE and there:
            copy(self.ram.pointer(address, length), buffer, length)
        elif not to_memory and kind == Transfer.READ and there:
            copy(buffer, self.ram.pointer(address, length), length)
        elif not to_memory:
            fill(buffer, FLOATING, length)

    def end(self, number: u8) -> None:
        """TC: the channel begins again, or is masked."""
        bit = 1 << (number & 3)
        channel = self.first.channels[number & 3]
        self.terminal = 1
        self.first.ended |= bit
        self.first.requests &= ALL ^ bit
        if channel.mode & Mode.INITIALIZE:
            channel.begin_again()
        else:
            self.first.masks |= bit

    def take_end(self) -> bool:
        """Whether the latest transfer has ended its channel's count: TC."""
        ended = self.terminal != 0
        self.terminal = 0
        return ended


def high_or_low(before: u16, value: u8, high: bool) -> u16:
    """16 bits of which one byte is written."""
    return u16(value << 8 | before & 0xFF) if high else u16(before & 0xFF00 | value)


def changed(bits: u8, value: u8) -> u8:
    """A bit a channel, after a write of one channel's."""
    bit = 1 << (value & Bit.CHANNEL)
    return bits | bit if value & Bit.SET else bits & (ALL ^ bit)
