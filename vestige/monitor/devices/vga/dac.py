"""The DAC: what colour each of 256 numbers is. IBM's "Video Subsystem", Video DAC."""

from vestige.lang.types import Struct, u8, u32
from vestige.monitor.devices.vga.spec import (
    DAC_BITS,
    DAC_PARTS,
    DAC_SIZE,
    READING,
    WRITING,
)
from vestige.monitor.devices.vga.text_mode import (
    BLUE,
    COLOURS,
    GREEN,
    LESS,
    LESS_BLUE,
    LESS_GREEN,
    LESS_RED,
    MORE,
    PEL_MASK,
    RED,
)


class Dac(Struct):
    """Entries are read and written part by part; after the third it is the next entry's turn."""

    entries: u8[DAC_SIZE]
    parts: u8[DAC_PARTS]  # those of the entry being written
    mask: u8  # PEL mask: these bits of a number count
    reads: u8  # the entry being read
    writes: u8  # the entry being written
    part: u8  # whose turn it is
    state: u8  # READING or WRITING
    bits: u8  # of each part: DAC_BITS or WIDE_DAC_BITS

    def reset(self) -> None:
        """Power on."""
        self.bits = DAC_BITS

    def set_text_mode(self) -> None:
        """As a BIOS sets it for text."""
        self.mask = PEL_MASK
        for colour in range(COLOURS):
            self.entries[colour * DAC_PARTS] = share(colour, RED, LESS_RED)
            self.entries[colour * DAC_PARTS + 1] = share(colour, GREEN, LESS_GREEN)
            self.entries[colour * DAC_PARTS + 2] = share(colour, BLUE, LESS_BLUE)

    def begin_reads(self, entry: u8) -> None:
        """From this entry on."""
        self.reads = entry
        self.part = 0
        self.state = READING

    def begin_writes(self, entry: u8) -> None:
        """From this entry on."""
        self.writes = entry
        self.part = 0
        self.state = WRITING

    def read(self) -> u8:
        """The next part."""
        part = self.part % DAC_PARTS
        value = self.entries[self.reads * DAC_PARTS + part]
        self.part = (part + 1) % DAC_PARTS
        if self.part == 0:
            self.reads = u8(self.reads + 1)
        return value

    def write(self, value: u8) -> bool:
        """The next part; whether an entry is complete now, which takes effect as one."""
        part = self.part % DAC_PARTS
        self.parts[part] = value & self.bits
        self.part = (part + 1) % DAC_PARTS
        if self.part != 0:
            return False
        for i in range(DAC_PARTS):
            self.entries[self.writes * DAC_PARTS + i] = self.parts[i]
        self.writes = u8(self.writes + 1)
        return True

    def colour(self, number: u8) -> u32:
        """Red, green and blue, 8 bits each, of what the attribute controller sends."""
        entry = (number & self.mask) * DAC_PARTS
        red, green, blue = self.entries[entry], self.entries[entry + 1], self.entries[entry + 2]
        if self.bits == DAC_BITS:
            return eight_bits(red) << 16 | eight_bits(green) << 8 | eight_bits(blue)
        return red << 16 | green << 8 | blue


def share(colour: u8, more: u8, less: u8) -> u8:
    """How much of a primary colour is in one of an EGA's colours."""
    return (MORE if colour & more else 0) + (LESS if colour & less else 0)


def eight_bits(part: u8) -> u8:
    """Six bits as eight: full brightness stays so."""
    return u8(part << 2 | (part & DAC_BITS) >> 4)
