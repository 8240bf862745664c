"""All virtio functions of the machine, and the devices behind them by type.

This is what the core calls. Types are rows of `vestige/devices.py`, and an array each in `Virtio`.
"""

from vestige.abi import (
    MAX_DISKS,
    MAX_VIRTIO,
    VIRTIO_BAR_SIZE,
    VIRTIO_QUEUES,
    Config,
    VirtioKind,
)
from vestige.devices import VIRTIO_TYPES
from vestige.lang.intrinsics import address_of
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.virtio.chain import Chain
from vestige.monitor.devices.virtio.function import VirtioFunction
from vestige.monitor.devices.virtio.spec import COMMON_FEATURES, PAGE, Region
from vestige.monitor.devices.virtio_blk.model import ZEROES, VirtioBlock
from vestige.monitor.devices.virtio_console.model import VirtioConsole
from vestige.monitor.devices.virtio_input.model import VirtioTablet
from vestige.monitor.devices.virtio_net.model import VirtioNet
from vestige.monitor.devices.virtio_rng.model import VirtioEntropy
from vestige.monitor.events import EventStream, Taken
from vestige.monitor.sized import ONES, part_of
from vestige.place import NOWHERE
from vestige.shapes import VirtioDisk, VirtioEventTaker, VirtioModel, VirtioWritable


