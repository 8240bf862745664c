"""What a virtual X server shows: the file that `Xvfb -fbdir` keeps. Source: X11/XWDFile.h."""

import struct
from enum import IntEnum
from typing import NamedTuple, Self

from vestige.screen import png


class Field(IntEnum):
    """Numbers of the header's fields, of 32 bits each."""

    HEADER_SIZE = 0
    FILE_VERSION = 1
    PIXMAP_FORMAT = 2
    PIXMAP_WIDTH = 4
    PIXMAP_HEIGHT = 5
    BYTE_ORDER = 7
    BITS_PER_PIXEL = 11
    BYTES_PER_LINE = 12
    RED_MASK = 14
    GREEN_MASK = 15
    BLUE_MASK = 16
    COLOURS = 19  # entries of the table behind the header


HEADER = struct.Struct(">25I")
COLOUR_SIZE = 12  # bytes of such an entry
_DOT_SIZE = 4  # bytes: blue, green, red, none
KIND = {
    Field.FILE_VERSION: 7,
    Field.PIXMAP_FORMAT: 2,  # ZPixmap
    Field.BYTE_ORDER: 0,  # the least first
    Field.BITS_PER_PIXEL: 8 * _DOT_SIZE,
    Field.RED_MASK: 0xFF0000,
    Field.GREEN_MASK: 0xFF00,
    Field.BLUE_MASK: 0xFF,
}
_GREY = tuple(level * 0x010101 for level in range(256))


class Picture(NamedTuple):
    """`lines`: from the top, _DOT_SIZE bytes each dot."""

    lines: tuple[bytes, ...]

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Of such a file. Raises ValueError where it isn't one of 32 bits a dot."""
        if len(data) < HEADER.size:
            raise ValueError(f"{len(data)} bytes are no picture of an X server's")
        fields = HEADER.unpack_from(data)
        if other := {field.name: fields[field] for field in KIND if fields[field] != KIND[field]}:
            raise ValueError(f"a picture of another kind: {other}")
        width, height = fields[Field.PIXMAP_WIDTH], fields[Field.PIXMAP_HEIGHT]
        line = fields[Field.BYTES_PER_LINE]
        start = fields[Field.HEADER_SIZE] + fields[Field.COLOURS] * COLOUR_SIZE
        if len(data) < start + height * line:
            raise ValueError(f"{len(data)} bytes of a picture of {start + height * line}")
        rows = range(start, start + height * line, line)
        return cls(tuple(data[row : row + width * _DOT_SIZE] for row in rows))

    def png(self) -> bytes:
        """As a PNG."""
        lines = []
        for line in self.lines:
            dots = bytearray(len(line) // _DOT_SIZE * 3)
            for part in range(3):
                dots[part::3] = line[2 - part :: _DOT_SIZE]
            lines.append(bytes(dots))
        return png.encoded(lines)

    def enlarged(self) -> bytes:
        """A PNG of its green alone, each dot twice as wide and as high: easier to be read."""
        lines = []
        for line in self.lines:
            green = line[1::_DOT_SIZE]
            dots = bytearray(2 * len(green))
            dots[0::2] = dots[1::2] = green
            lines += [bytes(dots)] * 2
        return png.encoded(lines, _GREY)
