"""Takes the ELF kernel out of a bzImage: under TCG it boots seconds faster than the wrapper.

Source: Linux, Documentation/x86/boot.rst, "The real-mode kernel header" (protocol 2.08 on).
"""

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable

from vestige.softhost import lz4, zstd

_MAGIC_OFFSET = 0x202
_SETUP_SECTORS_OFFSET = 0x1F1
_VERSION_OFFSET = 0x206
_PAYLOAD_OFFSET = 0x248  # u32 offset from the protected-mode code, u32 length
_FIRST_VERSION_WITH_PAYLOAD = 0x208
_SECTOR = 512


class ImageError(Exception):
    """Not a bzImage, or one whose kernel can't be taken out."""


def _gunzip(data: bytes) -> bytes:
    return zlib.decompressobj(wbits=31).decompress(data)


def _unxz(data: bytes) -> bytes:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(data)


def _unlzma(data: bytes) -> bytes:
    return lzma.LZMADecompressor(format=lzma.FORMAT_ALONE).decompress(data)


def _bunzip2(data: bytes) -> bytes:
    return bz2.BZ2Decompressor().decompress(data)


# The payload ends with the unpacked size (4 bytes), so decompressors must stop by themselves.
_DECOMPRESSORS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": _gunzip,
    b"\xfd7zXZ\0": _unxz,
    b"\x5d\0\0": _unlzma,
    b"BZh": _bunzip2,
    lz4.MAGIC: lz4.decompress,
    zstd.MAGIC: zstd.decompress,
}


def extract(image: bytes) -> bytes:
    """The ELF file inside a bzImage.

    Raises ImageError if `image` is no bzImage, is damaged, or is packed with another method (LZO).
    """
    if image[_MAGIC_OFFSET : _MAGIC_OFFSET + 4] != b"HdrS":
        raise ImageError('not a bzImage (no "HdrS" at 0x202)')
    try:
        (version,) = struct.unpack_from("<H", image, _VERSION_OFFSET)
        offset, length = struct.unpack_from("<II", image, _PAYLOAD_OFFSET)
    except struct.error as error:
        raise ImageError(f"a truncated bzImage: {error}") from None
    if version < _FIRST_VERSION_WITH_PAYLOAD:
        raise ImageError(f"boot protocol {version:#x} (0x208 or later expected)")
    start = ((image[_SETUP_SECTORS_OFFSET] or 4) + 1) * _SECTOR + offset
    payload = image[start : start + length]
    if len(payload) != length:
        raise ImageError(f"truncated: {len(payload)} of {length} payload bytes")
    for magic, decompress in _DECOMPRESSORS.items():
        if payload.startswith(magic):
            return _decompressed(decompress, payload)
    raise ImageError(f"packed with an unknown method (begins {payload[:6].hex()})")


def _decompressed(decompress: Callable[[bytes], bytes], payload: bytes) -> bytes:
    try:
        kernel = decompress(payload)
    except (lzma.LZMAError, zlib.error, lz4.Lz4Error, zstd.ZstdError, OSError, EOFError) as error:
        raise ImageError(f"damaged: {error}") from None
    if not kernel.startswith(b"\x7fELF"):
        raise ImageError(f"no ELF file inside (begins {kernel[:4].hex()})")
    return kernel
