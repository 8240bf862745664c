"""All virtio functions of the machine, and which device is behind each: the one place that knows.

This is what the core calls. A new device type gets its field here and a `case` in each `match`.
"""

from vestige.abi import (
    MAX_PORTS,
    MAX_VIRTIO,
    VIRTIO_BAR_SIZE,
    VIRTIO_BARS,
    VIRTIO_QUEUES,
    VIRTIO_SLOT,
    Config,
    VirtioKind,
)
from vestige.lang.intrinsics import address_of
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.virtio.chain import Chain
from vestige.monitor.devices.virtio.function import ONES, VirtioFunction
from vestige.monitor.devices.virtio.spec import COMMON_FEATURES, PAGE, Region
from vestige.monitor.devices.virtio_blk import spec as blk
from vestige.monitor.devices.virtio_blk.model import VirtioBlock
from vestige.monitor.devices.virtio_console import spec as console
from vestige.monitor.devices.virtio_console.model import VirtioConsole
from vestige.monitor.devices.virtio_net import spec as net
from vestige.monitor.devices.virtio_net.model import VirtioNet
from vestige.monitor.devices.virtio_rng import spec as rng
from vestige.monitor.devices.virtio_rng.model import VirtioEntropy

NOWHERE = MAX_VIRTIO  # the number of no function
SLOT_SHIFT = 3  # device number in bus, device and function


