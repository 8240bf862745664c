"""Overlays as a test reads them: what a disk of two files has, by their layout alone."""

import struct
from pathlib import Path

SECTOR, PAGE, HUGE_PAGE = 512, 4096, 2 << 20


def parts(overlay: Path) -> tuple[int, bytes, bytes]:
    """Of an overlay: sectors of its disk, its map, and its sectors."""
    data = overlay.read_bytes()
    (sectors,) = struct.unpack_from("<Q", data, 24)
    end = PAGE + -(-sectors // (8 * PAGE)) * PAGE
    start = -(-end // HUGE_PAGE) * HUGE_PAGE
    assert len(data) == start + sectors * SECTOR
    assert not any(data[end:start])
    return sectors, data[PAGE:end], data[start:]


def content(base: Path, overlay: Path) -> bytes:
    """What is on the disk."""
    both = bytearray(base.read_bytes())
    sectors, bits, written = parts(overlay)
    assert len(both) == sectors * SECTOR
    for sector in range(sectors):
        if bits[sector // 8] >> sector % 8 & 1:
            where = slice(sector * SECTOR, (sector + 1) * SECTOR)
            both[where] = written[where]
    return bytes(both)
