"""The PC16550D's registers. National Semiconductor PC16550D data sheet (June 1995), section 8."""

from enum import IntEnum, IntFlag

FIFO_SIZE = 16  # characters, each direction
CLOCK = 1_843_200  # Hz at XIN; 16 of its periods times the divisor are one bit


class Register(IntEnum):
    """Offsets from the base port. Table II."""

    DATA = 0  # RO receiver buffer, WO transmitter holding register; DLAB: divisor, low half
    INTERRUPT_ENABLE = 1  # RW; DLAB: divisor, high half
    INTERRUPT_IDENTITY = 2  # RO
    FIFO_CONTROL = 2  # WO
    LINE_CONTROL = 3  # RW
    MODEM_CONTROL = 4  # RW
    LINE_STATUS = 5  # RO here: writes are for factory tests
    MODEM_STATUS = 6  # RO here
    SCRATCH = 7  # RW


class Enable(IntFlag):
    """Interrupt enable register, 8.7."""

    RECEIVED = 1 << 0
    TRANSMITTER_EMPTY = 1 << 1
    LINE_STATUS = 1 << 2
    MODEM_STATUS = 1 << 3
    ALL = RECEIVED | TRANSMITTER_EMPTY | LINE_STATUS | MODEM_STATUS


class Identity(IntEnum):
    """Interrupt identification register, bits 0 to 3. 8.6 and table IV, highest priority first."""

    LINE_STATUS = 0x6
    RECEIVED = 0x4
    TIMEOUT = 0xC  # characters wait below the trigger level
    TRANSMITTER_EMPTY = 0x2
    MODEM_STATUS = 0x0
    NONE = 0x1
    FIFOS = 0xC0  # bits 6 and 7: the FIFOs are enabled


class Fifo(IntFlag):
    """FIFO control register, 8.5. Without ENABLE the other bits aren't programmed."""

    ENABLE = 1 << 0
    RESET_RECEIVER = 1 << 1  # clears itself
    RESET_TRANSMITTER = 1 << 2  # clears itself
    DMA_MODE = 1 << 3  # only moves the RXRDY and TXRDY pins, which lead nowhere
    TRIGGER = 3 << 6


TRIGGER_LEVELS = (1, 4, 8, 14)  # by Fifo.TRIGGER >> 6


class LineControl(IntFlag):
    """Line control register, 8.1."""

    WORD_LENGTH = 3  # 5 bits and this
    STOP_BITS = 1 << 2
    PARITY = 1 << 3
    EVEN_PARITY = 1 << 4
    STICK_PARITY = 1 << 5
    BREAK = 1 << 6
    DIVISOR_LATCH = 1 << 7  # DLAB


class ModemControl(IntFlag):
    """Modem control register, 8.8."""

    DTR = 1 << 0
    RTS = 1 << 1
    OUT1 = 1 << 2
    OUT2 = 1 << 3
    LOOP = 1 << 4
    ALL = DTR | RTS | OUT1 | OUT2 | LOOP


class LineStatus(IntFlag):
    """Line status register, 8.4."""

    DATA_READY = 1 << 0
    OVERRUN = 1 << 1  # cleared by reading, as are the next three
    PARITY_ERROR = 1 << 2
    FRAMING_ERROR = 1 << 3
    BREAK = 1 << 4
    HOLDING_EMPTY = 1 << 5  # THRE: the holding register or the whole FIFO
    EMPTY = 1 << 6  # TEMT: that and the shift register
    FIFO_ERROR = 1 << 7
    ERRORS = OVERRUN | PARITY_ERROR | FRAMING_ERROR | BREAK


class ModemStatus(IntFlag):
    """Modem status register, 8.9. The deltas are cleared by reading."""

    DELTA_CTS = 1 << 0
    DELTA_DSR = 1 << 1
    TRAILING_RI = 1 << 2  # RI has ended
    DELTA_DCD = 1 << 3
    DELTAS = DELTA_CTS | DELTA_DSR | TRAILING_RI | DELTA_DCD
    CTS = 1 << 4
    DSR = 1 << 5
    RI = 1 << 6
    DCD = 1 << 7
    LINES = CTS | DSR | RI | DCD
