"""A PC's screen where a kernel starts without a firmware: in text mode 3, as a BIOS leaves it.

The registers are the VGA's own to set; here is what is in memory. Source: Linux,
include/uapi/linux/screen_info.h.
"""

import struct

from vestige.abi import FONT_SIZE, GLYPH_SIZE, GLYPHS, SCREEN_MEMORY
from vestige.machine.files import InputFile

MODE, COLUMNS, ROWS, HEIGHT = 3, 80, 25, 16
IS_VGA = 1
# struct screen_info: position, page, mode, columns; rows, what it is, lines of a character.
SCREEN_INFO = struct.pack("<2x2x2xBB6xBBH", MODE, COLUMNS, ROWS, IS_VGA, HEIGHT)
# The ROM's font of 16 lines begins with an empty character and IBM's smile.
FIRST_GLYPHS = bytes(HEIGHT) + bytes.fromhex("00007e81a58181bd9981817e00000000")


def load_font(ram: memoryview, rom: InputFile) -> None:
    """Put the font of a VGA's BIOS where a BIOS puts it; without one there is none."""
    data = bytearray(rom.size)
    rom.read_at(0, memoryview(data))
    glyphs = font(bytes(data))
    ram[SCREEN_MEMORY : SCREEN_MEMORY + len(glyphs)] = glyphs


def font(rom: bytes) -> bytes:
    """The font of 9 by 16 dots in a VGA's BIOS, as it lies in plane 2; b"": none was found."""
    first = rom.find(FIRST_GLYPHS)
    glyphs = rom[first : first + GLYPHS * HEIGHT]
    if first < 0 or len(glyphs) < GLYPHS * HEIGHT:
        return b""
    made = bytearray(FONT_SIZE)
    for number in range(GLYPHS):
        lines = glyphs[number * HEIGHT : (number + 1) * HEIGHT]
        made[number * GLYPH_SIZE : number * GLYPH_SIZE + HEIGHT] = lines
    return bytes(made)
