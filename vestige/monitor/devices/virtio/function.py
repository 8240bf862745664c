"""A virtio device's PCI function: configuration space, one BAR, and what lies where in it.

Virtio 1.2, 4.1. The BAR has a page for each structure, two for MSI-X, and its own copy of none:
all state is the device's. What a device type keeps in its configuration structure comes in and
goes out as bytes, by whoever knows the types: devices.py.
"""

from vestige.abi import (
    PIN_PCI_INTA,
    VIRTIO_BAR_SIZE,
    VIRTIO_BARS,
    VIRTIO_NOTIFY_STRIDE,
    VIRTIO_SLOT_PC,
    Board,
)
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.pci.config_space import ConfigSpace
from vestige.monitor.devices.pci.spec import (
    CAPABILITY_MSIX,
    CAPABILITY_VENDOR,
    INTERRUPT_PINS,
    Command,
    Register,
)
from vestige.monitor.devices.piix3_isa.spec import FIRST_SLOT
from vestige.monitor.devices.virtio.device import VirtioDevice
from vestige.monitor.devices.virtio.spec import (
    CAPABILITY_SIZE,
    CAPABILITY_SIZE_MORE,
    DEVICE,
    PAGE,
    REVISION,
    VENDOR,
    Access,
    Capability,
    MsixControl,
    Region,
    Structure,
)
from vestige.monitor.sized import part_of

BAR = 0  # the one there is


