"""PNG files, of few colours or of all. W3C, Portable Network Graphics (Second Edition)."""

import struct
import zlib
from collections.abc import Sequence

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DEPTH = 8  # bits of a dot, or of each of its red, green and blue
TRUE_COLOUR, INDEXED = 2, 3  # the colour type: red, green, blue; a number in the palette
NO_FILTER = b"\0"  # in front of each line


def encoded(lines: Sequence[bytes], colours: Sequence[int] = ()) -> bytes:
    """A file of these lines, all of one length.

    A dot is a byte, the number of its colour in `colours`, 0xRRGGBB; without these it is three
    bytes, red, green and blue.
    """
    kind, width = (INDEXED, len(lines[0])) if colours else (TRUE_COLOUR, len(lines[0]) // 3)
    header = struct.pack(">IIBBBBB", width, len(lines), DEPTH, kind, 0, 0, 0)
    palette = b"".join(colour.to_bytes(3, "big") for colour in colours)
    data = zlib.compress(b"".join(NO_FILTER + line for line in lines), 9 if colours else 6)
    parts = [(b"PLTE", palette)] if colours else []
    chunks = ((b"IHDR", header), *parts, (b"IDAT", data), (b"IEND", b""))
    return SIGNATURE + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    """11.2: length, type, data, and the CRC of these two."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
