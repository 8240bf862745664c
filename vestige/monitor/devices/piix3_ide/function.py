"""The PCI function 8086:7010: configuration space, and which port or address is which register.

Intel 82371FB/82371SB data sheet (290550), sections 2.3 and 2.7; PCI IDE Controller
Specification 1.0 for native mode. Control blocks and bus master in memory are no PIIX3's: the
same registers at other places. This is all of the IDE that the monitor's core calls.
"""

from enum import IntEnum

from vestige.abi import (
    IDE_MEMORY_BUS_MASTER,
    IDE_MEMORY_CONTROL,
    IDE_MEMORY_PAGE,
    IDE_MEMORY_SECONDARY_CONTROL,
    PIN_PCI_INTA,
    PORT_IDE,
    PORT_IDE_BUS_MASTER,
    PORT_IDE_CONTROL,
    PORT_IDE_SECONDARY,
    PORT_IDE_SECONDARY_CONTROL,
    Disk,
)
from vestige.lang.intrinsics import (
    fill,
    load8,
    load16,
    load32,
    store8,
    store16,
    store32,
)
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.block import State
from vestige.monitor.devices.pci.config_space import ConfigSpace
from vestige.monitor.devices.pci.spec import Command
from vestige.monitor.devices.pci.spec import Register as PciRegister
from vestige.monitor.devices.piix3_ide.channel import Channel
from vestige.monitor.devices.piix3_ide.commands import execute
from vestige.monitor.devices.piix3_ide.pci_spec import (
    BUS_MASTER_SIZE,
    CLASS,
    COMPATIBILITY_COMMAND,
    COMPATIBILITY_CONTROL,
    COMPATIBILITY_INTERRUPT,
    DEVICE,
    MASTER_ABORT,
    STATUS_FIXED,
    SUBCLASS,
    TIMING_ENABLE,
    VENDOR,
    Bar,
    BusMasterCommand,
    BusMasterRegister,
    Interface,
    Register,
)
from vestige.monitor.devices.piix3_ide.spec import (
    COMMAND_BLOCK_SIZE,
    CONTROL_BLOCK_SIZE,
    DEVICE_CONTROL,
    Device,
)
from vestige.monitor.devices.piix3_ide.spec import Register as AtaRegister
from vestige.monitor.devices.piix3_ide.transfer import (
    read_data,
    read_data_string,
    request_done,
    run_dma,
    write_data,
    write_data_string,
)

NATIVE_BIT = (Interface.PRIMARY_NATIVE, Interface.SECONDARY_NATIVE)


class Block(IntEnum):
    """Which register block a port or an address belongs to."""

    NONE = 0
    COMMAND = 1
    CONTROL = 2
    BUS_MASTER = 3


