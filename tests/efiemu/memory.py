"""Memory below 1 TiB in this process, as physical memory is; and page tables in it, as read."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE

from vestige.lang.intrinsics import load64, syscall

MMAP, MUNMAP, FIXED_NOREPLACE = 9, 11, 0x10_0000
PLACE = 64 << 30
PRESENT, LARGE, ADDRESS = 1, 1 << 7, 0xF_FFFF_FFFF_F000


@contextmanager
def at(place: int, size: int) -> Iterator[int]:
    """Zeroed memory there, for a while: its address."""
    kind = MAP_PRIVATE | MAP_ANONYMOUS | FIXED_NOREPLACE
    address = syscall(MMAP, place, size, PROT_READ | PROT_WRITE, kind, (1 << 64) - 1, 0)
    assert address == place
    try:
        yield address
    finally:
        syscall(MUNMAP, place, size, 0, 0, 0, 0)


def physical(size: int) -> AbstractContextManager[int]:
    """The same at a multiple of 2 MiB."""
    return at(PLACE, size)


def translate(root: int, address: int) -> tuple[int, int] | None:
    """Physical address, and what all entries on the way allow; None: nothing is mapped."""
    table, allowed = root, (1 << 12) - 1
    for shift in (39, 30, 21, 12):
        entry = load64(table + 8 * (address >> shift & 511))
        if not entry & PRESENT:
            return None
        if shift == 12 or (shift < 39 and entry & LARGE):
            inside = (1 << shift) - 1
            return entry & ADDRESS & ~inside | address & inside, entry & allowed & ~LARGE
        table, allowed = entry & ADDRESS, allowed & entry
    raise AssertionError
