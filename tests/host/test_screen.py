"""What is told of a guest's screen: a copy from where the monitor says, bounded."""

import random
from collections.abc import Iterator
from contextlib import closing

import pytest

from vestige import abi
from vestige.host.control.answers import json_of
from vestige.host.kvm.memory import PrivateMemory
from vestige.host.loop.untrusted import Untrusted
from vestige.host.screen import told

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
