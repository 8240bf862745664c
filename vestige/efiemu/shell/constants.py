"""What the application's file has besides code: its checks, and what the block has at first."""

from ctypes import sizeof

from vestige.efiemu.shell.expand import expand
from vestige.lang.intrinsics import copy
from vestige.lang.types import Struct, u16, u32, u64


class Constants(Struct):
    """How they begin. All is at offsets from here."""

    checks: u32  # a table of checks, of the shell's: see build.py
    monitor_check_count: u32  # of the monitor's, whose table is a load
    loads: u32  # Loads
    load_count: u32


class Check(Struct):
    """A row of a table of checks. Strings are at offsets from the table, behind their lengths."""

    file: u16
    line: u16
    reason: u16


class Load(Struct):
    """What is in the shell's memory before the monitor's first instruction, for it or of it."""

    place: u32  # in the block
    offset: u32
    size: u32
    packed: u32  # bytes there: an LZ4 block, if they are fewer


def load_all(constants: u64, block: u64) -> None:
    """Put all loads where they belong."""
    table = Constants.at(constants)
    for number in range(table.load_count):
        load = Load.at(u64(constants + table.loads + sizeof(Load) * number))
        source, place = u64(constants + load.offset), u64(block + load.place)
        if load.packed < load.size:
            expand(source, load.packed, place, load.size)
        else:
            copy(place, source, load.size)
