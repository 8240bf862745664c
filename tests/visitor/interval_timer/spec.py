"""The interval timer's registers, the same bytes at ports and in memory. Its truth is its page."""

from vestige.lang.enumeration import IntEnum, IntFlag

REGISTERS = 14  # bytes: the ports
MEMORY_SIZE = 16  # what is beyond the registers reads 0


class Register(IntEnum):
    """Offsets. An access of several bytes is one to each of the registers that these are in."""

    PERIOD = 0  # RW, 32 bits: microseconds; 0: never. Counts from the next write of CONTROL on
    COUNT = 4  # RO, 32 bits: how often it has expired
    ACCESSES = 8  # RO, 32 bits: how many accesses have come to it, the one that asks included
    CONTROL = 12  # RW, 8 bits
    STATUS = 13  # RW, 8 bits: a 1 clears


class Control(IntFlag):
    """CONTROL."""

    RUN = 1 << 0
    INTERRUPT = 1 << 1  # while STATUS has EXPIRED
    WRITABLE = RUN | INTERRUPT


class Status(IntFlag):
    """STATUS."""

    EXPIRED = 1 << 0
