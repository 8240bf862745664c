"""One buffer a driver made available: its descriptors, checked, as runs of guest RAM.

Virtio 1.2, 2.6 and 2.7.4: what the device may read comes before what it may write. How a driver
cuts a buffer into descriptors means nothing (2.7.4.1): every access here is by position.
"""

from vestige.lang.intrinsics import copy
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.virtio.spec import MAX_CHAIN, Descriptor


class Run(Struct):
    """Guest RAM that one descriptor names."""

    address: u64  # guest-physical
    length: u32  # bytes, not zero


class Chain(Struct):
    """A buffer: `readable` bytes in the first `readable_count` runs, `writable` in the others."""

    identifier: u16  # how the driver knows it again
    slots: u16  # entries of a packed ring that it takes
    count: u32
    readable_count: u32
    readable: u64
    writable: u64
    runs: Run[MAX_CHAIN]

    # ---- made by the walk of a ring -------------------------------------------------------

    def begin(self, identifier: u16) -> None:
        """No descriptor yet."""
        self.identifier = identifier
        self.slots = 0
        self.count = 0
        self.readable_count = 0
        self.readable = 0
        self.writable = 0

    def add(self, address: u64, length: u32, flags: u16, ram: Memory) -> bool:
        """One more descriptor; False: it is none that a driver may give."""
        count = self.count
        if count >= MAX_CHAIN or length == 0 or not ram.contains(address, length):
            return False
        run = self.runs[count]
        run.address = address
        run.length = length
        self.count = count + 1
        if flags & Descriptor.WRITE:
            self.writable += length
            return True
        if self.writable > 0:
            return False
        self.readable_count = count + 1
        self.readable += length
        return True

    # ---- by position ----------------------------------------------------------------------

    def find(self, position: u64, writable: bool) -> tuple[u32, u32]:
        """The run that byte `position` of one part is in, and where there; `count`: none."""
        first = self.readable_count if writable else 0
        end = self.count if writable else self.readable_count
        number = u32(first)
        while number < end:
            length = self.runs[number].length
            if position < length:
                return number, u32(position)
            position = u64(position - length)
            number = u32(number + 1)
        return self.count, 0

    def read8(self, position: u64, ram: Memory) -> u8:
        """A byte of the readable part; beyond its end they are 0."""
        number, into = self.find(position, False)
        if number >= self.readable_count:
            return 0
        return ram.load8(u64(self.runs[number].address + into))

    def read32(self, position: u64, ram: Memory) -> u32:
        """Four bytes, little-endian."""
        number, into = self.find(position, False)
        if number < self.readable_count and u64(into + 4) <= self.runs[number].length:
            return ram.load32(u64(self.runs[number].address + into))
        value = u32(0)
        for i in range(4):
            value |= self.read8(u64(position + i), ram) << 8 * i
        return value

    def read64(self, position: u64, ram: Memory) -> u64:
        """Eight bytes, little-endian."""
        return self.read32(position, ram) | self.read32(u64(position + 4), ram) << 32

    def place(self, position: u64) -> u64:
        """Guest-physical address of a byte of the writable part; there must be one."""
        number, into = self.find(position, True)
        return u64(self.runs[number].address + into)

    def write8(self, position: u64, value: u8, ram: Memory) -> None:
        """Set a byte of the writable part; beyond its end it is lost."""
        if position < self.writable:
            ram.store8(self.place(position), value)

    def fill(self, position: u64, source: u64, length: u32, ram: Memory) -> u32:
        """Copy the monitor's memory at `source` to the writable part; how much found room."""
        number, into = self.find(position, True)
        done = u32(0)
        while done < length and number < self.count:
            run = self.runs[number]
            size = min(u32(run.length - into), u32(length - done))
            copy(ram.pointer(u64(run.address + into), size), u64(source + done), size)
            done = u32(done + size)
            number = u32(number + 1)
            into = u32(0)
        return done

    def drain(self, position: u64, target: u64, length: u32, ram: Memory) -> u32:
        """Copy from the readable part to the monitor's memory at `target`; how much there was."""
        number, into = self.find(position, False)
        done = u32(0)
        while done < length and number < self.readable_count:
            run = self.runs[number]
            size = min(u32(run.length - into), u32(length - done))
            copy(u64(target + done), ram.pointer(u64(run.address + into), size), size)
            done = u32(done + size)
            number = u32(number + 1)
            into = u32(0)
        return done
