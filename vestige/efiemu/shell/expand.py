"""LZ4 blocks made whole again; ../lz4.py makes them."""

from vestige.lang.intrinsics import check, copy, load8, load16, store8
from vestige.lang.types import u64

SHORTEST = 4  # a copy
LONG = 15  # of a token's halves: bytes that are added follow
MORE = 0xFF  # of such a byte: another follows


def expand(block: u64, size: u64, place: u64, room: u64) -> None:
    """Write to `place` what is in the block of `size` bytes. PANICs if it isn't `room` bytes."""
    end, limit = u64(block + size), u64(place + room)
    at, to = block, place
    while at < end:
        token = load8(at)
        at, count = counted(u64(at + 1), end, token >> 4)
        check(count <= u64(end - at) and count <= u64(limit - to))
        copy(to, at, count)
        at, to = u64(at + count), u64(to + count)
        if at < end:
            check(u64(end - at) > 2)
            source = u64(to - load16(at))
            at, count = counted(u64(at + 2), end, token & LONG)
            count = u64(count + SHORTEST)
            check(place <= source < to and count <= u64(limit - to))
            for _ in range(count):  # what is copied may be what has just been written
                store8(to, load8(source))
                to, source = u64(to + 1), u64(source + 1)
    check(to == limit)


def counted(at: u64, end: u64, half: u64) -> tuple[u64, u64]:
    """What follows a count, and the count, of which `half` is in the token."""
    count = half
    more = MORE if half == LONG else 0
    while more == MORE:
        check(at < end)
        more = load8(at)
        at, count = u64(at + 1), u64(count + more)
    return at, count