class Ide(Struct):
    """Both channels and their PCI function."""

    config: ConfigSpace
    channels: Channel[2]
    command_base: u16[2]  # ports decoded now; 0: none
    control_base: u16[2]
    bus_master_base: u16
    in_memory: u8  # control blocks and bus master are
    control_address: u32[2]  # addresses decoded now; 0: none
    bus_master_address: u32

    # ---- set-up ---------------------------------------------------------------------------

    def reset(self, native: bool) -> None:
        """Make the function, its state being zero: in native mode, or without one at all."""
        config = self.config
        config.identify(VENDOR, DEVICE, CLASS, SUBCLASS)
        config.set16(PciRegister.STATUS, STATUS_FIXED)
        config.allow16(PciRegister.COMMAND, Command.IO | Command.BUS_MASTER)
        config.clearable[PciRegister.STATUS + 1] = MASTER_ABORT >> 8
        config.writable[Register.LATENCY_TIMER] = 0xF0
        config.allow16(Register.PRIMARY_TIMING, 0xFFFF)
        config.allow16(Register.SECONDARY_TIMING, 0xFFFF)
        config.writable[Register.SECOND_DRIVE_TIMING] = 0xFF
        config.add_io_bar(Bar.BUS_MASTER, PORT_IDE_BUS_MASTER, BUS_MASTER_SIZE)
        config.values[PciRegister.PROGRAMMING_INTERFACE] = Interface.COMPATIBILITY
        if native:
            config.values[PciRegister.PROGRAMMING_INTERFACE] = Interface.NATIVE
            config.writable[PciRegister.PROGRAMMING_INTERFACE] = Interface.MODES
            config.values[PciRegister.INTERRUPT_PIN] = 1
            config.writable[PciRegister.INTERRUPT_LINE] = 0xFF
            config.add_io_bar(0, PORT_IDE, COMMAND_BLOCK_SIZE)
            config.add_io_bar(1, PORT_IDE_CONTROL, CONTROL_BLOCK_SIZE)
            config.add_io_bar(2, PORT_IDE_SECONDARY, COMMAND_BLOCK_SIZE)
            config.add_io_bar(3, PORT_IDE_SECONDARY_CONTROL, CONTROL_BLOCK_SIZE)

    def place_in_memory(self) -> None:
        """After reset(True): BARs 1, 3 and 4 become memory, a page each."""
        config = self.config
        self.in_memory = 1
        config.allow16(PciRegister.COMMAND, Command.IO | Command.MEMORY | Command.BUS_MASTER)
        config.add_memory_bar(Bar.PRIMARY_CONTROL, IDE_MEMORY_CONTROL, IDE_MEMORY_PAGE)
        config.add_memory_bar(Bar.SECONDARY_CONTROL, IDE_MEMORY_SECONDARY_CONTROL, IDE_MEMORY_PAGE)
        config.add_memory_bar(Bar.BUS_MASTER, IDE_MEMORY_BUS_MASTER, IDE_MEMORY_PAGE)

    def take_posted_starts(self) -> None:
        """From now on whoever owns the model carries posted starts to `start_posted`."""
        for i in range(2):
            self.channels[i].posting = 1

    def attach(self, number: u8, disk: Disk) -> None:
        """Put a disk where it says; its channel is enabled, requests to it bear `number`."""
        channel = disk.channel & 1
        self.channels[channel].drives[disk.unit & 1].attach(number, disk)
        self.config.values[Register.PRIMARY_TIMING + 2 * channel + 1] |= TIMING_ENABLE

    # ---- configuration space --------------------------------------------------------------

    def read_config(self, offset: u32, size: u32) -> u32:
        """A configuration read of 1 to 4 bytes."""
        self.note_aborts()
        return self.config.read(offset, size)

    def write_config(self, offset: u32, size: u32, value: u32, ram: Memory) -> None:
        """A configuration write of 1 to 4 bytes; it may move blocks and let the bus master go."""
        self.note_aborts()
        self.config.write(offset, size, value)
        self.map_ports()
        if self.in_memory:
            self.map_memory()
        for i in range(2):
            self.channels[i].bus_master.enabled = self.config.has(Command.BUS_MASTER)
            run_dma(self.channels[i], ram)

    def note_aborts(self) -> None:
        """Show in PCI's status what the bus masters ran into."""
        for i in range(2):
            bus_master = self.channels[i].bus_master
            if bus_master.aborted:
                bus_master.aborted = 0
                self.config.set16(
                    PciRegister.STATUS, self.config.get16(PciRegister.STATUS) | MASTER_ABORT
                )

    def native(self, channel: u8) -> bool:
        """Whether this channel is in native mode."""
        return self.config.values[PciRegister.PROGRAMMING_INTERFACE] & NATIVE_BIT[channel & 1] != 0

    def interrupt_pin(self, channel: u8) -> u8:
        """The interrupt controller's pin that this channel's line leads to."""
        if self.native(channel):
            return PIN_PCI_INTA
        return COMPATIBILITY_INTERRUPT[channel & 1]

    # ---- ports ----------------------------------------------------------------------------

    def map_ports(self) -> None:
        """Work out which ports are decoded: PCI's command, each channel's enable bit and mode."""
        io = self.config.has(Command.IO)
        self.bus_master_base = self.config.io_bar(Bar.BUS_MASTER) if io else 0
        for i in range(2):
            timing = self.config.values[Register.PRIMARY_TIMING + 2 * i + 1]
            command = u16(0)
            control = u16(0)
            if io and timing & TIMING_ENABLE:
                if self.native(i):
                    command = self.config.io_bar(2 * i)
                    control = self.config.io_bar(2 * i + 1)
                else:
                    command = COMPATIBILITY_COMMAND[i]
                    control = COMPATIBILITY_CONTROL[i]
            self.command_base[i] = command
            self.control_base[i] = control

    def map_memory(self) -> None:
        """Work out which addresses are decoded instead of ports, after `map_ports`."""
        memory = self.config.has(Command.MEMORY)
        self.bus_master_base = 0
        self.bus_master_address = self.config.memory_bar(Bar.BUS_MASTER) if memory else 0
        for i in range(2):
            timing = self.config.values[Register.PRIMARY_TIMING + 2 * i + 1]
            self.control_address[i] = 0
            if self.native(i):
                self.control_base[i] = 0
                if memory and timing & TIMING_ENABLE:
                    self.control_address[i] = self.config.memory_bar(2 * i + 1)

    def locate(self, port: u16) -> tuple[u8, u8, u8]:
        """The block a port is in, its channel, and the offset in the channel's part of it."""
        base = self.bus_master_base
        if base != 0 and base <= port < base + BUS_MASTER_SIZE:
            offset = (port - base) & 15
            return Block.BUS_MASTER, offset >> 3, offset & 7
        for i in range(2):
            base = self.command_base[i]
            if base != 0 and base <= port < base + COMMAND_BLOCK_SIZE:
                return Block.COMMAND, i, (port - base) & 7
            base = self.control_base[i]
            if base != 0 and port == base + DEVICE_CONTROL:
                return Block.CONTROL, i, DEVICE_CONTROL
        return Block.NONE, 0, 0

    def is_quiet_read(self, port: u16) -> bool:
        """Whether a read of the byte at `port` changes nothing, and nobody waits for its answer.

        Who does is a guest that polls while its channel's request is under way.
        """
        block, number, offset = self.locate(port)
        channel = self.channels[number & 1]
        if channel.request.state != State.IDLE:
            return False
        if block == Block.COMMAND:
            if offset == AtaRegister.STATUS:
                return channel.drive().interrupt_pending == 0
            return offset != AtaRegister.DATA
        return block != Block.NONE

    def is_quiet_write(self, port: u16, size: u8, value: u32) -> bool:
        """Whether a write changes no more than registers that a later command or start looks at."""
        block, number, offset = self.locate(port)
        if block == Block.BUS_MASTER:
            status = offset == BusMasterRegister.STATUS and size == 1
            return status or offset == BusMasterRegister.TABLE
        if block != Block.COMMAND or size != 1:
            return False
        if offset == AtaRegister.DEVICE:
            return (value & Device.DEV != 0) == (self.channels[number & 1].selected != 0)
        return offset not in (AtaRegister.DATA, AtaRegister.COMMAND)

    def claims(self, port: u16) -> bool:
        """Whether an access that begins at `port` is for this function."""
        block, _, _ = self.locate(port)
        return block != Block.NONE

    def read(self, port: u16, size: u8, ram: Memory) -> u32:
        """A read of 1, 2 or 4 bytes; bytes nobody decodes are 0xFF.

        Wide reads of anything but Data come as so many byte reads, upwards, as on ISA.
        """
        block, number, offset = self.locate(port)
        if block == Block.COMMAND and offset == AtaRegister.DATA and size > 1:
            channel = self.channels[number & 1]
            low = read_data(channel)
            return low if size == 2 else low | read_data(channel) << 16
        value = u32(0)
        for i in range(4):
            if i < size:
                value |= self.read_byte(u16(port + i)) << 8 * i
        return value

    def write(self, port: u16, size: u8, value: u32, ram: Memory) -> None:
        """A write of 1, 2 or 4 bytes; bytes nobody decodes are lost."""
        block, number, offset = self.locate(port)
        if block == Block.COMMAND and offset == AtaRegister.DATA and size > 1:
            channel = self.channels[number & 1]
            write_data(channel, value & 0xFFFF)
            if size > 2:
                write_data(channel, value >> 16)
            return
        for i in range(4):
            if i < size:
                self.write_byte(u16(port + i), (value >> 8 * i) & 0xFF, ram)

    def read_byte(self, port: u16) -> u8:
        """A read of one byte. Data moves a whole word even so: its other half is lost."""
        block, number, offset = self.locate(port)
        return self.read_register(block, number, offset)

    def read_register(self, block: u8, number: u8, offset: u8) -> u8:
        """A read of one byte of a block of channel `number`; 0xFF where there is none."""
        channel = self.channels[number & 1]
        match block:
            case Block.COMMAND:
                if offset == AtaRegister.DATA:
                    return read_data(channel) & 0xFF
                return channel.read(offset)
            case Block.CONTROL:
                return channel.read_alternate_status()
            case Block.BUS_MASTER:
                return channel.read_bus_master(offset)
            case _:
                return 0xFF

    def write_byte(self, port: u16, value: u8, ram: Memory) -> None:
        """A write of one byte. Data takes a whole word even so: its other half is 0."""
        block, number, offset = self.locate(port)
        self.write_register(block, number, offset, value, ram)

    def write_register(self, block: u8, number: u8, offset: u8, value: u8, ram: Memory) -> None:
        """A write of one byte of a block of channel `number`."""
        channel = self.channels[number & 1]
        match block:
            case Block.COMMAND:
                if offset == AtaRegister.DATA:
                    write_data(channel, value)
                elif offset == AtaRegister.COMMAND:
                    execute(channel, value, ram)
                else:
                    channel.write(offset, value)
            case Block.CONTROL:
                channel.write_control(value)
            case Block.BUS_MASTER:
                channel.write_bus_master(offset, value)
                run_dma(channel, ram)
            case _:
                pass

    # ---- memory ---------------------------------------------------------------------------

    def locate_memory(self, address: u64) -> tuple[u8, u8, u8]:
        """As `locate`, for an address."""
        base = self.bus_master_address
        if base != 0 and base <= address < base + BUS_MASTER_SIZE:
            offset = (address - base) & 15
            return Block.BUS_MASTER, offset >> 3, offset & 7
        for i in range(2):
            base = self.control_address[i]
            if base != 0 and address == base + DEVICE_CONTROL:
                return Block.CONTROL, i, DEVICE_CONTROL
        return Block.NONE, 0, 0

    def read_memory(self, address: u64, size: u8) -> u32:
        """A read of 1, 2 or 4 bytes, which has no effect; bytes nobody decodes are 0xFF."""
        value = u32(0)
        for i in range(4):
            if i < size:
                block, number, offset = self.locate_memory(u64(address + i))
                value |= self.read_register(block, number, offset) << 8 * i
        return value

    def write_memory(self, address: u64, size: u8, value: u32, ram: Memory) -> None:
        """A write of 1, 2 or 4 bytes; bytes nobody decodes are lost."""
        for i in range(4):
            if i < size:
                block, number, offset = self.locate_memory(u64(address + i))
                self.write_register(block, number, offset, (value >> 8 * i) & 0xFF, ram)

    # ---- posted starts --------------------------------------------------------------------

    def offers_start(self) -> bool:
        """Whether a start may have been posted that has not arrived yet."""
        return self.channels[0].offer != 0 or self.channels[1].offer != 0

    def start_posted(self, number: u8, to_memory: bool, ram: Memory) -> None:
        """A start that was written to the bus master's preset address has arrived."""
        if self.bus_master_address != IDE_MEMORY_BUS_MASTER:
            return
        channel = self.channels[number & 1]
        direction = BusMasterCommand.TO_MEMORY if to_memory else 0
        channel.write_bus_master(BusMasterRegister.COMMAND, BusMasterCommand.START | direction)
        run_dma(channel, ram)

    # ---- string instructions --------------------------------------------------------------

    def read_string(self, port: u16, size: u8, count: u32, address: u64, ram: Memory) -> None:
        """`count` reads of one port in one trap, into memory at `address`."""
        block, number, offset = self.locate(port)
        if block == Block.COMMAND and offset == AtaRegister.DATA and size > 1:
            length = u32(count * size)
            taken = read_data_string(self.channels[number & 1], address, length)
            fill(u64(address + taken), 0, u32(length - taken))
            return
        for i in range(count):
            value = self.read(port, size, ram)
            at = u64(address + i * size)
            match size:
                case 1:
                    store8(at, value & 0xFF)
                case 2:
                    store16(at, value & 0xFFFF)
                case _:
                    store32(at, value)

    def write_string(self, port: u16, size: u8, count: u32, address: u64, ram: Memory) -> None:
        """`count` writes of one port in one trap, from memory at `address`."""
        block, number, offset = self.locate(port)
        if block == Block.COMMAND and offset == AtaRegister.DATA and size > 1:
            write_data_string(self.channels[number & 1], address, u32(count * size))
            return
        for i in range(count):
            at = u64(address + i * size)
            match size:
                case 1:
                    self.write(port, size, load8(at), ram)
                case 2:
                    self.write(port, size, load16(at), ram)
                case _:
                    self.write(port, size, load32(at), ram)

    # ---- the core -------------------------------------------------------------------------

    def request_done(self, channel: u8, ram: Memory) -> None:
        """The request of this channel is DONE."""
        request_done(self.channels[channel & 1], ram)
