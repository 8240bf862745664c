"""A pair of 8259A interrupt controllers. Intel 8259A data sheet (231468-003).

Both are as a PIIX3 has them (82371SB data sheet, 290550): ELCR says for each input whether it is
edge or level triggered. An edge is kept until it is acknowledged, though the line may have fallen:
other devices' lines may rise and fall within one access. The page says what follows from it.
"""

from vestige.abi import Config
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.i8259.spec import (
    ADDRESS,
    CASCADE,
    COMMAND_SHIFT,
    DATA,
    FIRMWARE_LEVEL,
    LEVEL,
    MASTER_LEVEL,
    NO_SLAVE,
    POLLED,
    SLAVE,
    SLAVE_LEVEL,
    SPURIOUS,
    VECTOR,
    Icw1,
    Icw4,
    Ocw2,
    Ocw3,
    Register,
    Word,
)

INPUTS = 8  # of a chip
NONE = 8  # no input; as a rank, the lowest
LINES = 0xFFFF & ~(1 << CASCADE)  # IRQ 2 is no line
NOBODY = 0xFF  # what the bus reads where no chip gives a vector


class Chip(Struct):
    """One 8259A. A bit for each input, where nothing else is said."""

    is_master: u8  # its pin SP
    lines: u8  # inputs that are high
    level: u8  # ELCR: level-triggered ones
    edges: u8  # edges that were not acknowledged
    imr: u8  # masked ones
    isr: u8  # those in service
    top: u8  # the number of the input with the highest priority
    vector: u8  # of input 0
    slaves: u8  # a master's ICW3: inputs with a slave
    address: u8  # a slave's ICW3: the master's input that it answers for
    icw1: u8
    expected: u8  # a Word
    polled: u8  # 1: the next read is an acknowledge cycle
    reads_isr: u8  # 1: the command port reads the ISR, 0: the IRR
    special_mask: u8  # 1: an input that is masked holds up no other
    special_nested: u8  # 1: a slave in service doesn't hold up itself
    automatic: u8  # 1: an interrupt ends as it is acknowledged
    rotates: u8  # 1: and becomes the one of lowest priority

    # ---- the guest ------------------------------------------------------------------------

    def read(self, offset: u8) -> u8:
        """The IMR, or what OCW3 chose: "Reading the 8259A Status"."""
        if offset & DATA:
            return self.imr
        return self.isr if self.reads_isr else self.irr()

    def write(self, offset: u8, value: u8) -> None:
        """A command word: which it is, A0 and bits 3 and 4 say, and what came before."""
        if offset & DATA:
            self.write_data(value)
        elif value & Icw1.ICW1:
            self.initialize(value)
        elif value & Ocw3.OCW3:
            self.write_ocw3(value)
        else:
            self.write_ocw2(value >> COMMAND_SHIFT, value & LEVEL)

    def initialize(self, value: u8) -> None:
        """ICW1: edges are forgotten, nothing is masked or in service, input 7 is the lowest."""
        self.icw1 = value
        self.expected = Word.ICW2
        self.edges = 0
        self.imr = 0
        self.isr = 0
        self.top = 0
        self.slaves = 0
        self.address = NO_SLAVE
        self.polled = 0
        self.reads_isr = 0
        self.special_mask = 0
        self.special_nested = 0
        self.automatic = 0
        self.rotates = 0

    def write_data(self, value: u8) -> None:
        """ICW2 to ICW4 in their turn, then OCW1."""
        match self.expected:
            case Word.ICW2:
                self.vector = value & VECTOR
                if self.icw1 & Icw1.SNGL:
                    self.expect_icw4()
                else:
                    self.expected = Word.ICW3
            case Word.ICW3:
                if self.is_master:
                    self.slaves = value
                else:
                    self.address = value & ADDRESS
                self.expect_icw4()
            case Word.ICW4:
                self.automatic = value & Icw4.AEOI != 0
                self.special_nested = value & Icw4.SFNM != 0
                self.expected = Word.OCW1
            case _:
                self.imr = value

    def expect_icw4(self) -> None:
        """Without ICW4 all that it chooses is off."""
        self.expected = Word.ICW4 if self.icw1 & Icw1.IC4 else Word.OCW1

    def write_ocw2(self, command: u8, number: u8) -> None:
        """End an interrupt, or set priorities: "End of Interrupt", "Automatic Rotation"."""
        match command:
            case Ocw2.ROTATE_IN_AEOI_CLEAR | Ocw2.ROTATE_IN_AEOI_SET:
                self.rotates = command == Ocw2.ROTATE_IN_AEOI_SET
            case Ocw2.NON_SPECIFIC_EOI | Ocw2.ROTATE_ON_NON_SPECIFIC_EOI:
                rank = self.first(self.serving())
                if rank != NONE:
                    self.end(self.ranked(rank), command == Ocw2.ROTATE_ON_NON_SPECIFIC_EOI)
            case Ocw2.SPECIFIC_EOI | Ocw2.ROTATE_ON_SPECIFIC_EOI:
                self.end(number, command == Ocw2.ROTATE_ON_SPECIFIC_EOI)
            case Ocw2.SET_PRIORITY:
                self.lower(number)
            case _:
                pass

    def write_ocw3(self, value: u8) -> None:
        """Special mask mode, poll, and what is read."""
        if value & Ocw3.ESMM:
            self.special_mask = value & Ocw3.SMM != 0
        if value & Ocw3.P:
            self.polled = 1
        if value & Ocw3.RR:
            self.reads_isr = value & Ocw3.RIS

    def set_level(self, value: u8) -> None:
        """ELCR. An input that is level-triggered from now on has no edge."""
        self.level = value
        self.edges &= ~value

    # ---- the pair -------------------------------------------------------------------------

    def take_poll(self) -> bool:
        """Whether this read is the one that follows a poll command."""
        polled = self.polled != 0
        self.polled = 0
        return polled

    def take_lines(self, lines: u8, rose: u8) -> None:
        """The inputs that are high now, and those that rose."""
        self.lines = lines
        self.edges |= rose & ~self.level

    def irr(self) -> u8:
        """The interrupt request register: inputs that ask."""
        return self.edges | (self.lines & self.level)

    def requests(self) -> u8:
        """The inputs that ask and are not masked."""
        return self.irr() & ~self.imr

    def asks(self) -> bool:
        """The output INT."""
        return self.request() != NONE

    def request(self) -> u8:
        """The input that is next, if its priority is above that of all in service; else NONE.

        In special fully nested mode it may be the same where that is a slave.
        """
        requests = self.requests()
        if requests == 0:
            return NONE
        rank = self.first(requests)
        served = self.first(self.serving())
        number = self.ranked(rank)
        if rank < served or (rank == served and self.special_nested and self.has_slave(number)):
            return number
        return NONE

    def acknowledge(self) -> u8:
        """An acknowledge cycle's first INTA, or a poll: the input now in service; NONE asked."""
        number = self.request()
        if number == NONE:
            return NONE
        bit = 1 << (number & 7)
        self.edges &= ~bit
        self.isr |= bit
        if self.automatic:
            self.end(number, self.rotates != 0)
        return number

    def has_slave(self, number: u8) -> bool:
        """Whether a slave is to give the vector of this input: "Cascade Mode"."""
        return self.slaves >> number & 1 != 0

    # ---- inside ---------------------------------------------------------------------------

    def serving(self) -> u8:
        """The inputs in service that hold up others, and that an EOI may end.

        In special mask mode those that are masked don't: "Special Mask Mode", "End of Interrupt".
        """
        return self.isr & ~self.imr if self.special_mask else self.isr

    def first(self, inputs: u8) -> u8:
        """The highest rank among these inputs: 0 is the highest, NONE where there are none."""
        if inputs:
            turned = (inputs << INPUTS | inputs) >> (self.top & 7)
            for rank in range(INPUTS):
                if turned >> rank & 1:
                    return rank
        return NONE

    def ranked(self, rank: u8) -> u8:
        """The number of the input with this rank."""
        return (self.top + rank) & 7

    def end(self, number: u8, rotate: bool) -> None:
        """End the service of an input."""
        self.isr &= ~(1 << (number & 7))
        if rotate:
            self.lower(number)

    def lower(self, number: u8) -> None:
        """Give an input the lowest priority."""
        self.top = (number + 1) & 7


