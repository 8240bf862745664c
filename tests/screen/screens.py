"""A text screen as a run tells of it, for tests: small, or with nonsense in it."""

import base64
import json
from typing import Any

from vestige.abi import FONT_SIZE, GLYPH_SIZE

COLOURS = [16 * number for number in range(16)]
SOLID = bytes([0xFF]) * GLYPH_SIZE


def font(**glyphs: bytes) -> bytes:
    """One in which only these characters, by c and their numbers, have dots."""
    data = bytearray(FONT_SIZE)
    for name, lines in glyphs.items():
        first = int(name[1:]) * GLYPH_SIZE
        data[first : first + len(lines)] = lines
    return bytes(data)


def answer(cells: bytes, columns: int, **changed: Any) -> dict[str, Any]:
    """An answer, as it comes by JSON: bytes are in base64."""
    told = {
        "kind": "text",
        "columns": columns,
        "rows": len(cells) // columns // 2,
        "width": 9,
        "height": 2,
        "dot_width": 1,
        "dot_height": 1,
        "blinks": True,
        "joins": True,
        "cursor": None,
        "colours": COLOURS,
        "cells": cells,
        "fonts": [font(), font()],
    } | changed
    return dict(json.loads(json.dumps(told, default=in_base64)))


def in_base64(data: bytes) -> str:
    """As control/answers.py has it."""
    return base64.b64encode(data).decode()
