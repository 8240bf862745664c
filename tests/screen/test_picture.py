"""A screen as dots, and as a file."""

import struct
import zlib
from typing import Any

import pytest

from tests.screen.screens import COLOURS, SOLID, answer, font
from vestige.screen.picture import draw
from vestige.screen.png import encoded
from vestige.screen.seen import read

LETTER, LINE = 0x41, 0xC4
GLYPHS = font(c65=bytes([0b10000001, 0b01000000]), c196=SOLID)


def drawn(*cells: tuple[int, int], columns: int = 0, **changed: Any) -> list[str]:
    """Each dot's colour as a digit."""
    data = b"".join(map(bytes, cells))
    changed = {"fonts": [GLYPHS, GLYPHS]} | changed
    picture = draw(read(answer(data, columns or len(cells), **changed)))
    return ["".join(f"{dot:x}" for dot in line) for line in picture]


def test_a_character_is_its_glyph_in_its_colours_and_a_ninth_dot() -> None:
    assert drawn((LETTER, 0x17)) == ["711111171", "171111111"]
    assert drawn((LETTER, 0x17), width=8) == ["71111117", "17111111"]


def test_cells_are_beside_and_below_each_other() -> None:
    picture = drawn((LETTER, 7), (0, 0x20), (0, 0x30), (LETTER, 0x41), columns=2, width=8)
    assert picture == [
        *("7000000722222222", "0700000022222222"),
        *("3333333314444441", "3333333341444444"),
    ]


@pytest.mark.parametrize(("joins", "dot"), [(True, "7"), (False, "0")])
def test_lines_of_boxes_reach_the_next_character_or_do_not(joins: bool, dot: str) -> None:
    assert drawn((LINE, 7), joins=joins)[0] == "77777777" + dot


def test_bit_7_blinks_or_makes_the_background_bright() -> None:
    assert drawn((0, 0x97), height=1) == ["1" * 9]
    assert drawn((0, 0x97), height=1, blinks=False) == ["9" * 9]


def test_bit_3_makes_bright_and_chooses_the_second_font() -> None:
    fonts = [font(c65=SOLID), font()]
    assert drawn((LETTER, 7), (LETTER, 0xF), height=1, width=8, fonts=fonts) == [
        "77777777" + "00000000"
    ]
    assert drawn((LETTER, 0x0F), height=1, width=8, fonts=fonts[::-1]) == ["f" * 8]


def test_the_cursor_has_the_foreground_s_colour() -> None:
    place = {"height": 3, "width": 8}
    assert drawn((0, 7), (0, 0x12), cursor=[0, 1, 1, 1], **place) == [
        *("0000000011111111", "0000000022222222", "0000000011111111"),
    ]


@pytest.mark.parametrize("cursor", [[0, 2, 0, 5], [1, 0, 0, 5], [0, 0, 2, 1], [0, 0, 7, 9]])
def test_a_cursor_outside_is_none(cursor: list[int]) -> None:
    assert drawn((0, 7), (0, 7), cursor=cursor) == drawn((0, 7), (0, 7))


def test_a_dot_may_be_two_wide_and_two_high() -> None:
    assert drawn((LETTER, 7), width=8, dot_width=2, dot_height=2, height=1) == [
        *("7700000000000077",) * 2,
    ]


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Of a PNG; their sums are right."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found = []
    at = 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (checked,) = struct.unpack_from(">I", data, at + 8 + length)
        assert checked == zlib.crc32(kind + body)
        found.append((kind, body))
        at += 12 + length
    return found


def test_a_file_has_the_colours_and_all_dots() -> None:
    lines = [bytes([0, 1, 2]), bytes([15, 14, 13])]
    header, palette, data, end = chunks(encoded(lines, COLOURS))
    assert header == (b"IHDR", struct.pack(">IIBBBBB", 3, 2, 8, 3, 0, 0, 0))
    assert palette == (b"PLTE", b"".join(bytes([0, 0, colour]) for colour in COLOURS))
    assert zlib.decompress(data[1]) == b"\0\0\1\2\0\x0f\x0e\x0d"
    assert end == (b"IEND", b"")
