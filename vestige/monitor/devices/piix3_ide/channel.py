"""One ATA channel: two drives behind one set of registers. ATA/ATAPI-6 (T13 1410D), 5, 7 and 9.

Here are the registers, the interrupt and the resets; `transfer` moves data, `commands`
executes. The drive a command runs on stays the selected one until the command is over: while
it shows BSY or DRQ, writes to the command block are ignored (7.4 to 7.14: "indeterminate").
"""

from enum import IntEnum

from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.block import BlockRequest, State
from vestige.monitor.devices.piix3_ide.bus_master import BusMaster
from vestige.monitor.devices.piix3_ide.drive import Drive
from vestige.monitor.devices.piix3_ide.optical import Optical
from vestige.monitor.devices.piix3_ide.packet_spec import PACKET_SIZE
from vestige.monitor.devices.piix3_ide.pci_spec import (
    DRIVES,
    BusMasterCommand,
    BusMasterRegister,
    BusMasterStatus,
)
from vestige.monitor.devices.piix3_ide.spec import (
    MULTIPLE_BUFFER,
    Control,
    Device,
    Error,
    Register,
    Status,
)
from vestige.monitor.line import Line


class CommandProtocol(IntEnum):
    """What the command under way does next. Clause 9."""

    NONE = 0
    PIO_IN = 1  # the host reads the Data register
    PIO_OUT = 2
    DMA_IN = 3  # the bus master writes guest RAM
    DMA_OUT = 4
    VERIFY = 5  # reads, and throws away
    FLUSH = 6  # ends when all is on stable storage
    TRIM = 7  # the bus master reads one sector of ranges from guest RAM
    BUFFER_IN = 8  # the bus master writes guest RAM, from the buffer …
    BUFFER_OUT = 9  # … or the buffer


class Phase(IntEnum):
    """What of a packet device's command moves. ATA/ATAPI-6, 9.8."""

    NONE = 0
    PACKET = 1  # the packet itself
    PARAMETERS = 2  # what it sends along
    ANSWER = 3  # what is in the buffer
    BLOCKS = 4  # of the disc


