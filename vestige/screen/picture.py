"""A text screen as a picture: a byte a dot, the number of its colour.

IBM Personal System/2 Hardware Interface Technical Reference (1988), "Video Subsystem", Alphanumeric
Modes. What blinks is shown while it is there.
"""

from vestige.abi import GLYPH_SIZE
from vestige.screen.seen import Cell, Cursor, Seen

INTENSE = 1 << 3  # of an attribute: the foreground's, and the second font
JOINED = range(0xC0, 0xE0)  # characters whose ninth dot may be as their eighth
EIGHT = 8
MOST_DRAWN = 4096  # characters that are kept: 4 MiB of them


def draw(seen: Seen) -> list[bytes]:
    """Its lines from the top, dots from the left."""
    painter = Painter()
    rows = [painter.row(seen, number) for number in range(seen.rows)]
    return [line for row in rows for line in row for _ in range(seen.dot_height)]


class Painter:
    """Draws rows of characters, and keeps each character as it was drawn last."""

    def __init__(self) -> None:
        self._style: tuple[object, ...] = ()
        self._drawn: dict[Cell, tuple[bytes, ...]] = {}

    def row(self, seen: Seen, number: int) -> list[bytes]:
        """The lines of a row, from the top, each once."""
        style = seen.fonts, seen.width, seen.height, seen.dot_width, seen.blinks, seen.joins
        if style != self._style or len(self._drawn) > MOST_DRAWN:
            self._style = style
            self._drawn.clear()
        cells = [self._lines_of(seen, cell) for cell in seen.row(number)]
        if seen.cursor is not None and seen.cursor.row == number:
            _draw_cursor(seen, seen.cursor, cells)
        return [b"".join(line) for line in zip(*cells, strict=True)]

    def _lines_of(self, seen: Seen, cell: Cell) -> tuple[bytes, ...]:
        lines = self._drawn.get(cell)
        if lines is None:
            lines = tuple(_line(seen, cell, number) for number in range(seen.height))
            self._drawn[cell] = lines
        return lines


def _line(seen: Seen, cell: Cell, number: int) -> bytes:
    """One line of a character."""
    font = seen.fonts[cell.attribute & INTENSE != 0]
    dots = font[cell.character * GLYPH_SIZE + number]
    front, back = _colours(seen, cell.attribute)
    drawn = [front if dots >> 7 - dot & 1 else back for dot in range(EIGHT)]
    if seen.width > EIGHT:
        drawn.append(drawn[-1] if seen.joins and cell.character in JOINED else back)
    return bytes(dot for dot in drawn for _ in range(seen.dot_width))


def _colours(seen: Seen, attribute: int) -> tuple[int, int]:
    """Of the foreground and of the background."""
    return attribute & 0xF, attribute >> 4 & (7 if seen.blinks else 0xF)


def _draw_cursor(seen: Seen, cursor: Cursor, cells: list[tuple[bytes, ...]]) -> None:
    """Its lines have the foreground's colour all through."""
    if cursor.column >= seen.columns:
        return
    front, _ = _colours(seen, seen.row(cursor.row)[cursor.column].attribute)
    line = bytes([front]) * (seen.width * seen.dot_width)
    cells[cursor.column] = tuple(
        line if cursor.first <= number <= cursor.last else drawn
        for number, drawn in enumerate(cells[cursor.column])
    )
