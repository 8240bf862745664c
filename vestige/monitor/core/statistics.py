"""Counting traps by port or register: what `--stats` shows of the monitor."""

from vestige.abi import (
    ECAM,
    ECAM_SIZE,
    FLASH,
    FLASH_SIZE,
    TRAP_COUNTS,
    WINDOW,
    WINDOW_SIZE,
    Statistics,
)
from vestige.lang.types import u32, u64

HASH_SHIFT = 64 - (TRAP_COUNTS.bit_length() - 1)  # leaves the bits of a place
PROBES = 16  # places looked at for one address


def count_memory(statistics: Statistics, address: u64, kind: u32) -> None:
    """Count one access to memory. Registers of configuration space count together for all
    functions, and all of the window, or of a flash memory, is one.
    """
    if address < ECAM + ECAM_SIZE:
        if address >= ECAM:
            address = ECAM | address & 0xFFF
        elif WINDOW <= address < WINDOW + WINDOW_SIZE:
            address = WINDOW
    elif FLASH <= address < FLASH + FLASH_SIZE:
        address = FLASH
    count_trap(statistics, address, kind)


def count_trap(statistics: Statistics, address: u64, kind: u32) -> None:
    """Count one access, or what else `kind` says."""
    place = hashed(address, kind)
    for _ in range(PROBES):
        trap = statistics.traps[place]
        if trap.count == 0:
            trap.address = address
            trap.kind = kind
        if trap.address == address and trap.kind == kind:
            trap.count += 1
            return
        place = (place + 1) % TRAP_COUNTS
    statistics.traps_elsewhere += 1


def hashed(address: u64, kind: u32) -> u32:
    """Where to begin to look: neighbouring ports spread, and reads and writes apart."""
    mixed = u64(((address << 4) ^ kind) * 0x9E37_79B9_7F4A_7C15)
    return mixed >> HASH_SHIFT
