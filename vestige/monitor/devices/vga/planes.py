"""The planes: four bytes at each address, and what the graphics controller makes of an access.

IBM Personal System/2 Hardware Interface Technical Reference (1988), "Video Subsystem", Graphics
Controller Registers. The bytes of an address lie side by side in the frame buffer, plane 0's first,
as QEMU has them: so chained planes are bytes one behind the other.
"""

from vestige.lang.intrinsics import load8, load32, store8, store32
from vestige.lang.types import Struct, u8, u32, u64
from vestige.monitor.devices.vga.ports_spec import VIDEO_MEMORY
from vestige.monitor.devices.vga.registers import NOTHING, Registers
from vestige.monitor.devices.vga.spec import (
    CHAINED,
    COMPARES,
    FUNCTION_SHIFT,
    ODD_EVEN,
    PLANES,
    ROTATION,
    WRITE_MODE,
    Function,
    Graphics,
    Sequencer,
    WriteMode,
)

BYTE = 0xFF
EVERY = 0x0101_0101  # times a byte: that in each plane


class Planes(Struct):
    """`read` and `write` are the guest's, of one byte. `memory` is the frame buffer's address."""

    latches: u32  # what the last read found, plane 0 in bits 0 to 7

    def read(self, registers: Registers, memory: u64, address: u32) -> u8:
        """The byte at `address` of the planes, as the registers say; behind them is nothing."""
        graphics = registers.graphics
        if is_chained(registers):
            place = byte_place(registers, address)
            return load8(u64(memory + place)) if place < VIDEO_MEMORY else NOTHING
        if address >= VIDEO_MEMORY // PLANES:
            return NOTHING
        latches = load32(u64(memory + address * PLANES))
        self.latches = latches
        if graphics[Graphics.MODE] & COMPARES == 0:
            return latches >> 8 * (graphics[Graphics.READ_MAP] % PLANES) & BYTE
        differs = u32(latches ^ in_planes(graphics[Graphics.COLOUR_COMPARE]))
        differs &= in_planes(graphics[Graphics.COLOUR_DONT_CARE])
        return ~(differs | differs >> 8 | differs >> 16 | differs >> 24) & BYTE

    def write(self, registers: Registers, memory: u64, address: u32, value: u8) -> None:
        """The same of a write."""
        mask = registers.sequencer[Sequencer.MAP_MASK]
        if is_chained(registers):
            place = byte_place(registers, address)
            if place < VIDEO_MEMORY and mask >> place % PLANES & 1:
                store8(u64(memory + place), value)
        elif address < VIDEO_MEMORY // PLANES:
            written = in_planes(mask)
            place = u64(memory + address * PLANES)
            store32(place, (load32(place) & ~written) | (self.data(registers, value) & written))

    def data(self, registers: Registers, value: u8) -> u32:
        """What a write of `value` has for each plane."""
        graphics = registers.graphics
        mode = graphics[Graphics.MODE] & WRITE_MODE
        if mode == WriteMode.LATCHES:
            return self.latches
        bits = graphics[Graphics.BIT_MASK]
        data = in_planes(graphics[Graphics.SET_RESET])
        if mode == WriteMode.COLOUR:
            data = in_planes(value)
        else:
            value = rotated(value, graphics[Graphics.DATA_ROTATE] & ROTATION)
            if mode == WriteMode.MASK:
                bits &= value
            else:
                set_reset = in_planes(graphics[Graphics.ENABLE_SET_RESET])
                data = (data & set_reset) | u32(value * EVERY) & ~set_reset
        match graphics[Graphics.DATA_ROTATE] >> FUNCTION_SHIFT & 3:
            case Function.AND:
                data &= self.latches
            case Function.OR:
                data |= self.latches
            case Function.XOR:
                data ^= self.latches
            case _:
                pass
        taken = u32(bits * EVERY)
        return (data & taken) | (self.latches & ~taken)


def is_chained(registers: Registers) -> bool:
    """Whether an address leads to one plane alone, of all four or of two by turns."""
    chained = registers.sequencer[Sequencer.MEMORY_MODE] & CHAINED
    return chained != 0 or registers.graphics[Graphics.MODE] & ODD_EVEN != 0


def byte_place(registers: Registers, address: u32) -> u32:
    """Where in the frame buffer the byte is that such an address leads to."""
    if registers.sequencer[Sequencer.MEMORY_MODE] & CHAINED:
        return address
    return u32((address & ~1) * 2) | registers.graphics[Graphics.READ_MAP] & 2 | address & 1


def in_planes(bits: u8) -> u32:
    """All ones in the planes whose bits, 0 to 3, are set."""
    spread = bits & 1 | (bits & 2) << 7 | (bits & 4) << 14 | (bits & 8) << 21
    return u32(spread * BYTE)


def rotated(value: u8, count: u8) -> u8:
    """To the right."""
    count &= ROTATION
    return u8(value >> count | value << 8 - count)
