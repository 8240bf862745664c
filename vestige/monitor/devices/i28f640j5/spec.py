"""Commands, status and query data of the flash memory. Intel 28F640J5 data sheet (290606), Basic
Command Set; JEDEC JESD68.01, Common Flash Interface; Intel application note AP-646.

Size, blocks of 4 KiB, one byte an address and the numbers of the query data are those of QEMU's PC
(`cfi.pflash01`), which OVMF is made for.
"""

from vestige.lang.enumeration import IntEnum
from vestige.lang.types import u8, u32

BLOCK = 4096  # bytes that an erase sets
ERASED = 0xFF
BUFFER = 32  # bytes of a Write to Buffer at most, 4.8


class Command(IntEnum):
    """What a write says, where it is the first of a command."""

    PROGRAM_10 = 0x10  # as PROGRAM
    ERASE = 0x20  # then CONFIRM, in the block
    PROGRAM = 0x40  # then the byte, at its address
    CLEAR_STATUS = 0x50
    LOCK = 0x60  # then LOCK_SET, or CONFIRM: all blocks are unlocked
    READ_STATUS = 0x70
    READ_IDENTIFIERS = 0x90
    QUERY = 0x98
    WRITE_TO_BUFFER = 0xE8  # then a count less 1, so many bytes at their addresses, CONFIRM
    READ_ARRAY = 0xFF


CONFIRM = 0xD0
LOCK_SET = 0x01


class Status(IntEnum):
    """Bits of the status register."""

    PROGRAM_ERROR = 1 << 4
    ERASE_ERROR = 1 << 5  # with PROGRAM_ERROR: no such sequence of writes
    READY = 1 << 7


class Reads(IntEnum):
    """What reads give."""

    ARRAY = 0
    STATUS = 1
    IDENTIFIERS = 2
    QUERY = 3


class Step(IntEnum):
    """What the next write is."""

    COMMAND = 0
    BYTE = 1  # to be programmed
    ERASE_CONFIRM = 2
    LOCK_CONFIRM = 3
    COUNT = 4
    BUFFER_BYTE = 5
    BUFFER_CONFIRM = 6


MANUFACTURER, DEVICE = 0x89, 0x15  # at offsets 0 and 1 of the identifiers

QUERY_FIRST = 0x10
# From QUERY_FIRST on; what depends on the size is in `query`.
QUERY_DATA = (
    *(0x51, 0x52, 0x59),  # QRY
    *(0x01, 0x00),  # primary command set: Intel/Sharp's extended one
    *(0x31, 0x00),  # where its table is
    *(0x00, 0x00, 0x00, 0x00),  # no alternate one
    *(0x45, 0x55, 0x00, 0x00),  # VCC 4.5 to 5.5 V, no VPP
    *(0x07, 0x07, 0x0A, 0x00),  # a byte or a buffer takes 2^7 us, a block 2^10 ms, no chip erase
    *(0x04, 0x04, 0x04, 0x00),  # at most 2^4 times as long
    *(0x00,),  # size, a power of 2
    *(0x02, 0x00),  # by 8 or 16 bits
    *(0x05, 0x00),  # a buffer has 2^5 bytes
    *(0x01,),  # all blocks are alike
    *(0x00, 0x00),  # how many less 1
    *(BLOCK >> 8 & 0xFF, BLOCK >> 16),  # of so many times 256 bytes
    *(0x50, 0x52, 0x49, 0x31, 0x30),  # PRI, version 1.0
    *(0x00, 0x00, 0x00, 0x00),  # none of the optional features
    *(0x00,),  # nothing while an erase is suspended
    *(0x00, 0x00),  # no block has a lock
    *(0x00, 0x00, 0x00),  # no best voltages, no protection registers
)
SIZE_AT, BLOCKS_AT = 0x27, 0x2D


def query(offset: u32, size: u32) -> u8:
    """A byte of the query data of a memory of `size` bytes; 0 where there is none."""
    blocks = size // BLOCK - 1
    if offset == SIZE_AT:
        return power_of(size)
    if offset == BLOCKS_AT:
        return blocks & 0xFF
    if offset == BLOCKS_AT + 1:
        return blocks >> 8 & 0xFF
    if QUERY_FIRST <= offset < QUERY_FIRST + len(QUERY_DATA):
        return QUERY_DATA[offset - QUERY_FIRST]
    return 0


def power_of(size: u32) -> u8:
    """The least n for which 2^n is no less than `size`."""
    for n in range(32):
        if size <= 1 << n:
            return n
    return 32
