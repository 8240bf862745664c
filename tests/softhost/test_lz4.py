"""Unpacking LZ4's legacy frames, which liblz4 itself packs here."""

import ctypes
import random
import struct

import pytest

from vestige.softhost import lz4

BLOCK = 8 << 20


def pack(content: bytes) -> bytes:
    """A legacy frame and the content's size, as Linux's build writes them."""
    library = ctypes.CDLL("liblz4.so.1")
    frame = bytearray(lz4.MAGIC)
    for start in range(0, len(content), BLOCK):
        block = content[start : start + BLOCK]
        room = ctypes.create_string_buffer(len(block) + len(block) // 255 + 16)
        length = library.LZ4_compress_default(block, room, len(block), len(room))
        frame += struct.pack("<I", length) + room.raw[:length]
    return bytes(frame) + struct.pack("<I", len(content))


def sample(size: int) -> bytes:
    return random.Random(size).randbytes(size // 8) * 8


@pytest.mark.parametrize("size", [8, 4096, BLOCK, BLOCK + 8])
def test_content_survives_packing(size: int) -> None:
    assert lz4.decompress(pack(sample(size))) == sample(size)


def test_another_format_is_refused() -> None:
    with pytest.raises(lz4.Lz4Error, match="no LZ4 legacy frame"):
        lz4.decompress(b"\x1f\x8b" + bytes(64))


@pytest.mark.parametrize("length", [4, 7, 9, 200])
def test_a_frame_cut_short_is_refused(length: int) -> None:
    with pytest.raises(lz4.Lz4Error):
        lz4.decompress(pack(sample(4096))[:length])


def test_damaged_blocks_never_unpack_to_the_wrong_size() -> None:
    packed = bytearray(pack(sample(4096)))
    packed[8:40] = b"\xff" * 32
    with pytest.raises(lz4.Lz4Error, match="damaged LZ4 block"):
        lz4.decompress(bytes(packed))
