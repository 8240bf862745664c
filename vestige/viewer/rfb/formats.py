"""Pixel formats, and a picture's dots in them. RFC 6143, 7.4."""

import struct
from array import array
from collections.abc import Callable, Sequence
from operator import or_
from typing import NamedTuple

from vestige.viewer.frame import PIXEL

FORM = struct.Struct(">BBBBHHHBBB3x")
TYPES = {8: "B", 16: "H", 32: "I"}  # of array, by bits
COMPACT = 3  # bytes of a ZRLE pixel of 32 bits, where its colours are in three
COLOURS = 256  # of a map


class Format(NamedTuple):
    """How a client wants its pixels."""

    bits: int  # of a pixel
    depth: int
    big_endian: bool
    true_colour: bool
    red_most: int
    green_most: int
    blue_most: int
    red_shift: int
    green_shift: int
    blue_shift: int

    @property
    def size(self) -> int:
        """Bytes of a pixel."""
        return self.bits // 8

    def packed(self) -> bytes:
        """As it is sent."""
        return FORM.pack(*self)

    @property
    def compact(self) -> slice | None:
        """Which byte of a pixel ZRLE leaves out, and each fourth from there: 7.7.5."""
        if self.bits != 8 * PIXEL or self.depth > 8 * COMPACT:
            return None
        used = (
            self.red_most << self.red_shift
            | self.green_most << self.green_shift
            | self.blue_most << self.blue_shift
        )
        if used < 1 << 24:
            return slice(0 if self.big_endian else 3, None, PIXEL)
        return slice(3 if self.big_endian else 0, None, PIXEL) if not used & 0xFF else None


OWN = Format(32, 24, False, True, 0xFF, 0xFF, 0xFF, 16, 8, 0)
MAPPED = Format(8, 8, False, True, 7, 7, 3, 0, 3, 6)  # what the numbers of a map's colours mean


def read(data: bytes) -> Format:
    """What a client asks for. Raises ValueError for one that can't be."""
    bits, depth, big_endian, true_colour, *others = FORM.unpack(data)
    if bits not in TYPES:
        raise ValueError
    if not true_colour:
        if bits != MAPPED.bits:
            raise ValueError
        return MAPPED._replace(true_colour=False)
    asked = Format(bits, depth, bool(big_endian), True, *others)
    for most, shift in zip(others[:3], others[3:], strict=True):
        if not most or most & most + 1 or most << shift >= 1 << bits:
            raise ValueError
    return asked


def colour_map() -> bytes:
    """The colours of MAPPED, red, green, blue of 16 bits each: 7.6.2."""
    parts = ((7, 0), (7, 3), (3, 6))  # the largest, and its shift
    return struct.pack(
        f">{3 * COLOURS}H",
        *(
            (number >> shift & most) * 0xFFFF // most
            for number in range(COLOURS)
            for most, shift in parts
        ),
    )


def converter(wanted: Format) -> Callable[[bytes], bytes]:
    """What makes of a picture's dots, PIXEL bytes each, pixels of a client's format."""
    if wanted == OWN:
        return lambda line: line
    parts = (
        (wanted.blue_most, wanted.blue_shift),
        (wanted.green_most, wanted.green_shift),
        (wanted.red_most, wanted.red_shift),
    )
    if wanted.bits == 8 * PIXEL and all(most == 0xFF and not shift % 8 for most, shift in parts):
        places = [shift // 8 for _, shift in parts]
        return _mover([PIXEL - 1 - place for place in places] if wanted.big_endian else places)
    tables = [[(part * most + 127) // 255 << shift for part in range(256)] for most, shift in parts]
    return _mixer(TYPES[wanted.bits], tables, swaps=wanted.big_endian)


def _mover(places: Sequence[int]) -> Callable[[bytes], bytes]:
    """Blue, green and red of eight bits go to other bytes."""

    def moved(line: bytes) -> bytes:
        pixels = bytearray(len(line))
        for part, place in enumerate(places):
            pixels[place::PIXEL] = line[part::PIXEL]
        return bytes(pixels)

    return moved


def _mixer(kind: str, tables: Sequence[Sequence[int]], *, swaps: bool) -> Callable[[bytes], bytes]:
    """Each of them by a table, and then together."""

    def mixed(line: bytes) -> bytes:
        blue, green, red = (
            map(table.__getitem__, line[part::PIXEL]) for part, table in enumerate(tables)
        )
        pixels = array(kind, map(or_, map(or_, red, green), blue))
        if swaps:
            pixels.byteswap()
        return pixels.tobytes()

    return mixed
