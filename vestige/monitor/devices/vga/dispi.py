"""The DISPI registers of the Bochs VBE extension: graphics in the frame buffer.

Bochs, iodev/display/vga.cc and the header vbe.h; QEMU, docs/specs/standard-vga.rst. What a guest
writes is put right while a mode is on, as QEMU does it, so that a screen never ends behind memory.
"""

from vestige.abi import Screen
from vestige.lang.intrinsics import fill
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.vga.ports_spec import REGION, VIDEO_MEMORY
from vestige.monitor.devices.vga.spec import (
    BANK_MASK,
    DISPI_REGISTERS,
    FIRST_ID,
    LAST_ID,
    MAX_BITS,
    MAX_HEIGHT,
    MAX_WIDTH,
    UNIT,
    Dispi,
    DispiEnable,
)


class DispiRegisters(Struct):
    """`read` and `write` are the guest's. Without memory no resolution is possible."""

    index: u16
    registers: u16[DISPI_REGISTERS]
    memory: u64  # where the monitor has the frame buffer; 0: there is none
    bank: u16  # of the window, in its own size

    def reset(self) -> None:
        """Power on."""
        self.registers[Dispi.ID] = LAST_ID

    def is_on(self) -> bool:
        """Whether a mode of its is set."""
        return self.registers[Dispi.ENABLE] & DispiEnable.ENABLED != 0

    def has_wide_dac(self) -> bool:
        """Whether the DAC has 8 bits for each of red, green and blue."""
        return self.registers[Dispi.ENABLE] & DispiEnable.WIDE_DAC != 0

    # ---- the guest ------------------------------------------------------------------------

    def read(self) -> u16:
        """The register at the index; 0 where there is none."""
        index = self.index
        if index == Dispi.VIDEO_MEMORY_64K:
            return VIDEO_MEMORY // UNIT if self.memory else 0
        if index >= DISPI_REGISTERS:
            return 0
        if self.registers[Dispi.ENABLE] & DispiEnable.GET_CAPABILITIES:
            match index:
                case Dispi.X_RESOLUTION:
                    return MAX_WIDTH
                case Dispi.Y_RESOLUTION:
                    return MAX_HEIGHT
                case Dispi.BITS_PER_PIXEL:
                    return MAX_BITS
                case _:
                    pass
        return self.registers[index]

    def write(self, value: u16) -> None:
        """The same, as far as there is memory for it."""
        index = self.index
        if index == Dispi.ID:
            if FIRST_ID <= value <= LAST_ID:
                self.registers[Dispi.ID] = value
            return
        if self.memory == 0:
            return
        match index:
            case (
                Dispi.X_RESOLUTION
                | Dispi.Y_RESOLUTION
                | Dispi.BITS_PER_PIXEL
                | Dispi.VIRTUAL_WIDTH
                | Dispi.X_OFFSET
                | Dispi.Y_OFFSET
            ):
                self.registers[index] = value
                self.put_right()
            case Dispi.BANK:
                self.bank = self.registers[Dispi.BANK] = value & BANK_MASK
            case Dispi.ENABLE:
                self.enable(value)
            case _:
                pass

    # ---- inside ---------------------------------------------------------------------------

    def enable(self, value: u16) -> None:
        """Set the mode that the registers say, or leave it."""
        begins = value & DispiEnable.ENABLED != 0 and not self.is_on()
        self.registers[Dispi.ENABLE] = value
        if not begins:
            self.bank = 0
        else:
            self.registers[Dispi.VIRTUAL_WIDTH] = 0
            self.registers[Dispi.X_OFFSET] = 0
            self.registers[Dispi.Y_OFFSET] = 0
            self.put_right()
            if value & DispiEnable.KEEP_MEMORY == 0:
                shown = u32(self.registers[Dispi.Y_RESOLUTION] * self.line())
                fill(self.memory, 0, min(shown, VIDEO_MEMORY))

    def bits(self) -> u8:
        """Of a dot in memory."""
        match self.registers[Dispi.BITS_PER_PIXEL]:
            case 4:
                return 4
            case 15 | 16:
                return 16
            case 24:
                return 24
            case 32:
                return 32
            case _:
                return 8

    def line(self) -> u32:
        """Bytes from one line to the next: 4 or more, where a mode is on."""
        return u32(self.registers[Dispi.VIRTUAL_WIDTH] * self.bits() // 8)

    def start(self) -> u32:
        """Bytes in front of the first dot, whole words of 32 bits."""
        across = u32(self.registers[Dispi.X_OFFSET] * self.bits() // 8)
        return u32(across + self.registers[Dispi.Y_OFFSET] * self.line()) & ~3

    def put_right(self) -> None:
        """What can't be becomes the nearest that can, while a mode is on."""
        if not self.is_on():
            return
        registers = self.registers
        if registers[Dispi.BITS_PER_PIXEL] not in (4, 8, 15, 16, 24, 32):
            registers[Dispi.BITS_PER_PIXEL] = 8
        width = min(max(registers[Dispi.X_RESOLUTION] & ~7, 8), MAX_WIDTH)
        across = min(registers[Dispi.VIRTUAL_WIDTH] & ~7, MAX_WIDTH)
        registers[Dispi.X_RESOLUTION] = width
        registers[Dispi.VIRTUAL_WIDTH] = max(across, width)
        line = max(self.line(), 4)
        lines = VIDEO_MEMORY // line
        height = min(max(registers[Dispi.Y_RESOLUTION], 1), MAX_HEIGHT, lines)
        registers[Dispi.Y_RESOLUTION] = height
        registers[Dispi.VIRTUAL_HEIGHT] = lines
        registers[Dispi.X_OFFSET] = min(registers[Dispi.X_OFFSET], MAX_WIDTH)
        registers[Dispi.Y_OFFSET] = min(registers[Dispi.Y_OFFSET], MAX_HEIGHT)
        shown = u32(height * line)
        right = u32(registers[Dispi.X_OFFSET] * self.bits() // 8)
        if right + registers[Dispi.Y_OFFSET] * line + shown > VIDEO_MEMORY:
            registers[Dispi.Y_OFFSET] = 0
            if right + shown > VIDEO_MEMORY:
                registers[Dispi.X_OFFSET] = 0

    def show(self, screen: Screen) -> None:
        """Say what it shows."""
        screen.width = self.registers[Dispi.X_RESOLUTION]
        screen.height = self.registers[Dispi.Y_RESOLUTION]
        screen.depth = u8(self.registers[Dispi.BITS_PER_PIXEL])
        screen.region = REGION + 1
        screen.start = self.start()
        screen.pitch = self.line()
        screen.dot_width = screen.dot_height = 1
