"""Values of so many bytes: the mask of them, a part of a register, one byte; loads and stores."""

from vestige.lang.intrinsics import load8, load16, load32, store8, store16, store32
from vestige.lang.types import u8, u16, u32, u64

ONES = tuple((1 << 8 * size) - 1 for size in range(9))  # by size in bytes, 0 to 8


def part_of(register: u64, first: u8, size: u8) -> u64:
    """`size` bytes (0 to 8) of a register, from byte `first` of it on."""
    return register >> 8 * first & ONES[size]


def byte_of(value: u64, number: u8) -> u8:
    """One byte of a value; byte 0 is the lowest, which is at the lowest address."""
    return value >> 8 * number & 0xFF


def load_sized(address: u64, size: u8) -> u32:
    """1, 2 or 4 bytes at an address, in one access."""
    match size:
        case 1:
            return load8(address)
        case 2:
            return load16(address)
        case _:
            return load32(address)


def store_sized(address: u64, size: u8, value: u32) -> None:
    """The low 1, 2 or 4 bytes of a value, in one access."""
    match size:
        case 1:
            store8(address, u8(value))
        case 2:
            store16(address, u16(value))
        case _:
            store32(address, value)
