"""A graphics screen as a run has told it, and as a picture: dots, lines from the top.

Threat: who answers may be a subverted process. What it says is checked here, once; then any byte
has a meaning. A dot of more than 8 bits is little-endian: blue in the lowest bits, then green, red.
Of one of 4 bits each is of another plane, of which a line has a byte by turns.
"""

from array import array
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from vestige.abi import (
    DEPTHS,
    DOTS_OF_BYTE,
    MAX_DOT,
    MAX_SCREEN_WIDTH,
    PALETTE,
    REGIONS,
    SCREEN_COLOURS,
    SCREEN_PLANES,
    line_size,
)
from vestige.errors import GuestError
from vestige.screen.told import data, number

MOST_BYTES = max(size for _, size in REGIONS)  # of all dots
BITS = {15: (5, 5, 5), 16: (5, 6, 5)}  # of red, green and blue in 16
PALETTED = 8
PALETTES = {SCREEN_PLANES: SCREEN_COLOURS, PALETTED: PALETTE}  # how many colours, by depth

_SPREAD = [bytes(byte >> 7 - dot & 1 for dot in range(DOTS_OF_BYTE)) for byte in range(1 << 8)]


class Part(NamedTuple):
    """Some of a screen's lines, from `line` on; `palette`: 0xRRGGBB, by PALETTES."""

    width: int
    height: int
    depth: int
    dot_width: int
    dot_height: int
    palette: tuple[int, ...]
    line: int
    dots: bytes

    @property
    def size(self) -> int:
        """Bytes of a line."""
        return line_size(self.width, self.depth)

    @property
    def lines(self) -> list[bytes]:
        """Those that it has."""
        size = self.size
        return [self.dots[first : first + size] for first in range(0, len(self.dots), size)]

    def is_like(self, other: "Part") -> bool:
        """Whether both are of one mode, whatever is in them."""
        return self[:5] == other[:5]


def read(answer: Any) -> Part:
    """From an answer to the command `screen`. Raises GuestError for nonsense."""
    try:
        depth = number(answer["depth"], min(DEPTHS), max(DEPTHS))
        width = number(answer["width"], 1, MAX_SCREEN_WIDTH)
        palette = tuple(number(each, 0, 0xFF_FFFF) for each in answer["palette"])
        if depth not in DEPTHS or len(palette) != PALETTES.get(depth, 0):
            raise ValueError
        size = line_size(width, depth)
        height = number(answer["height"], 1, MOST_BYTES // size)
        line = number(answer["line"], 0, height - 1)
        return Part(
            width,
            height,
            depth,
            number(answer["dot_width"], 1, MAX_DOT),
            number(answer["dot_height"], 1, MAX_DOT),
            palette,
            line,
            _dots(answer["dots"], size, height - line),
        )
    except (KeyError, TypeError, ValueError):
        raise GuestError("the run tells of its screen what can't be") from None


def look(ask: Callable[[int], Any]) -> tuple[Part, list[bytes]]:
    """The mode and all lines of a screen of graphics; `ask` answers for those from a line on.

    The guest goes on meanwhile: what it draws may be in some lines and not yet in others. Raises
    GuestError for nonsense, and where it sets another mode.
    """
    first = read(ask(0))
    lines = first.lines if first.line == 0 else []
    while len(lines) < first.height:
        part = read(ask(len(lines)))
        if not part.is_like(first) or part.line != len(lines):
            raise GuestError("its guest sets another mode; look again")
        lines += part.lines
    return first, lines


def pixels(mode: Part, lines: Sequence[bytes]) -> list[bytes]:
    """As they are on the screen: of a palette's numbers a byte a dot, else red, green and blue."""
    drawn = []
    for line in lines:
        if mode.depth == SCREEN_PLANES:
            row = numbers(line)[: mode.width]
        else:
            row = line if mode.depth == PALETTED else _colours(mode.depth, line)
        drawn += [_wider(row, mode.dot_width)] * mode.dot_height
    return drawn


def numbers(line: bytes) -> bytes:
    """Of a line of planes: a byte a dot, a bit of each plane in it."""
    width = len(line) // SCREEN_PLANES * DOTS_OF_BYTE
    dots = 0
    for plane in range(SCREEN_PLANES):
        spread = b"".join([_SPREAD[byte] for byte in line[plane::SCREEN_PLANES]])
        dots |= int.from_bytes(spread, "big") << plane
    return dots.to_bytes(width, "big")


def _colours(depth: int, line: bytes) -> bytes:
    """Of dots of more than 8 bits: three bytes a dot, red, green, blue."""
    if depth in BITS:
        table = _table(depth)
        return b"".join([table[dot] for dot in array("H", line)])
    step = depth // 8
    row = bytearray(len(line) // step * 3)
    for part in range(3):
        row[part::3] = line[2 - part :: step]
    return bytes(row)


@cache
def _table(depth: int) -> list[bytes]:
    """What each number of 16 bits is: full brightness stays so."""
    red, green, blue = BITS[depth]

    def part(dot: int, shift: int, bits: int) -> int:
        value = dot >> shift & (1 << bits) - 1
        return value << 8 - bits | value >> 2 * bits - 8

    return [
        bytes((part(dot, green + blue, red), part(dot, blue, green), part(dot, 0, blue)))
        for dot in range(1 << 16)
    ]


def _wider(row: bytes, times: int) -> bytes:
    """Of a byte a dot, each so often."""
    if times == 1:
        return row
    wide = bytearray(len(row) * times)
    for each in range(times):
        wide[each::times] = row
    return bytes(wide)


def _dots(told: Any, size: int, most: int) -> bytes:
    """Whole lines, one or more."""
    dots = data(told)
    if not dots or len(dots) % size or len(dots) > size * most:
        raise ValueError
    return dots
