"""A part of a picture as it is sent: RFC 6143, 7.7; Zlib as the rfbproto registry has it."""

import struct
import zlib
from collections.abc import Sequence

from vestige.viewer.rfb.formats import Format
from vestige.viewer.rfb.spec import Encoding

SIDE = 64  # pixels of a ZRLE tile
RAW_TILE, SOLID_TILE = 0, 1  # 7.7.6
LEVEL = 1  # of compression: a local viewer waits for the processor sooner than for the wire
LENGTH = struct.Struct(">I")
HEADER = struct.Struct(">HHHHi")


def rectangle(x: int, y: int, width: int, height: int, encoding: int) -> bytes:
    """What stands before its pixels."""
    return HEADER.pack(x, y, width, height, encoding)


class Encoder:
    """One of RAW, ZLIB and ZRLE, for one client: the two others go on through all it is sent."""

    def __init__(self) -> None:
        self._streams = {each: zlib.compressobj(LEVEL) for each in (Encoding.ZLIB, Encoding.ZRLE)}

    def encoded(self, encoding: Encoding, form: Format, lines: Sequence[bytes]) -> bytes:
        """Lines of pixels of this form, all of one length."""
        if encoding == Encoding.RAW:
            return b"".join(lines)
        data = _tiles(form, lines) if encoding == Encoding.ZRLE else b"".join(lines)
        stream = self._streams[encoding]
        packed = stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)
        return LENGTH.pack(len(packed)) + packed


def _tiles(form: Format, lines: Sequence[bytes]) -> bytes:
    """7.7.6: tiles from the left, then from the top."""
    size, drops = form.size, form.compact
    pieces = []
    for top in range(0, len(lines), SIDE):
        band = lines[top : top + SIDE]
        for left in range(0, len(band[0]), SIDE * size):
            tile = bytearray(b"".join([line[left : left + SIDE * size] for line in band]))
            if drops is not None:
                del tile[drops]
            pixel = size if drops is None else size - 1
            if tile == tile[:pixel] * (len(tile) // pixel):
                pieces.append(bytes((SOLID_TILE,)) + tile[:pixel])
            else:
                pieces.append(bytes((RAW_TILE,)) + tile)
    return b"".join(pieces)
