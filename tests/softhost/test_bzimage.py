"""Kernels come out of a bzImage whole, or are refused with the reason."""

import bz2
import gzip
import lzma
import struct
from collections.abc import Callable

import pytest

from tests.softhost import test_zstd
from vestige.softhost import bzimage


def pack_zstd(content: bytes) -> bytes:
    return test_zstd.pack(content)[:-4]


KERNEL = b"\x7fELF" + bytes(range(256)) * 40


def unpacked_size(kernel: bytes) -> bytes:
    """What Linux's build appends to the payload."""
    return struct.pack("<I", len(kernel))


def image(payload: bytes, *, version: int = 0x20F, setup_sectors: int = 4) -> bytes:
    """A bzImage with this payload 0x100 bytes into its protected-mode code."""
    setup = bytearray((setup_sectors + 1) * 512)
    setup[0x1F1] = setup_sectors
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, version)
    struct.pack_into("<II", setup, 0x248, 0x100, len(payload))
    return bytes(setup) + bytes(0x100) + payload


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        bz2.compress,
        lzma.compress,
        pack_zstd,
        lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
        lambda data: lzma.compress(
            data, filters=[{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2}]
        ),
    ],
    ids=["gzip", "bzip2", "xz", "zstd", "lzma", "xz with the x86 filter"],
)
def test_the_kernel_comes_out(pack: Callable[[bytes], bytes]) -> None:
    assert bzimage.extract(image(pack(KERNEL) + unpacked_size(KERNEL))) == KERNEL


def test_zero_setup_sectors_mean_four() -> None:
    data = bytearray(image(gzip.compress(KERNEL)))
    data[0x1F1] = 0
    assert bzimage.extract(bytes(data)) == KERNEL


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", 'no "HdrS"'),
        (b"\x7fELF" + bytes(2000), 'no "HdrS"'),
        (image(gzip.compress(KERNEL))[:0x220], "truncated"),
        (image(gzip.compress(KERNEL))[:-10], "truncated"),
        (image(gzip.compress(KERNEL), version=0x207), "boot protocol 0x207"),
        (image(b"\x89LZO\0\r\n" + bytes(100)), "unknown method .begins 894c5a4f000d"),
        (image(b"\x28\xb5\x2f\xfd" + bytes(100)), "damaged"),
        (image(gzip.compress(b"hello")), "no ELF file"),
        (image(b"\xfd7zXZ\0" + bytes(100)), "damaged"),
        (image(b"\x1f\x8b" + bytes(100)), "damaged"),
    ],
    ids=[
        "nothing",
        "an ELF file",
        "half a header",
        "half a kernel",
        "an old protocol",
        "lzo",
        "damaged zstd",
        "another file",
        "damaged xz",
        "damaged gzip",
    ],
)
def test_what_holds_no_kernel_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(bzimage.ImageError, match=reason):
        bzimage.extract(data)
