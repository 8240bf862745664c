"""The floppy disk controller with DMA, RAM and two disks, as CPython and the compiler run it."""

import ctypes

from vestige.abi import Disk
from vestige.lang.intrinsics import check, fill, load32, store32
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.block import Operation, State
from vestige.monitor.devices.i8237.model import Dma
from vestige.monitor.devices.i8237.spec import PORT_PAGES
from vestige.monitor.devices.i8237.spec import Register as DmaRegister
from vestige.monitor.devices.i82077.controller import Controller, Phase
from vestige.monitor.devices.i82077.model import Floppy
from vestige.monitor.devices.i82077.spec import LENGTHS, NUMBER, Output, Register

RAM_SIZE = 2 << 16
MEMORY = (ctypes.c_uint8 * RAM_SIZE)()
RAM = ctypes.addressof(MEMORY)
CHANNEL = 2
SECTORS = (2880, 5760)  # of the disks; the second is only read


class GuestBench(Struct):
    """`answer` and `move` are the core's, the rest the guest's."""

    floppy: Floppy
    dma: Dma
    disk: Disk
    sum: u32  # of what was written

    def reset(self) -> None:
        """Power-on, with RAM that is all zeroes; out of reset, and both motors on."""
        fill(RAM, 0, RAM_SIZE)
        self.floppy.reset()
        chip = self.floppy.controllers[0]
        for unit in range(2):
            self.disk.sectors = SECTORS[unit]
            self.disk.read_only = unit
            chip.drives[unit].present = 1
            chip.drives[unit].attach(unit, self.disk)
        self.dma.reset()
        self.dma.ram.low = RAM
        self.dma.ram.low_size = RAM_SIZE
        chip.output = Output.RESET | Output.GATE | 0x30
        chip.phase = Phase.COMMAND
        chip.rate = 0

    def read(self, offset: u8) -> u8:
        """A register read."""
        value = self.floppy.read(offset, 1, 0)
        self.forget()
        return value

    def write(self, offset: u8, value: u8) -> None:
        """A register write."""
        self.floppy.write(offset, 1, value, 0)
        self.forget()

    def command(self, first: u8, rest: u64) -> None:
        """A whole command, or a little more, whatever it finds."""
        self.write(Register.DATA, first)
        for i in range(8):
            if i + 1 < LENGTHS[first & NUMBER]:
                self.write(Register.DATA, u8(rest >> 8 * i & 0xFF))

    def program(self, address: u32, length: u16, mode: u8) -> None:
        """Channel 2."""
        self.dma.write(DmaRegister.CLEAR_FLIP_FLOP, 1, 0, 0)
        self.dma.write(2 * CHANNEL, 1, u8(address & 0xFF), 0)
        self.dma.write(2 * CHANNEL, 1, u8(address >> 8 & 0xFF), 0)
        self.dma.write(2 * CHANNEL + 1, 1, u8(length & 0xFF), 0)
        self.dma.write(2 * CHANNEL + 1, 1, u8(length >> 8), 0)
        self.dma.write(PORT_PAGES + 1, 1, u8(address >> 16 & 0xFF), 0)
        self.dma.write(DmaRegister.MODE, 1, mode & 0xFC | CHANNEL, 0)
        self.dma.write(DmaRegister.MASK, 1, CHANNEL, 0)

    def dma_write(self, register: u8, value: u8) -> None:
        """One of the DMA controller's."""
        self.dma.write(register, 1, value, 0)

    def answer(self, error: u8) -> None:
        """The request, if there is one, by a host whose disks have numbers in their sectors."""
        chip = self.floppy.controllers[0]
        request = chip.request
        if request.state != State.QUEUED:
            return
        check(request.lba < SECTORS[request.drive & 1])
        check(request.sectors == 1 and request.segment_count == 1)
        check(request.segments[0].length == 512)
        if request.operation == Operation.READ:
            for i in range(128):
                self.word(chip, i, u32(request.lba))
        else:
            check(request.operation == Operation.WRITE and request.drive == 0)
            for i in range(128):
                self.sum = u32(self.sum * 31 + chip.data[4 * i] + chip.data[4 * i + 3])
        request.complete(error)
        self.floppy.request_done(0)
        self.forget()

    def word(self, chip: Controller, number: u8, value: u32) -> None:
        """Four bytes of the sector."""
        for i in range(4):
            chip.data[4 * (number & 127) + i] = u8(value >> 8 * i & 0xFF)

    def move(self) -> bool:
        """DMA, as far as it goes; whether it did."""
        length = self.floppy.dma_length()
        self.dma.ask(CHANNEL, length > 0)
        if length == 0 or not self.dma.is_open(CHANNEL):
            return False
        address = self.floppy.dma_address()
        moved = self.dma.transfer(CHANNEL, address, length, self.floppy.dma_to_memory())
        self.floppy.dma_moved(moved, self.dma.take_end())
        self.forget()
        return True

    def forget(self) -> None:
        """The address of a request's data, which differs from run to run."""
        self.floppy.controllers[0].request.segments[0].address = 0

    def poke(self, address: u32, value: u32) -> None:
        """The guest's RAM."""
        place = u64(RAM + (address & RAM_SIZE - 4))
        store32(place, u32(load32(place) ^ value))


def check_bench(bench: GuestBench) -> None:
    """Places are in the sector, the line is the chip's, a request has a phase that waits for it."""
    chip = bench.floppy.controllers[0]
    assert chip.position <= chip.end <= 512
    assert chip.phase in list(Phase)
    assert chip.begins == 0
    level = chip.interrupt != 0 and chip.output & Output.GATE != 0
    assert chip.level == bench.floppy.line.level == level
    assert chip.request.state in (State.IDLE, State.QUEUED)
    assert chip.request.state == State.IDLE or chip.phase in (Phase.BUSY, Phase.RESET)
    assert chip.count <= 10
    assert chip.phase != Phase.RESULT or chip.count < chip.results <= 10
    assert all(drive.cylinder < 84 for drive in chip.drives)
    controller = bench.dma.first
    assert controller.masks | controller.requests | controller.asking | controller.ended <= 0xF
