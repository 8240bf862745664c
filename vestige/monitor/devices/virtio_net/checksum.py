"""The Internet checksum over the monitor's memory. RFC 1071: sums don't depend on byte order."""

from vestige.lang.intrinsics import load8, load16, load32, store16
from vestige.lang.types import u16, u32, u64

CHECKSUM_SIZE = 2


def total(address: u64, length: u32) -> u64:
    """The sum of 16-bit words, not folded; a last odd byte counts as if a 0 followed."""
    result = u64(0)
    position = u64(address)
    for _ in range(length // 4):
        result = u64(result + load32(position))
        position = u64(position + 4)
    if length & 2:
        result = u64(result + load16(position))
        position = u64(position + 2)
    if length & 1:
        result = u64(result + load8(position))
    return result


def folded(value: u64) -> u16:
    """A sum as 16 bits, with the carries added back."""
    value = (value & 0xFFFF_FFFF) + (value >> 32)
    value = (value & 0xFFFF) + (value >> 16)
    value = (value & 0xFFFF) + (value >> 16)
    value = (value & 0xFFFF) + (value >> 16)
    return u16(value)


def complete(frame: u64, length: u32, start: u16, offset: u16) -> bool:
    """Complete a checksum that has its pseudo header's sum in its place already.

    It covers the frame from `start` on, and is stored at `offset` from there, never as 0, which
    means none in UDP and the same as 0xFFFF elsewhere. False: it would not be in the frame.
    """
    place = u32(start + offset)
    if place + CHECKSUM_SIZE > length:
        return False
    covered = u32(length - start)
    value = u16(~folded(total(u64(frame + start), covered)))
    store16(u64(frame + place), value if value else 0xFFFF)
    return True