class Virtio(Struct):
    """The functions, the devices by type, and what they use one after the other."""

    present: u8  # 1: there is a function
    functions: VirtioFunction[8]  # MAX_VIRTIO
    blocks: VirtioBlock[4]  # MAX_DISKS
    console: VirtioConsole
    entropy: VirtioEntropy
    network: VirtioNet
    chain: Chain
    zeroes: u8[65536]  # what disks write zeroes from

    # ---- set-up ---------------------------------------------------------------------------

    def reset(self, config: Config) -> None:
        """Power on, but for disks; the state is zero."""
        for number in range(MAX_VIRTIO):
            match config.virtio[number].kind:
                case VirtioKind.CONSOLE:
                    self.console.columns = config.columns
                    self.console.rows = config.rows
                    for port in range(MAX_PORTS):
                        if config.ports[port].present:
                            self.console.attach(port, config.ports[port])
                    self.power_on(number, config, console.PCI_CLASS, self.console.features())
                case VirtioKind.ENTROPY:
                    self.power_on(number, config, rng.PCI_CLASS, 0)
                case VirtioKind.NET:
                    self.network.attach(config.net)
                    self.power_on(number, config, net.PCI_CLASS, self.network.features())
                case _:
                    pass

    def attach_disk(self, config: Config, disk: u8) -> None:
        """A disk's size and names are known: its function appears."""
        for number in range(MAX_VIRTIO):
            description = config.virtio[number]
            if description.kind == VirtioKind.BLOCK and description.index == disk:
                block = self.blocks[disk]
                zeroes = address_of(self.zeroes)
                block.attach(disk, config.disks[disk], description.queues, zeroes)
                self.power_on(number, config, blk.PCI_CLASS, block.features())

    def power_on(self, number: u8, config: Config, class_code: u16, features: u64) -> None:
        """Make a function, its state being zero."""
        description = config.virtio[number]
        queues = min(description.queues, VIRTIO_QUEUES)
        function = self.functions[number]
        self.present = 1
        function.reset(number, description.kind, description.index, class_code)
        function.add_vectors(u16(queues + 1))
        function.device.reset(queues, u64(COMMON_FEATURES | features))
        function.device.share_out(description.share, description.shares)

    # ---- configuration space --------------------------------------------------------------

    def at_slot(self, function: u32) -> u32:
        """The number of the function that bus, device and function name, or NOWHERE."""
        slot = function >> SLOT_SHIFT
        if function & 7 or not VIRTIO_SLOT <= slot < VIRTIO_SLOT + MAX_VIRTIO:
            return NOWHERE
        number = slot - VIRTIO_SLOT
        return number if self.functions[number].kind != VirtioKind.NONE else NOWHERE

    def read_config(self, number: u32, offset: u32, size: u32) -> u32:
        """A configuration read of 1 to 4 bytes."""
        function = self.functions[number]
        if function.accesses_bar(offset, size):
            return self.read(number, function.access_offset(), u8(function.access_size()))
        return function.config.read(offset, size)

    def write_config(self, number: u32, offset: u32, size: u32, value: u32, ram: Memory) -> None:
        """A configuration write of 1 to 4 bytes."""
        function = self.functions[number]
        function.write_config(offset, size, value)
        if function.accesses_bar(offset, size):
            self.write(number, function.access_offset(), u8(function.access_size()), value, ram)

    # ---- BARs -----------------------------------------------------------------------------

    def at_address(self, address: u64) -> u32:
        """The number of the function whose BAR is there, or NOWHERE. Where they were is likely."""
        if VIRTIO_BARS <= address < VIRTIO_BARS + MAX_VIRTIO * VIRTIO_BAR_SIZE:
            likely = (address - VIRTIO_BARS) // VIRTIO_BAR_SIZE
            if self.functions[likely].claims(address):
                return likely
        for number in range(MAX_VIRTIO):
            if self.functions[number].claims(address):
                return number
        return NOWHERE

    def read_memory(self, number: u32, address: u64, size: u8) -> u32:
        """A read of 1, 2 or 4 bytes of the function's BAR, in one aligned 32-bit word."""
        return self.read(number, self.offset(number, address), size)

    def write_memory(self, number: u32, address: u64, size: u8, value: u32, ram: Memory) -> None:
        """A write, likewise."""
        self.write(number, self.offset(number, address), size, value, ram)

    def offset(self, number: u32, address: u64) -> u32:
        """Where in the function's BAR an address is."""
        return u32(address - self.functions[number].base) & (VIRTIO_BAR_SIZE - 1)

    def read(self, number: u32, offset: u32, size: u8) -> u32:
        """A read by offset in the BAR."""
        function = self.functions[number]
        if offset & ~(PAGE - 1) != Region.DEVICE:
            return function.read(offset, size)
        word = self.read_device(function, offset & (PAGE - 1) & ~3)
        return word >> 8 * (offset & 3) & ONES[size]

    def write(self, number: u32, offset: u32, size: u8, value: u32, ram: Memory) -> None:
        """A write by offset in the BAR."""
        function = self.functions[number]
        if offset & ~(PAGE - 1) != Region.DEVICE:
            function.write(offset, size, value, ram)

    # ---- devices by type --------------------------------------------------------------------

    def read_device(self, function: VirtioFunction, offset: u32) -> u32:
        """32 bits of the device configuration structure."""
        match function.kind:
            case VirtioKind.BLOCK:
                return self.blocks[function.index].read_config(offset)
            case VirtioKind.CONSOLE:
                return self.console.read_config(offset)
            case VirtioKind.NET:
                return self.network.read_config(offset)
            case _:
                return 0

    def service(self, number: u32, ram: Memory) -> None:
        """Let a device take what its driver made available."""
        function = self.functions[number]
        match function.kind:
            case VirtioKind.BLOCK:
                self.blocks[function.index].service(function.device, self.chain, ram)
            case VirtioKind.CONSOLE:
                self.console.service(function.device, self.chain, ram)
            case VirtioKind.ENTROPY:
                self.entropy.service(function.device, self.chain, ram)
            case VirtioKind.NET:
                self.network.service(function.device, ram)
            case _:
                pass

    def ask(self, ram: Memory) -> bool:
        """Have every driver notify of what comes next; whether something has come already."""
        come = False
        if not self.present:
            return come
        for number in range(MAX_VIRTIO):
            function = self.functions[number]
            if function.kind != VirtioKind.NONE and function.device.ask(ram):
                come = True
        return come

    def signal(self, number: u32, ram: Memory) -> None:
        """Interrupt the driver for all that was given back, if it wants that."""
        device = self.functions[number].device
        for queue in range(VIRTIO_QUEUES):
            if queue < device.queue_count:
                device.signal(queue, ram)
