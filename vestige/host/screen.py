"""What is told of a guest's screen to who asks: what the monitor said, and a copy of what is there.

Nothing is drawn here. Where characters and glyphs are, loop/untrusted.py has bounded.
"""

from vestige import abi
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

KINDS = {
    abi.ScreenKind.ABSENT: "absent",
    abi.ScreenKind.BLANK: "blank",
    abi.ScreenKind.TEXT: "text",
    abi.ScreenKind.GRAPHICS: "graphics",
}


def told(screen: abi.Screen, ram: memoryview) -> "dict[str, Any]":
    """Its `kind`, one of KINDS; of a text screen all that it takes to draw it. See docs/control.md.

    `screen`: as Untrusted has it; `ram`: the guest's.
    """
    if screen.kind != abi.ScreenKind.TEXT:
        return {"kind": KINDS[abi.ScreenKind(screen.kind)]}
    cursor = None
    if screen.cursor_row != abi.NO_CURSOR:
        position = (screen.cursor_row, screen.cursor_column)
        cursor = (*position, screen.cursor_first, screen.cursor_last)
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
        "cells": _cells(screen, ram),
        "fonts": [bytes(ram[place : place + abi.FONT_SIZE]) for place in screen.fonts],
    }


def _cells(screen: abi.Screen, ram: memoryview) -> bytes:
    """Row by row; one that reaches the window's end goes on at its begin."""
    window = bytes(ram[screen.window : screen.window + screen.window_size])
    size = screen.columns * abi.CELL_SIZE
    rows = []
    for number in range(screen.rows):
        first = (screen.start + number * screen.pitch) % screen.window_size
        rows.append((window[first : first + size] + window)[:size])
    return b"".join(rows)