class VirtioFunction(Struct):
    """One function; `kind` and `index` say which device is behind."""

    kind: u8  # abi.VirtioKind; 0: there is no function
    index: u8
    line: u8  # 0 to 3: which of PCI's interrupt lines on the board is the function's
    base: u32  # where the BAR is decoded; 0: nowhere
    notifications: u64  # counter: notifications that came through here
    config: ConfigSpace
    device: VirtioDevice

    # ---- set-up ---------------------------------------------------------------------------

    def reset(self, number: u8, kind: u8, index: u8, class_code: u16, board: u8) -> None:
        """Function `number` of the machine, its state being zero; its device is reset apart.

        On a PC's board INTA, the only pin of a function by itself, is another line in each slot.
        """
        self.kind = kind
        self.index = index
        pin = number % INTERRUPT_PINS
        self.line = pin
        if board == Board.PC:
            pin = 0
            self.line = (VIRTIO_SLOT_PC - FIRST_SLOT + number) % INTERRUPT_PINS
        config = self.config
        config.identify(VENDOR, u16(DEVICE + kind), class_code >> 8, class_code & 0xFF)
        config.values[Register.REVISION] = REVISION
        config.set16(Register.SUBSYSTEM_VENDOR, VENDOR)
        config.set16(Register.SUBSYSTEM, u16(DEVICE + kind))
        config.values[Register.INTERRUPT_PIN] = u8(pin + 1)
        config.writable[Register.INTERRUPT_LINE] = 0xFF
        allowed = Command.MEMORY | Command.BUS_MASTER | Command.INTERRUPT_DISABLE
        config.allow16(Register.COMMAND, allowed)
        config.add_memory_bar(BAR, u32(VIRTIO_BARS + number * VIRTIO_BAR_SIZE), VIRTIO_BAR_SIZE)
        self.add_structure(Capability.PCI_ACCESS, Structure.PCI_ACCESS, 0, 0)
        self.add_structure(Capability.NOTIFY, Structure.NOTIFY, Region.NOTIFY, PAGE)
        self.add_structure(Capability.DEVICE, Structure.DEVICE, Region.DEVICE, PAGE)
        self.add_structure(
            Capability.INTERRUPT_STATUS, Structure.INTERRUPT_STATUS, Region.INTERRUPT_STATUS, PAGE
        )
        self.add_structure(Capability.COMMON, Structure.COMMON, Region.COMMON, PAGE)
        config.set32(u8(Capability.NOTIFY + CAPABILITY_SIZE), VIRTIO_NOTIFY_STRIDE)
        config.writable[Access.BAR] = 0xFF
        config.allow32(Access.OFFSET, 0xFFFF_FFFF)
        config.allow32(Access.LENGTH, 0xFFFF_FFFF)
        config.allow32(Access.DATA, 0xFFFF_FFFF)

    def add_vectors(self, count: u16) -> None:
        """The MSI-X capability, PCI 3.0, 6.8.2: so many vectors."""
        config = self.config
        config.add_capability(Capability.MSIX, CAPABILITY_MSIX)
        config.set16(u8(Capability.MSIX + 2), u16(count - 1))
        config.allow16(u8(Capability.MSIX + 2), MsixControl.MASKED | MsixControl.ENABLED)
        config.set32(u8(Capability.MSIX + 4), Region.VECTORS | BAR)
        config.set32(u8(Capability.MSIX + 8), Region.PENDING | BAR)

    def add_structure(self, place: u8, structure: u8, region: u32, length: u32) -> None:
        """One of virtio's capabilities, 4.1.4: where in the BAR a structure is."""
        more = structure in (Structure.NOTIFY, Structure.PCI_ACCESS)
        config = self.config
        config.add_capability(place, CAPABILITY_VENDOR)
        config.values[place + 2] = CAPABILITY_SIZE_MORE if more else CAPABILITY_SIZE
        config.values[place + 3] = structure
        config.values[place + 4] = BAR
        config.set32(u8(place + 8), region)
        config.set32(u8(place + 12), length)

    # ---- configuration space --------------------------------------------------------------

    def write_config(self, offset: u32, size: u32, value: u32) -> None:
        """A configuration write of 1 to 4 bytes; it may move the BAR or let interrupts go."""
        self.config.write(offset, size, value)
        self.base = self.config.memory_bar(BAR) if self.config.has(Command.MEMORY) else 0
        device = self.device
        device.master = self.config.has(Command.BUS_MASTER)
        device.silent = self.config.has(Command.INTERRUPT_DISABLE)
        control = self.config.get16(u8(Capability.MSIX + 2))
        enabled = control & MsixControl.ENABLED != 0
        device.msix.control(enabled, control & MsixControl.MASKED != 0)
        device.update_line()

    def accesses_bar(self, offset: u32, size: u32) -> bool:
        """Whether a configuration access is one of the BAR, by the PCI access capability."""
        return offset == Access.DATA and size == self.access_size()

    def access_offset(self) -> u32:
        """Where in the BAR such an access goes."""
        return self.config.get32(Access.OFFSET)

    def access_size(self) -> u32:
        """Its size: 1, 2 or 4 bytes at a multiple of that in our BAR; 0: there is none to make."""
        size = self.config.get32(Access.LENGTH)
        offset = self.access_offset()
        there = self.config.values[Access.BAR] == BAR and offset < VIRTIO_BAR_SIZE
        return size if there and size in (1, 2, 4) and offset % size == 0 else 0

    # ---- the BAR --------------------------------------------------------------------------

    def claims(self, address: u64) -> bool:
        """Whether an access outside RAM at `address` is for this function."""
        base = self.base
        return base != 0 and base <= address < u64(base + VIRTIO_BAR_SIZE)

    def route(self) -> u8:
        """The interrupt controller's pin that the line leads to."""
        return u8(PIN_PCI_INTA + self.line % INTERRUPT_PINS)

    def read(self, offset: u32, size: u8) -> u32:
        """A read of 1, 2 or 4 bytes inside one aligned 32-bit word, but of the device structure.

        Where there is nothing it is 0.
        """
        into = offset & (PAGE - 1) & ~3
        value = u32(0)
        match offset & ~(PAGE - 1):
            case Region.COMMON:
                value = self.device.read_common(into)
            case Region.INTERRUPT_STATUS:
                if offset == Region.INTERRUPT_STATUS:
                    value = u32(self.device.read_interrupt_status())
            case Region.VECTORS:
                value = self.device.msix.read(into)
            case Region.PENDING:
                value = self.device.msix.read_pending(into)
            case _:
                return 0
        return u32(part_of(value, offset & 3, size))

    def write(self, offset: u32, size: u8, value: u32, ram: Memory) -> None:
        """A write of 1, 2 or 4 bytes, but of the device structure.

        A notification needs nothing done: who looks after the queues looks after every access.
        """
        into = offset & (PAGE - 1)
        match offset & ~(PAGE - 1):
            case Region.COMMON:
                self.device.write_common(into, size, value, ram)
            case Region.NOTIFY:
                self.notifications += 1
            case Region.VECTORS:
                if size == 4 and into & 3 == 0:
                    self.device.msix.write(into, value)
            case _:
                pass
