"""A conventional function's 256 bytes of configuration. PCI Local Bus Specification 3.0, 6.1.

All behaviour that is the same in every function lies in three masks: what a byte holds, which
of its bits a guest may set, which of them a guest clears by writing 1. BAR sizing needs no
more: the address bits below a BAR's size are those that can't be set.
"""

from vestige.lang.types import Struct, u8, u16, u32
from vestige.monitor.devices.pci.spec import (
    BAR_IO,
    BAR_IO_ADDRESS,
    BAR_MEMORY_ADDRESS,
    CONFIG_SIZE,
    STATUS_CAPABILITIES,
    Command,
    Register,
)
from vestige.monitor.sized import byte_of


class ConfigSpace(Struct):
    """The registers of one function."""

    values: u8[CONFIG_SIZE]
    writable: u8[CONFIG_SIZE]  # bits a guest's write sets and clears
    clearable: u8[CONFIG_SIZE]  # bits a guest clears by writing 1

    # ---- the guest ------------------------------------------------------------------------

    def read(self, offset: u32, size: u32) -> u32:
        """`size` bytes (1 to 4) at `offset`; beyond the end they are 0xFF."""
        value = u32(0)
        for i in range(min(size, 4)):
            byte = self.values[offset + i] if offset + i < CONFIG_SIZE else 0xFF
            value |= byte << 8 * i
        return value

    def write(self, offset: u32, size: u32, value: u32) -> None:
        """Set `size` bytes (1 to 4) at `offset`, as far as a guest may."""
        for i in range(min(size, 4)):
            at = offset + i
            if at < CONFIG_SIZE:
                byte = byte_of(value, i)
                mask = self.writable[at]
                kept = self.values[at] & ~(byte & self.clearable[at])
                self.values[at] = (kept & ~mask) | (byte & mask)

    # ---- the function's model -------------------------------------------------------------

    def identify(self, vendor: u16, device: u16, class_code: u8, subclass: u8) -> None:
        """What every function has: who it is, what it is."""
        self.set16(Register.VENDOR, vendor)
        self.set16(Register.DEVICE, device)
        self.values[Register.CLASS] = class_code
        self.values[Register.SUBCLASS] = subclass

    def set16(self, offset: u8, value: u16) -> None:
        """Set a 16-bit register, whatever a guest may do to it."""
        self.values[offset] = value & 0xFF
        self.values[offset + 1] = value >> 8

    def get16(self, offset: u8) -> u16:
        """A 16-bit register."""
        return self.values[offset] | self.values[offset + 1] << 8

    def set32(self, offset: u8, value: u32) -> None:
        """Set a 32-bit register, whatever a guest may do to it."""
        for i in range(4):
            self.values[offset + i] = byte_of(value, i)

    def get32(self, offset: u8) -> u32:
        """A 32-bit register."""
        return self.read(offset, 4)

    def allow32(self, offset: u8, mask: u32) -> None:
        """Let a guest write these bits of a 32-bit register."""
        for i in range(4):
            self.writable[offset + i] = byte_of(mask, i)

    def allow16(self, offset: u8, mask: u16) -> None:
        """Let a guest write these bits of a 16-bit register."""
        self.writable[offset] = mask & 0xFF
        self.writable[offset + 1] = mask >> 8

    def add_io_bar(self, number: u8, base: u16, size: u16) -> None:
        """BAR `number` (0 to 5) claims `size` ports (a power of 2, 4 to 256) at `base`."""
        offset = u8(Register.BAR0 + 4 * number)
        self.set16(offset, base | BAR_IO)
        self.allow32(offset, u32(0x1_0000_0000 - size))

    def io_bar(self, number: u8) -> u16:
        """The first port of I/O BAR `number` (0 to 5), as the guest has placed it.

        0 where it is beyond the ports that there are: 32 bits can be written, 6.2.5.1.
        """
        place = self.get32(u8(Register.BAR0 + 4 * number))
        return place & BAR_IO_ADDRESS if place <= 0xFFFF else 0

    def add_memory_bar(self, number: u8, base: u32, size: u32) -> None:
        """BAR `number` (0 to 5) claims `size` bytes (a power of 2, 16 or more), below 4 GiB."""
        offset = u8(Register.BAR0 + 4 * number)
        self.set32(offset, base)
        self.allow32(offset, u32(0x1_0000_0000 - size))

    def memory_bar(self, number: u8) -> u32:
        """The address of memory BAR `number` (0 to 5), as the guest has placed it."""
        return self.get32(u8(Register.BAR0 + 4 * number)) & BAR_MEMORY_ADDRESS

    def add_capability(self, offset: u8, kind: u8) -> None:
        """Put a capability at `offset` (a multiple of 4) before those there are. 6.7."""
        self.values[offset] = kind
        self.values[offset + 1] = self.values[Register.CAPABILITIES]
        self.values[Register.CAPABILITIES] = offset
        self.values[Register.STATUS] |= STATUS_CAPABILITIES

    def has(self, enabled: Command) -> bool:
        """Whether the guest has set this bit of the command register."""
        return self.get16(Register.COMMAND) & enabled != 0
