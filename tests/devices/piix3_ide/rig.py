"""A bench for the IDE model: ports to drive it by, RAM, and disks that are byte arrays."""

import ctypes
import mmap
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from vestige.abi import Config, Disk
from vestige.lang.intrinsics import address_of
from vestige.lang.memory import Memory
from vestige.monitor.block import BlockRequest, Operation, State
from vestige.monitor.devices.piix3_ide.function import Ide
from vestige.monitor.devices.piix3_ide.packet_spec import BLOCK, PACKET_SIZE
from vestige.monitor.devices.piix3_ide.spec import Command, Status
from vestige.place import NOWHERE

PRIMARY, SECONDARY = 0x1F0, 0x170
CONTROL = {PRIMARY: 0x3F6, SECONDARY: 0x376}
BUS_MASTER = 0xC020
RAM_SIZE = 1 << 20
EIO = 5


def text(value: str, length: int) -> Iterable[int]:
    return value.ljust(length).encode()[:length]


class FakeDisk:
    """A medium of `sectors`, each filled with a pattern of its own; `bad` sectors give EIO."""

    def __init__(
        self,
        sectors: int = 4096,
        unit: int = 0,
        *,
        read_only: bool = False,
        can_discard: bool = False,
    ) -> None:
        self.can_discard = can_discard
        self.discarded: list[tuple[int, int]] = []
        self.discard_error = 0
        self.sectors, self.unit, self.read_only = sectors, unit, read_only
        self.data = bytearray(
            b"".join(
                (i | unit << 24).to_bytes(4, "little") * 128 for i in range(min(sectors, 4096))
            )
        )
        self.bad: set[int] = set()
        self.flushes = 0
        self.flush_error = 0

    def describe(self) -> Disk:
        disk = Disk(present=1, read_only=self.read_only, sectors=self.sectors)
        disk.channel, disk.unit = self.unit >> 1, self.unit & 1
        disk.can_discard = self.can_discard
        for field, value in (
            (disk.serial, text(f"SERIAL-{self.unit}", 20)),
            (disk.firmware, text("1.0", 8)),
            (disk.model, text("TEST DISK", 40)),
        ):
            for i, byte in enumerate(value):
                field[i] = byte
        return disk

    def sector(self, number: int) -> bytes:
        return bytes(self.data[number * 512 : number * 512 + 512])


class FakeDisc(FakeDisk):
    """A drive for discs, and in it a disc of `blocks`; 0: none."""

    def __init__(self, blocks: int = 400, unit: int = 2) -> None:
        super().__init__(4 * blocks, unit, read_only=True)

    def describe(self) -> Disk:
        disk = super().describe()
        disk.is_optical, disk.sectors = 1, 0
        disk.disc.sectors = self.sectors
        for i, byte in enumerate(text("VENDOR  PRODUCT", 40)):
            disk.model[i] = byte
        return disk

    def block(self, number: int) -> bytes:
        return bytes(self.data[number * BLOCK : number * BLOCK + BLOCK])


class Calls(Protocol):
    """What the guest and the core call of the model: interpreted, or compiled."""

    def reset(self, ide: Ide) -> None: ...
    def offer_native_mode(self, ide: Ide) -> None: ...
    def place_in_memory(self, ide: Ide) -> None: ...
    def begin_posts(self, ide: Ide) -> None: ...
    def attach_disk(self, ide: Ide, machine: Config, number: int) -> None: ...
    def port_offset(self, ide: Ide, port: int) -> int: ...
    def memory_offset(self, ide: Ide, number: int, address: int) -> int: ...
    def read(self, ide: Ide, offset: int, size: int, now: int) -> int: ...
    def write(self, ide: Ide, offset: int, size: int, value: int, now: int) -> None: ...
    def read_string(self, ide: Ide, offset: int, size: int, count: int, address: int) -> None: ...
    def write_string(self, ide: Ide, offset: int, size: int, count: int, address: int) -> None: ...
    def read_config(self, ide: Ide, number: int, offset: int, size: int) -> int: ...
    def write_config(self, ide: Ide, number: int, offset: int, size: int, value: int) -> None: ...
    def post(self, ide: Ide, number: int) -> None: ...
    def request_done(self, ide: Ide, channel: int) -> None: ...


