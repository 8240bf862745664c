"""Our keyboard controller and QEMU's side by side: the same accesses, keys and movements.

What QEMU does otherwise (see the device's page) is left out here. Its devices answer at once, and
so do ours; between two steps ours have the time that a report of the mouse may take.
"""

import json
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass

from tests.qtest.client import Qtest
from vestige.monitor.devices.i8042.model import KeyboardController
from vestige.monitor.devices.i8042.place import PORT_COMMAND, PORT_DATA, PORT_SYSTEM_CONTROL
from vestige.monitor.devices.i8042.scan_codes import PAUSE, PRINT_SCREEN
from vestige.monitor.devices.i8042.spec import (
    RATES,
    Command,
    CommandByte,
    KeyboardCommand,
    MouseCommand,
    Status,
    SystemControl,
)

BLOCKS = 20  # in one sequence
SHOWN = 60  # steps before a difference
PAUSE_BETWEEN = 10_000_000  # ns between two steps: a report at 100 a second
IRQS = (1, 12)
MOST_UNREAD = 8  # bytes: both devices' longest replies and the controller's
LAST = 0xA5  # the byte read last before a sequence
NOT_COMPARED = Status.SYSTEM | Status.COMMAND
# QEMU's names of keys that send the same whatever is held.
KEYS = {
    "a": 0x1E,
    "f7": 0x41,
    "spc": 0x39,
    "kp_enter": 0xE01C,
    "up": 0xE048,
    "meta_l": 0xE05B,
    "print": PRINT_SCREEN,
    "pause": PAUSE,
}
BUTTONS = ("left", "right", "middle")
ENABLE_BITS = CommandByte.KEYBOARD_INTERRUPT | CommandByte.MOUSE_INTERRUPT
DISABLE_BITS = CommandByte.DISABLE_KEYBOARD | CommandByte.DISABLE_MOUSE


@dataclass(frozen=True)
class Access:
    """One access; `value` None reads."""

    port: int
    value: int | None = None

    def __str__(self) -> str:
        """As in a log."""
        return (
            f"read {self.port:#x}" if self.value is None else f"{self.port:#x} := {self.value:#x}"
        )


@dataclass(frozen=True)
class Key:
    """One key, by QEMU's name."""

    name: str
    down: bool


@dataclass(frozen=True)
class Move:
    """The mouse: to the right, away from the user; its buttons before and after; its wheel."""

    dx: int
    dy: int
    before: int = 0
    buttons: int = 0
    wheel: int = 0  # one turn towards the user, none, or one away from them


Step = Access | Key | Move

READ, STATUS = Access(PORT_DATA), Access(PORT_COMMAND)
DRAIN: list[Step] = [READ] * MOST_UNREAD


class Monitor:
    """QEMU's QMP, by which keys and movements come."""

    def __init__(self, link: socket.socket) -> None:
        """Ready for commands."""
        self.file = link.makefile("rw", encoding="utf-8")
        self.file.readline()  # what it is
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: object) -> None:
        """One command, and its answer."""
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while "return" not in (answer := json.loads(self.file.readline())):
            if "error" in answer:
                raise RuntimeError(f"QEMU answered {answer['error']} to {command}")

    def send(self, *events: tuple[str, dict[str, object]]) -> None:
        """Events that come at once."""
        self.ask("input-send-event", events=[{"type": kind, "data": data} for kind, data in events])


# ---- sequences ----------------------------------------------------------------------------------


def command(value: int, *data: int) -> list[Step]:
    """A command of the controller, and its data byte."""
    return [Access(PORT_COMMAND, value), *(Access(PORT_DATA, byte) for byte in data)]


def keyboard(*values: int) -> list[Step]:
    """Bytes for the keyboard."""
    return [Access(PORT_DATA, value) for value in values]


def mouse(*values: int) -> list[Step]:
    """Bytes for the mouse."""
    return [step for value in values for step in command(Command.WRITE_MOUSE, value)]


def start() -> list[Step]:
    """The steps before every sequence: both devices reset, all interrupts, A20 open."""
    return [
        *command(Command.SELF_TEST),
        *DRAIN,
        *DRAIN,
        *command(Command.WRITE_RAM, ENABLE_BITS | CommandByte.SYSTEM),
        *keyboard(KeyboardCommand.RESET),
        *DRAIN,
        *mouse(MouseCommand.RESET_WRAP_MODE, MouseCommand.RESET),
        *DRAIN,
        *command(Command.OPEN_A20),
        *command(Command.WRITE_OUTPUT_PORT, 0xCF),
        Access(PORT_SYSTEM_CONTROL, SystemControl.A20),
        *command(Command.WRITE_KEYBOARD_OUTPUT, LAST),
        READ,
    ]


