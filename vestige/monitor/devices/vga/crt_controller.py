"""The CRT controller: what is where on the screen, and where the beam is.

IBM Personal System/2 Hardware Interface Technical Reference (1988), "Video Subsystem".
"""

from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.vga.spec import (
    CRTC_REGISTERS,
    LAST_PROTECTED,
    PROTECT,
    RETRACE_LINES,
    UNPROTECTED,
    Crtc,
    Overflow,
    Status1,
)

# What the registers have less than they mean: characters and lines.
HORIZONTAL_TOTAL_LESS, VERTICAL_TOTAL_LESS = 5, 2


class CrtController(Struct):
    """Its registers. A line is one of the screen's."""

    index: u8
    registers: u8[CRTC_REGISTERS]

    def read(self) -> u8:
        """The register at the index; 0 where there is none."""
        return self.registers[self.index] if self.index < CRTC_REGISTERS else 0

    def write(self, value: u8) -> None:
        """The same, as far as those that say when the beam goes back may be written."""
        index = self.index
        if index >= CRTC_REGISTERS:
            return
        if index <= LAST_PROTECTED and self.registers[Crtc.VERTICAL_RETRACE_END] & PROTECT:
            if index != Crtc.OVERFLOW:
                return
            value = (self.registers[index] & ~UNPROTECTED) | (value & UNPROTECTED)
        self.registers[index] = value

    def pair(self, high: u8) -> u16:
        """Two registers that are one number of 16 bits, the high one first."""
        return self.registers[high] << 8 | self.registers[high + 1]

    # ---- down the screen ------------------------------------------------------------------

    def display_end(self) -> u16:
        """The last line that is displayed."""
        return self.with_overflow(
            Crtc.VERTICAL_DISPLAY_END,
            Overflow.VERTICAL_DISPLAY_END_8,
            Overflow.VERTICAL_DISPLAY_END_9,
        )

    def vertical_total(self) -> u16:
        """How many lines a frame has."""
        total = self.with_overflow(
            Crtc.VERTICAL_TOTAL, Overflow.VERTICAL_TOTAL_8, Overflow.VERTICAL_TOTAL_9
        )
        return u16(total + VERTICAL_TOTAL_LESS)

    def retraces_at(self, line: u16) -> bool:
        """Whether a line is one of the vertical retrace, of which there are 1 to 16."""
        start = self.with_overflow(
            Crtc.VERTICAL_RETRACE_START,
            Overflow.VERTICAL_RETRACE_START_8,
            Overflow.VERTICAL_RETRACE_START_9,
        )
        if line < start:
            return False
        length = u32(self.registers[Crtc.VERTICAL_RETRACE_END] - start) & RETRACE_LINES
        return line - start < (length if length else RETRACE_LINES + 1)

    def with_overflow(self, register: u8, bit_8: u8, bit_9: u8) -> u16:
        """A register with its two bits in OVERFLOW."""
        overflow = self.registers[Crtc.OVERFLOW]
        high = (overflow >> bit_8 & 1) | (overflow >> bit_9 & 1) << 1
        return self.registers[register] | high << 8

    # ---- the beam -------------------------------------------------------------------------

    def status(self, characters: u64) -> u8:
        """Input status 1, when the beam has gone so far; at 0 it begins with a frame."""
        across = self.registers[Crtc.HORIZONTAL_TOTAL] + HORIZONTAL_TOTAL_LESS
        line = u16(characters // across % self.vertical_total())
        status: u8 = 0
        shown = self.registers[Crtc.HORIZONTAL_DISPLAY_END]
        if characters % across > shown or line > self.display_end():
            status |= Status1.NOT_DISPLAYING
        if self.retraces_at(line):
            status |= Status1.VERTICAL_RETRACE
        return status
