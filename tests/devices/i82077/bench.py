"""A bench for the floppy disk controller: its ports, the DMA controllers, RAM, images in memory."""

import ctypes
from collections.abc import Iterable, Sequence

from vestige.abi import Config, FloppyDrive
from vestige.monitor.block import Operation, State
from vestige.monitor.devices.i8237.model import Dma
from vestige.monitor.devices.i8237.spec import PORT_PAGES, Mode, Transfer
from vestige.monitor.devices.i8237.spec import Register as DmaRegister
from vestige.monitor.devices.i82077.model import Floppy
from vestige.monitor.devices.i82077.place import FLOPPY, PORT_FLOPPY
from vestige.monitor.devices.i82077.spec import MainStatus, Output, Register

RAM_SIZE = 1 << 20
SECTOR = 512
EIO = 5
CHANNEL = 2
TO_MEMORY = 0x40 | Transfer.WRITE | CHANNEL  # modes of the channel: single transfers
FROM_MEMORY = 0x40 | Transfer.READ | CHANNEL
AGAIN = Mode.INITIALIZE
ON = Output.RESET | Output.GATE | Output.MOTOR  # DOR: drive 0 turns


class Image:
    """A floppy disk, each sector with a pattern of its own; `bad` sectors give EIO."""

    def __init__(self, sectors: int = 2880, *, read_only: bool = False) -> None:
        self.sectors, self.read_only = sectors, read_only
        self.data = bytearray(b"".join(n.to_bytes(4, "little") * 128 for n in range(sectors)))
        self.bad: set[int] = set()

    def sector(self, number: int) -> bytes:
        """512 bytes."""
        return bytes(self.data[number * SECTOR : (number + 1) * SECTOR])


