"""A PC16550D serial port. National Semiconductor PC16550D data sheet (June 1995), section 8.

The line itself is ideal: a character takes no time to send, none is ever damaged, and it has
8 bits whatever the word length (5 after reset, which many a small guest never sets). What is
sent collects in `output`, from where the core takes it; the transmitter stays full while there
is no space, so a guest that honours THRE loses nothing. What comes waits in `input`, and shows in
the receiver while the guest listens; until it is read, nothing that clears the receiver touches it.
Times are nanoseconds.
"""

from vestige.abi import Config
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.uart16550.spec import (
    CLOCK,
    FIFO_SIZE,
    TRIGGER_LEVELS,
    Enable,
    Fifo,
    Identity,
    LineControl,
    LineStatus,
    ModemControl,
    ModemStatus,
    Register,
)
from vestige.monitor.line import NEVER, Line

OUTPUT_SIZE = 4096
INPUT_SIZE = 64
POLLS = 2  # this many reads of the line status in a row are a guest that waits for a character
TIMEOUT_CHARACTERS = 4  # 8.11: how long characters may wait below the trigger level
CONNECTED = ModemStatus.CTS | ModemStatus.DSR | ModemStatus.DCD  # the console is always there


class Uart(Struct):
    """One serial port: `read` and `write` are the guest's, the rest is the core's."""

    line: Line
    enable: u8
    line_control: u8
    modem_control: u8
    modem_deltas: u8
    errors: u8  # LineStatus.ERRORS
    scratch: u8
    divisor: u16
    fifo_control: u8  # bits that stick: ENABLE, DMA_MODE, TRIGGER
    empty_pending: u8  # the transmitter-empty interrupt, until IIR shows it or THR is written
    timeout_pending: u8
    buffer: u8  # the last character received without FIFOs
    received: u8[FIFO_SIZE]  # what came by loopback; without FIFOs only one is used
    received_first: u8
    received_count: u8
    received_time: u64  # of the last character received, or read by the guest
    input: u8[INPUT_SIZE]  # what comes by the line, and the guest has not read
    input_first: u8
    input_count: u8
    polls: u8  # reads of the line status since the guest did something else here, up to POLLS
    transmitting: u8[FIFO_SIZE]  # characters `output` has no space for
    transmitting_count: u8
    vacant: u8  # 1: nothing is at the other end of the line, and what is sent is lost
    output: u8[OUTPUT_SIZE]  # a ring
    output_first: u16
    output_count: u16

    def reset(self) -> None:
        """Master reset, table I. The divisor isn't affected by it and starts at 115200 baud."""
        self.divisor = 1

    def configure(self, config: Config) -> None:
        """After `reset`, of a port that is nobody's console."""
        self.vacant = 1

    # ---- the guest ------------------------------------------------------------------------

    def read(self, offset: u8, size: u8, now: u64) -> u8:
        """A register read; `offset` 0 to 7, `size` 1."""
        self.expire(now)
        latch = self.line_control & LineControl.DIVISOR_LATCH
        match offset:
            case Register.DATA:
                return self.divisor & 0xFF if latch else self.read_data(now)
            case Register.INTERRUPT_ENABLE:
                return self.divisor >> 8 if latch else self.enable
            case Register.INTERRUPT_IDENTITY:
                return self.read_identity()
            case Register.LINE_CONTROL:
                return self.line_control
            case Register.MODEM_CONTROL:
                return self.modem_control
            case Register.LINE_STATUS:
                return self.read_line_status()
            case Register.MODEM_STATUS:
                return self.read_modem_status()
            case _:
                return self.scratch

    def write(self, offset: u8, size: u8, value: u8, now: u64) -> None:
        """A register write; `offset` 0 to 7, `size` 1."""
        self.expire(now)
        self.polls = 0
        latch = self.line_control & LineControl.DIVISOR_LATCH
        match offset:
            case Register.DATA:
                if latch:
                    self.divisor = (self.divisor & 0xFF00) | value
                else:
                    self.write_data(value, now)
            case Register.INTERRUPT_ENABLE:
                if latch:
                    self.divisor = (self.divisor & 0xFF) | value << 8
                else:
                    self.write_enable(value, now)
            case Register.FIFO_CONTROL:
                self.write_fifo_control(value)
            case Register.LINE_CONTROL:
                self.line_control = value
            case Register.MODEM_CONTROL:
                self.write_modem_control(value)
            case Register.SCRATCH:
                self.scratch = value
            case _:
                pass  # the status registers

    def read_data(self, now: u64) -> u8:
        """The receiver buffer: the oldest character. Without FIFOs it keeps the last one."""
        self.timeout_pending = 0
        self.received_time = now
        value = 0 if self.fifos() else self.buffer
        if self.received_count > 0:
            value = self.received[self.received_first % FIFO_SIZE]
            self.received_first = (self.received_first + 1) % FIFO_SIZE
            self.received_count -= 1
        elif self.waiting() > 0:
            value = self.input[self.input_first % INPUT_SIZE]
            self.input_first = (self.input_first + 1) % INPUT_SIZE
            self.input_count -= 1
            self.buffer = value
        else:
            self.polls = 0
        self.update_line()
        return value

    def write_data(self, value: u8, now: u64) -> None:
        """The transmitter holding register or FIFO. Into a full FIFO a character is lost."""
        self.empty_pending = 0
        self.update_line()  # the line falls even where the character goes at once
        if self.modem_control & ModemControl.LOOP:
            self.receive(value, now)
            self.emptied()
            return
        if not self.fifos():
            self.transmitting[0] = value
            self.transmitting_count = 1
        elif self.transmitting_count < FIFO_SIZE:
            self.transmitting[self.transmitting_count] = value
            self.transmitting_count += 1
        self.transmit()

    def write_enable(self, value: u8, now: u64) -> None:
        """8.7. Enabling the transmitter's interrupt while it is empty raises it.

        The data sheet says so nowhere; Linux's 8250 driver tests for it and calls its absence
        UART_BUG_THRE.
        """
        before = self.enable
        self.enable = value & Enable.ALL
        if self.enable & ~before & Enable.TRANSMITTER_EMPTY and self.transmitting_count == 0:
            self.empty_pending = 1
        if self.enable & ~before & Enable.RECEIVED and self.received_count == 0:
            self.received_time = now
        self.update_line()

    def read_identity(self) -> u8:
        """8.6. Reading it while it shows the transmitter's interrupt clears that one."""
        identity = self.identity()
        if identity == Identity.TRANSMITTER_EMPTY:
            self.empty_pending = 0
            self.update_line()
        return identity | Identity.FIFOS if self.fifos() else identity

    def write_fifo_control(self, value: u8) -> None:
        """8.5. Switching the FIFOs on or off empties both.

        What comes by the line is still on it, so that is not lost. Linux switches them on behind
        the received data interrupt.
        """
        switched = (value ^ self.fifo_control) & Fifo.ENABLE
        if switched or value & (Fifo.ENABLE | Fifo.RESET_RECEIVER) == 3:
            self.received_count = 0
            self.timeout_pending = 0
        if switched or value & (Fifo.ENABLE | Fifo.RESET_TRANSMITTER) == 5:
            self.transmitting_count = 0
            self.empty_pending = 1
        if value & Fifo.ENABLE:
            self.fifo_control = value & (Fifo.ENABLE | Fifo.DMA_MODE | Fifo.TRIGGER)
        else:
            self.fifo_control = 0
        self.update_line()

    def write_modem_control(self, value: u8) -> None:
        """8.8. In loopback the outputs are the modem status inputs, and changes show there."""
        before = self.modem_lines()
        self.modem_control = value & ModemControl.ALL
        after = self.modem_lines()
        changed = (before ^ after) >> 4
        if not before & ~int(after) & ModemStatus.RI:
            changed &= ~ModemStatus.TRAILING_RI
        self.modem_deltas |= changed
        self.update_line()

    def read_line_status(self) -> u8:
        """8.4. Reading it clears the error bits."""
        self.polls = min(self.polls + 1, POLLS)
        status = self.errors
        if self.waiting() > 0:
            status |= LineStatus.DATA_READY
        if self.transmitting_count == 0:
            status |= LineStatus.HOLDING_EMPTY | LineStatus.EMPTY
        self.errors = 0
        self.update_line()
        return status

    def read_modem_status(self) -> u8:
        """8.9. Reading it clears the deltas."""
        status = self.modem_lines() | self.modem_deltas
        self.modem_deltas = 0
        self.update_line()
        return status

    # ---- the core -------------------------------------------------------------------------

    def is_quiet_read(self, offset: u32) -> bool:
        """Whether a read changes nothing: of the line status while nothing came or waits to go.

        The one by which the guest begins to listen does.
        """
        if offset != Register.LINE_STATUS or self.polls == POLLS - 1:
            return False
        return self.errors == 0 and self.transmitting_count == 0 and self.waiting() == 0

    def listens(self) -> bool:
        """Whether the guest waits for characters: by interrupt, or by reading the line status.

        Drivers clear the receiver when they begin and end (Linux: FIFOs reset, then the line
        status and the data read once), with the received data interrupt off. What was typed
        before must outlast that. RTS says nothing: some guests (xv6) never set it, Linux's early
        console does and never reads. In loopback the line is not connected.
        """
        if self.modem_control & ModemControl.LOOP:
            return False
        return self.enable & Enable.RECEIVED != 0 or self.polls >= POLLS

    def arrive(self, count: u8, now: u64) -> None:
        """So many characters, at most INPUT_SIZE, have come into the `input` that was empty."""
        self.input_first = 0
        self.input_count = min(count, INPUT_SIZE)
        self.received_time = now
        self.update_line()

    def receive(self, value: u8, now: u64) -> None:
        """A character comes back by loopback. Into a full FIFO it is an overrun: 8.4 bit 1."""
        capacity = FIFO_SIZE if self.fifos() else 1
        if capacity == 1:
            self.buffer = value
        self.received_time = now
        if self.received_count < capacity:
            last = (self.received_first + self.received_count) % FIFO_SIZE
            self.received[last] = value
            self.received_count += 1
        else:
            self.errors |= LineStatus.OVERRUN
            if capacity == 1:
                self.received[self.received_first % FIFO_SIZE] = value
        self.update_line()

    def output_length(self) -> u32:
        """How many characters lie in one piece at `output[output_first]`."""
        return min(self.output_count, OUTPUT_SIZE - self.output_first % OUTPUT_SIZE)

    def output_done(self, count: u32) -> None:
        """The first `count` characters of the output are gone: their place is free."""
        self.output_first = u16((self.output_first + count) % OUTPUT_SIZE)
        self.output_count -= count
        self.transmit()

    def next_deadline(self) -> u64:
        """When to call `expire`: where characters wait and only time brings the interrupt."""
        if not self.enable & Enable.RECEIVED or self.waiting() >= self.trigger():
            return NEVER
        return self.timeout()

    def expire(self, now: u64) -> None:
        """Time has passed: bring the timeout up to date."""
        if now >= self.timeout():
            self.timeout_pending = 1
            self.update_line()

    # ---- inside ---------------------------------------------------------------------------

    def fifos(self) -> bool:
        """Whether the FIFOs are on."""
        return self.fifo_control & Fifo.ENABLE != 0

    def waiting(self) -> u8:
        """How many characters the receiver has for the guest.

        Of the line's as many as the trigger level and not the whole FIFO: else the level the
        driver chose would mean nothing. Those of a loopback are read first.
        """
        if self.received_count > 0:
            return self.received_count
        if not self.listens():
            return 0
        return min(self.input_count, self.trigger() if self.fifos() else 1)

    def trigger(self) -> u8:
        """The receiver's trigger level, in characters."""
        return TRIGGER_LEVELS[self.fifo_control >> 6]

    def modem_lines(self) -> u8:
        """The modem status inputs, as they are in the status register. 8.8 bit 4."""
        control = self.modem_control
        if not control & ModemControl.LOOP:
            return 0 if self.vacant else CONNECTED
        lines = 0
        if control & ModemControl.DTR:
            lines |= ModemStatus.DSR
        if control & ModemControl.RTS:
            lines |= ModemStatus.CTS
        if control & ModemControl.OUT1:
            lines |= ModemStatus.RI
        if control & ModemControl.OUT2:
            lines |= ModemStatus.DCD
        return lines

    def transmit(self) -> None:
        """Send what waits as far as there is space; the last one gone raises the interrupt."""
        waiting = self.transmitting_count
        if waiting == 0:
            return
        if self.vacant:
            self.transmitting_count = 0
            self.emptied()
            return
        left = 0
        for i in range(FIFO_SIZE):
            if i >= waiting:
                break
            if self.output_count < OUTPUT_SIZE:
                last = (self.output_first + self.output_count) % OUTPUT_SIZE
                self.output[last] = self.transmitting[i]
                self.output_count += 1
            else:
                self.transmitting[left % FIFO_SIZE] = self.transmitting[i]
                left = u8(left + 1)
        self.transmitting_count = left
        self.emptied()

    def emptied(self) -> None:
        """The transmitter may have become empty: that raises its interrupt. 8.11."""
        if self.transmitting_count == 0:
            self.empty_pending = 1
        self.update_line()

    def timeout(self) -> u64:
        """When the characters in the FIFO have waited too long, NEVER where none wait. 8.11."""
        if not self.fifos() or self.waiting() == 0 or self.timeout_pending:
            return NEVER
        return u64(self.received_time + TIMEOUT_CHARACTERS * self.character_time())

    def character_time(self) -> u64:
        """How long one character is on the line, start, parity and stop bits included."""
        control = self.line_control
        bits = 7 + (control & LineControl.WORD_LENGTH)
        if control & LineControl.STOP_BITS:
            bits += 1
        if control & LineControl.PARITY:
            bits += 1
        return bits * self.divisor * 16 * 1_000_000_000 // CLOCK

    def identity(self) -> u8:
        """The pending interrupt of highest priority. Table IV."""
        if self.enable & Enable.LINE_STATUS and self.errors:
            return Identity.LINE_STATUS
        if self.enable & Enable.RECEIVED:
            waiting = self.waiting()
            if self.timeout_pending and waiting > 0:
                return Identity.TIMEOUT
            if waiting >= self.trigger():
                return Identity.RECEIVED
        if self.enable & Enable.TRANSMITTER_EMPTY and self.empty_pending:
            return Identity.TRANSMITTER_EMPTY
        if self.enable & Enable.MODEM_STATUS and self.modem_deltas:
            return Identity.MODEM_STATUS
        return Identity.NONE

    def update_line(self) -> None:
        """Drive the interrupt line; OUT2, which gates it on a PC's card, doesn't here.

        Guests that never set OUT2 (xv6) expect interrupts all the same.
        """
        self.line.set(self.identity() != Identity.NONE)
