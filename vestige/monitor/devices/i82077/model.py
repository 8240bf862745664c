"""The 82077AA, the floppy disk controller of a PC. Intel 82077AA data sheet (290166).

A disk turns and a head moves in no time: what a command asks for is done when its last byte is in,
or when the disk's file has answered. This is all of it that the monitor's core calls.
"""

from vestige.abi import Config
from vestige.lang.intrinsics import address_of
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.i82077.controller import Controller, Phase
from vestige.monitor.devices.i82077.spec import Output
from vestige.monitor.devices.i82077.transfer import go_on, request_done
from vestige.monitor.line import Line


class Floppy(Struct):
    """`read` and `write` are the guest's, the rest is the core's."""

    line: Line  # ISA IRQ 6
    controllers: Controller[1]

    def reset(self) -> None:
        """Power on."""
        self.controllers[0].reset()

    def configure(self, config: Config) -> None:
        """Have the drives that there are; the core attaches their disks."""
        self.controllers[0].configure(config)

    def attach_disk(self, config: Config, number: u8) -> None:
        """Put disk `number` into the drive that it says."""
        disk = config.disks[number]
        self.controllers[0].drives[disk.unit & 1].attach(number, disk)

    def read(self, offset: u8, size: u8, now: u64) -> u8:
        """A register read; `size` 1."""
        value = self.controllers[0].read(offset)
        self.go_on()
        return value

    def write(self, offset: u8, size: u8, value: u8, now: u64) -> None:
        """A register write; likewise."""
        self.controllers[0].write(offset, value)
        self.go_on()

    def request_done(self, number: u8) -> None:
        """The request is DONE."""
        request_done(self.controllers[0])
        self.drive_line()

    def go_on(self) -> None:
        """Do what an access has made possible."""
        go_on(self.controllers[0])
        self.drive_line()

    def drive_line(self) -> None:
        """The line is the chip's, as is its edge, though it may have been low in between."""
        chip = self.controllers[0]
        if chip.rose:
            self.line.set(False)
        chip.rose = 0
        self.line.set(chip.level != 0)

    # ---- DMA --------------------------------------------------------------------------------

    def dma_length(self) -> u32:
        """The bytes for which it asks its channel, 0: it doesn't."""
        chip = self.controllers[0]
        moves = chip.phase in (Phase.TO_HOST, Phase.FROM_HOST) and not chip.by_processor()
        return u16(chip.end - chip.position) if moves and chip.output & Output.GATE else 0

    def dma_address(self) -> u64:
        """Where the first of these is."""
        return u64(address_of(self.controllers[0].data) + self.controllers[0].position)

    def dma_to_memory(self) -> bool:
        """Whether they are for memory."""
        return self.controllers[0].phase == Phase.TO_HOST

    def dma_moved(self, length: u32, ended: bool) -> None:
        """So many of them are moved; whether TC came with the last."""
        chip = self.controllers[0]
        chip.position += length
        if ended:
            chip.ended = 1
        self.go_on()
