"""A text screen on a terminal: what is sent to it when the screen changes. ECMA-48.

Characters are sent in UTF-8; colours are the terminal's own sixteen.
"""

from vestige.screen.seen import Cell, Seen
from vestige.screen.text import CHARACTERS

CLEAR = "\x1b[0m\x1b[2J\x1b[H"
NO_WRAP = "\x1b[?7l"
CURSOR_ON, CURSOR_OFF = "\x1b[?25h", "\x1b[?25l"
END = "\x1b[999;1H\n"  # leaves the cursor in a line of its own, below all
# Of a VGA's colours black, blue, green, cyan, red, magenta, brown and grey the terminal's numbers.
COLOURS = (0, 4, 2, 6, 1, 5, 3, 7)
FRONT, BACK, BRIGHT = 30, 40, 60  # SGR; what makes a colour of the other eight
INTENSE, BLINK = 1 << 3, 1 << 7  # of an attribute
TOO_SMALL = "the guest's screen has {} columns and {} rows; make the terminal as large"
GRAPHICS = "the guest's screen shows graphics; `vestige screen -o FILE.png` makes a picture of it"
BLANK = ""  # what is told of a screen that shows nothing


class Drawn:
    """What a terminal of so many columns and rows shows."""

    def __init__(self) -> None:
        self.size = 80, 25
        self._seen: Seen | None = None
        self._line: str | None = None

    def resize(self, columns: int, rows: int) -> None:
        """The terminal has another size, and shows anything."""
        self.size = columns, rows
        self._seen = self._line = None

    def show(self, seen: Seen | None, line: str = BLANK) -> bytes:
        """What is to be sent so that it shows this, or the line where there is no text."""
        if seen is not None and (seen.columns > self.size[0] or seen.rows > self.size[1]):
            return self._show_line(TOO_SMALL.format(seen.columns, seen.rows))
        if seen is None:
            return self._show_line(line)
        if seen == self._seen:
            return b""
        before = self._seen
        pieces = [NO_WRAP, CURSOR_OFF]
        if before is None or before[:2] != seen[:2] or before.blinks != seen.blinks:
            before = None
            pieces.append(CLEAR)
        for number in range(seen.rows):
            pieces.append(_row(seen, number, None if before is None else before.row(number)))
        cursor = seen.cursor
        is_seen = cursor is not None and cursor.first <= min(cursor.last, seen.height - 1)
        if cursor is not None and is_seen and cursor.row < seen.rows:
            pieces.append(_place(cursor.row, cursor.column) + CURSOR_ON)
        self._seen, self._line = seen, None
        return "".join(pieces).encode()

    def _show_line(self, line: str) -> bytes:
        if line == self._line:
            return b""
        self._seen, self._line = None, line
        columns, rows = self.size
        pieces = [line[first : first + columns] for first in range(0, len(line), columns or 1)]
        return (NO_WRAP + CLEAR + CURSOR_OFF + "\r\n".join(pieces[:rows])).encode()


def _place(row: int, column: int) -> str:
    return f"\x1b[{row + 1};{column + 1}H"


def _row(seen: Seen, number: int, before: list[Cell] | None) -> str:
    """From the first cell that is new to the last."""
    cells = seen.row(number)
    new = range(len(cells))
    if before is not None:
        changed = [place for place in new if cells[place] != before[place]]
        if not changed:
            return ""
        new = range(changed[0], changed[-1] + 1)
    pieces, attribute = [_place(number, new[0])], -1
    for place in new:
        cell = cells[place]
        if cell.attribute != attribute:
            attribute = cell.attribute
            pieces.append(_style(attribute, blinks=seen.blinks))
        pieces.append(CHARACTERS[cell.character])
    return "".join(pieces)


def _style(attribute: int, *, blinks: bool) -> str:
    front = FRONT + COLOURS[attribute & 7] + (BRIGHT if attribute & INTENSE else 0)
    back = BACK + COLOURS[attribute >> 4 & 7]
    more = ""
    if attribute & BLINK and blinks:
        more = ";5"
    elif attribute & BLINK:
        back += BRIGHT
    return f"\x1b[0;{front};{back}{more}m"
