"""Unpacks LZ4's legacy frames, in which Debian's cloud kernel is packed.

Sources: LZ4 frame format, "Legacy frame"; lz4.h (LZ4_decompress_safe). The library is liblz4,
which apt itself needs, so it is there wherever a kernel package can be fetched.
"""

import ctypes
import struct

MAGIC = b"\x02\x21\x4c\x18"
_BLOCK_SIZE = 8 << 20  # each block but the last unpacks to this
_LIBRARY = "liblz4.so.1"


class Lz4Error(Exception):
    """Not a legacy frame, or damaged, or there is no library to unpack it with."""


def decompress(data: bytes) -> bytes:
    """The content of a legacy frame that begins `data` and whose content's size ends it.

    Those last four bytes are what Linux's build appends to a packed kernel. Raises Lz4Error.
    """
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        raise Lz4Error(f"packed with LZ4, and there is no {_LIBRARY} here") from None
    if not data.startswith(MAGIC):
        raise Lz4Error(f"no LZ4 legacy frame (begins {data[:4].hex()})")
    (size,) = struct.unpack("<I", data[-4:])
    block = ctypes.create_string_buffer(_BLOCK_SIZE)
    content = bytearray()
    position = len(MAGIC)
    while len(content) < size and position + 4 < len(data):
        (packed,) = struct.unpack_from("<I", data, position)
        position += 4
        if position + packed > len(data):
            raise Lz4Error(f"truncated LZ4 block at byte {position}")
        length = library.LZ4_decompress_safe(
            data[position : position + packed], block, packed, _BLOCK_SIZE
        )
        if length <= 0:
            raise Lz4Error(f"damaged LZ4 block at byte {position}")
        content += block.raw[:length]
        position += packed
    if len(content) != size:
        raise Lz4Error(f"{len(content)} bytes unpacked, {size} expected")
    return bytes(content)
