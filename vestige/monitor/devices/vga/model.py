"""The VGA as the bus sees it: IBM's registers, DISPI's, planes, a function with the frame buffer.

Text is RAM, and the frame buffer is a region: the guest writes both without an exit, planes not.
QEMU, docs/specs/standard-vga.rst.
"""

from vestige.abi import VGA_MEMORY, WINDOW_NOTHING, WINDOW_SIZE, Config, Screen
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.clock import MILLISECOND
from vestige.monitor.devices.pci.config_space import ConfigSpace
from vestige.monitor.devices.pci.spec import BAR_PREFETCHABLE, Command
from vestige.monitor.devices.pci.spec import Register as PciRegister
from vestige.monitor.devices.vga.dispi import DispiRegisters
from vestige.monitor.devices.vga.display import show
from vestige.monitor.devices.vga.planes import Planes
from vestige.monitor.devices.vga.ports_spec import (
    DISPI_OFFSET,
    INDEXES,
    REGION,
    VIDEO_MEMORY,
    WINDOW_OFFSET,
    Register,
)
from vestige.monitor.devices.vga.registers import Registers
from vestige.monitor.devices.vga.spec import (
    CLASS,
    DAC_BITS,
    DEVICE,
    VENDOR,
    WIDE_DAC_BITS,
)
from vestige.monitor.devices.vga.window import bank, found
from vestige.monitor.line import NEVER
from vestige.monitor.sized import ONES, byte_of

FRAME = 40 * MILLISECOND


class Vga(Struct):
    """`read` and `write` are the guest's, the rest is the core's."""

    config: ConfigSpace
    registers: Registers
    dispi: DispiRegisters
    planes: Planes
    window: u32  # what the guest finds there: abi.WINDOW_RAM and so on
    due: u64  # when writes to planes that are queued are to be taken next; NEVER: there are none

    def reset(self) -> None:
        """Power on: nothing is set, and the screen is dark."""
        self.config.identify(VENDOR, DEVICE, CLASS, 0)
        self.config.allow16(PciRegister.COMMAND, Command.IO | Command.MEMORY)
        self.config.add_memory_bar(0, BAR_PREFETCHABLE, VIDEO_MEMORY)
        self.dispi.reset()
        self.registers.dac.reset()
        self.due = NEVER
        self.registers.changed = 1

    def configure(self, config: Config) -> None:
        """After `reset`: where a kernel starts without a firmware, as that would leave it."""
        self.dispi.memory = config.regions[REGION]
        if config.firmware_items == 0:
            self.config.set32(PciRegister.BAR0, VGA_MEMORY | BAR_PREFETCHABLE)
            self.config.set16(PciRegister.COMMAND, Command.IO | Command.MEMORY)
            self.registers.set_text_mode()
            self.look_at_window(0)

    # ---- the guest ------------------------------------------------------------------------

    def takes_whole(self, offset: u32, size: u8) -> bool:
        """Whether an access of 2 or 4 bytes is one: to DISPI's."""
        return offset >= DISPI_OFFSET and size == 2

    def is_quiet_write(self, offset: u32, size: u8, value: u64) -> bool:
        """Whether nothing can move because of it: an index alone."""
        return size == 1 and offset in INDEXES

    def read(self, offset: u32, size: u8, now: u64) -> u64:
        """A register read. Half of one of DISPI's reads as nothing does."""
        if offset < DISPI_OFFSET:
            return self.registers.read(u8(offset), now)
        if offset >= WINDOW_OFFSET:
            return self.read_planes(offset, size)
        if size != 2:
            return ONES[size]
        return self.dispi.index if offset == Register.DISPI_INDEX else self.dispi.read()

    def write(self, offset: u32, size: u8, value: u64, now: u64) -> None:
        """A register write. Half of one of DISPI's is none."""
        if offset < DISPI_OFFSET:
            self.registers.write(u8(offset), u8(value))
            self.look_at_window(now)
        elif offset >= WINDOW_OFFSET:
            self.write_planes(offset, size, value)
        elif size == 2:
            if offset == Register.DISPI_INDEX:
                self.dispi.index = u16(value)
            else:
                self.dispi.write(u16(value))
                self.registers.dac.bits = WIDE_DAC_BITS if self.dispi.has_wide_dac() else DAC_BITS
                self.registers.changed = 1
                self.look_at_window(now)

    # ---- planes ---------------------------------------------------------------------------

    def read_planes(self, offset: u32, size: u8) -> u64:
        """A read of 1 to 8 bytes at the window, one after the other. Without memory: of nothing."""
        if self.dispi.memory == 0:
            return ONES[size]
        value = u64(0)
        first = self.place_in_planes(offset)
        for i in range(8):
            if i < size:
                byte = self.planes.read(self.registers, self.dispi.memory, u32(first + i))
                value |= u64(byte << 8 * i)
        return value

    def write_planes(self, offset: u32, size: u8, value: u64) -> None:
        """The same of a write."""
        if self.dispi.memory == 0:
            return
        first = self.place_in_planes(offset)
        for i in range(8):
            if i < size:
                byte = byte_of(value, i)
                self.planes.write(self.registers, self.dispi.memory, u32(first + i), byte)

    def place_in_planes(self, offset: u32) -> u32:
        """Which of their addresses is at an offset in the window."""
        return u32(bank(self.registers, self.dispi) * WINDOW_SIZE + offset % WINDOW_SIZE)

    def look_at_window(self, now: u64) -> None:
        """The registers may say otherwise what is there."""
        window = found(self.registers, self.dispi, self.window)
        if window != self.window:
            self.window = window
            self.due = u64(now + FRAME) if window == WINDOW_NOTHING else NEVER

    # ---- time -----------------------------------------------------------------------------

    def next_deadline(self) -> u64:
        """When a viewer should see what is drawn: the core takes what is queued before."""
        return self.due

    def expire(self, now: u64) -> None:
        """It has been taken."""
        if self.due <= now:
            self.due = u64(now + FRAME)

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
