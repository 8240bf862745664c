"""What a screen shows, as its lines, and which parts of it have changed.

A dot is a number of `depth` bits, little-endian in whole bytes, as dots.py has it; a screen's own
dots may be several wide and high on the viewer's. Of text a dot is the number of a colour.
"""

from array import array
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from vestige.screen.dots import BITS, PALETTED

TILE = 64  # dots and lines of a part that changes as one
LARGEST = 16_384  # dots of a viewer's picture, either way
MOST = 1 << 25  # and in all
PIXEL = 4  # bytes of a dot of a picture: blue, green, red, and one that means nothing
BLANK_SIZE = 640, 480


class Mode(NamedTuple):
    """Of a screen. `width`, `height`: its dots; `palette`: 0xRRGGBB, where `depth` is 8."""

    width: int
    height: int
    depth: int
    dot_width: int = 1
    dot_height: int = 1
    palette: tuple[int, ...] = ()

    @property
    def bytes_per_dot(self) -> int:
        """In a line."""
        return -(-self.depth // 8)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a picture of it."""
        return self.width * self.dot_width, self.height * self.dot_height

    @property
    def fits(self) -> bool:
        """Whether a viewer can be shown so much."""
        width, height = self.size
        return max(width, height) <= LARGEST and width * height <= MOST


BLANK = Mode(*BLANK_SIZE, PALETTED, palette=(0,))


class Area(NamedTuple):
    """Some of a screen, in its dots."""

    x: int
    y: int
    width: int
    height: int


Tile = tuple[int, int]  # its row and column


def blank(mode: Mode) -> list[bytes]:
    """The lines of a screen that shows nothing."""
    return [bytes(mode.width * mode.bytes_per_dot)] * mode.height


class Frame:
    """A screen as it was seen last."""

    def __init__(self) -> None:
        self.mode = BLANK
        self.lines: Sequence[bytes] = blank(BLANK)

    def show(self, mode: Mode, lines: Sequence[bytes]) -> set[Tile]:
        """From now on it is this; the tiles that are new, all where the mode or a colour is."""
        before = self.mode, self.lines
        self.mode, self.lines = mode, lines
        if before[0] != mode:
            return self.tiles()
        return _changed(before[1], lines, TILE * mode.bytes_per_dot)

    def tiles(self, area: Area | None = None) -> set[Tile]:
        """Those of an area of the picture, in the picture's dots; None: all."""
        mode = self.mode
        width, height = mode.size
        x, y, wide, high = area or Area(0, 0, width, height)
        right, bottom = min(x + wide, width), min(y + high, height)
        across, down = TILE * mode.dot_width, TILE * mode.dot_height
        return {
            (row, column)
            for row in range(y // down, -(-bottom // down))
            for column in range(x // across, -(-right // across))
        }

    def areas(self, tiles: Iterable[Tile]) -> list[Area]:
        """Those in the picture, neighbours in a row as one, in the screen's dots."""
        found: list[Area] = []
        last = None
        for row, column in sorted(tiles):
            x, y = column * TILE, row * TILE
            width, height = min(TILE, self.mode.width - x), min(TILE, self.mode.height - y)
            if width <= 0 or height <= 0:  # of a screen that was larger
                continue
            if last == (row, column - 1):
                found[-1] = found[-1]._replace(width=found[-1].width + width)
            else:
                found.append(Area(x, y, width, height))
            last = (row, column)
        return found

    def on_picture(self, area: Area) -> Area:
        """Where it is in the picture, in the picture's dots."""
        wide, high = self.mode.dot_width, self.mode.dot_height
        return Area(area.x * wide, area.y * high, area.width * wide, area.height * high)

    def picture(self, area: Area) -> list[bytes]:
        """The lines of an area of the picture, in its dots, of PIXEL bytes each; black outside."""
        mode = self.mode
        wide, high = mode.dot_width, mode.dot_height
        left, right = area.x // wide, -(-(area.x + area.width) // wide)
        first, last = (each * mode.bytes_per_dot for each in (left, right))
        size, cut = area.width * PIXEL, (area.x - left * wide) * PIXEL
        number, row, drawn = -1, b"", []
        for y in range(area.y, area.y + area.height):
            if y // high != number:
                number = y // high
                line = self.lines[number][first:last] if number < len(self.lines) else b""
                row = wider(coloured(mode, line), wide)[cut : cut + size].ljust(size, b"\0")
            drawn.append(row)
        return drawn


def _changed(before: Sequence[bytes], after: Sequence[bytes], size: int) -> set[Tile]:
    """The tiles in which lines of the same length differ; `size`: bytes of a tile's line."""
    found: set[Tile] = set()
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        if old == new:
            continue
        row = number // TILE
        for column in range(-(-len(new) // size)):
            place = slice(column * size, (column + 1) * size)
            if (row, column) not in found and old[place] != new[place]:
                found.add((row, column))
    return found


def coloured(mode: Mode, line: bytes) -> bytes:
    """Dots of a mode as PIXEL bytes each."""
    if mode.depth == 32:
        return line
    if mode.depth in BITS:
        return array("I", map(_table(mode.depth).__getitem__, array("H", line))).tobytes()
    step = mode.bytes_per_dot
    row = bytearray(len(line) // step * PIXEL)
    if mode.depth == PALETTED:
        for part, table in enumerate(_palette(mode.palette)):
            row[part::PIXEL] = line.translate(table)
    else:
        for part in range(3):
            row[part::PIXEL] = line[part::step]
    return bytes(row)


def wider(row: bytes, times: int) -> bytes:
    """Of PIXEL bytes a dot, each dot so often."""
    if times == 1:
        return row
    dots = array("I", row)
    wide = array("I", bytes(len(row) * times))
    for each in range(times):
        wide[each::times] = dots
    return wide.tobytes()


@cache
def _table(depth: int) -> "array[int]":
    """What each number of 16 bits is, 0xRRGGBB: full brightness stays so."""
    red, green, blue = BITS[depth]

    def part(dot: int, shift: int, bits: int) -> int:
        value = dot >> shift & (1 << bits) - 1
        return value << 8 - bits | value >> 2 * bits - 8

    return array(
        "I",
        (
            part(dot, green + blue, red) << 16 | part(dot, blue, green) << 8 | part(dot, 0, blue)
            for dot in range(1 << 16)
        ),
    )


@lru_cache(maxsize=4)
def _palette(colours: tuple[int, ...]) -> Sequence[bytes]:
    """The blue, the green and the red of each number; of one without a colour none."""
    return [
        bytes(colour >> shift & 0xFF for colour in colours).ljust(256, b"\0")
        for shift in (0, 8, 16)
    ]
