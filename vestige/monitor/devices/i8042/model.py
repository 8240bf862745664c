"""The 8042, the keyboard controller of a PC, and System Control Port A.

IBM Personal System/2 Hardware Interface Technical Reference (1988), "Keyboard and Auxiliary Device
Controller" and "System Control Port A". It takes what is written at once, so the input buffer is
never full. The output buffer has one byte; the next one comes when that has been read. The
controller's own goes first; where both devices have one, they take turns. Times are nanoseconds.
"""

from vestige.abi import (
    EVENT_BUTTONS,
    EVENT_CODE,
    EVENT_WHEEL,
    EVENT_X,
    EVENT_Y,
    Config,
    EventKind,
)
from vestige.lang.enumeration import IntEnum
from vestige.lang.types import Struct, i32, u8, u16, u32, u64
from vestige.monitor.devices.i8042.keyboard import Keyboard
from vestige.monitor.devices.i8042.mouse import Mouse
from vestige.monitor.devices.i8042.scan_codes import BREAK, RELEASED, TRANSLATED
from vestige.monitor.devices.i8042.spec import (
    INPUT_PORT,
    INTERFACE_PASSED,
    RAM_SIZE,
    RESET_OUTPUT_PORT,
    SELF_TEST_PASSED,
    TEST_KEYBOARD_CLOCK,
    TEST_MOUSE_CLOCK,
    Command,
    CommandByte,
    OutputPort,
    Register,
    Status,
    SystemControl,
)
from vestige.monitor.events import EventStream, Taken
from vestige.monitor.line import NEVER, Line
from vestige.place import GOES_ON, PROCESSORS_RESET


class Source(IntEnum):
    """Where the byte in the output buffer is from."""

    NOBODY = 0  # there is none
    CONTROLLER = 1
    KEYBOARD = 2
    MOUSE = 3


