"""Source lines of the monitor's code, as ../lines.py packs them: each row as what it changes."""

from ctypes import sizeof

from vestige.lang.intrinsics import load8
from vestige.lang.types import Struct, u16, u32, u64

MORE = 1 << 7  # of a byte of a number: another follows
HALF = 7  # bits of it in a byte
CHANGES_FILE = 1 << 0  # of a row's second number: a third is the new file's; then the line's change
BACK = 1 << 1
CHANGE = 2  # bits before it


class Lines(Struct):
    """How the table begins; its rows follow."""

    count: u32
    size: u32  # bytes of code
    files: u32  # from the beginning: their names, each behind its length


def line_of(table: u64, offset: u64) -> tuple[u64, u16]:
    """Where the name of the file is, and the line; line 0: there is none for that place."""
    lines = Lines.at(table)
    at = u64(table + sizeof(Lines))
    place: u64 = 0
    file: u64 = 0
    line: u16 = 0
    if offset >= lines.size:
        return u64(table + lines.files), 0
    for _ in range(lines.count):
        at, step = number(at)
        place = u64(place + step)
        if place > offset:
            break
        at, change = number(at)
        if change & CHANGES_FILE:
            at, file = number(at)
        moved = u16(change >> CHANGE)
        line = u16(line - moved) if change & BACK else u16(line + moved)
    name = u64(table + lines.files)
    for _ in range(file):
        name = u64(name + 1 + load8(name))
    return name, line


def number(at: u64) -> tuple[u64, u64]:
    """What follows a number, and the number."""
    value: u64 = 0
    shift: u64 = 0
    more = MORE
    while more & MORE:
        more = load8(at)
        at = u64(at + 1)
        value |= u64((more & ~MORE) << shift)
        shift = (shift + HALF) & 63
    return at, value
