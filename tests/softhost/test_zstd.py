"""Unpacking zstd, which libzstd itself packs here."""

import ctypes
import random
import struct

import pytest

from vestige.softhost import zstd


def pack(content: bytes) -> bytes:
    """A frame and the content's size, as Linux's build writes them."""
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_compress.restype = ctypes.c_size_t
    room = ctypes.create_string_buffer(len(content) + len(content) // 128 + 512)
    length = library.ZSTD_compress(
        room, ctypes.c_size_t(len(room)), content, ctypes.c_size_t(len(content)), 19
    )
    return room.raw[:length] + struct.pack("<I", len(content))


def sample(size: int) -> bytes:
    return random.Random(size).randbytes(size // 8) * 8


@pytest.mark.parametrize("size", [0, 8, 4096, 1 << 20])
def test_content_survives_packing(size: int) -> None:
    assert zstd.decompress(pack(sample(size))) == sample(size)


def test_another_format_is_refused() -> None:
    with pytest.raises(zstd.ZstdError, match="no zstd frame"):
        zstd.decompress(b"\x1f\x8b" + bytes(64))


@pytest.mark.parametrize("length", [4, 7, 9, 200])
def test_a_frame_cut_short_is_refused(length: int) -> None:
    with pytest.raises(zstd.ZstdError):
        zstd.decompress(pack(sample(4096))[:length])


@pytest.mark.parametrize("size", [4095, 4097])
def test_another_size_than_the_one_that_ends_it_is_refused(size: int) -> None:
    with pytest.raises(zstd.ZstdError):
        zstd.decompress(pack(sample(4096))[:-4] + struct.pack("<I", size))
