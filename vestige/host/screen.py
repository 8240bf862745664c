"""What is told of a guest's screen to who asks: what the monitor said, and a copy of what is there.

Nothing is drawn here. Where characters, glyphs and dots are, loop/untrusted.py has bounded.
"""

from vestige import abi
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from _collections_abc import Sequence
    from typing import Any

KINDS = {
    abi.ScreenKind.ABSENT: "absent",
    abi.ScreenKind.BLANK: "blank",
    abi.ScreenKind.TEXT: "text",
    abi.ScreenKind.GRAPHICS: "graphics",
}
PART = 512 << 10  # bytes of dots that are told at once, of whole lines


def told(
    screen: abi.Screen, ram: memoryview, regions: "Sequence[memoryview]" = (), line: object = 0
) -> "dict[str, Any]":
    """Its `kind`, one of KINDS; of text all that it takes to draw it, of graphics from `line` on as
    much as is told at once. See docs/control.md.

    `screen`: as Untrusted has it; `ram`: the guest's; `regions`: the machine's.
    """
    match screen.kind:
        case abi.ScreenKind.TEXT:
            return _text(screen, ram)
        case abi.ScreenKind.GRAPHICS if screen.depth and screen.region <= len(regions):
            memory = regions[screen.region - 1] if screen.region else _window(screen, ram)
            return _graphics(screen, memory, line)
    return {"kind": KINDS[abi.ScreenKind(screen.kind)]}


def _text(screen: abi.Screen, ram: memoryview) -> "dict[str, Any]":
    cursor = None
    if screen.cursor_row != abi.NO_CURSOR:
        position = (screen.cursor_row, screen.cursor_column)
        cursor = (*position, screen.cursor_first, screen.cursor_last)
    size = screen.columns * abi.CELL_SIZE
    return {
        "kind": KINDS[abi.ScreenKind.TEXT],
        "columns": screen.columns,
        "rows": screen.rows,
        "width": screen.character_width,
        "height": screen.character_height,
        "dot_width": screen.dot_width,
        "dot_height": screen.dot_height,
        "blinks": bool(screen.blinks),
        "joins": bool(screen.joins),
        "cursor": cursor,
        "colours": list(screen.colours),
        "cells": _rows(screen, _window(screen, ram), range(screen.rows), size),
        "fonts": [bytes(ram[place : place + abi.FONT_SIZE]) for place in screen.fonts],
    }


def _graphics(screen: abi.Screen, memory: memoryview, line: object) -> "dict[str, Any]":
    """A line that there isn't is the first."""
    size = abi.line_size(screen.width, screen.depth)
    first = line if isinstance(line, int) and 0 <= line < screen.height else 0
    last = min(first + max(PART // size, 1), screen.height)
    return {
        "kind": KINDS[abi.ScreenKind.GRAPHICS],
        "width": screen.width,
        "height": screen.height,
        "depth": screen.depth,
        "dot_width": screen.dot_width,
        "dot_height": screen.dot_height,
        "palette": _palette(screen),
        "line": first,
        "dots": _rows(screen, memory, range(first, last), size),
    }


def _palette(screen: abi.Screen) -> list[int]:
    match screen.depth:
        case abi.SCREEN_PLANES:
            return list(screen.colours)
        case 8:
            return list(screen.palette)
    return []


def _window(screen: abi.Screen, ram: memoryview) -> memoryview:
    return ram[screen.window : screen.window + screen.window_size]


def _rows(screen: abi.Screen, memory: memoryview, numbers: range, size: int) -> bytes:
    """Row by row; one that reaches the memory's end goes on at its begin."""
    rows = bytearray()
    for number in numbers:
        first = (screen.start + number * screen.pitch) % len(memory)
        row = memory[first : first + size]
        rows += row
        rows += memory[: size - len(row)]
    return bytes(rows)
