"""A PNG that we have written, read back."""

import struct
import zlib

RGB = 3  # bytes of a dot
INDEXED = 3  # a kind


def read(data: bytes) -> tuple[int, int, bytes]:
    """Width, height, and dots of red, green and blue each."""
    width, height, _, kind = struct.unpack_from(">IIBB", data, 16)
    parts = {b"PLTE": b"", b"IDAT": b""}
    at = 8
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        name = data[at + 4 : at + 8]
        if name in parts:
            parts[name] += data[at + 8 : at + 8 + size]
        at += size + 12
    palette, lines = parts[b"PLTE"], zlib.decompress(parts[b"IDAT"])
    line = 1 + width * (1 if palette else RGB)
    dots = b"".join(lines[first + 1 : first + line] for first in range(0, len(lines), line))
    if kind == INDEXED:
        colours = [palette[RGB * dot : RGB * dot + RGB] for dot in range(256)]
        dots = b"".join([colours[dot] for dot in dots])
    return width, height, dots


def colours(dots: bytes, width: int, across: int, down: int) -> set[str]:
    """Those of so many dots from the upper left corner, of a picture of this width: rrggbb."""
    line = RGB * width
    rows = [dots[first : first + RGB * across] for first in range(0, down * line, line)]
    return {row[at : at + RGB].hex() for row in rows for at in range(0, len(row), RGB)}
