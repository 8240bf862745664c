"""The 82077AA without what moves data: registers, the phases of the data register, commands.

Intel 82077AA data sheet (290166). `transfer` has the commands that move data, and calls those that
end here.
"""

from vestige.abi import Config
from vestige.lang.enumeration import IntEnum
from vestige.lang.types import Struct, u8, u16
from vestige.monitor.block import BlockRequest, State
from vestige.monitor.devices.i82077.drive import Drive
from vestige.monitor.devices.i82077.spec import (
    CHANGED,
    COMMAND_BYTES,
    CONFIGURED,
    DRIVES,
    FLOATING,
    INPUT_FLOATING,
    INWARD,
    LENGTHS,
    LOCKED,
    LOCKS,
    NUMBER,
    OPTIONS,
    RELATIVE,
    RESULT_BYTES,
    TAPE_FLOATING,
    UNITS,
    VERSION_ENHANCED,
    Byte,
    Command,
    Configured,
    MainStatus,
    Output,
    Perpendicular,
    Rate,
    RateSelect,
    Register,
    Specified,
    Status0,
    Status3,
    Unit,
)

SECTOR_BYTES = 512


class Phase(IntEnum):
    """What the data register is for."""

    COMMAND = 0  # the bytes of a command
    BUSY = 1  # nothing: a request is under way, or a command ends
    TO_HOST = 2  # execution: the next byte of the buffer
    FROM_HOST = 3
    RESULT = 4
    RESET = 5  # nothing, until it is over


