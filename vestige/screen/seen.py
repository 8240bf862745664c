"""A text screen as a run has told it: characters, glyphs, colours.

Threat: who answers may be a subverted process. What it says is checked here, once; then any
character, attribute and glyph has a meaning.
"""

from typing import Any, NamedTuple

from vestige.abi import (
    CELL_SIZE,
    FONT_SIZE,
    GLYPH_SIZE,
    MAX_SCREEN_COLUMNS,
    MAX_SCREEN_ROWS,
    SCREEN_COLOURS,
)
from vestige.errors import GuestError
from vestige.screen.told import data, number

MOST_COORDINATE = 0xFFFF


class Cursor(NamedTuple):
    """Where it is, and the first and last line of a character that it has."""

    row: int
    column: int
    first: int
    last: int


class Cell(NamedTuple):
    """A character with its attribute."""

    character: int
    attribute: int


class Seen(NamedTuple):
    """A text screen. Sizes of characters are in dots, each of which may be two wide or high.

    `cells`: character and attribute, row by row; `colours`: 0xRRGGBB; `blinks`, `joins`: see
    abi.Screen.
    """

    columns: int
    rows: int
    cells: bytes
    fonts: tuple[bytes, bytes]
    colours: tuple[int, ...]
    width: int
    height: int
    dot_width: int
    dot_height: int
    blinks: bool
    joins: bool
    cursor: Cursor | None

    def row(self, number: int) -> list[Cell]:
        """The cells of a row, from the left."""
        size = self.columns * CELL_SIZE
        cells = self.cells[number * size : (number + 1) * size]
        return [Cell(*pair) for pair in zip(cells[::CELL_SIZE], cells[1::CELL_SIZE], strict=True)]


def read(answer: Any) -> Seen:
    """A text screen from the answer to the command `screen`. Raises GuestError for nonsense."""
    try:
        columns = number(answer["columns"], 1, MAX_SCREEN_COLUMNS)
        rows = number(answer["rows"], 1, MAX_SCREEN_ROWS)
        first, second = answer["fonts"]
        colours = tuple(number(each, 0, 0xFF_FFFF) for each in answer["colours"])
        if len(colours) != SCREEN_COLOURS:
            raise ValueError
        return Seen(
            columns,
            rows,
            _data(answer["cells"], columns * rows * CELL_SIZE),
            (_data(first, FONT_SIZE), _data(second, FONT_SIZE)),
            colours,
            number(answer["width"], 8, 9),
            number(answer["height"], 1, GLYPH_SIZE),
            number(answer["dot_width"], 1, 2),
            number(answer["dot_height"], 1, 2),
            answer["blinks"] is True,
            answer["joins"] is True,
            _cursor(answer["cursor"]),
        )
    except (KeyError, TypeError, ValueError):
        raise GuestError("the run tells of its screen what can't be") from None


def _cursor(told: Any) -> Cursor | None:
    if told is None:
        return None
    row, column, first, last = (number(each, 0, MOST_COORDINATE) for each in told)
    return Cursor(row, column, first, last)


def _data(told: Any, size: int) -> bytes:
    found = data(told)
    if len(found) != size:
        raise ValueError
    return found