class Interpreted:
    """The model as CPython runs it."""

    reset = staticmethod(Ide.reset)
    offer_native_mode = staticmethod(Ide.offer_native_mode)
    place_in_memory = staticmethod(Ide.place_in_memory)
    begin_posts = staticmethod(Ide.begin_posts)
    attach_disk = staticmethod(Ide.attach_disk)
    port_offset = staticmethod(Ide.port_offset)
    memory_offset = staticmethod(Ide.memory_offset)
    read = staticmethod(Ide.read)
    write = staticmethod(Ide.write)
    read_string = staticmethod(Ide.read_string)
    write_string = staticmethod(Ide.write_string)
    read_config = staticmethod(Ide.read_config)
    write_config = staticmethod(Ide.write_config)
    post = staticmethod(Ide.post)
    request_done = staticmethod(Ide.request_done)


class Rig:
    """The model with disks and RAM, in compatibility mode unless `native`.

    `in_memory` besides puts control blocks and bus master into memory, and takes posted starts.
    With `immediate` every request is served at once, as a page-cache hit is; else `serve` does.
    """

    def __init__(
        self,
        disks: Sequence[FakeDisk] | None = None,
        *,
        native: bool = False,
        in_memory: bool = False,
        immediate: bool = True,
        calls: Calls | None = None,
    ) -> None:
        self.calls: Calls = Interpreted() if calls is None else calls
        self.disks = {disk.unit: disk for disk in (disks if disks is not None else [FakeDisk()])}
        self.immediate = immediate
        self.memory = mmap.mmap(-1, RAM_SIZE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.ide = Ide(ram=Memory(low=start, low_size=RAM_SIZE))
        self.calls.reset(self.ide)
        if native:
            self.calls.offer_native_mode(self.ide)
        if in_memory:
            self.calls.place_in_memory(self.ide)
            self.calls.begin_posts(self.ide)
        self.machine = Config()
        for unit, disk in self.disks.items():
            self.machine.disks[unit] = disk.describe()
            self.calls.attach_disk(self.ide, self.machine, unit)
        self.edges = [0, 0]
        self.requests: list[tuple[Operation, int, int, int]] = []  # with lba, sectors, segments
        self.write_config(0x04, 2, 0x0007 if in_memory else 0x0005)

    # ---- the guest ------------------------------------------------------------------------

    def read(self, port: int, size: int = 1) -> int:
        value = self.answer(self.at_port, port, size)
        self.settle()
        return value

    def write(self, port: int, value: int, size: int = 1) -> None:
        self.carry_out(self.at_port, port, size, value)
        self.settle()

    def load(self, address: int, size: int = 1) -> int:
        """A read of memory."""
        return self.answer(self.at_address, address, size)

    def store(self, address: int, value: int, size: int = 1) -> None:
        """A write to memory."""
        self.carry_out(self.at_address, address, size, value)
        self.settle()

    def post(self, number: int) -> None:
        """The n-th posted start arrives."""
        self.calls.post(self.ide, number)
        self.settle()

    def read_string(self, port: int, size: int, count: int) -> bytes:
        """`count` reads in one trap. The bus gives the model strings of whole words of Data."""
        offset = self.at_port(port)
        if size == 1 or offset == NOWHERE or not self.ide.takes_string(offset, size):
            return b"".join(self.read(port, size).to_bytes(size, "little") for _ in range(count))
        data = (ctypes.c_char * max(size * count, 1))()
        self.calls.read_string(self.ide, offset, size, count, ctypes.addressof(data))
        self.settle()
        return data.raw[: size * count]

    def write_string(self, port: int, size: int, value: bytes) -> None:
        """len(value) / size writes in one trap, likewise."""
        offset = self.at_port(port)
        if size == 1 or offset == NOWHERE or not self.ide.takes_string(offset, size):
            for i in range(0, len(value), size):
                self.write(port, int.from_bytes(value[i : i + size], "little"), size)
            return
        data = ctypes.create_string_buffer(value, len(value) or 1)
        count = len(value) // size
        self.calls.write_string(self.ide, offset, size, count, ctypes.addressof(data))
        self.settle()

    def read_config(self, offset: int, size: int = 4) -> int:
        return self.calls.read_config(self.ide, 0, offset, size)

    def write_config(self, offset: int, size: int, value: int) -> None:
        self.calls.write_config(self.ide, 0, offset, size, value)
        self.settle()

    # ---- the bus --------------------------------------------------------------------------

    def at_port(self, port: int) -> int:
        """The offset of the register at a port, or NOWHERE."""
        return self.calls.port_offset(self.ide, port & 0xFFFF)

    def at_address(self, address: int) -> int:
        """The offset of the register at an address, or NOWHERE."""
        return self.calls.memory_offset(self.ide, 0, address)

    def claims(self, port: int) -> bool:
        """Whether there is a register at a port."""
        return self.at_port(port) != NOWHERE

    def takes_whole(self, offset: int, size: int) -> bool:
        """Whether the model takes an access as it is; others come as bytes."""
        return offset != NOWHERE and self.ide.takes_whole(offset, size)

    def is_quiet_read(self, port: int) -> bool:
        """Whether a read of the byte at a port is."""
        offset = self.at_port(port)
        return offset != NOWHERE and self.ide.is_quiet_read(offset)

    def is_quiet_write(self, port: int, size: int, value: int) -> bool:
        """Whether a write to a port is."""
        offset = self.at_port(port)
        return offset != NOWHERE and self.ide.is_quiet_write(offset, size, value)

    def answer(self, find: Callable[[int], int], place: int, size: int) -> int:
        """A read; bytes at which there is no register are 0xFF."""
        offset = find(place)
        if self.takes_whole(offset, size):
            return self.calls.read(self.ide, offset, size, 0)
        if size == 1:
            return 0xFF
        return sum(self.answer(find, place + i, 1) << 8 * i for i in range(size))

    def carry_out(self, find: Callable[[int], int], place: int, size: int, value: int) -> None:
        """A write; bytes at which there is no register are lost."""
        offset = find(place)
        if self.takes_whole(offset, size):
            self.calls.write(self.ide, offset, size, value, 0)
        elif size > 1:
            for i in range(size):
                self.carry_out(find, place + i, 1, value >> 8 * i & 0xFF)

    # ---- what a driver does ---------------------------------------------------------------

    def command(
        self,
        code: Command | int,
        lba: int = 0,
        count: int = 0,
        *,
        base: int = PRIMARY,
        device: int = 0xE0,
        features: int = 0,
        wide: bool = False,
    ) -> None:
        """Load the registers and write the command."""
        if wide:
            for offset, value in ((2, count >> 8), (3, lba >> 24), (4, lba >> 32), (5, lba >> 40)):
                self.write(base + offset, value & 0xFF)
        else:
            device |= lba >> 24 & 0x0F
        values = (features, count, lba, lba >> 8, lba >> 16, device, code)
        # The Device register first: it selects who takes the rest.
        for offset in (6, 1, 2, 3, 4, 5, 7):
            self.write(base + offset, values[offset - 1] & 0xFF)

    def status(self, base: int = PRIMARY) -> int:
        return self.read(base + 7)

    def error(self, base: int = PRIMARY) -> int:
        return self.read(base + 1)

    def address(self, base: int = PRIMARY) -> int:
        """The LBA28 address in the registers."""
        low = sum(self.read(base + 3 + i) << 8 * i for i in range(3))
        return low | (self.read(base + 6) & 0x0F) << 24

    def read_sectors(self, count: int = 1, base: int = PRIMARY) -> bytes:
        """A DRQ block through the Data register, as `rep insw` gets it."""
        return b"".join(self.read_string(base, 2, 256) for _ in range(count))

    def prd(self, table: int, *regions: tuple[int, int]) -> None:
        """A descriptor table in RAM; the last region ends it."""
        for i, (address, length) in enumerate(regions):
            end = (i == len(regions) - 1) << 31
            entry = address.to_bytes(4, "little") + (length & 0xFFFF | end).to_bytes(4, "little")
            self.poke(table + 8 * i, entry)

    def start_dma(self, table: int, *, to_memory: bool, channel: int = 0) -> None:
        """Point the bus master to the table, clear its status and start it."""
        base = BUS_MASTER + 8 * channel
        self.write(base + 4, table, 4)
        self.write(base + 2, 0x06)
        self.write(base, 0x01 | to_memory << 3)

    def bus_master_status(self, channel: int = 0) -> int:
        return self.read(BUS_MASTER + 8 * channel + 2)

    def packet(
        self,
        *packet: int,
        base: int = SECONDARY,
        device: int = 0xA0,
        features: int = 0,
        limit: int = 0xFFFE,
    ) -> None:
        """PACKET, and the packet, filled up with zeroes."""
        for offset, value in ((6, device), (1, features), (4, limit & 0xFF), (5, limit >> 8)):
            self.write(base + offset, value)
        self.write(base + 7, Command.PACKET)
        self.write_string(base, 2, bytes(packet).ljust(PACKET_SIZE, b"\0"))

    def pieces(self, base: int = SECONDARY) -> list[bytes]:
        """What a packet device has for the host, in the pieces in which it comes."""
        pieces = []
        while self.status(base) & Status.DRQ:
            length = self.read(base + 4) | self.read(base + 5) << 8
            assert self.read(base + 2) & 7 == 2
            data = self.read_string(base, 2, (length + 1) // 2)
            pieces.append(data[:length])
        return pieces

    def ask(self, *packet: int, base: int = SECONDARY, limit: int = 0xFFFE) -> bytes:
        """The answer to a packet, by PIO."""
        self.packet(*packet, base=base, limit=limit)
        return b"".join(self.pieces(base))

    def change_disc(self, disc: FakeDisc | None, unit: int = 2) -> None:
        """What the host does when its user changes the disc, or takes it out."""
        told = self.machine.disks[unit].disc
        told.changes += 1
        self.disks[unit] = FakeDisc(0, unit) if disc is None else disc
        told.sectors = self.disks[unit].sectors
        told.changes += 1

    def reset_drives(self, base: int = PRIMARY) -> None:
        """A software reset."""
        self.write(CONTROL[base], 0x04)
        self.write(CONTROL[base], 0x00)

    # ---- memory ---------------------------------------------------------------------------

    def poke(self, address: int, data: bytes) -> None:
        self.memory[address : address + len(data)] = data

    def peek(self, address: int, length: int) -> bytes:
        return self.memory[address : address + length]

    # ---- the core -------------------------------------------------------------------------

    def settle(self) -> None:
        """What the core does after an event."""
        while self.immediate and any(self.serve(channel) for channel in (0, 1)):
            pass
        for channel in (0, 1):
            self.edges[channel] += self.ide.channels[channel].line.take_edge()

    def serve(self, channel: int = 0) -> bool:
        """Do the channel's request, if it has one."""
        request = self.ide.channels[channel].request
        if request.state not in (State.QUEUED, State.BUSY):
            return False
        request.state = State.BUSY
        request.complete(self.perform(channel, request))
        self.calls.request_done(self.ide, channel)
        for number in (0, 1):
            self.edges[number] += self.ide.channels[number].line.take_edge()
        return True

    def perform(self, channel: int, request: BlockRequest) -> int:
        """Move the data; the answer is an errno. Fails the test on a request out of bounds."""
        disk = self.disks[request.drive]
        operation = Operation(request.operation)
        self.requests.append((operation, request.lba, request.sectors, request.segment_count))
        if operation == Operation.FLUSH:
            disk.flushes += 1
            assert request.segment_count == 0
            return disk.flush_error
        if operation == Operation.DISCARD:
            ranges = [request.segments[i] for i in range(request.segment_count)]
            disk.discarded += [(each.address, each.length) for each in ranges]
            return disk.discard_error
        assert request.sectors > 0
        if isinstance(disk, FakeDisc) and request.lba + request.sectors > disk.sectors:
            assert self.machine.disks[request.drive].disc.changes  # it was put in meanwhile
            return EIO
        assert request.lba + request.sectors <= disk.sectors
        segments = [request.segments[i] for i in range(request.segment_count)]
        assert sum(segment.length for segment in segments) == request.sectors * 512
        assert not (disk.read_only and operation == Operation.WRITE)
        if disk.bad & set(range(request.lba, request.lba + request.sectors)):
            return EIO
        at = request.lba * 512 % len(disk.data)
        for segment in segments:
            assert self.reachable(channel, segment.address, segment.length)
            if operation == Operation.READ:
                data = bytes(disk.data[at : at + segment.length])
                ctypes.memmove(segment.address, data, len(data))
            else:
                disk.data[at : at + segment.length] = ctypes.string_at(
                    segment.address, segment.length
                )
            at += segment.length
        return 0

    def reachable(self, channel: int, address: int, length: int) -> bool:
        """Whether a segment lies in RAM or in the channel's own buffer."""
        buffer = self.ide.channels[channel].buffer
        places = ((self.ide.ram.low, RAM_SIZE), (address_of(buffer), len(buffer)))
        return any(start <= address and address + length <= start + size for start, size in places)


def is_ready(status: int) -> bool:
    """Idle and without an error."""
    return status == Status.DRDY | Status.DSC