class Sequences:
    """Makes random sequences, each of a kind, so that QEMU's differences stay out of it."""

    def __init__(self, chance: random.Random) -> None:
        """Decide what the next sequence may have."""
        self.chance = chance
        self.fast_a20 = chance.random() < 0.3  # by port 0x92, not by the output port
        self.holds_keyboard = chance.random() < 0.3  # its interface may be off, IRQ 1 never comes
        self.keys_left = 2 if self.holds_keyboard else 100

    def sequence(self) -> list[Step]:
        """Random steps of every kind."""
        kinds: list[Callable[[], list[Step]]] = [
            self.reads, self.reads, self.replies, self.interfaces, self.command_byte, self.outputs,
            self.gate, self.keyboard, self.keyboard, self.mouse, self.mouse, self.both, self.wrap,
            self.knock, self.keys, self.keys, self.moves, self.moves,
        ]  # fmt: skip
        first = [] if not self.holds_keyboard else self.command_byte()
        return first + [step for _ in range(BLOCKS) for step in self.chance.choice(kinds)()]

    def reads(self) -> list[Step]:
        """Some reads of either register."""
        return [self.chance.choice((READ, STATUS)) for _ in range(self.chance.randrange(1, 4))]

    def replies(self) -> list[Step]:
        """A command that the controller answers."""
        values = [
            Command.READ_RAM,
            Command.TEST_MOUSE_INTERFACE,
            Command.SELF_TEST,
            Command.TEST_KEYBOARD_INTERFACE,
            Command.READ_INPUT_PORT,
        ]
        if not self.fast_a20:
            values.append(Command.READ_OUTPUT_PORT)
        return command(self.chance.choice(values))

    def interfaces(self) -> list[Step]:
        """Let a device send, or not."""
        if self.chance.random() < 0.3:
            return [*DRAIN, *command(Command.DISABLE_MOUSE)]  # nothing of it waits behind that
        values = [Command.ENABLE_MOUSE, Command.ENABLE_KEYBOARD]
        if self.holds_keyboard:
            values.append(Command.DISABLE_KEYBOARD)
        return command(self.chance.choice(values))

    def command_byte(self) -> list[Step]:
        """Any command byte; IRQ 1 and an interface that is off don't go together."""
        value = self.chance.getrandbits(8) | CommandByte.SYSTEM
        if self.holds_keyboard:
            value &= ~(CommandByte.KEYBOARD_INTERRUPT | CommandByte.TRANSLATE)
        else:
            value &= ~CommandByte.DISABLE_KEYBOARD
        return [*DRAIN, *command(Command.WRITE_RAM, value)]

    def outputs(self) -> list[Step]:
        """A byte into the output buffer; one of the mouse's meets none of the controller's."""
        value = self.chance.getrandbits(8)
        if self.chance.random() < 0.5:
            return command(Command.WRITE_KEYBOARD_OUTPUT, value)
        written = command(Command.WRITE_MOUSE_OUTPUT, value)
        return [READ, READ, *written, STATUS, *DRAIN]

    def gate(self) -> list[Step]:
        """A20, and other bits of the output port."""
        if self.fast_a20:
            value = self.chance.choice((0, SystemControl.A20))
            return [Access(PORT_SYSTEM_CONTROL, value), Access(PORT_SYSTEM_CONTROL)]
        if self.chance.random() < 0.5:
            return command(self.chance.choice((Command.CLOSE_A20, Command.OPEN_A20)))
        return command(Command.WRITE_OUTPUT_PORT, self.chance.getrandbits(8) | 1)

    def keyboard(self) -> list[Step]:
        """A command to the keyboard, its option byte, part of the reply."""
        return [*DRAIN, *DRAIN, *self.for_keyboard(), *self.reads()]

    def for_keyboard(self) -> list[Step]:
        """A command to the keyboard, and its option byte."""
        kind = 12 if self.holds_keyboard else self.chance.randrange(12)
        match kind:
            case 0:
                leds = self.chance.randrange(8)
                return [*keyboard(KeyboardCommand.LEDS), *DRAIN, *keyboard(leds)]
            case 1:
                rate = self.chance.randrange(128)
                return [*keyboard(KeyboardCommand.TYPEMATIC), *DRAIN, *keyboard(rate)]
            case 2:
                code_set = self.chance.randrange(3)
                return [*keyboard(KeyboardCommand.SCAN_CODE_SET), *DRAIN, *keyboard(code_set)]
        values = [0x05, 0xEF, 0xF1, KeyboardCommand.ECHO, KeyboardCommand.READ_ID]
        values += [KeyboardCommand.DEFAULT_DISABLE, KeyboardCommand.SET_DEFAULT]
        values.append(KeyboardCommand.RESET)
        if not self.holds_keyboard:
            values += [KeyboardCommand.ENABLE, KeyboardCommand.ALL_TYPEMATIC_MAKE_BREAK]
        return keyboard(self.chance.choice(values))

    def mouse(self) -> list[Step]:
        """A command to the mouse, part of the reply."""
        return [*DRAIN, *self.for_mouse(), *self.reads()]

    def for_mouse(self) -> list[Step]:
        """A command to the mouse, and its parameter."""
        kind = self.chance.randrange(8)
        if kind == 0:
            return [
                *mouse(MouseCommand.RESOLUTION),
                *DRAIN,
                *mouse(self.chance.randrange(4)),
            ]
        if kind == 1:
            rate = self.chance.choice(RATES[:-1])  # none that begins a knock
            return [*mouse(MouseCommand.SAMPLE_RATE), *DRAIN, *mouse(rate)]
        values = [
            MouseCommand.SCALING_1_TO_1,
            MouseCommand.SCALING_2_TO_1,
            MouseCommand.STATUS,
            MouseCommand.STREAM_MODE,
            MouseCommand.READ_DATA,
            MouseCommand.REMOTE_MODE,
            MouseCommand.READ_ID,
            MouseCommand.ENABLE,
            MouseCommand.DISABLE,
            MouseCommand.SET_DEFAULT,
            MouseCommand.RESET,
        ]
        return mouse(self.chance.choice(values))

    def both(self) -> list[Step]:
        """A command to each, before a reply is read: the keyboard's comes first."""
        pair = [self.for_keyboard(), self.for_mouse()]
        self.chance.shuffle(pair)
        return [*DRAIN, *DRAIN, *pair[0], *pair[1], *DRAIN, STATUS]

    def wrap(self) -> list[Step]:
        """The mouse sends back what it gets, until it is told to stop."""
        steps = [*DRAIN, *mouse(MouseCommand.WRAP_MODE)]
        for _ in range(self.chance.randrange(3)):
            value = self.chance.randrange(MouseCommand.RESET_WRAP_MODE)
            steps += [*DRAIN, *mouse(value)]
        return [*steps, *DRAIN, *mouse(MouseCommand.RESET_WRAP_MODE)]

    def knock(self) -> list[Step]:
        """The rates by which a driver looks for a wheel, or for more buttons; the wheel turns."""
        steps: list[Step] = []
        for rate in self.chance.choice(((200, 100, 80), (200, 200, 80))):
            steps += [*DRAIN, *mouse(MouseCommand.SAMPLE_RATE), *DRAIN, *mouse(rate)]
        for value in (MouseCommand.READ_ID, MouseCommand.ENABLE, MouseCommand.STREAM_MODE):
            steps += [*DRAIN, *mouse(value)]
        return [*steps, *DRAIN, Move(0, 0, wheel=self.chance.choice((-1, 1))), *DRAIN]

    def keys(self) -> list[Step]:
        """A key goes down and up, before what it sent before is all read or after."""
        if self.keys_left == 0:
            return []
        self.keys_left -= 1
        name = self.chance.choice(list(KEYS))
        if self.holds_keyboard:
            name = "a"
        return [*DRAIN, *DRAIN, Key(name, True), *self.reads(), Key(name, False), *DRAIN]

    def moves(self) -> list[Step]:
        """The mouse moves, one button goes down and up, in stream or remote mode."""
        remote = self.chance.random() < 0.5
        mode = MouseCommand.REMOTE_MODE if remote else MouseCommand.STREAM_MODE
        steps = list(DRAIN)
        for value in (MouseCommand.RESOLUTION, 2, MouseCommand.SAMPLE_RATE, 100):
            steps += [*mouse(value), *DRAIN]
        steps += [*mouse(MouseCommand.SCALING_1_TO_1), *DRAIN]
        steps += [*mouse(MouseCommand.ENABLE), *DRAIN, *mouse(mode), *DRAIN]
        button = 1 << self.chance.randrange(3)
        dx, dy = (self.chance.choice((-100, -1, 0, 5, 127)) for _ in range(2))
        for move in (Move(dx or 1, dy), Move(1, 0, 0, button), Move(-1, dy, button, 0)):
            steps.append(move)
            if remote:
                steps += mouse(MouseCommand.READ_DATA)
            steps += DRAIN
        return steps


