"""Looking at a screen: the memory that is mapped, as a mode and lines. Nothing is believed of it.

The guest goes on meanwhile: what it draws may be in some lines and not yet in others, until the
next look.
"""

import ctypes
from collections.abc import Sequence

from vestige import abi
from vestige.host.loop.untrusted import Untrusted
from vestige.host.viewer.memory import Seen
from vestige.screen.dots import numbers
from vestige.screen.picture import Painter
from vestige.screen.seen import Cursor
from vestige.screen.seen import Seen as Text
from vestige.viewer.frame import BLANK, Mode, blank

_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)


class Look:
    """One machine's screen. `text`: what it shows, if that is text."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._record = b""
        self._screen = abi.Screen()
        self._painter = Painter()
        self.text: Text | None = None
        self._rows: list[list[bytes]] = []  # of the text, drawn
        self._whole = b""  # of graphics, where lines follow each other
        self._mode = BLANK
        self._lines: Sequence[bytes] = blank(BLANK)

    def take_kind(self) -> int:
        """Which abi.ScreenKind there is now, and its `text`, not drawn."""
        screen = self._read_record()
        self.text = self._read_text(screen) if screen.kind == abi.ScreenKind.TEXT else None
        return screen.kind

    def _read_record(self) -> abi.Screen:
        record = self._seen.record()
        if bytes(memoryview(record)) != self._record:
            self._record = bytes(memoryview(record))
            self._screen = Untrusted.bounded(record)
            self._whole = b""
        return self._screen

    def take(self) -> tuple[Mode, Sequence[bytes]]:
        """What there is now. Lines that are as they were are the same objects."""
        screen = self._read_record()
        if screen.kind == abi.ScreenKind.TEXT:
            self._take_text(screen)
            return self._mode, self._lines
        self.text = None
        if screen.kind == abi.ScreenKind.GRAPHICS and screen.depth:
            size = screen.width, screen.height, screen.depth
            palette: tuple[int, ...] = ()
            if screen.depth == 8:
                palette = tuple(screen.palette)
            elif screen.depth == abi.SCREEN_PLANES:
                size, palette = (*size[:2], 8), tuple(screen.colours)
            mode = Mode(*size, screen.dot_width, screen.dot_height, palette)
            if mode.fits:
                self._take_graphics(screen, mode)
                return self._mode, self._lines
        self._mode, self._lines = BLANK, blank(BLANK)
        return self._mode, self._lines

    # ---- text -----------------------------------------------------------------------------

    def _take_text(self, screen: abi.Screen) -> None:
        before, seen = self.text, self._read_text(screen)
        if seen == before:
            return
        self.text = seen
        width = seen.columns * seen.width * seen.dot_width
        height = seen.rows * seen.height
        self._mode = Mode(width, height, 8, 1, seen.dot_height, seen.colours)
        alike = before is not None and _style(before) == _style(seen)
        drawn = []
        for number in range(seen.rows):
            if alike and before is not None and _row(before, number) == _row(seen, number):
                drawn.append(self._rows[number])
            else:
                drawn.append(self._painter.row(seen, number))
        self._rows = drawn
        self._lines = [line for row in drawn for line in row]

    def _read_text(self, screen: abi.Screen) -> Text:
        first = screen.window - abi.SCREEN_MEMORY
        window = self._seen.window[first : first + screen.window_size]
        size = screen.columns * abi.CELL_SIZE
        cursor = None
        if screen.cursor_row != abi.NO_CURSOR:
            position = screen.cursor_row, screen.cursor_column
            cursor = Cursor(*position, screen.cursor_first, screen.cursor_last)
        first_font, second_font = (self._font(place) for place in screen.fonts)
        return Text(
            screen.columns,
            screen.rows,
            b"".join(_lines(window, screen, range(screen.rows), size)),
            (first_font, second_font),
            tuple(screen.colours),
            screen.character_width,
            screen.character_height,
            screen.dot_width,
            screen.dot_height,
            bool(screen.blinks),
            bool(screen.joins),
            cursor,
        )

    def _font(self, place: int) -> bytes:
        first = place - abi.SCREEN_MEMORY
        return bytes(self._seen.window[first : first + abi.FONT_SIZE])

    # ---- graphics -------------------------------------------------------------------------

    def _take_graphics(self, screen: abi.Screen, mode: Mode) -> None:
        size = abi.line_size(mode.width, screen.depth)
        place = self._seen.places[screen.region]
        if screen.region:
            memory = self._seen.regions[screen.region - 1]
        else:
            first = screen.window - abi.SCREEN_MEMORY
            place += first
            memory = self._seen.window[first : first + screen.window_size]
        start, length = screen.start % len(memory), size * mode.height
        follow = screen.pitch == size and start + length <= len(memory)
        if follow and self._mode == mode and len(self._whole) == length:
            if _memcmp(place + start, self._whole, length) == 0:
                return
        if follow:
            self._whole = bytes(memory[start : start + length])
            lines = [self._whole[at : at + size] for at in range(0, length, size)]
        else:
            self._whole = b""
            lines = _lines(memory, screen, range(mode.height), size)
        if screen.depth == abi.SCREEN_PLANES:
            lines = [numbers(line)[: mode.width] for line in lines]
        self._mode, self._lines = mode, lines


def _style(seen: Text) -> tuple[object, ...]:
    return seen[:2], seen[3:-1]


def _row(seen: Text, number: int) -> tuple[bytes, Cursor | None]:
    """What is drawn in it."""
    size = seen.columns * abi.CELL_SIZE
    cursor = seen.cursor if seen.cursor is not None and seen.cursor.row == number else None
    return seen.cells[number * size : (number + 1) * size], cursor


def _lines(memory: memoryview, screen: abi.Screen, numbers: range, size: int) -> list[bytes]:
    """Line by line; one that reaches the memory's end goes on at its begin."""
    lines = []
    for number in numbers:
        first = (screen.start + number * screen.pitch) % len(memory)
        line = bytes(memory[first : first + size])
        lines.append(line if len(line) == size else line + bytes(memory[: size - len(line)]))
    return lines
