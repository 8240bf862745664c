"""Which line of which file the monitor's code is of: the table that shell/lines.py reads."""

import ctypes

from vestige.efiemu.shell.lines import CHANGES_FILE, HALF, MORE, Lines
from vestige.efiemu.shell.state import LONGEST
from vestige.lang.image import Image


def table(image: Image) -> bytes:
    """The table of an image's code."""
    files: dict[str, int] = {}
    rows, count = b"", 0
    last = (0, "", 0)
    for offset, file, line in image.lines():
        if (file, line) == last[1:]:
            continue
        moved = line - last[2]
        change = abs(moved) << 2 | (moved < 0) << 1 | (file != last[1])
        rows += _number(offset - last[0]) + _number(change)
        if change & CHANGES_FILE:
            rows += _number(files.setdefault(file, len(files)))
        last, count = (offset, file, line), count + 1
    head = Lines(count=count, size=image.code_size, files=ctypes.sizeof(Lines) + len(rows))
    return bytes(head) + rows + b"".join(map(string, files))


def string(text: str) -> bytes:
    """As the shell reads one: behind its length, and no longer than a line."""
    letters = text.encode("ascii", "replace")[:LONGEST]
    return bytes([len(letters)]) + letters


def _number(value: int) -> bytes:
    """Seven bits a byte, the low ones first."""
    found = b""
    while value >= MORE:
        found += bytes([value % MORE | MORE])
        value >>= HALF
    return found + bytes([value])
