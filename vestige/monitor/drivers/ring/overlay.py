"""A disk in two files: a base, which is only read, and an overlay with what has been written.

A bit for each sector says whether the overlay has it, at the same place as on the disk. So nothing
is ever copied from the one to the other. A bit is set once the sector is in the overlay, before the
guest is told so, and never cleared. Several workers may set bits of one word.
"""

from vestige.abi import Disk
from vestige.lang.intrinsics import atomic_compare_exchange32, load8, load32
from vestige.lang.types import u8, u32, u64
from vestige.monitor.block import BlockRequest, Operation

WORD = 32  # sectors of a word of the map
ALL = 0xFFFF_FFFF


def is_written(disk: Disk, sector: u64) -> bool:
    """Whether the overlay has this sector."""
    return load8(u64(disk.overlay_map + sector // 8)) >> u8(sector % 8) & 1 != 0


def end_of_layer(disk: Disk, first: u64, end: u64, written: bool) -> u64:
    """Up to where the sectors behind `first` are in the same file as it, at most up to `end`.

    `written`: whether the overlay has `first`, as it was looked up once; by now it may have it.
    """
    alike: u32 = ALL if written else 0
    sector = u64(first + 1)
    while sector < end:
        word = load32(u64(disk.overlay_map + sector // WORD * 4))
        others = u32((word ^ alike) >> (sector & (WORD - 1)))
        if others:
            while not others & 1:
                others >>= 1
                sector = u64(sector + 1)
            return min(sector, end)
        sector = u64((sector // WORD + 1) * WORD)
    return end


def mark(disk: Disk, first: u64, count: u64) -> None:
    """So many sectors from `first` on are in the overlay."""
    sector = first
    end = u64(first + count)
    while sector < end:
        last = min(end, u64((sector // WORD + 1) * WORD))
        unused = u64(WORD - u64(last - sector))
        ones = u32(ALL >> (unused & 31) << (sector & 31))
        set_bits(u64(disk.overlay_map + sector // WORD * 4), ones)
        sector = last


def set_bits(place: u64, ones: u32) -> None:
    """In a word that others set bits of, too."""
    there = load32(place)
    while there & ones != ones:
        seen = atomic_compare_exchange32(place, there, there | ones)
        if seen == there:
            return
        there = seen


def mark_done(disk: Disk, request: BlockRequest) -> None:
    """The request has been done: what it wrote, or made a hole of, is in the overlay."""
    if request.operation == Operation.WRITE:
        mark(disk, request.lba, request.sectors)
    elif request.operation == Operation.DISCARD:
        for number in range(request.segment_count):
            segment = request.segments[number]
            mark(disk, segment.address, segment.length)
