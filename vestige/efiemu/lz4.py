"""LZ4 blocks: what shell/expand.py makes whole again.

Source: the LZ4 block format (lz4_Block_format.md, of 2022-07-31): sequences of a token, literals
and a copy of what came at most 65,535 bytes before; the last has literals alone.
"""

from collections import defaultdict
from itertools import islice

SHORTEST = 4  # a copy
LONG = 15  # of a token's halves: bytes that are added follow
FARTHEST = 0xFFFF
LAST_LITERALS = 5
LAST_COPY = 12  # bytes from the end, at which the last copy begins at the latest
TRIES = 16  # places that a copy may be of


def pack(data: bytes) -> bytes:
    """`data` as a block. The same bytes always give the same."""
    packed = bytearray()
    seen: defaultdict[bytes, list[int]] = defaultdict(list)
    done = at = 0  # what is in `packed`, what has been looked at
    while at <= len(data) - LAST_COPY:
        length, place = _longest(data, at, seen)
        if length and _longest(data, at + 1, seen)[0] > length:
            length = 0  # a literal more, and a longer copy
        if not length:
            seen[data[at : at + SHORTEST]].append(at)
            at += 1
            continue
        packed += _sequence(data[done:at], at - place, length)
        for covered in range(at, at + length):
            seen[data[covered : covered + SHORTEST]].append(covered)
        done = at = at + length
    return bytes(packed + _sequence(data[done:]))


def _longest(data: bytes, at: int, seen: dict[bytes, list[int]]) -> tuple[int, int]:
    """The longest copy that can begin here, and of what place; 0: none can."""
    best = place = 0
    limit = len(data) - LAST_LITERALS - at
    for earlier in islice(reversed(seen.get(data[at : at + SHORTEST], ())), TRIES):
        if at - earlier > FARTHEST:
            break
        length = SHORTEST
        while length < limit and data[earlier + length] == data[at + length]:
            length += 1
        if length > best and length <= limit:
            best, place = length, earlier
    return best, place


def _sequence(literals: bytes, distance: int = 0, length: int = 0) -> bytes:
    """One of them; the last has no copy."""
    copied = length - SHORTEST if length else 0
    token = min(len(literals), LONG) << 4 | min(copied, LONG)
    packed = bytes([token]) + _added(len(literals)) + literals
    if length:
        packed += distance.to_bytes(2, "little") + _added(copied)
    return packed


def _added(count: int) -> bytes:
    """What follows a token whose half can't say it."""
    if count < LONG:
        return b""
    whole, rest = divmod(count - LONG, 0xFF)
    return b"\xff" * whole + bytes([rest])
