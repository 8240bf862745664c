"""Registers and commands of the 8042 as a PC has it, of its keyboard and of its mouse.

IBM Personal System/2 Hardware Interface Technical Reference (1988): "Keyboard and Auxiliary Device
Controller", "Keyboards (101- and 102-Key)", "Mouse". The wheel and buttons 4 and 5 are Microsoft's
IntelliMouse (1996).
"""

from vestige.lang.enumeration import IntEnum, IntFlag
from vestige.monitor.devices.i8042.place import PORT_COMMAND, PORT_DATA, PORT_SYSTEM_CONTROL

ACKNOWLEDGE = 0xFA  # both devices' answer to a command or its parameter
RESEND = 0xFE  # and to what they don't know
PASSED = 0xAA  # completion code of their own test

# ---- the controller -----------------------------------------------------------------------------


class Register(IntEnum):
    """Offsets from the first port."""

    DATA = 0  # RO output buffer, WO input buffer: to a device, or a command's data byte
    COMMAND = PORT_COMMAND - PORT_DATA  # WO: Command
    STATUS = PORT_COMMAND - PORT_DATA  # RO: Status
    SYSTEM_CONTROL = PORT_SYSTEM_CONTROL - PORT_DATA  # RW: SystemControl


class Status(IntFlag):
    """The status register."""

    OUTPUT_FULL = 1 << 0  # there is a byte to read
    INPUT_FULL = 1 << 1  # a byte that was written has not been taken: never here
    SYSTEM = 1 << 2  # bit 2 of the command byte
    COMMAND = 1 << 3  # the last write was to the command port
    NOT_LOCKED = 1 << 4  # the keyboard's lock is open: always
    AUXILIARY = 1 << 5  # the byte to read is the mouse's
    TIMEOUT = 1 << 6  # a device didn't answer: never here
    PARITY = 1 << 7  # a device's byte came with the wrong parity: never here


class CommandByte(IntFlag):
    """Controller Command Byte: byte 0 of the controller's RAM."""

    KEYBOARD_INTERRUPT = 1 << 0
    MOUSE_INTERRUPT = 1 << 1
    SYSTEM = 1 << 2  # the status register's
    DISABLE_KEYBOARD = 1 << 4  # its clock is held low: it sends nothing
    DISABLE_MOUSE = 1 << 5
    TRANSLATE = 1 << 6  # set 2 to set 1


RAM_SIZE = 32  # bytes


class Command(IntEnum):
    """Controller Commands, to the command port; those with * take a data byte."""

    READ_RAM = 0x20  # to 0x3F: bits 0 to 4 say which byte
    WRITE_RAM = 0x60  # * to 0x7F
    DISABLE_MOUSE = 0xA7
    ENABLE_MOUSE = 0xA8
    TEST_MOUSE_INTERFACE = 0xA9
    SELF_TEST = 0xAA
    TEST_KEYBOARD_INTERFACE = 0xAB
    DISABLE_KEYBOARD = 0xAD
    ENABLE_KEYBOARD = 0xAE
    READ_INPUT_PORT = 0xC0
    READ_OUTPUT_PORT = 0xD0
    WRITE_OUTPUT_PORT = 0xD1  # *
    WRITE_KEYBOARD_OUTPUT = 0xD2  # * to the output buffer, as if the keyboard had sent it
    WRITE_MOUSE_OUTPUT = 0xD3  # * as if the mouse had
    WRITE_MOUSE = 0xD4  # * to the mouse
    CLOSE_A20 = 0xDD  # bit 1 of the output port; not IBM's, but every later controller's
    OPEN_A20 = 0xDF
    READ_TEST_INPUTS = 0xE0
    PULSE = 0xF0  # to 0xFF: bits 0 to 3 of the output port that are 0 here go low for 6 us


PULSE_RESET = Command.PULSE | 0xE  # bit 0 of the output port: the CPU's reset
SELF_TEST_PASSED = 0x55
INTERFACE_PASSED = 0x00
INPUT_PORT = 1 << 7  # the keyboard's lock is open
TEST_KEYBOARD_CLOCK = 1 << 0  # T0, T1: a device's clock is high, as where nothing holds it
TEST_MOUSE_CLOCK = 1 << 1


class OutputPort(IntFlag):
    """Controller Output Port: port 2 of the 8042."""

    NO_RESET = 1 << 0  # 0: reset
    A20 = 1 << 1
    LINES = 3 << 2  # of the mouse: data, clock
    OUTPUT_FULL = 1 << 4  # as in the status register
    AUXILIARY = 1 << 5
    KEYBOARD_LINES = 3 << 6  # clock, data


