"""The PCI function 8086:7010: configuration space, and which port or address is which register.

Intel 82371FB/82371SB data sheet (290550), sections 2.3 and 2.7; PCI IDE Controller
Specification 1.0 for native mode. Control blocks and bus master in memory are no PIIX3's: the
same registers at other places. This is all of the IDE that the monitor's core calls.

A register's offset to the model is BAR * BAR_STRIDE + the offset in that BAR's block, wherever the
block is: at the ports of compatibility mode, at a BAR's, or in memory.
"""

from vestige.abi import (
    ANSWERS,
    IDE_MEMORY,
    IDE_MEMORY_BUS_MASTER,
    IDE_MEMORY_PAGE,
    IDE_MEMORY_PAGES,
    PIN_PCI_INTA,
    Answers,
    Board,
    Config,
    answer_of,
)
from vestige.lang.intrinsics import cold, fill, store32
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.block import State
from vestige.monitor.devices.pci.config_space import ConfigSpace
from vestige.monitor.devices.pci.spec import STATUS_PIIX, Command
from vestige.monitor.devices.pci.spec import Register as PciRegister
from vestige.monitor.devices.piix3_ide.channel import Channel
from vestige.monitor.devices.piix3_ide.commands import execute
from vestige.monitor.devices.piix3_ide.packet import go_on, packet_request_done
from vestige.monitor.devices.piix3_ide.pci_spec import (
    BAR_STRIDE,
    BARS,
    BUS_MASTER_CHANNEL,
    BUS_MASTER_SIZE,
    CHANNELS,
    CLASS,
    COMMAND_BLOCK_SIZE,
    COMPATIBILITY_COMMAND,
    COMPATIBILITY_CONTROL,
    COMPATIBILITY_INTERRUPT,
    DEVICE,
    MASTER_ABORT,
    SUBCLASS,
    TIMING_ENABLE,
    VENDOR,
    Bar,
    BusMasterCommand,
    BusMasterRegister,
    Interface,
    Register,
)
from vestige.monitor.devices.piix3_ide.place import BUS_MASTER_BAR, MEMORY_BARS, NATIVE_BARS
from vestige.monitor.devices.piix3_ide.spec import (
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
from vestige.monitor.sized import byte_of
from vestige.place import NOWHERE

NO_PORT = 0xFFFF_0000  # far from any port, as the next is from any address
NO_ADDRESS = 1 << 63
SHOWN = ANSWERS // CHANNELS  # registers of a channel that are answered beforehand
NATIVE_BIT = (Interface.PRIMARY_NATIVE, Interface.SECONDARY_NATIVE)


class Ide(Struct):
    """Both channels and their PCI function."""

    config: ConfigSpace
    channels: Channel[CHANNELS]
    ports: u32[BARS]  # where the block of each BAR is decoded, or NO_PORT
    addresses: u64[BARS]  # the same, or NO_ADDRESS
    answered: u32[ANSWERS]  # the ports of which reads are answered beforehand, or NO_PORT
    in_memory: u8  # control blocks and bus master are
    ram: Memory  # what the bus masters reach

    # ---- set-up ---------------------------------------------------------------------------

    def reset(self) -> None:
        """A PIIX3's, its state being zero: both channels in compatibility mode, for good."""
        config = self.config
        config.identify(VENDOR, DEVICE, CLASS, SUBCLASS)
        config.set16(PciRegister.STATUS, STATUS_PIIX)
        config.allow16(PciRegister.COMMAND, Command.IO | Command.BUS_MASTER)
        config.clearable[PciRegister.STATUS + 1] = MASTER_ABORT >> 8
        config.writable[Register.LATENCY_TIMER] = 0xF0
        config.allow16(Register.PRIMARY_TIMING, 0xFFFF)
        config.allow16(Register.SECONDARY_TIMING, 0xFFFF)
        config.writable[Register.SECOND_DRIVE_TIMING] = 0xFF
        config.add_io_bar(BUS_MASTER_BAR.number, BUS_MASTER_BAR.address, BUS_MASTER_BAR.size)
        config.values[PciRegister.PROGRAMMING_INTERFACE] = Interface.COMPATIBILITY
        self.decode()

    def configure(self, machine: Config) -> None:
        """After `reset`: as a machine without ISA has it, or as a PC's firmware leaves it, unless
        that is about to begin.
        """
        self.ram.set(machine.ram)
        if machine.board == Board.PC:
            if machine.firmware_items == 0:
                self.config.set16(PciRegister.COMMAND, Command.IO)
            # OVMF does not enable them, and waits 35 s for each drive of one that reads as 0xFF.
            if machine.firmware_items == 0 or machine.flash.size != 0:
                self.config.set16(Register.PRIMARY_TIMING, TIMING_ENABLE << 8)
                self.config.set16(Register.SECONDARY_TIMING, TIMING_ENABLE << 8)
            self.decode()
            return
        self.offer_native_mode()
        if machine.ide_in_memory:
            self.place_in_memory()
        if machine.shadow != 0:
            fill(machine.shadow, 0xFF, IDE_MEMORY_PAGES * IDE_MEMORY_PAGE)  # nobody decodes yet

    def offer_native_mode(self) -> None:
        """Both channels begin in native mode, with BARs and an interrupt pin of PCI."""
        config = self.config
        config.values[PciRegister.PROGRAMMING_INTERFACE] = Interface.NATIVE
        config.writable[PciRegister.PROGRAMMING_INTERFACE] = Interface.MODES
        config.values[PciRegister.INTERRUPT_PIN] = 1
        config.writable[PciRegister.INTERRUPT_LINE] = 0xFF
        for bar in NATIVE_BARS:
            config.add_io_bar(bar.number, bar.address, bar.size)
        self.decode()

    def place_in_memory(self) -> None:
        """In native mode: BARs 1, 3 and 4 become memory, a page each."""
        config = self.config
        self.in_memory = 1
        config.allow16(PciRegister.COMMAND, Command.IO | Command.MEMORY | Command.BUS_MASTER)
        for bar in MEMORY_BARS:
            config.add_memory_bar(bar.number, bar.address, bar.size)

    def attach_disk(self, machine: Config, number: u8) -> None:
        """Put disk `number` where it says; its channel is enabled, requests to it bear `number`."""
        disk = machine.disks[number]
        channel = disk.channel & 1
        self.channels[channel].drives[disk.unit & 1].attach(number, disk)
        self.channels[channel].opticals[disk.unit & 1].attach(disk)
        self.config.values[Register.PRIMARY_TIMING + 2 * channel + 1] |= TIMING_ENABLE

    # ---- configuration space --------------------------------------------------------------

    def has_function(self, number: u32) -> bool:
        """Whether there is such a function: there is one."""
        return True

    def read_config(self, number: u32, offset: u32, size: u8) -> u32:
        """A configuration read of 1 to 4 bytes."""
        self.note_aborts()
        return self.config.read(offset, size)

    def write_config(self, number: u32, offset: u32, size: u8, value: u32) -> None:
        """A configuration write of 1 to 4 bytes; it may move blocks and let the bus master go."""
        self.note_aborts()
        self.config.write(offset, size, value)
        self.decode()
        for i in range(CHANNELS):
            self.channels[i].bus_master.enabled = self.config.has(Command.BUS_MASTER)
            self.run_dma(self.channels[i])

    def note_aborts(self) -> None:
        """Show in PCI's status what the bus masters ran into."""
        for i in range(CHANNELS):
            bus_master = self.channels[i].bus_master
            if bus_master.aborted:
                bus_master.aborted = 0
                self.config.set16(
                    PciRegister.STATUS, self.config.get16(PciRegister.STATUS) | MASTER_ABORT
                )

    def native(self, channel: u8) -> bool:
        """Whether this channel is in native mode."""
        return self.config.values[PciRegister.PROGRAMMING_INTERFACE] & NATIVE_BIT[channel & 1] != 0

    # ---- where the blocks are ---------------------------------------------------------------

    def decode(self) -> None:
        """Work out where blocks are decoded and lines lead: PCI's command, enable bits, modes."""
        self.decode_block(Bar.BUS_MASTER, self.config.io_bar(Bar.BUS_MASTER), self.in_memory != 0)
        for i in range(CHANNELS):
            channel = self.channels[i]
            command = Bar.PRIMARY_COMMAND + 2 * i
            control = Bar.PRIMARY_CONTROL + 2 * i
            native = self.native(i)
            channel.pin = PIN_PCI_INTA if native else COMPATIBILITY_INTERRUPT[i]
            timing = self.config.values[Register.PRIMARY_TIMING + 2 * i + 1]
            if timing & TIMING_ENABLE == 0:
                self.ports[command] = NO_PORT
                self.ports[control] = NO_PORT
                self.addresses[control] = NO_ADDRESS
            elif native:
                self.decode_block(command, self.config.io_bar(command), False)
                self.decode_block(control, self.config.io_bar(control), self.in_memory != 0)
            else:
                self.decode_block(command, COMPATIBILITY_COMMAND[i], False)
                self.decode_block(control, COMPATIBILITY_CONTROL[i], False)
        self.decode_answered()

    def decode_block(self, bar: u8, port: u16, in_memory: bool) -> None:
        """One block, at `port` or where its BAR says in memory, if the guest has enabled that."""
        io = self.config.has(Command.IO) and not in_memory
        memory = self.config.has(Command.MEMORY) and in_memory
        self.ports[bar] = port if io and port else NO_PORT
        address = self.config.memory_bar(bar) if memory else 0
        self.addresses[bar] = address if address else NO_ADDRESS

    def decode_answered(self) -> None:
        """Work out where the registers are whose reads are answered beforehand.

        Where two blocks are at one port, it is the first one's.
        """
        for number in range(ANSWERS):
            offset = answered_offset(number)
            port = self.ports[offset // BAR_STRIDE]
            if port != NO_PORT:
                port = u32(port + offset % BAR_STRIDE)
                if self.port_offset(u16(port)) != offset:
                    port = u32(NO_PORT)
            self.answered[number] = port

    def port_offset(self, port: u16) -> u32:
        """The offset of the register at a port, or NOWHERE."""
        offset = u32(port - self.ports[Bar.BUS_MASTER])
        if offset < BUS_MASTER_SIZE:
            return Bar.BUS_MASTER * BAR_STRIDE + offset
        for i in range(CHANNELS):
            offset = u32(port - self.ports[Bar.PRIMARY_COMMAND + 2 * i])
            if offset < COMMAND_BLOCK_SIZE:
                return 2 * i * BAR_STRIDE + offset
            if u32(port - self.ports[Bar.PRIMARY_CONTROL + 2 * i]) == DEVICE_CONTROL:
                return (2 * i + 1) * BAR_STRIDE + DEVICE_CONTROL
        return NOWHERE

    def memory_offset(self, number: u32, address: u64) -> u32:
        """The same for an address."""
        offset = u64(address - self.addresses[Bar.BUS_MASTER])
        if offset < BUS_MASTER_SIZE:
            return Bar.BUS_MASTER * BAR_STRIDE + offset
        for i in range(CHANNELS):
            if u64(address - self.addresses[Bar.PRIMARY_CONTROL + 2 * i]) == DEVICE_CONTROL:
                return (2 * i + 1) * BAR_STRIDE + DEVICE_CONTROL
        return NOWHERE

    # ---- registers ------------------------------------------------------------------------

    def takes_whole(self, offset: u32, size: u8) -> bool:
        """Whether an access is one to the model: inside a block that is all registers."""
        if is_bus_master(offset):
            return offset % BUS_MASTER_SIZE + size <= BUS_MASTER_SIZE
        return size == 1 or (
            is_command(offset) and register_of(offset) + size <= COMMAND_BLOCK_SIZE
        )

    def takes_string(self, offset: u32, size: u8) -> bool:
        """Whether a string instruction is one access: to Data."""
        return is_data(offset)

    def is_quiet_read(self, offset: u32) -> bool:
        """Whether a read of one byte changes nothing, and nobody waits for its answer.

        Who does is a guest that polls while its channel's request is under way.
        """
        channel = self.channels[channel_of(offset)]
        if channel.request.state != State.IDLE:
            return False
        if is_command(offset):
            if register_of(offset) == AtaRegister.STATUS:
                return channel.drive().interrupt_pending == 0
            return not is_data(offset)
        return True

    def is_quiet_write(self, offset: u32, size: u8, value: u64) -> bool:
        """Whether a write changes no more than registers that a later command or start looks at."""
        register = register_of(offset)
        if is_bus_master(offset):
            status = register == BusMasterRegister.STATUS and size == 1
            return status or register == BusMasterRegister.TABLE
        if not is_command(offset) or size != 1:
            return False
        if register == AtaRegister.DEVICE:
            selected = self.channels[channel_of(offset)].selected
            return (value & Device.DEV != 0) == (selected != 0)
        return register not in (AtaRegister.DATA, AtaRegister.COMMAND)

    def read(self, offset: u32, size: u8, now: u64) -> u64:
        """A read of 1 to 8 bytes, which Data answers by words: of a byte's half is lost."""
        if size == 1:
            return self.read_register(offset)
        if is_data(offset):
            return self.read_words(self.channels[channel_of(offset)], size)
        value = u64(0)
        for i in range(8):
            if i < size:
                value |= u64(self.read_register(u32(offset + i)) << 8 * i)
        return value

    @cold
    def read_words(self, channel: Channel, size: u8) -> u32:
        """A read of one word of Data, or of two."""
        low = read_data(channel)
        value = low if size == 2 else low | read_data(channel) << 16
        if channel.turn:
            self.go_on(channel)
        return value

    def read_register(self, offset: u32) -> u8:
        """A read of one byte."""
        channel = self.channels[channel_of(offset)]
        if is_bus_master(offset):
            return channel.read_bus_master(register_of(offset))
        if not is_command(offset):
            return channel.read_alternate_status()
        if is_data(offset):
            return self.read_words(channel, 2) & 0xFF
        return channel.read(register_of(offset))

    def write(self, offset: u32, size: u8, value: u64, now: u64) -> None:
        """A write, likewise; a word of which only a byte is written has 0 as its other half."""
        if size == 1:
            self.write_register(offset, value & 0xFF)
        elif is_data(offset):
            self.write_words(self.channels[channel_of(offset)], size, value)
        else:
            for i in range(8):
                if i < size:
                    self.write_register(u32(offset + i), byte_of(value, i))

    @cold
    def write_words(self, channel: Channel, size: u8, value: u64) -> None:
        """A write of one word of Data, or of two."""
        write_data(channel, value & 0xFFFF)
        if size > 2:
            write_data(channel, (value >> 16) & 0xFFFF)
        if channel.turn:
            self.go_on(channel)

    def write_register(self, offset: u32, value: u8) -> None:
        """A write of one byte."""
        channel = self.channels[channel_of(offset)]
        register = register_of(offset)
        if is_bus_master(offset):
            channel.write_bus_master(register, value)
            self.run_dma(channel)
        elif not is_command(offset):
            channel.write_control(value)
        elif register == AtaRegister.DATA:
            self.write_words(channel, 2, value)
        elif register == AtaRegister.COMMAND:
            execute(channel, value, self.ram)
        else:
            channel.write(register, value)

    @cold
    def go_on(self, channel: Channel) -> None:
        """What the host moved through Data, or the bus master, is all that a packet device waits
        for.
        """
        while channel.turn:
            go_on(channel, self.ram)

    @cold
    def run_dma(self, channel: Channel) -> None:
        """The bus master may run."""
        run_dma(channel, self.ram)
        if channel.turn:
            self.go_on(channel)

    # ---- string instructions --------------------------------------------------------------

    def read_string(self, offset: u32, size: u8, count: u32, address: u64) -> None:
        """`count` reads of 2 or 4 bytes of Data in one trap, into memory at `address`."""
        length = u32(count * size)
        channel = self.channels[channel_of(offset)]
        taken = read_data_string(channel, address, length)
        if channel.turn:
            self.go_on(channel)
        fill(u64(address + taken), 0, u32(length - taken))

    def write_string(self, offset: u32, size: u8, count: u32, address: u64) -> None:
        """`count` writes of 2 or 4 bytes of Data in one trap, from memory at `address`."""
        channel = self.channels[channel_of(offset)]
        write_data_string(channel, address, u32(count * size))
        if channel.turn:
            self.go_on(channel)

    # ---- posted starts --------------------------------------------------------------------

    def begin_posts(self) -> None:
        """From now on whoever owns the model carries posted starts to `post`."""
        for i in range(CHANNELS):
            self.channels[i].posting = 1

    def expects_posts(self) -> bool:
        """Whether a start may have been posted that has not arrived yet."""
        return self.channels[0].offer != 0 or self.channels[1].offer != 0

    def ends_posts(self, offset: u32) -> bool:
        """Whether a write there must not overtake a posted start: it ends the offer."""
        return not is_command(offset)

    def post(self, number: u8) -> None:
        """A start that was written to the bus master's preset address has arrived."""
        if self.addresses[Bar.BUS_MASTER] != IDE_MEMORY_BUS_MASTER:
            return
        channel = self.channels[number >> 1 & 1]
        direction = BusMasterCommand.TO_MEMORY if number & 1 else 0
        channel.write_bus_master(BusMasterRegister.COMMAND, BusMasterCommand.START | direction)
        self.run_dma(channel)

    # ---- what the guest reads without the monitor -----------------------------------------

    def show(self, machine: Config, answers: Answers) -> None:
        """Bring answers and pages up to date; before any interrupt that tells of it.

        There are answers of a channel's status, from either block, and of its bus master's command
        and status: what drivers read around each command. `is_quiet_read` says when.
        """
        for i in range(CHANNELS):
            first = SHOWN * i
            channel = self.channels[i]
            quiet = channel.request.state == State.IDLE
            status = channel.read_alternate_status()
            settled = quiet and channel.drive().interrupt_pending == 0
            self.answer(answers, u32(first), settled, status)
            self.answer(answers, u32(first + 1), quiet, status)
            command = channel.read_bus_master(BusMasterRegister.COMMAND)
            self.answer(answers, u32(first + 2), quiet, command)
            status = channel.read_bus_master(BusMasterRegister.STATUS)
            self.answer(answers, u32(first + 3), quiet, status)
        if machine.shadow != 0:
            self.show_pages(machine)

    def answer(self, answers: Answers, number: u32, quiet: bool, value: u8) -> None:
        """One of them, if it is quiet and its register at a port."""
        port = self.answered[number]
        answers.known[number] = answer_of(u16(port), value) if quiet and port != NO_PORT else 0

    def show_pages(self, machine: Config) -> None:
        """Bring the pages up to date.

        The guest VM maps them read-only where the BARs are at first. They hold what the bus would
        answer at those addresses, also after the guest has moved a BAR or switched decoding off.
        Only registers whose reads have no effect are there: control blocks and bus master.

        A drive's status comes before the bus master's interrupt bit, as from a drive: it stops
        being busy, then it raises INTRQ. Aligned 32 bits are stored, and so read, at once.
        """
        for page in range(IDE_MEMORY_PAGES):
            for register in range(0, BUS_MASTER_SIZE, 4):
                offset = page * IDE_MEMORY_PAGE + register
                value = u32(0)
                for i in range(4):
                    value |= self.show_byte(IDE_MEMORY + offset + i) << 8 * i
                store32(u64(machine.shadow + offset), value)

    def show_byte(self, address: u64) -> u8:
        """What a read of the byte at an address would answer."""
        offset = self.memory_offset(0, address)
        return 0xFF if offset == NOWHERE else self.read_register(offset)

    # ---- the core -------------------------------------------------------------------------

    @cold
    def request_done(self, channel: u8) -> None:
        """The request of this channel is DONE."""
        part = self.channels[channel & 1]
        if part.drive().is_packet and not part.resetting:
            packet_request_done(part, self.ram)
        else:
            request_done(part, self.ram)


def answered_offset(number: u32) -> u32:
    """Which register one of ANSWERS is of."""
    channel = number // SHOWN % CHANNELS
    block = 2 * channel * BAR_STRIDE
    if number % SHOWN == 0:
        return u32(block + AtaRegister.STATUS)
    if number % SHOWN == 1:
        return u32(block + BAR_STRIDE + DEVICE_CONTROL)
    block = Bar.BUS_MASTER * BAR_STRIDE + BUS_MASTER_CHANNEL * channel
    if number % SHOWN == 2:
        return u32(block + BusMasterRegister.COMMAND)
    return u32(block + BusMasterRegister.STATUS)


def channel_of(offset: u32) -> u8:
    """The channel whose register is at an offset."""
    return (offset >> 3 if is_bus_master(offset) else offset >> 5) & 1


def register_of(offset: u32) -> u8:
    """The register in the channel's part of a block."""
    return offset & 7


def is_bus_master(offset: u32) -> bool:
    """Whether it is one of a bus master."""
    return offset >= Bar.BUS_MASTER * BAR_STRIDE


def is_command(offset: u32) -> bool:
    """Whether it is one of a command block."""
    return not is_bus_master(offset) and offset & BAR_STRIDE == 0


def is_data(offset: u32) -> bool:
    """Whether it is Data."""
    return is_command(offset) and register_of(offset) == AtaRegister.DATA