class Pic(Struct):
    """`read` and `write` are the guest's, the rest is the core's."""

    master: Chip
    slave: Chip
    lines: u16  # a bit for each IRQ that is asserted
    asked: u8  # the slave's INT as the master has seen it

    def reset(self) -> None:
        """Power on: nothing is programmed, no input is level-triggered."""
        self.master.is_master = 1

    def configure(self, config: Config) -> None:
        """After `reset`: PCI's interrupts are levels, as a firmware leaves them, unless that is
        about to begin.
        """
        if config.firmware_items == 0:
            self.slave.set_level(FIRMWARE_LEVEL)

    # ---- the guest ------------------------------------------------------------------------

    def read(self, offset: u8, size: u8, now: u64) -> u8:
        """A register read; `offset` 0 to 5, `size` 1. After a poll command it acknowledges."""
        match offset:
            case Register.MASTER_ELCR:
                return self.master.level
            case Register.SLAVE_ELCR:
                return self.slave.level
            case _ if offset & SLAVE:
                if self.slave.take_poll():
                    return answer(self.acknowledge_slave())
                return self.slave.read(offset)
            case _:
                if self.master.take_poll():
                    return answer(self.master.acknowledge())
                return self.master.read(offset)

    def write(self, offset: u8, size: u8, value: u8, now: u64) -> None:
        """A register write; `offset` 0 to 5, `size` 1."""
        match offset:
            case Register.MASTER_ELCR:
                self.master.set_level(value & MASTER_LEVEL)
            case Register.SLAVE_ELCR:
                self.slave.set_level(value & SLAVE_LEVEL)
            case _ if offset & SLAVE:
                self.slave.write(offset, value)
            case _:
                self.master.write(offset, value)
                if offset == Register.MASTER_COMMAND and value & Icw1.ICW1:
                    self.asked = 0  # or a slave that asks already would never be heard again
        self.cascade()

    def is_quiet_write(self, offset: u32, size: u8, value: u64) -> bool:
        """Whether a write can't make it ask where none of its requests waits: ICW1 unmasks."""
        return offset & DATA == 0 and value & Icw1.ICW1 == 0

    # ---- the core -------------------------------------------------------------------------

    def take_lines(self, asserted: u32, rose: u32) -> None:
        """A bit for each IRQ, 0 to 15: asserted now; asserted anew by a source since last time."""
        lines = asserted & LINES
        edges = rose & LINES
        if edges or lines != self.lines:
            self.lines = lines
            self.master.take_lines(lines & 0xFF, edges & 0xFF)
            self.slave.take_lines(lines >> INPUTS, edges >> INPUTS)
            self.cascade()

    def intr(self) -> bool:
        """The output INT to the CPU."""
        return self.master.asks()

    def waits(self) -> bool:
        """Whether a request is held up by one in service: an EOI or another command lets it go."""
        return not self.intr() and (self.master.requests() | self.slave.requests()) != 0

    def acknowledge(self) -> u8:
        """The CPU's acknowledge cycle: the vector. A request that is gone is input 7's.

        Nothing is in service by that one: so a guest tells it, by the ISR.
        """
        number = self.master.acknowledge()
        if number == NONE:
            number = SPURIOUS
        if not self.master.has_slave(number):
            return self.master.vector | number
        if self.slave.address != number:
            return NOBODY
        number = self.acknowledge_slave()
        if number == NONE:
            number = SPURIOUS
        return self.slave.vector | number

    # ---- inside ---------------------------------------------------------------------------

    def acknowledge_slave(self) -> u8:
        """As the chip's own. Its INT falls in the cycle, and rises again for what it has left."""
        number = self.slave.acknowledge()
        self.asked = 0
        self.cascade()
        return number

    def cascade(self) -> None:
        """The slave's INT is an input of the master, edge-triggered: ELCR can't say otherwise."""
        asks = self.slave.asks()
        if asks and not self.asked:
            self.master.edges |= 1 << CASCADE
        self.asked = asks


def answer(number: u8) -> u8:
    """What the read after a poll command reads: "Poll Command"."""
    return 0 if number == NONE else POLLED | number
