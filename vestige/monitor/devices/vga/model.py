"""The VGA as the bus sees it: IBM's registers, DISPI's, and a function with the frame buffer.

Its memory at 0xA0000 is RAM, and the frame buffer is a region: the guest writes both without an
exit. QEMU, docs/specs/standard-vga.rst.
"""

from vestige.abi import VGA_MEMORY, Config, Screen
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.pci.config_space import ConfigSpace
from vestige.monitor.devices.pci.spec import BAR_PREFETCHABLE, Command
from vestige.monitor.devices.pci.spec import Register as PciRegister
from vestige.monitor.devices.vga.dispi import DispiRegisters
from vestige.monitor.devices.vga.display import show
from vestige.monitor.devices.vga.ports_spec import DISPI_OFFSET, REGION, VIDEO_MEMORY, Register
from vestige.monitor.devices.vga.registers import Registers
from vestige.monitor.devices.vga.spec import (
    CLASS,
    DAC_BITS,
    DEVICE,
    VENDOR,
    WIDE_DAC_BITS,
)
from vestige.monitor.sized import ONES


class Vga(Struct):
    """`read` and `write` are the guest's, the rest is the core's."""

    config: ConfigSpace
    registers: Registers
    dispi: DispiRegisters

    def reset(self) -> None:
        """Power on: nothing is set, and the screen is dark."""
        self.config.identify(VENDOR, DEVICE, CLASS, 0)
        self.config.allow16(PciRegister.COMMAND, Command.IO | Command.MEMORY)
        self.config.add_memory_bar(0, BAR_PREFETCHABLE, VIDEO_MEMORY)
        self.dispi.reset()
        self.registers.dac.reset()
        self.registers.changed = 1

    def configure(self, config: Config) -> None:
        """After `reset`: where a kernel starts without a firmware, as that would leave it."""
        self.dispi.memory = config.regions[REGION]
        if config.firmware_items == 0:
            self.config.set32(PciRegister.BAR0, VGA_MEMORY | BAR_PREFETCHABLE)
            self.config.set16(PciRegister.COMMAND, Command.IO | Command.MEMORY)
            self.registers.set_text_mode()

    # ---- the guest ------------------------------------------------------------------------

    def takes_whole(self, offset: u32, size: u8) -> bool:
        """Whether an access of 2 or 4 bytes is one: to DISPI's."""
        return offset >= DISPI_OFFSET and size == 2

    def read(self, offset: u32, size: u8, now: u64) -> u64:
        """A register read. Half of one of DISPI's reads as nothing does."""
        if offset < DISPI_OFFSET:
            return self.registers.read(u8(offset), now)
        if size != 2:
            return ONES[size]
        return self.dispi.index if offset == Register.DISPI_INDEX else self.dispi.read()

    def write(self, offset: u32, size: u8, value: u64, now: u64) -> None:
        """A register write. Half of one of DISPI's is none."""
        if offset < DISPI_OFFSET:
            self.registers.write(u8(offset), u8(value))
        elif size == 2:
            if offset == Register.DISPI_INDEX:
                self.dispi.index = u16(value)
            else:
                self.dispi.write(u16(value))
                self.registers.dac.bits = WIDE_DAC_BITS if self.dispi.has_wide_dac() else DAC_BITS
                self.registers.changed = 1

    # ---- the PCI bus ----------------------------------------------------------------------

    def has_function(self, number: u32) -> bool:
        """There is one."""
        return True

    def read_config(self, number: u32, offset: u32, size: u8) -> u32:
        """A configuration read of 1 to 4 bytes."""
        return self.config.read(offset, size)

    def write_config(self, number: u32, offset: u32, size: u8, value: u32) -> None:
        """A configuration write of 1 to 4 bytes."""
        self.config.write(offset, size, value)

    # ---- the core -------------------------------------------------------------------------

    def show_screen(self, screen: Screen) -> None:
        """Say how the screen looks now."""
        if self.registers.changed:
            self.registers.changed = 0
            show(self.registers, self.dispi, screen)

    def region_address(self) -> u32:
        """Where the guest finds the frame buffer; 0: nowhere."""
        return self.config.memory_bar(0) if self.config.has(Command.MEMORY) else 0
