"""What the guest is to find at abi.WINDOW, by the registers: RAM, the frame buffer, or the planes.

Text, and the glyphs that it is made of, are RAM; chained planes and DISPI's banks are parts of the
frame buffer. Neither costs an exit. Accesses to planes exit, one by one or queued.
"""

from vestige.abi import WINDOW_NOTHING, WINDOW_PARTS, WINDOW_RAM
from vestige.lang.types import u16, u32
from vestige.monitor.devices.vga.dispi import DispiRegisters
from vestige.monitor.devices.vga.registers import Registers
from vestige.monitor.devices.vga.spec import (
    ALL_PLANES,
    CHAINED,
    GLYPHS,
    MEMORY_MAP_SHIFT,
    PLANES,
    RUNNING,
    SEQUENTIAL,
    Attribute,
    AttributeMode,
    Graphics,
    Miscellaneous,
    Sequencer,
)

LONG_MAP, SHORT_MAP = 0, 1  # of memory: 128 KiB from 0xA0000 on, 64 KiB


def found(registers: Registers, dispi: DispiRegisters, before: u32) -> u32:
    """One of abi's; what was there `before` stays while the sequencer is in reset.

    Glyphs are written, and read, while plane 2 alone can be: as Linux, BIOSes and X do it.
    """
    if dispi.memory == 0:
        return WINDOW_RAM
    if dispi.is_on():
        planes = dispi.bits() == PLANES
        return WINDOW_NOTHING if planes else WINDOW_PARTS + dispi.bank
    if registers.sequencer[Sequencer.RESET] != RUNNING:
        return before
    memory_map = registers.graphics[Graphics.MISCELLANEOUS] >> MEMORY_MAP_SHIFT & 3
    if memory_map > SHORT_MAP or registers.miscellaneous & Miscellaneous.RAM == 0:
        return WINDOW_RAM
    mode = registers.sequencer[Sequencer.MEMORY_MODE]
    mask = registers.sequencer[Sequencer.MAP_MASK]
    if mode & CHAINED and mask == ALL_PLANES:
        return WINDOW_PARTS + bank(registers, dispi)
    if registers.attribute[Attribute.MODE] & AttributeMode.GRAPHICS == 0:
        if mode & SEQUENTIAL == 0 or mask == GLYPHS:
            return WINDOW_RAM
    return WINDOW_NOTHING


def bank(registers: Registers, dispi: DispiRegisters) -> u16:
    """How many windows are in front of this one: where it is twice as long, none."""
    memory_map = registers.graphics[Graphics.MISCELLANEOUS] >> MEMORY_MAP_SHIFT & 3
    return 0 if memory_map == LONG_MAP and not dispi.is_on() else dispi.bank