# ---- both sides ---------------------------------------------------------------------------------


class Ours:
    """Our controller, its time and its interrupts."""

    def __init__(self) -> None:
        """Just reset."""
        self.model = KeyboardController()
        self.model.reset()
        self.now = 0

    def run(self, steps: list[Step]) -> tuple[list[int], list[int]]:
        """Answers, 0 where a step has none; how often each line has risen."""
        answers, edges = [], [0, 0]
        lines = (self.model.keyboard_line, self.model.mouse_line)
        for step in steps:
            self.now += PAUSE_BETWEEN
            self.model.expire(self.now)
            answers.append(self.step(step))
            edges = [count + line.take_edge() for count, line in zip(edges, lines, strict=True)]
        return answers, edges

    def step(self, step: Step) -> int:
        """One step's answer."""
        model = self.model
        match step:
            case Key(name, down):
                act = model.press if down else model.release
                assert act(KEYS[name], self.now)
            case Move(dx, dy, _, buttons, wheel):
                assert model.move(dx, dy, wheel, buttons, self.now)
            case Access(port, None):
                return model.read(port - PORT_DATA, 1, self.now)
            case Access(port, value):
                assert value is not None
                model.write(port - PORT_DATA, 1, value, self.now)
        return 0


class Theirs:
    """QEMU's, by both of its protocols."""

    def __init__(self, qemu: Qtest, monitor: Monitor) -> None:
        """A machine that runs."""
        self.qemu, self.monitor = qemu, monitor

    def run(self, steps: list[Step]) -> tuple[list[int], list[int]]:
        """Answers, 0 where a step has none; how often each line has risen."""
        answers: list[int] = []
        before = self.interrupts()
        for step in steps:
            match step:
                case Access(port, None):
                    self.qemu.read(port)
                case Access(port, value):
                    assert value is not None
                    self.qemu.write(port, value)
                case _:
                    answers += [*self.qemu.flush(), 0]
                    self.send(step)
        answers += self.qemu.flush()
        edges = [now - then for now, then in zip(self.interrupts(), before, strict=True)]
        return answers, edges

    def send(self, step: Key | Move) -> None:
        """A key or a movement, by QMP."""
        if isinstance(step, Key):
            key = {"type": "qcode", "data": step.name}
            self.monitor.send(("key", {"down": step.down, "key": key}))
            return
        events: list[tuple[str, dict[str, object]]] = [
            ("rel", {"axis": "x", "value": step.dx}),
            ("rel", {"axis": "y", "value": -step.dy}),
        ]
        for number, name in enumerate(BUTTONS):
            if (step.before ^ step.buttons) >> number & 1:
                down = step.buttons >> number & 1 != 0
                events.append(("btn", {"down": down, "button": name}))
        if step.wheel:
            name = "wheel-down" if step.wheel > 0 else "wheel-up"
            events.append(("btn", {"down": True, "button": name}))
        self.monitor.send(*events)

    def interrupts(self) -> list[int]:
        """How often each line has risen, seen at the I/O APIC."""
        return [self.qemu.interrupts.get(irq, 0) for irq in IRQS]


def compare(theirs: Theirs, steps: list[Step]) -> str | None:
    """Both from the same start through the same steps; their first difference in words."""
    ours = Ours()
    ours.run(start())
    theirs.run(start())
    mine, my_edges = ours.run(steps)
    other, other_edges = theirs.run(steps)
    for index, step in enumerate(steps):
        compared = 0xFF if step != STATUS else 0xFF & ~NOT_COMPARED
        if (mine[index] ^ other[index]) & compared:
            log = "; ".join(map(str, steps[max(0, index - SHOWN) : index + 1]))
            return f"{log}: ours {mine[index]:#x}, QEMU's {other[index]:#x}"
    if my_edges != other_edges:
        log = "; ".join(map(str, steps))
        return f"{log}: IRQ 1 and 12 rose {my_edges} times, QEMU's {other_edges}"
    return None