class Bench:
    """The chip with two drives and a PC's DMA, after firmware; `hold` lets requests wait.

    An image that is None is a drive without a disk.
    """

    def __init__(self, images: Sequence[Image | None] = (None,), *, firmware: bool = False) -> None:
        self.floppy, self.dma = Floppy(), Dma()
        self.ram = (ctypes.c_uint8 * RAM_SIZE)()
        self.images = images
        self.hold = False
        self.interrupts = 0
        self.requests: list[tuple[Operation, int, int]] = []  # operation, disk, sector
        config = Config()
        config.ram.low, config.ram.low_size = ctypes.addressof(self.ram), RAM_SIZE
        config.firmware_items = firmware
        for unit, image in enumerate(images):
            config.floppies[unit] = FloppyDrive.OF_1440K
            if image is not None:
                disk = config.disks[unit]
                disk.unit, disk.sectors, disk.read_only = unit, image.sectors, image.read_only
        self.floppy.reset()
        self.floppy.configure(config)
        self.dma.reset()
        self.dma.configure(config)
        for unit, image in enumerate(images):
            if image is not None:
                self.floppy.attach_disk(config, unit)

    # ---- the core ---------------------------------------------------------------------------

    def settle(self) -> None:
        """What core/settle.py does."""
        moving = True
        while moving:
            while self.serve():
                pass
            moving = self.move()
        if self.floppy.line.take_edge():
            self.interrupts += 1

    def serve(self) -> bool:
        """Answer the request, unless it is to wait; whether there was one."""
        request = self.floppy.controllers[0].request
        if request.state != State.QUEUED or self.hold:
            return False
        image = self.images[request.drive]
        assert image is not None
        assert request.sectors == 1
        assert request.lba < image.sectors
        assert (request.segment_count, request.segments[0].length) == (1, SECTOR)
        address = request.segments[0].address
        start = request.lba * SECTOR
        self.requests.append((Operation(request.operation), request.drive, request.lba))
        error = EIO if request.lba in image.bad else 0
        if not error and request.operation == Operation.READ:
            ctypes.memmove(address, bytes(image.data[start : start + SECTOR]), SECTOR)
        elif not error:
            assert request.operation == Operation.WRITE
            assert not image.read_only
            image.data[start : start + SECTOR] = ctypes.string_at(address, SECTOR)
        request.complete(error)
        self.floppy.request_done(0)
        return True

    def move(self) -> bool:
        """DMA, as far as it goes now."""
        assert FLOPPY.dma == CHANNEL
        length = self.floppy.dma_length()
        self.dma.ask(CHANNEL, length > 0)
        if length == 0 or not self.dma.is_open(CHANNEL):
            return False
        moved = self.dma.transfer(
            CHANNEL, self.floppy.dma_address(), length, self.floppy.dma_to_memory()
        )
        self.floppy.dma_moved(moved, self.dma.take_end())
        return True

    # ---- the guest --------------------------------------------------------------------------

    def read(self, register: int) -> int:
        """A byte of one of the chip's registers."""
        value = self.floppy.read(register, 1, 0)
        self.settle()
        return value

    def write(self, register: int, value: int) -> None:
        """The same, written."""
        self.floppy.write(register, 1, value, 0)
        self.settle()

    def port(self, port: int, value: int | None = None) -> int:
        """An access to a port of the chip's, or of the DMA controllers'."""
        if port >= PORT_FLOPPY:
            if value is None:
                return self.read(port - PORT_FLOPPY)
            self.write(port - PORT_FLOPPY, value)
        elif value is None:
            return self.dma.read(port, 1, 0)
        else:
            self.dma.write(port, 1, value, 0)
            self.settle()
        return 0

    def status(self) -> int:
        """MSR."""
        return self.read(Register.MAIN_STATUS)

    def start(self) -> None:
        """A reset, and the four answers that it wants; then the motor and the highest rate."""
        self.write(Register.OUTPUT, 0)
        self.write(Register.OUTPUT, ON)
        for _ in range(4):
            self.command(8)
        self.write(Register.CONFIGURATION, 0)
        self.command(3, 0xDF, 0x02)

    def command(self, *data: int) -> list[int]:
        """Write a command's bytes, and read its result as far as it has one now."""
        for byte in data:
            assert self.status() & 0xC0 == MainStatus.REQUEST, hex(self.status())
            self.write(Register.DATA, byte)
        return self.result()

    def result(self) -> list[int]:
        """Whatever there is to read of a result."""
        wanted = MainStatus.REQUEST | MainStatus.TO_HOST | MainStatus.BUSY
        answer = []
        while self.status() == wanted:
            answer.append(self.read(Register.DATA))
        return answer

    def program(self, address: int, length: int, mode: int) -> None:
        """Have channel 2 move so many bytes."""
        for port, value in programmed(address, length, mode):
            self.port(port, value)

    def take(self, count: int) -> bytes:
        """Bytes of the data register's, while it has some."""
        return bytes(self.read(Register.DATA) for _ in range(count))

    def put(self, data: Iterable[int]) -> None:
        """Bytes into the data register."""
        for byte in data:
            self.write(Register.DATA, byte)

    def sector_of(self, cylinder: int, head: int, sector: int, track: int = 18) -> int:
        """Where in an image that is."""
        return (cylinder * 2 + head) * track + sector - 1


def programmed(address: int, length: int, mode: int) -> list[tuple[int, int]]:
    """Ports and values: channel 2 moves `length` bytes at `address`, and is open."""
    count = length - 1
    return [
        (DmaRegister.MASK, 4 | CHANNEL),
        (DmaRegister.CLEAR_FLIP_FLOP, 0),
        (2 * CHANNEL, address & 0xFF),
        (2 * CHANNEL, address >> 8 & 0xFF),
        (2 * CHANNEL + 1, count & 0xFF),
        (2 * CHANNEL + 1, count >> 8 & 0xFF),
        (PORT_PAGES + 1, address >> 16),
        (DmaRegister.MODE, mode),
        (DmaRegister.MASK, CHANNEL),
    ]