class KeyboardController(Struct):
    """`read` and `write` are the guest's, the rest is the core's."""

    keyboard: Keyboard
    mouse: Mouse
    keyboard_line: Line  # ISA IRQ 1
    mouse_line: Line  # ISA IRQ 12
    ram: u8[RAM_SIZE]  # byte 0 is the command byte
    status: u8  # Status, but for SYSTEM
    output: u8  # the output buffer; what was read last, if it is empty
    source: u8  # a Source
    reply: u8  # the controller's next byte for it
    reply_waits: u8  # 1: there is one
    reply_auxiliary: u8  # 1: as if it were the mouse's
    output_port: u8
    command: u8  # the one whose data byte is to come, 0: none
    wish: u8  # output: PROCESSORS_RESET, or GOES_ON

    def reset(self) -> None:
        """Power-on: both devices are there, may send and interrupt; A20 is open."""
        self.keyboard.reset()
        self.mouse.reset()
        self.ram[0] = CommandByte.KEYBOARD_INTERRUPT | CommandByte.MOUSE_INTERRUPT
        self.status = Status.NOT_LOCKED
        self.output_port = RESET_OUTPUT_PORT
        self.wish = GOES_ON

    def configure(self, config: Config) -> None:
        """After `reset`: where a kernel starts without a firmware, as that would leave it."""
        if config.firmware_items == 0:
            self.ram[0] |= CommandByte.SYSTEM | CommandByte.TRANSLATE
            self.keyboard.greeted = 1

    # ---- the guest ------------------------------------------------------------------------

    def read(self, offset: u8, size: u8, now: u64) -> u8:
        """A register read; `size` 1."""
        self.expire(now)
        match offset:
            case Register.DATA:
                return self.read_data()
            case Register.STATUS:
                return self.status | (self.ram[0] & CommandByte.SYSTEM)
            case _:
                return SystemControl.A20 if self.a20() else 0

    def write(self, offset: u8, size: u8, value: u8, now: u64) -> None:
        """A register write; `size` 1."""
        self.expire(now)
        match offset:
            case Register.DATA:
                self.status &= ~Status.COMMAND
                self.write_data(value)
            case Register.COMMAND:
                self.status |= Status.COMMAND
                self.write_command(value)
            case _:
                self.open_a20(value & SystemControl.A20 != 0)
                if value & SystemControl.RESET:
                    self.wish = PROCESSORS_RESET

    def read_data(self) -> u8:
        """The output buffer: reading empties it, and lets the next byte come."""
        value = self.output
        self.status &= ~(Status.OUTPUT_FULL | Status.AUXILIARY)
        self.output_port &= ~(OutputPort.OUTPUT_FULL | OutputPort.AUXILIARY)
        self.update_lines()
        self.fill()
        return value

    def write_data(self, value: u8) -> None:
        """The data byte of a command, else a byte for the keyboard.

        What is sent to a device lets it send, too.
        """
        command = self.command
        self.command = 0
        match command:
            case 0:
                self.keyboard.write(value)
                self.ram[0] &= ~CommandByte.DISABLE_KEYBOARD
            case Command.WRITE_MOUSE:
                self.mouse.write(value)
                self.ram[0] &= ~CommandByte.DISABLE_MOUSE
            case Command.WRITE_OUTPUT_PORT:
                self.output_port = value
                if not value & OutputPort.NO_RESET:
                    self.wish = PROCESSORS_RESET
            case Command.WRITE_KEYBOARD_OUTPUT:
                self.answer(value, False)
            case Command.WRITE_MOUSE_OUTPUT:
                self.answer(value, True)
            case _:
                self.ram[command % RAM_SIZE] = value
                self.update_lines()
        self.fill()

    def write_command(self, value: u8) -> None:
        """A Controller Command. One that waits for its data byte is given up."""
        self.command = 0
        if Command.READ_RAM <= value < Command.READ_RAM + RAM_SIZE:
            self.answer(self.ram[value - Command.READ_RAM], False)
        elif Command.WRITE_RAM <= value < Command.WRITE_RAM + RAM_SIZE:
            self.command = value
        elif value >= Command.PULSE:
            if not value & OutputPort.NO_RESET:
                self.wish = PROCESSORS_RESET
        else:
            self.do_command(value)
            self.fill()

    def do_command(self, value: u8) -> None:
        """Those that are one value."""
        match value:
            case Command.DISABLE_MOUSE:
                self.ram[0] |= CommandByte.DISABLE_MOUSE
            case Command.ENABLE_MOUSE:
                self.ram[0] &= ~CommandByte.DISABLE_MOUSE
            case Command.DISABLE_KEYBOARD:
                self.ram[0] |= CommandByte.DISABLE_KEYBOARD
            case Command.ENABLE_KEYBOARD:
                self.ram[0] &= ~CommandByte.DISABLE_KEYBOARD
            case Command.TEST_MOUSE_INTERFACE | Command.TEST_KEYBOARD_INTERFACE:
                self.answer(INTERFACE_PASSED, False)
            case Command.SELF_TEST:
                self.ram[0] |= CommandByte.SYSTEM
                self.answer(SELF_TEST_PASSED, False)
            case Command.READ_INPUT_PORT:
                self.answer(INPUT_PORT, False)
            case Command.READ_OUTPUT_PORT:
                self.answer(self.output_port, False)
            case Command.READ_TEST_INPUTS:
                self.answer(self.test_inputs(), False)
            case Command.CLOSE_A20 | Command.OPEN_A20:
                self.open_a20(value == Command.OPEN_A20)
            case (
                Command.WRITE_OUTPUT_PORT
                | Command.WRITE_KEYBOARD_OUTPUT
                | Command.WRITE_MOUSE_OUTPUT
                | Command.WRITE_MOUSE
            ):
                self.command = value
            case _:
                pass

    # ---- outside --------------------------------------------------------------------------

    def press(self, code: u16, now: u64) -> bool:
        """A key goes down: its make code in set 1, with 0xE000 where E0 comes before it.

        Pause is scan_codes.PAUSE. False: the keyboard's buffer has no room, and the key is lost.
        """
        taken = self.keyboard.press(code, now)
        self.fill()
        return taken

    def release(self, code: u16, now: u64) -> bool:
        """A key goes up; False: as for `press`."""
        self.expire(now)
        taken = self.keyboard.release(code)
        self.fill()
        return taken

    def move(self, dx: i32, dy: i32, wheel: i32, buttons: u8, now: u64) -> bool:
        """The mouse moves, or its buttons: see Mouse.move. False: try again later."""
        taken = self.mouse.move(dx, dy, wheel, buttons)
        self.expire(now)
        return taken

    def takes_keys(self) -> bool:
        """Whether the guest, which has read all that the keyboard has sent, sees another key.

        A firmware that is to find the keyboard resets it, and would lose keys pressed before.
        """
        return self.keyboard.is_idle() and not self.has(CommandByte.DISABLE_KEYBOARD)

    def takes_pointer(self) -> bool:
        """Whether the mouse has reported all that it has done, or reports nothing by itself."""
        return not self.mouse.streams() or not self.mouse.moved

    def take_event(self, stream: EventStream, now: u64) -> u8:
        """What is done at the keyboard or the mouse; a Taken."""
        match stream.byte(0):
            case EventKind.PRESS:
                if not self.takes_keys():
                    return Taken.LATER
                self.press(stream.word(EVENT_CODE), now)
                if stream.is_followed():
                    self.keyboard.stop_repeating()  # what follows is there, and may come late
                stream.pause(now)
            case EventKind.RELEASE:
                if not self.takes_keys():
                    return Taken.LATER
                self.release(stream.word(EVENT_CODE), now)
                stream.pause(now)
            case EventKind.POINTER:
                x, y = stream.signed(EVENT_X), stream.signed(EVENT_Y)
                wheel, buttons = stream.signed(EVENT_WHEEL), stream.byte(EVENT_BUTTONS)
                if not self.takes_pointer() or not self.move(x, y, wheel, buttons, now):
                    return Taken.LATER
            case _:
                return Taken.NOT_MINE
        return Taken.DONE

    # ---- the core -------------------------------------------------------------------------

    def is_quiet_read(self, offset: u32) -> bool:
        """Whether a read changes nothing: any but of the output buffer, while no time runs."""
        return offset != Register.DATA and self.next_deadline() == NEVER

    def next_deadline(self) -> u64:
        """When a key that is held repeats, or the mouse may report again."""
        return min(self.keyboard.repeat_at, self.mouse.due())

    def expire(self, now: u64) -> None:
        """Time has passed."""
        if now < self.next_deadline():
            return
        self.keyboard.expire(self.inhibits_keyboard(), now)
        self.mouse.expire(now)
        self.fill()

    def a20(self) -> bool:
        """Whether bit 20 of an address counts."""
        return self.output_port & OutputPort.A20 != 0

    def ending(self) -> u8:
        """Whether the guest has reset the processors: PROCESSORS_RESET, or GOES_ON."""
        return self.wish

    def processors_reset(self) -> None:
        """They have been. A pulse is over, and the output port's reset is no longer held."""
        self.wish = GOES_ON
        self.output_port |= OutputPort.NO_RESET

    # ---- inside ---------------------------------------------------------------------------

    def has(self, bit: u8) -> bool:
        """Whether a bit of the command byte is set."""
        return self.ram[0] & bit != 0

    def is_full(self) -> bool:
        """Whether the output buffer has a byte that was not read."""
        return self.status & Status.OUTPUT_FULL != 0

    def inhibits_keyboard(self) -> bool:
        """Whether the keyboard can send nothing now."""
        return self.is_full() or self.has(CommandByte.DISABLE_KEYBOARD)

    def open_a20(self, opened: bool) -> None:
        """There is one gate: who wrote it last decides."""
        self.output_port &= ~OutputPort.A20
        if opened:
            self.output_port |= OutputPort.A20

    def test_inputs(self) -> u8:
        """Read Test Inputs: a clock is low where it is held so."""
        inputs = 0
        if not self.has(CommandByte.DISABLE_KEYBOARD):
            inputs |= TEST_KEYBOARD_CLOCK
        if not self.has(CommandByte.DISABLE_MOUSE):
            inputs |= TEST_MOUSE_CLOCK
        return inputs

    def answer(self, value: u8, auxiliary: bool) -> None:
        """A byte of the controller's own. It takes the place of one that was not read."""
        if self.source == Source.CONTROLLER:
            self.load(value, auxiliary, Source.CONTROLLER)
        else:
            self.reply = value
            self.reply_auxiliary = auxiliary
            self.reply_waits = 1
            self.fill()

    def fill(self) -> None:
        """Let the next byte come into the output buffer if that is empty."""
        if self.is_full():
            return
        before = self.source
        self.source = Source.NOBODY
        keyboard = self.keyboard.ready() and not self.has(CommandByte.DISABLE_KEYBOARD)
        mouse = self.mouse.ready() and not self.has(CommandByte.DISABLE_MOUSE)
        if self.reply_waits:
            self.reply_waits = 0
            self.load(self.reply, self.reply_auxiliary != 0, Source.CONTROLLER)
        elif mouse and (before == Source.KEYBOARD or not keyboard):
            self.load(self.mouse.take(), True, Source.MOUSE)
        elif keyboard:
            self.load(self.take_code(), False, Source.KEYBOARD)

    def take_code(self) -> u8:
        """A byte of the keyboard, or what it becomes: a break code is one byte in set 1."""
        code = self.keyboard.take()
        if not self.has(CommandByte.TRANSLATE):
            return code
        if code == RELEASED and self.keyboard.ready():
            return TRANSLATED[self.keyboard.take()] | BREAK
        return TRANSLATED[code]

    def load(self, value: u8, auxiliary: bool, source: u8) -> None:
        """Put a byte into the output buffer, and interrupt."""
        self.output = value
        self.source = source
        self.status &= ~Status.AUXILIARY
        self.status |= Status.OUTPUT_FULL
        self.output_port &= ~OutputPort.AUXILIARY
        self.output_port |= OutputPort.OUTPUT_FULL
        if auxiliary:
            self.status |= Status.AUXILIARY
            self.output_port |= OutputPort.AUXILIARY
        self.update_lines()

    def update_lines(self) -> None:
        """A line is high while a byte of its device's can be read, if that may interrupt."""
        mouse = self.status & Status.AUXILIARY != 0
        self.keyboard_line.set(
            self.is_full() and not mouse and self.has(CommandByte.KEYBOARD_INTERRUPT)
        )
        self.mouse_line.set(self.is_full() and mouse and self.has(CommandByte.MOUSE_INTERRUPT))
