"""Graphics as a run tells of them, and as pictures."""

import json
import struct
import zlib
from typing import Any

import pytest

from tests.screen.screens import in_base64
from vestige.errors import GuestError
from vestige.screen import dots, png
from vestige.screen.dots import Part

PALETTE = [number << 16 | 7 for number in range(256)]


def answer(data: bytes, **changed: Any) -> dict[str, Any]:
    """Of two lines of two dots."""
    told = {"kind": "graphics", "width": 2, "height": 2, "depth": 8, "dot_width": 1}
    told |= {"dot_height": 1, "palette": PALETTE, "line": 0, "dots": data} | changed
    if told["depth"] != 8 and "palette" not in changed:
        told["palette"] = []
    return dict(json.loads(json.dumps(told, default=in_base64)))


@pytest.mark.parametrize(
    ("depth", "data", "lines"),
    [
        (8, b"\1\2\3\4", [b"\1\2", b"\3\4"]),
        (15, bytes.fromhex("007c e003 1f00 ffff"), ["ff000000ff00", "0000ffffffff"]),
        (16, bytes.fromhex("00f8 e007 1f00 0208"), ["ff000000ff00", "0000ff080010"]),
        (24, bytes.fromhex("010203 040506 070809 0a0b0c"), ["030201060504", "0908070c0b0a"]),
        (
            32,
            bytes.fromhex("01020399 04050699 07080999 0a0b0c99"),
            ["030201060504", "0908070c0b0a"],
        ),
    ],
)
def test_dots_are_blue_green_red_from_the_lowest_bit(
    depth: int, data: bytes, lines: list[str | bytes]
) -> None:
    mode = dots.read(answer(data, depth=depth))
    drawn = dots.pixels(mode, mode.lines)
    assert drawn == [each if isinstance(each, bytes) else bytes.fromhex(each) for each in lines]


def test_dots_of_4_bits_are_a_bit_of_each_plane() -> None:
    line = bytes.fromhex("80018000 c0000040")
    mode = dots.read(answer(2 * line, width=12, depth=4, palette=PALETTE[:16]))
    first = bytes.fromhex("05000000 00000002 01090000")
    assert dots.pixels(mode, mode.lines) == [first, first]


def test_dots_are_as_wide_and_high_as_is_said() -> None:
    mode = dots.read(answer(b"\1\2\3\4", dot_width=2, dot_height=3))
    assert dots.pixels(mode, mode.lines) == [b"\1\1\2\2"] * 3 + [b"\3\3\4\4"] * 3


def test_a_picture_of_all_colours_is_read_back() -> None:
    lines = [bytes(range(12)), bytes(range(100, 112))]
    data = png.encoded(lines)
    width, height, depth, kind = struct.unpack_from(">IIBB", data, 16)
    assert (width, height, depth, kind) == (4, 2, 8, 2)
    start = data.index(b"IDAT") + 4
    assert zlib.decompress(data[start:-16]) == b"".join(b"\0" + line for line in lines)


def test_a_screen_is_asked_for_until_all_lines_are_there() -> None:
    asked: list[int] = []

    def ask(line: int) -> Any:
        asked.append(line)
        return answer(bytes((2 * line, 2 * line + 1)), height=4, line=line)

    mode, lines = dots.look(ask)
    assert (mode.height, asked) == (4, [0, 1, 2, 3])
    assert lines == [b"\0\1", b"\2\3", b"\4\5", b"\6\7"]


@pytest.mark.parametrize("changed", [{"width": 1}, {"height": 3}, {"line": 0}, {"dot_width": 2}])
def test_a_mode_that_is_set_meanwhile_is_told(changed: dict[str, int]) -> None:
    def ask(line: int) -> Any:
        told = {"height": 4, "line": line} | (changed if line else {})
        return answer(bytes(2), **told)

    with pytest.raises(GuestError, match="another mode"):
        dots.look(ask)


@pytest.mark.parametrize(
    "changed",
    [
        {"width": 0}, {"width": 1 << 20}, {"height": 0}, {"height": 1 << 24}, {"depth": 7},
        {"depth": 33}, {"depth": 16, "palette": PALETTE}, {"depth": 4, "palette": PALETTE},
        {"palette": PALETTE[1:]}, {"line": 2},
        {"palette": [1 << 24] * 256}, {"dots": ""}, {"dots": "AAA"}, {"dots": None}, {"line": -1},
        {"dot_width": 0}, {"dot_height": 65}, {"width": "2"}, {"width": 2.0}, {"width": 3},
        {"height": 1},
    ],
)  # fmt: skip
def test_nonsense_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(GuestError, match="what can't be"):
        dots.read(answer(b"\1\2\3\4", **changed))


def test_a_part_knows_its_lines() -> None:
    part = Part(3, 9, 16, 1, 1, (), 4, bytes(12))
    assert (part.size, part.lines) == (6, [bytes(6)] * 2)
