"""Random page tables, and the walk through them in CPython and compiled."""

import ctypes
import mmap
import random
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from tests import compiling
from vestige.efiemu.shell.memory import Memory
from vestige.efiemu.shell.vmcb import Vmcb
from vestige.efiemu.shell.walk import Access, Entry, Walk
from vestige.lang.native import NativeImage

PAGE, MIB = 0x1000, 1 << 20
RAM_SIZE = 8 * MIB
TABLES = 0x1_0000  # a page for each level, the root the last one
PAGES, LARGE_PAGES = 0x2_0000, 4 * MIB  # what they lead to
TARGET = 6 * MIB  # bits 20 to 29 of each linear address: where it leads to in a large page
ADDRESS_BITS = 40
CR0 = 1 << 31 | 1 << 16 | 1 << 5 | 1 << 4 | 1  # PG, WP, NE, ET, PE
PSE, PAE, LA57, SMEP, SMAP = 1 << 4, 1 << 5, 1 << 12, 1 << 20, 1 << 21
LONG_MODE, NO_EXECUTE_ENABLED = 1 << 8 | 1 << 10, 1 << 11


class Mode(NamedTuple):
    """A way of translating: its levels, and the linear address of an entry of the root."""

    levels: int
    index_bits: int
    cr4: int
    efer: int


LEGACY, PHYSICAL_EXTENSION = Mode(2, 10, PSE, 0), Mode(3, 9, PAE, 0)
FOUR_LEVELS, FIVE_LEVELS = Mode(4, 9, PAE, LONG_MODE), Mode(5, 9, PAE | LA57, LONG_MODE)
MODES = (LEGACY, PHYSICAL_EXTENSION, FOUR_LEVELS, FIVE_LEVELS)


class Ram:
    """A guest's memory, in this process."""

    def __init__(self) -> None:
        self.bytes = mmap.mmap(-1, RAM_SIZE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.bytes))
        self.memory = Memory(offset=self.address)
        self.memory.add(0, RAM_SIZE)

    def put(self, place: int, value: int, size: int) -> None:
        """A little-endian integer."""
        self.bytes[place : place + size] = value.to_bytes(size, "little")

    def get(self, place: int, size: int) -> int:
        """The one that is there."""
        return int.from_bytes(self.bytes[place : place + size], "little")


class Case(NamedTuple):
    """An access by way of tables."""

    mode: Mode
    vmcb: Vmcb
    linear: int
    access: Access
    entries: tuple[tuple[int, int], ...]  # place and value, the root's first

    def __str__(self) -> str:
        vmcb = self.vmcb
        entries = " ".join(f"{place:x}:{value:x}" for place, value in self.entries)
        return (
            f"{self.mode.levels} levels, {self.access.name} {self.linear:#x} privilege "
            f"{vmcb.privilege} CR0 {vmcb.cr0:#x} CR4 {vmcb.cr4:#x} EFER {vmcb.efer:#x} "
            f"RFLAGS {vmcb.flags:#x} entries {entries}"
        )

    def put(self, ram: Ram) -> None:
        """Put the tables there, and nothing else of tables."""
        ram.bytes[TABLES:PAGES] = bytes(PAGES - TABLES)
        for place, value in self.entries:
            ram.put(place, value, 4 if self.mode is LEGACY else 8)


class Seen(NamedTuple):
    """How a walk ended."""

    outcome: int
    physical: int
    fault: tuple[int, int, int]  # vector, error code, address
    tables: bytes


