"""One trap of a guest CPU, as whoever carries it (the transport) tells it to the core."""

from enum import IntEnum

from vestige.lang.types import Struct, u8, u32, u64


class Kind(IntEnum):
    """What the guest did."""

    NOTHING = 0  # nothing to answer
    PORT = 1
    MEMORY = 2
    END_OF_INTERRUPT = 3
    SHUTDOWN = 4  # of its processor, by a triple fault, or since nobody can go on with it


class Trap(Struct):
    """An access: `count` times `size` bytes at `address`, the data at `data` to take or to fill."""

    kind: u8  # Kind
    write: u8
    size: u8  # bytes of one access: 1, 2 or 4 for ports, 1 to 8 for memory
    vector: u8  # of END_OF_INTERRUPT
    count: u32  # more than 1: a string instruction; 1 for memory
    address: u64  # port or guest-physical address
    data: u64  # address of count * size bytes, of 8 at least for memory
    where: u32  # of a port, once it has been looked for: core/decode.py
