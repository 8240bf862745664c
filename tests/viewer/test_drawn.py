"""A text screen on a terminal: a small one here, which understands what is sent."""

import codecs
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.screen.screens import answer
from vestige.screen.seen import Seen, read
from vestige.screen.text import CHARACTERS
from vestige.viewer.drawn import COLOURS, GRAPHICS, Drawn

TOKEN = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])|(.)", re.DOTALL)

UNFINISHED = re.compile(r"\x1b(\[[?0-9;]*)?\Z")


class Terminal:
    """Characters with their styles; the cursor."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.cells: dict[tuple[int, int], tuple[str, str]] = {}
        self.row = self.column = 0
        self.style, self.shows_cursor = "0", True
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._coming = ""

    def take(self, data: bytes) -> None:
        text = self._coming + self._decoder.decode(data)
        whole = UNFINISHED.sub("", text)
        self._coming = text[len(whole) :]
        for private, numbers, last, character in TOKEN.findall(whole):
            if character in ("\r", "\n"):
                self.row, self.column = self.row + (character == "\n"), 0
            elif character:
                assert self.row < self.rows
                assert self.column < self.columns
                self.cells[self.row, self.column] = (character, self.style)
                self.column += 1
            elif last == "H":
                row, _, column = numbers.partition(";")
                self.row, self.column = int(row or 1) - 1, int(column or 1) - 1
            elif last == "J":
                self.cells.clear()
            elif last == "m":
                self.style = numbers
            else:
                assert (private, numbers) in (("?", "25"), ("?", "7"))
                self.shows_cursor = last == "h" if numbers == "25" else self.shows_cursor

    def line(self, row: int) -> str:
        return "".join(self.cells.get((row, at), (" ", ""))[0] for at in range(self.columns))


def screen(cells: bytes, columns: int = 4, **changed: Any) -> Seen:
    return read(answer(cells, columns, height=16, **changed))


@given(st.lists(st.binary(min_size=24, max_size=24), min_size=1, max_size=5), st.booleans())
def test_a_terminal_shows_what_the_screen_shows(screens: list[bytes], blinks: bool) -> None:
    drawn, terminal = Drawn(), Terminal(80, 25)
    for cells in screens:
        seen = screen(cells, blinks=blinks)
        terminal.take(drawn.show(seen))
        for row in range(seen.rows):
            for column, cell in enumerate(seen.row(row)):
                character, style = terminal.cells[row, column]
                assert character == CHARACTERS[cell.character]
                _, front, back, *more = map(int, style.split(";"))
                assert front % 10 == COLOURS[cell.attribute & 7]
                assert (front >= 90) is bool(cell.attribute & 8)
                assert back % 10 == COLOURS[cell.attribute >> 4 & 7]
                assert (more == [5]) is (blinks and cell.attribute >= 0x80)
                assert (back >= 100) is (not blinks and cell.attribute >= 0x80)
        assert drawn.show(seen) == b""


def test_only_what_has_changed_is_sent() -> None:
    drawn, terminal = Drawn(), Terminal(80, 25)
    drawn.show(screen(bytes(2000), 40))
    terminal.take(drawn.show(screen(bytes(1000) + b"a\7" + bytes(998), 40)))
    assert terminal.cells == {(12, 20): ("a", "0;37;40")}


@pytest.mark.parametrize(
    ("cursor", "place"), [((1, 2, 0, 15), (1, 2)), ((1, 2, 14, 3), None), (None, None)]
)
def test_the_cursor_is_where_the_guests_is(
    cursor: tuple[int, ...] | None, place: tuple[int, int] | None
) -> None:
    terminal = Terminal(80, 25)
    terminal.take(Drawn().show(screen(bytes(24), cursor=cursor)))
    assert terminal.shows_cursor is (place is not None)
    assert place is None or (terminal.row, terminal.column) == place


def test_a_terminal_that_is_too_small_gets_one_line() -> None:
    drawn, terminal = Drawn(), Terminal(60, 2)
    drawn.resize(60, 2)
    seen = screen(bytes(24), 4)
    terminal.take(drawn.show(seen))
    assert terminal.line(0) == "the guest's screen has 4 columns and 3 rows; make the termin"
    assert terminal.line(1).rstrip() == "al as large"
    assert drawn.show(seen) == b""
    drawn.resize(60, 3)
    assert drawn.show(seen)


def test_graphics_and_a_blank_screen_are_told() -> None:
    drawn, terminal = Drawn(), Terminal(100, 25)
    drawn.resize(100, 25)
    terminal.take(drawn.show(None, GRAPHICS))
    assert terminal.line(0).rstrip() == GRAPHICS
    terminal.take(drawn.show(None))
    assert not terminal.cells
