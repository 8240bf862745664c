"""Unpacks zstd, in which the kernels of Debian 13 and later are packed.

Sources: RFC 8878; zstd.h (ZSTD_decompress). The library is libzstd, which dpkg itself needs, so it
is there wherever a kernel package can be unpacked; Python has it only from 3.14 on.
"""

import ctypes
import struct

MAGIC = b"\x28\xb5\x2f\xfd"
_LIBRARY = "libzstd.so.1"


class ZstdError(Exception):
    """Not zstd, or damaged, or there is no library to unpack it with."""


def decompress(data: bytes) -> bytes:
    """The content of a frame that begins `data` and whose content's size ends it.

    Those last four bytes are what Linux's build appends to a packed kernel. Raises ZstdError.
    """
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        raise ZstdError(f"packed with zstd, and there is no {_LIBRARY} here") from None
    if not data.startswith(MAGIC):
        raise ZstdError(f"no zstd frame (begins {data[:4].hex()})")
    (size,) = struct.unpack("<I", data[-4:])
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_isError.argtypes = (ctypes.c_size_t,)
    content = ctypes.create_string_buffer(size)
    frame = data[:-4]
    length = library.ZSTD_decompress(
        content, ctypes.c_size_t(size), frame, ctypes.c_size_t(len(frame))
    )
    if library.ZSTD_isError(length):
        raise ZstdError("a damaged zstd frame")
    if length != size:
        raise ZstdError(f"{length} bytes unpacked, {size} expected")
    return content.raw
