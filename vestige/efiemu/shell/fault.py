"""How an attempt to do a guest's instruction ends. Exceptions: AMD64 APM volume 2, 8.2."""

from vestige.lang.enumeration import IntEnum
from vestige.lang.types import Struct, u8, u32, u64


class Outcome(IntEnum):
    """What is to be done now."""

    DONE = 0
    FAULT = 1  # give the guest the exception that is in its Fault
    AGAIN = 2  # enter the guest as it is: it comes back, or no longer needs us
    REFUSED = 3  # there is no way to go on; Fault.address says where


class Vector(IntEnum):
    """Exceptions, 8.2."""

    INVALID_OPCODE = 6
    DOUBLE_FAULT = 8
    INVALID_TSS = 10
    SEGMENT_NOT_PRESENT = 11
    STACK = 12
    GENERAL_PROTECTION = 13
    PAGE_FAULT = 14
    ALIGNMENT_CHECK = 17


class Fault(Struct):
    """An exception that the guest is to be given."""

    vector: u8
    error: u32  # its error code; in real mode none is pushed
    address: u64  # CR2 of a page fault; else the physical address that was refused

    def general(self, stack: bool) -> u8:
        """#GP, or #SS where the access was by way of the stack segment; FAULT."""
        self.vector = Vector.STACK if stack else Vector.GENERAL_PROTECTION
        self.error = 0
        return Outcome.FAULT