class Controller(Struct):
    """State of the chip."""

    level: u8  # INT, behind the gate
    rose: u8  # it has risen since the line was last driven
    request: BlockRequest
    data: u8[SECTOR_BYTES]  # of the sector that is under way
    drives: Drive[UNITS]  # DRIVES of them may be there
    output: u8  # DOR
    rate: u8
    tape: u8  # TDR
    phase: u8  # Phase
    begins: u8  # a command that moves data is in, and not begun
    interrupt: u8  # INT before the gate
    senses: u8  # SENSE INTERRUPT STATUS that tell of a reset, still to come
    sought: u8[UNITS]  # ST0 of a seek that has ended; 0: none has

    count: u8  # bytes of the command that are in, or of the result that are out
    results: u8  # bytes of the result
    command: u8[COMMAND_BYTES]
    result: u8[RESULT_BYTES]
    position: u16  # of the next byte of the sector that moves …
    end: u16  # … and where those of this sector end
    ended: u8  # TC has come
    head: u8  # over which the sector is
    passed: u8  # sectors that VERIFY, FORMAT TRACK or READ TRACK is past
    faults: u8  # ST1, gathered while a command goes on
    marks: u8  # ST2, likewise

    specified: u8[2]
    configured: u8  # CONFIGURE's
    precompensation: u8  # CONFIGURE's, the first track with it
    locked: u8
    perpendicular: u8  # PERPENDICULAR MODE's, but for OVERWRITE
    last: u8  # the latest EOT, or count of sectors

    # ---- set-up ---------------------------------------------------------------------------

    def reset(self) -> None:
        """Power on: in reset, at the rate that DSR has then."""
        self.rate = Rate.KBPS_250
        self.configured = Configured.NO_FIFO
        self.phase = Phase.RESET

    def configure(self, config: Config) -> None:
        """Have the drives that there are, and be as firmware leaves it, if that isn't to come."""
        for i in range(DRIVES):
            self.drives[i].present = config.floppies[i] != 0
            self.drives[i].changed = 1
        if config.firmware_items == 0:
            self.output = Output.RESET | Output.GATE
            self.phase = Phase.COMMAND

    # ---- registers ------------------------------------------------------------------------

    def read(self, offset: u8) -> u8:
        """A register read."""
        match offset:
            case Register.OUTPUT:
                return self.output
            case Register.TAPE:
                return self.tape | TAPE_FLOATING
            case Register.MAIN_STATUS:
                return self.main_status()
            case Register.DATA:
                return self.read_data()
            case Register.INPUT:
                return self.changed() | INPUT_FLOATING
            case _:
                return FLOATING

    def write(self, offset: u8, value: u8) -> None:
        """A register write."""
        match offset:
            case Register.OUTPUT:
                self.write_output(value)
            case Register.TAPE:
                self.tape = value & 3
            case Register.RATE_SELECT:
                self.rate = value & RateSelect.RATE
                if value & RateSelect.RESET and self.phase != Phase.RESET:
                    self.begin_reset()
                    self.end_reset()
            case Register.DATA:
                self.write_data(value)
            case Register.CONFIGURATION:
                self.rate = value & RateSelect.RATE
            case _:
                pass

    def write_output(self, value: u8) -> None:
        """DOR: the chip is in reset while RESET is 0."""
        before = self.output
        self.output = value
        if value & Output.RESET == 0:
            self.begin_reset()
        elif before & Output.RESET == 0:
            self.end_reset()
        self.drive_line()

    def main_status(self) -> u8:
        """MSR."""
        by_processor = MainStatus.NON_DMA if self.by_processor() else 0
        match self.phase:
            case Phase.COMMAND:
                return MainStatus.REQUEST | (MainStatus.BUSY if self.count > 0 else 0)
            case Phase.TO_HOST | Phase.FROM_HOST:
                ready = MainStatus.REQUEST if by_processor else 0
                inward = MainStatus.TO_HOST if self.phase == Phase.TO_HOST else 0
                return u8(MainStatus.BUSY | by_processor | ready | inward)
            case Phase.RESULT:
                return MainStatus.REQUEST | MainStatus.TO_HOST | MainStatus.BUSY
            case Phase.BUSY:
                return u8(MainStatus.BUSY | by_processor)
            case _:
                return 0

    def changed(self) -> u8:
        """DIR: DSKCHG of the drive that DOR selects, which it does with its motor on alone."""
        unit = self.output & Output.DRIVE
        drive = self.drives[unit]
        selected = drive.present != 0 and self.output >> 4 & 1 << unit != 0
        return CHANGED if selected and drive.changed else 0

    # ---- resets and the interrupt -----------------------------------------------------------

    def begin_reset(self) -> None:
        """What is under way is dropped. 5.2.12: what LOCK keeps stays."""
        self.phase = Phase.RESET
        self.begins = 0
        self.count = 0
        self.senses = 0
        self.interrupt = 0
        for i in range(UNITS):
            self.sought[i] = 0
        self.perpendicular &= Perpendicular.DRIVES
        if self.locked == 0:
            self.configured = Configured.NO_FIFO
            self.precompensation = 0
        self.configured &= Configured.NO_FIFO | Configured.THRESHOLD
        self.drive_line()

    def end_reset(self) -> None:
        """The chip runs, once no request of its is under way, and looks at its drives."""
        in_reset = self.output & Output.RESET == 0
        if self.phase != Phase.RESET or in_reset or self.request.state != State.IDLE:
            return
        self.phase = Phase.COMMAND
        self.senses = UNITS
        self.interrupt = 1
        self.drive_line()

    def interrupt_host(self) -> None:
        """INT."""
        self.interrupt = 1
        self.drive_line()

    def acknowledge(self) -> None:
        """INT is off."""
        self.interrupt = 0
        self.drive_line()

    def drive_line(self) -> None:
        """INT, as the gate lets it through."""
        level = self.interrupt != 0 and self.output & Output.GATE != 0
        if level and not self.level:
            self.rose = 1
        self.level = level

    def by_processor(self) -> bool:
        """Whether data moves through the data register."""
        return self.specified[1] & Specified.NON_DMA != 0

    # ---- the data register ------------------------------------------------------------------

    def read_data(self) -> u8:
        """A byte of a sector, or of a result. The first of a result ends the interrupt."""
        if self.phase == Phase.TO_HOST and self.by_processor():
            value = self.data[self.position % SECTOR_BYTES]
            self.position += 1
            return value
        if self.phase != Phase.RESULT:
            return 0
        self.acknowledge()
        value = self.result[self.count % RESULT_BYTES]
        self.count += 1
        if self.count >= self.results:
            self.listen()
        return value

    def write_data(self, value: u8) -> None:
        """A byte of a sector, or of a command."""
        if self.phase == Phase.FROM_HOST and self.by_processor():
            self.data[self.position % SECTOR_BYTES] = value
            self.position += 1
        elif self.phase == Phase.COMMAND:
            self.command[self.count % COMMAND_BYTES] = value
            self.count += 1
            first = self.command[0]
            length = LENGTHS[first & NUMBER]
            if first & ~(NUMBER | OPTIONS[first & NUMBER]) or length == 0 or relates(first):
                self.answer(Status0.INVALID)
            elif self.count >= length:
                self.phase = Phase.BUSY
                self.execute(first)

    def listen(self) -> None:
        """Be ready for the next command."""
        self.phase = Phase.COMMAND
        self.count = 0

    def answer(self, value: u8) -> None:
        """A result of one byte, without an interrupt."""
        self.result[0] = value
        self.show(1)

    def show(self, length: u8) -> None:
        """Let the host have the result."""
        self.results = length
        self.count = 0
        self.phase = Phase.RESULT

    # ---- commands without data ----------------------------------------------------------------

    def execute(self, first: u8) -> None:
        """All bytes of a command are in. What moves data is `transfer`'s to begin."""
        match first & NUMBER:
            case Command.SPECIFY:
                self.specified[0] = self.command[1]
                self.specified[1] = self.command[2]
                self.listen()
            case Command.SENSE_DRIVE_STATUS:
                self.answer(self.drive_status())
            case Command.RECALIBRATE:
                self.recalibrate()
            case Command.SENSE_INTERRUPT_STATUS:
                self.sense_interrupt()
            case Command.DUMPREG:
                self.dump()
            case Command.SEEK:
                self.seek(first)
            case Command.VERSION:
                self.answer(VERSION_ENHANCED)
            case Command.PERPENDICULAR_MODE:
                value = self.command[1]
                kept = self.perpendicular & Perpendicular.DRIVES
                if value & Perpendicular.OVERWRITE:
                    kept = value & Perpendicular.DRIVES
                self.perpendicular = kept | value & Perpendicular.MODE
                self.listen()
            case Command.CONFIGURE:
                self.configured = self.command[2] & CONFIGURED
                self.precompensation = self.command[3]
                self.listen()
            case Command.LOCK:
                self.locked = first & LOCKS != 0
                self.answer(LOCKED if self.locked else 0)
            case _:
                self.begins = 1

    def unit(self) -> u8:
        """The drive that the command names."""
        return self.command[Byte.UNIT] & Unit.DRIVE

    def drive_status(self) -> u8:
        """ST3."""
        drive = self.drives[self.unit()]
        track_0 = Status3.TRACK_0 if drive.present and drive.cylinder == 0 else 0
        protected = Status3.PROTECTED if drive.protected else 0
        named = self.command[Byte.UNIT] & (Unit.DRIVE | Unit.HEAD)
        return u8(Status3.ONES | track_0 | protected | named)

    def recalibrate(self) -> None:
        """The head to track 0. Where no drive says that it is there, that has failed (5.2.2)."""
        unit = self.unit()
        self.drives[unit].move_to(0)
        there = self.drives[unit].present != 0
        failed = Status0.ABNORMAL | Status0.NO_TRACK_0
        self.end_seek(unit, 0 if there else failed)

    def seek(self, first: u8) -> None:
        """SEEK, and RELATIVE SEEK."""
        drive = self.drives[self.unit()]
        distance = self.command[Byte.CYLINDER]
        if first & RELATIVE == 0:
            drive.move_to(distance)
        elif first & INWARD:
            drive.move_to(u8(min(drive.cylinder + distance, 0xFF)))
        else:
            drive.move_to(u8(max(drive.cylinder, distance) - distance))
        self.end_seek(self.unit(), self.command[Byte.UNIT] & Unit.HEAD)

    def end_seek(self, unit: u8, status: u8) -> None:
        """There is no result: SENSE INTERRUPT STATUS tells of it."""
        self.sought[unit & 3] = status | Status0.SEEK_END | unit
        self.listen()
        self.interrupt_host()

    def sense_interrupt(self) -> None:
        """5.2.4: of a reset for each drive, then of seeks. It ends the interrupt."""
        if self.senses > 0:
            unit: u8 = UNITS - min(self.senses, UNITS)
            self.senses -= 1
            self.acknowledge()
            self.tell_seek(Status0.POLLED | unit)
            return
        for i in range(UNITS):
            if self.sought[i]:
                self.tell_seek(self.sought[i])
                self.sought[i] = 0
                more = self.sought[0] | self.sought[1] | self.sought[2] | self.sought[3]
                self.interrupt = more != 0
                self.drive_line()
                return
        self.answer(Status0.INVALID)

    def tell_seek(self, status: u8) -> None:
        """ST0 and PCN."""
        self.result[0] = status
        self.result[1] = self.drives[status & Unit.DRIVE].cylinder
        self.show(2)

    def dump(self) -> None:
        """DUMPREG, table 5-1."""
        for i in range(UNITS):
            self.result[i] = self.drives[i].cylinder
        self.result[4] = self.specified[0]
        self.result[5] = self.specified[1]
        self.result[6] = self.last
        self.result[7] = u8((LOCKS if self.locked else 0) | self.perpendicular)
        self.result[8] = self.configured
        self.result[9] = self.precompensation
        self.show(10)


def relates(first: u8) -> bool:
    """Whether it is SEEK with RELATIVE SEEK's direction alone, which is no command."""
    return first & NUMBER == Command.SEEK and first & (RELATIVE | INWARD) == INWARD
