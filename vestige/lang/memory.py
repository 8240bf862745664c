"""Guest RAM as typed Python sees it: the one way a device model reads or writes a GPA."""

from vestige.lang.intrinsics import (
    at_callers_line,
    check,
    load8,
    load16,
    load32,
    load64,
    store8,
    store16,
    store32,
    store64,
)
from vestige.lang.types import Struct, u8, u16, u32, u64

HIGH = 1 << 32


class Memory(Struct):
    """Where guest RAM lives in the address space of whoever runs this code.

    RAM has two parts, GPA 0 up and GPA 4 GiB up. In the monitor VM an address is the GPA
    itself (`low` is 0 and `high` is 4 GiB); in a test they point into a buffer. An access
    outside RAM is a bug of the caller, which asks `contains` first, and PANICs there.
    """

    low: u64  # address of GPA 0
    low_size: u64  # bytes, at most 3 GiB
    high: u64  # address of GPA 4 GiB
    high_size: u64  # bytes

    def set(self, other: "Memory") -> None:
        """Be the same RAM as `other`."""
        self.low = other.low
        self.low_size = other.low_size
        self.high = other.high
        self.high_size = other.high_size

    def contains(self, gpa: u64, length: u64) -> bool:
        """Whether all of [gpa, gpa + length) is RAM, in one part."""
        if length <= self.low_size and gpa <= u64(self.low_size - length):
            return True
        if gpa < HIGH or length > self.high_size:
            return False
        return gpa - HIGH <= u64(self.high_size - length)

    @at_callers_line
    def pointer(self, gpa: u64, length: u64) -> u64:
        """The address of RAM [gpa, gpa + length)."""
        check(self.contains(gpa, length))
        return u64(self.high + (gpa - HIGH)) if gpa >= HIGH else u64(self.low + gpa)

    @at_callers_line
    def load8(self, gpa: u64) -> u8:
        """The byte at `gpa`."""
        return load8(self.pointer(gpa, 1))

    @at_callers_line
    def load16(self, gpa: u64) -> u16:
        """The little-endian 16 bits at `gpa`."""
        return load16(self.pointer(gpa, 2))

    @at_callers_line
    def load32(self, gpa: u64) -> u32:
        """The little-endian 32 bits at `gpa`."""
        return load32(self.pointer(gpa, 4))

    @at_callers_line
    def load64(self, gpa: u64) -> u64:
        """The little-endian 64 bits at `gpa`."""
        return load64(self.pointer(gpa, 8))

    @at_callers_line
    def store8(self, gpa: u64, value: u8) -> None:
        """Set the byte at `gpa`."""
        store8(self.pointer(gpa, 1), value)

    @at_callers_line
    def store16(self, gpa: u64, value: u16) -> None:
        """Set the little-endian 16 bits at `gpa`."""
        store16(self.pointer(gpa, 2), value)

    @at_callers_line
    def store32(self, gpa: u64, value: u32) -> None:
        """Set the little-endian 32 bits at `gpa`."""
        store32(self.pointer(gpa, 4), value)

    @at_callers_line
    def store64(self, gpa: u64, value: u64) -> None:
        """Set the little-endian 64 bits at `gpa`."""
        store64(self.pointer(gpa, 8), value)