RESET_OUTPUT_PORT = (
    OutputPort.NO_RESET | OutputPort.A20 | OutputPort.LINES | OutputPort.KEYBOARD_LINES
)


class SystemControl(IntFlag):
    """System Control Port A; what else IBM has there (a latch, lights) reads 0."""

    RESET = 1 << 0
    A20 = 1 << 1


# ---- the keyboard -------------------------------------------------------------------------------


class KeyboardCommand(IntEnum):
    """Commands from the System; those with * take an option byte, which is below the first."""

    LEDS = 0xED  # * bit 0 Scroll Lock, 1 Num Lock, 2 Caps Lock
    ECHO = 0xEE
    SCAN_CODE_SET = 0xF0  # * 1 and 2, 3 isn't here; 0 asks
    READ_ID = 0xF2
    TYPEMATIC = 0xF3  # * rate (bits 0 to 4) and delay (5 and 6)
    ENABLE = 0xF4
    DEFAULT_DISABLE = 0xF5
    SET_DEFAULT = 0xF6
    ALL_TYPEMATIC = 0xF7  # this and the next six are about keys in set 3
    ALL_MAKE_BREAK = 0xF8
    ALL_MAKE = 0xF9
    ALL_TYPEMATIC_MAKE_BREAK = 0xFA
    KEY_TYPEMATIC = 0xFB  # * any number of keys
    KEY_MAKE_BREAK = 0xFC  # *
    KEY_MAKE = 0xFD  # *
    RESEND = 0xFE
    RESET = 0xFF


FIRST_KEYBOARD_COMMAND = KeyboardCommand.LEDS
KEYBOARD_ID = (0xAB, 0x83)
KEYBOARD_BUFFER = 16  # bytes; the 17th is the overrun code
LEDS = 7

DEFAULT_TYPEMATIC = 0x2B  # 500 ms, 10.9 a second
TYPEMATIC_UNIT = 4_170_000  # ns; a period is (8 + bits 0 to 2) << bits 3 and 4 of these
DELAY_UNIT = 250_000_000  # ns; a delay is 1 + bits 5 and 6 of these

# ---- the mouse ----------------------------------------------------------------------------------


class MouseCommand(IntEnum):
    """Mouse Commands; those with * take a parameter, which is below the first."""

    SCALING_1_TO_1 = 0xE6
    SCALING_2_TO_1 = 0xE7
    RESOLUTION = 0xE8  # * 0 to 3: 1, 2, 4, 8 counts a millimetre
    STATUS = 0xE9
    STREAM_MODE = 0xEA
    READ_DATA = 0xEB
    RESET_WRAP_MODE = 0xEC
    WRAP_MODE = 0xEE
    REMOTE_MODE = 0xF0
    READ_ID = 0xF2
    SAMPLE_RATE = 0xF3  # * one of RATES
    ENABLE = 0xF4
    DISABLE = 0xF5
    SET_DEFAULT = 0xF6
    RESEND = 0xFE
    RESET = 0xFF


FIRST_MOUSE_COMMAND = MouseCommand.SCALING_1_TO_1
MOUSE_ERROR = 0xFC  # a second byte in a row that it can't take
RATES = (10, 20, 40, 60, 80, 100, 200)  # reports a second
DEFAULT_RATE = 100
DEFAULT_RESOLUTION = 2


class MouseId(IntEnum):
    """What READ_ID answers."""

    STANDARD = 0
    WHEEL = 3  # after the rates 200, 100, 80
    BUTTONS = 4  # and buttons 4 and 5: after 200, 200, 80


class MouseStatus(IntFlag):
    """STATUS, byte 1; resolution and sample rate follow."""

    RIGHT = 1 << 0
    MIDDLE = 1 << 1
    LEFT = 1 << 2
    SCALING = 1 << 4
    ENABLED = 1 << 5
    REMOTE = 1 << 6


class Report(IntFlag):
    """A report's byte 1; X, Y and, if there is a wheel, that follow."""

    LEFT = 1 << 0
    RIGHT = 1 << 1
    MIDDLE = 1 << 2
    ALWAYS = 1 << 3
    X_NEGATIVE = 1 << 4
    Y_NEGATIVE = 1 << 5
    X_OVERFLOW = 1 << 6
    Y_OVERFLOW = 1 << 7
    BUTTONS = LEFT | RIGHT | MIDDLE


ALL_BUTTONS = 0x1F  # those of a report, and the fourth and fifth
COUNTS = 256  # a report has -COUNTS to COUNTS - 1
UNITS = (8, 4, 2, 1)  # eighths of a millimetre in a count, by resolution
SCALED = (0, 1, 1, 3, 6, 9)  # what 2:1 makes of 0 to 5 counts; more are doubled