class Channel(Struct):
    """State of one channel. Lines and requests are what the core looks at."""

    line: Line  # INTRQ
    pin: u8  # of the I/O APIC, where the line leads
    request: BlockRequest
    bus_master: BusMaster
    drives: Drive[DRIVES]
    selected: u8  # the DEV bit: which drive the registers mean
    control: u8  # Device Control as last written
    resetting: u8  # from SRST set until it is clear and no request is under way
    posting: u8  # whoever owns the model carries posted starts to it
    offer: u8  # a DMA command waits for the bus master, whose start may be posted

    protocol: u8  # CommandProtocol
    wide: u8  # the command is a 48-bit one
    block: u8  # sectors a DRQ block
    bounced: u8  # the DMA request under way has one sector in `buffer`
    phase: u8  # Phase
    by_dma: u8  # the data of a packet's command
    turn: u8  # what moved for a packet device is all there: it goes on
    dropping: u8  # DEVICE RESET ends once no request is under way
    limit: u16  # bytes that a packet device may move in one piece
    taken: u16  # bytes of `buffer` that it has let the host move …
    filled: u16  # … of so many
    packet: u8[PACKET_SIZE]
    lba: u64  # next sector the command moves
    remaining: u32  # sectors it has still to move
    position: u16  # of the next byte of `buffer` the host moves …
    end: u16  # … and where the DRQ block ends
    buffer: u8[MULTIPLE_BUFFER]
    opticals: Optical[DRIVES]  # of those drives that are packet devices

    def route(self) -> u8:
        """The pin that the line leads to."""
        return self.pin

    def drive(self) -> Drive:
        """The selected drive, present or not."""
        return self.drives[self.selected & 1]

    def optical(self) -> Optical:
        """What the selected drive has if it is a packet device."""
        return self.opticals[self.selected & 1]

    def answering(self) -> Drive:
        """The drive whose registers are read: device 0 answers for an absent device 1, 9.16.1."""
        if self.drives[1].present == 0:
            return self.drives[0]
        return self.drive()

    def busy(self) -> bool:
        """Whether the command block takes no writes."""
        return self.answering().status & (Status.BSY | Status.DRQ) != 0

    # ---- registers ------------------------------------------------------------------------

    def read(self, offset: u8) -> u8:
        """A command block register but Data. Nobody there: the lines are pulled down, 0."""
        if offset == Register.STATUS:
            return self.read_status()
        drive = self.answering()
        if drive.present == 0:
            return 0
        return drive.read(offset, self.control & Control.HOB != 0)

    def write(self, offset: u8, value: u8) -> None:
        """A command block register but Data and Command: both drives take it."""
        self.control &= ~Control.HOB
        if self.busy():
            return
        self.drives[0].write(offset, value)
        self.drives[1].write(offset, value)
        if offset == Register.DEVICE:
            self.selected = value & Device.DEV != 0
            self.update_line()

    def read_status(self) -> u8:
        """Status: reading it acknowledges the interrupt."""
        drive = self.drive()
        drive.interrupt_pending = 0
        self.update_line()
        return self.read_alternate_status()

    def read_alternate_status(self) -> u8:
        """Status, without acknowledging; an absent drive's is 0, 9.16.1."""
        drive = self.drive()
        return drive.status if drive.present else 0

    def write_control(self, value: u8) -> None:
        """Device Control: 7.8, and the software reset of 9.2."""
        changed = self.control ^ value
        self.control = value
        if changed & Control.SRST:
            if value & Control.SRST:
                self.begin_reset()
            else:
                self.end_reset()
        self.update_line()

    # ---- the bus master's registers -------------------------------------------------------

    def read_bus_master(self, offset: u8) -> u8:
        """One byte of its 8.

        A posted start takes its time, and a driver that polls must not find the bus master
        idle after it: while a start is on offer, ACTIVE is shown as after it.
        """
        value = self.bus_master.read(offset)
        if self.offer and offset == BusMasterRegister.COMMAND:
            value |= BusMasterCommand.OFFER
        if self.offer and offset == BusMasterRegister.STATUS:
            value |= BusMasterStatus.ACTIVE
        return value

    def write_bus_master(self, offset: u8, value: u8) -> None:
        """One byte of its 8. A command, whichever, ends the offer."""
        if offset == BusMasterRegister.COMMAND:
            self.offer = 0
        self.bus_master.write(offset, value)

    def offer_start(self) -> None:
        """A DMA command has begun: if the bus master isn't started yet, its start may be posted."""
        started = self.bus_master.command & BusMasterCommand.START
        self.offer = self.posting != 0 and started == 0

    # ---- interrupts -----------------------------------------------------------------------

    def interrupt(self) -> None:
        """The selected drive has something to say: its interrupt is pending, 5.2.9."""
        self.drive().interrupt_pending = 1
        self.update_line()

    def update_line(self) -> None:
        """Drive INTRQ: only the selected drive does, and not with nIEN. The edge is latched."""
        drive = self.drive()
        pending = drive.present != 0 and drive.interrupt_pending != 0
        level = pending and self.control & Control.NIEN == 0
        if level and self.line.level == 0:
            self.bus_master.status |= BusMasterStatus.INTERRUPT
        self.line.set(level)

    # ---- resets ---------------------------------------------------------------------------

    def begin_reset(self) -> None:
        """SRST is set: every drive drops what it does and is busy."""
        self.resetting = 1
        self.dropping = 0
        self.protocol = CommandProtocol.NONE
        self.phase = Phase.NONE
        self.offer = 0
        self.selected = 0
        for i in range(2):
            drive = self.drives[i]
            drive.status = Status.BSY
            drive.interrupt_pending = 0

    def end_reset(self) -> None:
        """SRST is clear: the drives report, once no request of theirs is under way.

        Until then memory may still change, so a drive that is not busy must mean that it won't.
        """
        if self.resetting == 0 or self.control & Control.SRST or self.request.state != State.IDLE:
            return
        self.resetting = 0
        for i in range(2):
            if self.drives[i].keep_settings == 0:
                self.opticals[i].reset_settings()
            self.drives[i].reset()

    # ---- a command's state ----------------------------------------------------------------

    def finish(self) -> None:
        """The command is done, and says so."""
        self.protocol = CommandProtocol.NONE
        self.phase = Phase.NONE
        self.drive().succeed()
        self.interrupt()

    def fail(self, error: u8) -> None:
        """The command ends in an error, and says so."""
        self.protocol = CommandProtocol.NONE
        self.phase = Phase.NONE
        self.drive().fail(error)
        self.interrupt()

    def abort(self) -> None:
        """The command isn't supported, or not now."""
        self.fail(Error.ABRT)

    def offer_block(self, length: u16) -> None:
        """Let the host move `length` bytes of the buffer through the Data register."""
        self.position = 0
        self.end = length
        self.drive().status = Status.DRDY | Status.DSC | Status.DRQ

    def offers(self, protocol: CommandProtocol) -> bool:
        """Whether the Data register moves bytes in this direction now."""
        return self.protocol == protocol and self.drive().status & Status.DRQ != 0

    def put(self, word: u8, value: u16) -> None:
        """Set a 16-bit word of the buffer's first sector."""
        self.buffer[2 * word] = value & 0xFF
        self.buffer[2 * word + 1] = value >> 8