def random_case(chance: random.Random, mode: Mode, address_bits: int = ADDRESS_BITS) -> Case:
    """Most of it sound, so that each level is got to."""
    cr4 = mode.cr4 | chance.choice((0, SMEP)) | chance.choice((0, SMAP))
    if mode is LEGACY and chance.randrange(4) == 0:
        cr4 ^= PSE
    vmcb = Vmcb(
        cr0=CR0 ^ chance.choice((0, 1 << 16)), cr3=TABLES + PAGE * mode.levels, cr4=cr4,
        efer=mode.efer | chance.choice((0, NO_EXECUTE_ENABLED, NO_EXECUTE_ENABLED)),
        privilege=chance.choice((0, 3)), flags=0x3002 | chance.choice((0, 1 << 18)),
    )  # fmt: skip
    top = 12 + mode.index_bits * (mode.levels - 1)
    width = 32 if not mode.efer else top + mode.index_bits
    linear = chance.randrange(1 << top, 1 << width) & ~0x3FFF_FFFF if mode is not LEGACY else 0
    linear |= TARGET | chance.randrange(1 << 19) & ~0xFFF | chance.randrange(4000)
    if mode is LEGACY:
        linear |= chance.randrange(1, 1 << 9) << 23
    elif linear >> top == 0:
        linear |= 1 << top
    if mode.efer and linear >> width - 1:
        linear |= (1 << 64) - (1 << width)
    if mode.efer and chance.randrange(40) == 0:
        linear ^= 1 << chance.randrange(width, 64)
    access = chance.choice((Access.READ, Access.WRITE, Access.FETCH))
    return Case(mode, vmcb, linear, access, tuple(_entries(chance, mode, linear, address_bits)))


def _entries(
    chance: random.Random, mode: Mode, linear: int, address_bits: int
) -> list[tuple[int, int]]:
    found = []
    size = 4 if mode is LEGACY else 8
    for level in range(mode.levels, 0, -1):
        shift = 12 + mode.index_bits * (level - 1)
        place = TABLES + PAGE * level + size * (linear >> shift & (1 << mode.index_bits) - 1)
        no_rights = mode is PHYSICAL_EXTENSION and level == 3
        value = Entry.PRESENT if chance.randrange(25) else 0
        if not no_rights:
            value |= Entry.WRITABLE if chance.randrange(5) else 0
            value |= Entry.USER if chance.randrange(4) else 0
            value |= chance.choice((0, Entry.ACCESSED, Entry.ACCESSED | Entry.DIRTY))
            value |= chance.choice((0, 0, 0x200, 0x800))  # what the processor doesn't look at
        if size == 8 and not no_rights and chance.randrange(8) == 0:
            value |= Entry.NO_EXECUTE
        large = level in (2, 3) and not no_rights and chance.randrange(5) == 0
        if large:
            value |= Entry.LARGE
            place_of_page = {10: LARGE_PAGES, 9: LARGE_PAGES if level == 2 else 0}
            value |= place_of_page[mode.index_bits] | chance.choice((0, 0, 1 << 12, 1 << 8))
        elif level == 1:
            value |= chance.randrange(PAGES, LARGE_PAGES) & ~0xFFF
            value |= chance.choice((0, 0, 1 << 8, 1 << 3))
        else:
            value |= TABLES + PAGE * (level - 1)
        if chance.randrange(40) == 0:  # far away, or what may not be
            value |= 1 << chance.choice((chance.randrange(22, 8 * size), address_bits - 1, 7, 13))
            value &= (1 << 8 * size) - 1
        found.append((place, value))
    return found


def new_walk(address_bits: int = ADDRESS_BITS, *, gibibyte_pages: bool = True) -> Walk:
    """A walk of a processor with such physical addresses."""
    return Walk(address_bits=address_bits, gibibyte_pages=int(gibibyte_pages))


def interpret(case: Case, ram: Ram, walk: Walk) -> Seen:
    """The walk in CPython."""
    case.put(ram)
    outcome = walk.translate(case.vmcb, ram.memory, case.linear, case.access)
    return _seen(outcome, walk, ram)


def execute(case: Case, ram: Ram, walk: Walk) -> Seen:
    """The walk, compiled."""
    case.put(ram)
    outcome = compiled()["Walk.translate"](
        walk, case.vmcb, ram.memory, case.linear, int(case.access)
    )
    assert outcome is not None
    return _seen(outcome, walk, ram)


@cache
def compiled() -> NativeImage:
    """The code of all that is tested with it."""
    functions: list[Callable[..., object]] = [
        Walk.translate,
        Memory.holds,
        Memory.add,
        Memory.leave_out,
    ]
    return compiling.native(functions)


def _seen(outcome: int, walk: Walk, ram: Ram) -> Seen:
    fault = (walk.fault.vector, walk.fault.error, walk.fault.address)
    return Seen(int(outcome), walk.physical, fault, ram.bytes[TABLES:PAGES])
