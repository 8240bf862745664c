"""LZ4 blocks, ours and those of the library, made whole again."""

import ctypes
from random import Random

import lz4.block
import pytest

from tests import compiling
from vestige.efiemu.lz4 import pack
from vestige.efiemu.shell.expand import expand
from vestige.host import images
from vestige.lang.intrinsics import CheckFailed


def expanded(block: bytes, room: int) -> bytes:
    """By the shell's code, which writes no byte more."""
    source = ctypes.create_string_buffer(block, len(block))
    target = ctypes.create_string_buffer(room + 16)
    expand(ctypes.addressof(source), len(block), ctypes.addressof(target), room)
    assert target.raw[room:] == bytes(16)
    return target.raw[:room]


def samples() -> list[bytes]:
    """Of all lengths near those that the format counts apart, and of all kinds of repetition."""
    chance = Random(4)
    found = [chance.randbytes(size) for size in (*range(20), 269, 270, 271, 5000)]
    found += [b"a" * size for size in (*range(30), 273, 274, 275, 70_000)]
    for width in range(1, 6):
        found.append(bytes(chance.choices(range(width), k=3000)))
    word = chance.randbytes(40)
    found.append(word + chance.randbytes(0xFFFF - 40) + word + bytes(20))  # as far as it reaches
    found.append(word + chance.randbytes(0x10000 - 40) + word + bytes(20))  # and farther
    return found


@pytest.mark.parametrize("data", samples(), ids=len)
def test_what_is_packed_is_what_the_library_and_the_shell_expand(data: bytes) -> None:
    block = pack(data)
    assert lz4.block.decompress(block, uncompressed_size=len(data)) == data
    assert expanded(block, len(data)) == data


@pytest.mark.parametrize("data", samples(), ids=len)
def test_the_shell_expands_what_the_library_has_packed(data: bytes) -> None:
    assert expanded(lz4.block.compress(data, store_size=False), len(data)) == data


def test_the_monitor_shrinks() -> None:
    code = images.monitor_image().code
    assert len(pack(code)) < 0.7 * len(code)


def test_a_block_that_is_none_is_refused_and_writes_nothing_outside() -> None:
    chance = Random(5)
    data = bytes(chance.choices(range(3), k=300))
    block = pack(data)
    refused = 0
    for _ in range(2000):
        broken = bytearray(block)
        for _ in range(chance.randint(1, 3)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        try:
            expanded(bytes(broken[: chance.randint(1, len(broken))]), len(data))
        except CheckFailed:
            refused += 1
    assert refused > 1500


def test_compiled_it_does_the_same() -> None:
    native = compiling.native([expand])["expand"]
    for data in samples():
        block = pack(data)
        target = ctypes.create_string_buffer(len(data) + 1)
        source = ctypes.create_string_buffer(block, len(block))
        native(ctypes.addressof(source), len(block), ctypes.addressof(target), len(data))
        assert target.raw == data + b"\0"
