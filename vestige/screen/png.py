"""PNG files of pictures with few colours. W3C, Portable Network Graphics (Second Edition)."""

import struct
import zlib
from collections.abc import Sequence

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DEPTH, INDEXED = 8, 3  # bits of a dot, and the colour type: a number in the palette
NO_FILTER = b"\0"  # in front of each line


def encoded(lines: Sequence[bytes], colours: Sequence[int]) -> bytes:
    """A file of these lines, of a byte a dot, all of one length; `colours` are 0xRRGGBB."""
    header = struct.pack(">IIBBBBB", len(lines[0]), len(lines), DEPTH, INDEXED, 0, 0, 0)
    palette = b"".join(colour.to_bytes(3, "big") for colour in colours)
    data = zlib.compress(b"".join(NO_FILTER + line for line in lines), 9)
    chunks = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", data), (b"IEND", b""))
    return SIGNATURE + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    """11.2: length, type, data, and the CRC of these two."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
