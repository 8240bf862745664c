"""What is told of a guest's screen: a copy from where the monitor says, bounded."""

import json
import random
from collections.abc import Iterator
from contextlib import closing

import pytest

from vestige import abi
from vestige.host.control.answers import LONGEST, json_of
from vestige.host.kvm.memory import PrivateMemory
from vestige.host.loop.untrusted import Untrusted
from vestige.host.screen import told
from vestige.screen import dots

RAM = bytearray(random.Random(1).randbytes(1 << 20))
TEXT = 0xB8000


@pytest.fixture
def private() -> Iterator[PrivateMemory]:
    with closing(PrivateMemory()) as memory:
        yield memory


def screen() -> abi.Screen:
    """A small one."""
    return abi.Screen(
        kind=abi.ScreenKind.TEXT,
        columns=40,
        rows=3,
        pitch=100,
        window=TEXT,
        window_size=0x8000,
        start=16,
        cursor_row=abi.NO_CURSOR,
        fonts=(abi.SCREEN_MEMORY, abi.SCREEN_MEMORY + 0x4000),
    )


def test_rows_are_where_the_pitch_says() -> None:
    cells = told(screen(), memoryview(RAM))["cells"]
    firsts = [TEXT + 16 + 100 * row for row in range(3)]
    assert cells == b"".join(RAM[first : first + 80] for first in firsts)


def test_a_row_goes_on_at_the_window_s_begin() -> None:
    seen = screen()
    seen.rows, seen.start = 2, 0x8000 - 30
    cells = told(seen, memoryview(RAM))["cells"]
    end = TEXT + 0x8000
    assert cells[:80] == RAM[end - 30 : end] + RAM[TEXT : TEXT + 50]
    assert cells[80:] == RAM[TEXT + 70 : TEXT + 150]


def test_fonts_colours_and_cursor_are_told() -> None:
    seen = screen()
    seen.cursor_row, seen.cursor_column, seen.cursor_first, seen.cursor_last = 1, 2, 3, 4
    seen.colours[15] = 0xABCDEF
    answer = told(seen, memoryview(RAM))
    assert answer["fonts"] == [RAM[place : place + abi.FONT_SIZE] for place in (0xA0000, 0xA4000)]
    assert answer["cursor"] == (1, 2, 3, 4)
    assert answer["colours"][15] == 0xABCDEF
    assert told(screen(), memoryview(RAM))["cursor"] is None


@pytest.mark.parametrize("kind", [abi.ScreenKind.ABSENT, abi.ScreenKind.BLANK])
def test_of_a_screen_without_text_only_its_kind_is_told(kind: abi.ScreenKind) -> None:
    seen = screen()
    seen.kind = kind
    assert told(seen, memoryview(RAM)) == {"kind": kind.name.lower()}


def test_whatever_a_monitor_says_is_bounded(private: PrivateMemory) -> None:
    chance = random.Random(2)
    untrusted = Untrusted(private, 1)
    place = memoryview(private.shared().screen).cast("B")
    for _ in range(500):
        place[:] = bytes(chance.choice((0, 1, 0xFF, chance.getrandbits(8))) for _ in place)
        private.shared().screen.kind = abi.ScreenKind.TEXT
        answer = told(untrusted.screen(), memoryview(RAM))
        assert len(answer["cells"]) == answer["columns"] * answer["rows"] * abi.CELL_SIZE > 0
        assert [len(font) for font in answer["fonts"]] == [abi.FONT_SIZE] * 2
        assert len(json_of(answer)) < 200_000


REGION = bytes(random.Random(3).randbytes(1 << 20)) * 16


def graphics(**changed: int) -> abi.Screen:
    """Of the region, or of the window."""
    told = {"kind": abi.ScreenKind.GRAPHICS, "width": 100, "height": 50, "depth": 16, "region": 1}
    told |= {"pitch": 300, "start": 8, "dot_width": 1, "dot_height": 1}
    return abi.Screen(**(told | changed))


def test_lines_of_graphics_are_where_the_pitch_says() -> None:
    answer = told(graphics(), memoryview(RAM), [memoryview(REGION)])
    lines = [REGION[8 + 300 * line :][:200] for line in range(50)]
    assert answer["dots"] == b"".join(lines)
    assert (answer["width"], answer["height"], answer["line"]) == (100, 50, 0)
    assert answer["palette"] == []


def test_lines_of_graphics_in_ram_go_on_at_the_window_s_begin() -> None:
    seen = graphics(region=0, depth=8, window=0xA0000, window_size=0x10000, start=0x10000 - 40)
    answer = told(seen, memoryview(RAM), [memoryview(REGION)])
    assert answer["dots"][:100] == RAM[0xAFFD8:0xB0000] + RAM[0xA0000:0xA003C]
    assert len(answer["palette"]) == 256


def test_lines_of_planes_have_a_byte_of_each_for_eight_dots() -> None:
    seen = graphics(depth=4, width=20)
    seen.colours[15] = 0xABCDEF
    answer = told(seen, memoryview(RAM), [memoryview(REGION)])
    assert answer["dots"][:24] == REGION[8:20] + REGION[308:320]
    assert (len(answer["palette"]), answer["palette"][15]) == (16, 0xABCDEF)


def test_graphics_of_no_depth_are_only_said_to_be_such() -> None:
    answer = told(graphics(depth=0), memoryview(RAM), [memoryview(REGION)])
    assert answer == {"kind": "graphics"}
    assert told(graphics(), memoryview(RAM)) == {"kind": "graphics"}


def test_a_large_screen_is_told_in_parts_of_whole_lines() -> None:
    seen = graphics(width=1920, height=1080, depth=32, pitch=7680, start=0)
    data, line = b"", 0
    while line < 1080:
        answer = told(seen, memoryview(RAM), [memoryview(REGION)], line)
        assert len(json_of(answer)) < LONGEST
        assert answer["line"] == line
        data += answer["dots"]
        line = len(data) // 7680
    assert data == REGION[: 1080 * 7680]
    for odd in (1080, -1, None, "x", 1 << 70):
        assert told(seen, memoryview(RAM), [memoryview(REGION)], odd)["line"] == 0


def test_whatever_a_monitor_says_of_graphics_is_bounded(private: PrivateMemory) -> None:
    chance = random.Random(4)
    untrusted = Untrusted(private, 1)
    place = memoryview(private.shared().screen).cast("B")
    for _ in range(500):
        place[:] = bytes(chance.choice((0, 1, 0xFF, chance.getrandbits(8))) for _ in place)
        private.shared().screen.kind = abi.ScreenKind.GRAPHICS
        private.shared().screen.depth = chance.choice((0, 4, 8, 15, 16, 24, 32, 33))
        answer = told(untrusted.screen(), memoryview(RAM), [memoryview(REGION)])
        assert len(json_of(answer)) < LONGEST
        if "dots" in answer:
            size = abi.line_size(answer["width"], answer["depth"])
            assert len(answer["dots"]) % size == 0
            assert dots.read(json.loads(json_of(answer))).dots == answer["dots"]