class Virtio(Struct):
    """The functions, the devices by type, and what they use one after the other.

    An offset is function number * VIRTIO_BAR_SIZE + the offset in that function's BAR.
    """

    count: u8  # of functions, and of gaps before the last
    ram: Memory  # what the devices reach
    functions: VirtioFunction[MAX_VIRTIO]
    blocks: VirtioBlock[MAX_DISKS]
    consoles: VirtioConsole[1]
    entropies: VirtioEntropy[1]
    networks: VirtioNet[1]
    tablets: VirtioTablet[1]
    chain: Chain
    zeroes: u8[ZEROES]  # what disks write zeroes from

    # ---- set-up ---------------------------------------------------------------------------

    def reset(self) -> None:
        """There is no function yet."""

    def configure(self, config: Config) -> None:
        """The functions appear, but for disks. Without a ring there are none."""
        self.ram.set(config.ram)
        if not config.ring.present:
            return
        for number in range(MAX_VIRTIO):
            description = config.virtio[number]
            for row in VIRTIO_TYPES:
                if row.requests is None and description.kind == row.kind:
                    model: VirtioModel = getattr(self, row.field)[description.index % row.count]
                    model.configure(config)
                    self.power_on(number, config, row.class_code, model.features())

    def attach_disk(self, config: Config, disk: u8) -> None:
        """A disk's size and names are known: its function appears."""
        for number in range(MAX_VIRTIO):
            description = config.virtio[number]
            for row in VIRTIO_TYPES:
                is_it = description.kind == row.kind and description.index == disk
                if row.requests is not None and is_it:
                    model: VirtioDisk = getattr(self, row.field)[disk % row.count]
                    zeroes = address_of(self.zeroes)
                    model.attach(disk, config.disks[disk], description.queues, zeroes)
                    self.power_on(number, config, row.class_code, model.features())

    def power_on(self, number: u8, config: Config, class_code: u16, features: u64) -> None:
        """Make a function, its state being zero."""
        description = config.virtio[number]
        queues = min(description.queues, VIRTIO_QUEUES)
        function = self.functions[number]
        self.count = max(self.count, number + 1)
        function.reset(number, description.kind, description.index, class_code, config.board)
        function.add_vectors(u16(queues + 1))
        function.device.reset(queues, u64(COMMON_FEATURES | features))
        function.device.share_out(description.share, description.shares)

    # ---- configuration space --------------------------------------------------------------

    def has_function(self, number: u32) -> bool:
        """Whether there is function `number`."""
        return self.functions[number].kind != VirtioKind.NONE

    def read_config(self, number: u32, offset: u32, size: u8) -> u32:
        """A configuration read of 1 to 4 bytes."""
        function = self.functions[number]
        if function.accesses_bar(offset, size):
            return self.read_bar(number, function.access_offset(), u8(function.access_size()))
        return function.config.read(offset, size)

    def write_config(self, number: u32, offset: u32, size: u8, value: u32) -> None:
        """A configuration write of 1 to 4 bytes."""
        function = self.functions[number]
        function.write_config(offset, size, value)
        if function.accesses_bar(offset, size):
            size = u8(function.access_size())
            self.write_bar(number, function.access_offset(), size, value)

    # ---- BARs -----------------------------------------------------------------------------

    def port_offset(self, port: u16) -> u32:
        """No register is at a port."""
        return NOWHERE

    def memory_offset(self, number: u32, address: u64) -> u32:
        """The offset of the register at an address, if it is function `number`'s; or NOWHERE."""
        function = self.functions[number]
        if not function.claims(address):
            return NOWHERE
        return u32(number * VIRTIO_BAR_SIZE + (address - function.base & VIRTIO_BAR_SIZE - 1))

    def read(self, offset: u32, size: u8, now: u64) -> u32:
        """A read of 1, 2 or 4 bytes, in one aligned 32-bit word."""
        number = offset // VIRTIO_BAR_SIZE % MAX_VIRTIO
        return self.read_bar(number, offset & VIRTIO_BAR_SIZE - 1, size)

    def write(self, offset: u32, size: u8, value: u64, now: u64) -> None:
        """A write, likewise."""
        number = offset // VIRTIO_BAR_SIZE % MAX_VIRTIO
        self.write_bar(number, offset & VIRTIO_BAR_SIZE - 1, size, u32(value))

    def read_bar(self, number: u32, offset: u32, size: u8) -> u32:
        """A read by offset in one function's BAR."""
        function = self.functions[number]
        if function.kind == VirtioKind.NONE:  # it is another domain's
            return ONES[4]
        if offset & ~(PAGE - 1) != Region.DEVICE:
            return function.read(offset, size)
        word = self.read_device(function, offset & (PAGE - 1) & ~3)
        return u32(part_of(word, offset & 3, size))

    def write_bar(self, number: u32, offset: u32, size: u8, value: u32) -> None:
        """A write, likewise."""
        function = self.functions[number]
        if function.kind == VirtioKind.NONE:
            return
        if offset & ~(PAGE - 1) == Region.DEVICE:
            self.write_device(function, offset & PAGE - 1, size, value)
        else:
            function.write(offset, size, value, self.ram)

    # ---- devices by type --------------------------------------------------------------------

    def read_device(self, function: VirtioFunction, offset: u32) -> u32:
        """32 bits of the device configuration structure."""
        for row in VIRTIO_TYPES:
            if function.kind == row.kind:
                model: VirtioModel = getattr(self, row.field)[function.index % row.count]
                return model.read_config(offset)
        return 0

    def write_device(self, function: VirtioFunction, offset: u32, size: u8, value: u32) -> None:
        """A write to the device configuration structure; most take none."""
        for row in VIRTIO_TYPES:
            if row.writes and function.kind == row.kind:
                model: VirtioWritable = getattr(self, row.field)[function.index % row.count]
                model.write_config(offset, size, value)

    def take_event(self, stream: EventStream) -> u8:
        """Offer an event to the devices that take some; a Taken."""
        for number in range(MAX_VIRTIO):
            function = self.functions[number]
            for row in VIRTIO_TYPES:
                if row.takes_events and function.kind == row.kind:
                    model: VirtioEventTaker = getattr(self, row.field)[function.index % row.count]
                    taken = model.take_event(stream, function.device, self.chain, self.ram)
                    self.signal(number)
                    if taken != Taken.NOT_MINE:
                        return taken
        return Taken.NOT_MINE

    def service(self, number: u32) -> None:
        """Let a device take what its driver made available."""
        function = self.functions[number]
        for row in VIRTIO_TYPES:
            if function.kind == row.kind:
                model: VirtioModel = getattr(self, row.field)[function.index % row.count]
                model.service(function.device, self.chain, self.ram)

    def ask(self) -> bool:
        """Have every driver notify of what comes next; whether something has come already."""
        come = False
        for number in range(min(self.count, MAX_VIRTIO)):
            function = self.functions[number]
            if function.kind != VirtioKind.NONE and function.device.ask(self.ram):
                come = True
        return come

    def signal(self, number: u32) -> None:
        """Interrupt the driver for all that was given back, if it wants that."""
        device = self.functions[number].device
        for queue in range(VIRTIO_QUEUES):
            if queue >= device.queue_count:
                break
            device.signal(queue, self.ram)
