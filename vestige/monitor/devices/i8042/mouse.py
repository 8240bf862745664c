"""A PS/2 mouse: IBM Personal System/2 Hardware Interface Technical Reference (1988), "Mouse".

It is Microsoft's IntelliMouse to a driver that knows the knock. It tests itself and answers in no
time. Times are nanoseconds.
"""

from vestige.lang.types import Struct, i32, i64, u8, u16, u32, u64
from vestige.monitor.clock import SECOND
from vestige.monitor.devices.i8042.spec import (
    ACKNOWLEDGE,
    ALL_BUTTONS,
    COUNTS,
    DEFAULT_RATE,
    DEFAULT_RESOLUTION,
    FIRST_MOUSE_COMMAND,
    MOUSE_ERROR,
    PASSED,
    RATES,
    RESEND,
    SCALED,
    UNITS,
    MouseCommand,
    MouseId,
    MouseStatus,
    Report,
)
from vestige.monitor.line import NEVER

LONGEST = 5  # bytes: an acknowledgement and a report
FARTHEST = 4096  # eighths of a millimetre that it counts: an overflow at each resolution
MOST_TURNS = 127  # of the wheel that it counts


class Mouse(Struct):
    """`write` and `take` are the controller's; `move` comes from outside."""

    packet: u8[LONGEST]  # a reply or a report
    length: u8
    sent: u8  # how much of it has been
    awaiting: u8  # the command whose parameter is to come, 0: none
    refused: u8  # 1: it could not take the byte before
    enabled: u8  # 1: it reports in stream mode
    remote: u8  # 1: it reports when asked
    wrapping: u8  # 1: it sends back what it gets
    scaling: u8  # 1: 2:1
    resolution: u8  # 0 to 3
    rate: u8  # reports a second
    rate_before: u8  # the one that was set before it, 0: none since the default
    identity: u8  # a MouseId
    x: i32  # eighths of a millimetre to the right that no report has told
    y: i32  # and away from the user
    wheel: i32  # turns towards the user
    buttons: u8  # pressed: bit 0 left, 1 right, 2 middle, 3 fourth, 4 fifth
    reported: u8  # of them in the last report
    moved: u8  # 1: there may be something to report
    report_at: u64  # not before this time

    def reset(self) -> None:
        """Power-on: tested, silent."""
        self.answer(PASSED)
        self.answer(MouseId.STANDARD)
        self.sent = self.length
        self.set_default()

    # ---- the controller -------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether it has a byte to send."""
        return self.sent < self.length

    def take(self) -> u8:
        """The next byte of one that is ready."""
        value = self.packet[self.sent % LONGEST]
        self.sent += 1
        return value

    def write(self, value: u8) -> None:
        """A command, or a parameter. What is left of the packet before is not sent.

        A command in place of a parameter is taken, and the one before it left undone.
        """
        if self.wrapping and value not in (MouseCommand.RESET, MouseCommand.RESET_WRAP_MODE):
            self.begin()
            self.answer(value)
            return
        awaiting = self.awaiting
        self.awaiting = 0
        if value == MouseCommand.RESEND:
            self.sent = 0
            return
        self.begin()
        if awaiting and value < FIRST_MOUSE_COMMAND:
            self.take_parameter(awaiting, value)
        else:
            self.take_command(value)

    # ---- outside --------------------------------------------------------------------------

    def move(self, dx: i32, dy: i32, wheel: i32, buttons: u8) -> bool:
        """So much to the right and away from the user, in quarters of a millimetre.

        `wheel`: turns towards the user. False: the buttons' last change has not been reported
        yet, and would be lost with this one; nothing is taken.
        """
        pressed = buttons & (ALL_BUTTONS if self.identity == MouseId.BUTTONS else Report.BUTTONS)
        waits = self.streams() and self.buttons != self.reported
        if waits and self.buttons != pressed:
            return False
        self.x = within(self.x + 2 * within(dx, FARTHEST), FARTHEST)
        self.y = within(self.y + 2 * within(dy, FARTHEST), FARTHEST)
        if self.identity != MouseId.STANDARD:
            self.wheel = within(self.wheel + within(wheel, MOST_TURNS), MOST_TURNS)
        self.buttons = pressed
        self.moved = 1
        return True

    def due(self) -> u64:
        """When it makes the next report; NEVER: nothing to report, or nobody to report it to."""
        if self.moved and self.streams() and not self.ready():
            return self.report_at
        return NEVER

    def expire(self, now: u64) -> None:
        """Make the report that is due."""
        if now < self.due():
            return
        self.moved = 0
        if self.has_news():
            self.begin()
            self.report(self.scaling != 0)
            self.report_at = u64(now + SECOND // self.rate)

    # ---- commands -------------------------------------------------------------------------

    def take_command(self, value: u8) -> None:
        """Mouse Commands."""
        match value:
            case MouseCommand.SCALING_1_TO_1:
                self.scaling = 0
            case MouseCommand.SCALING_2_TO_1:
                self.scaling = 1
            case MouseCommand.RESOLUTION | MouseCommand.SAMPLE_RATE:
                self.awaiting = value
            case MouseCommand.STREAM_MODE:
                self.remote = 0
                self.clear()
            case MouseCommand.REMOTE_MODE:
                self.remote = 1
                self.clear()
            case MouseCommand.WRAP_MODE:
                self.wrapping = 1
            case MouseCommand.RESET_WRAP_MODE:
                self.wrapping = 0
            case MouseCommand.ENABLE:
                self.enabled = 1
                self.clear()
            case MouseCommand.DISABLE:
                self.enabled = 0
            case MouseCommand.SET_DEFAULT:
                self.set_default()
            case (
                MouseCommand.STATUS
                | MouseCommand.READ_DATA
                | MouseCommand.READ_ID
                | MouseCommand.RESET
            ):
                self.acknowledge()
                self.tell(value)
                return
            case _:
                self.refuse()
                return
        self.acknowledge()

    def tell(self, command: u8) -> None:
        """What follows the acknowledgement of a command that asks for something."""
        match command:
            case MouseCommand.STATUS:
                self.answer(self.status())
                self.answer(self.resolution)
                self.answer(self.rate)
            case MouseCommand.READ_DATA:
                self.report(False)
            case MouseCommand.READ_ID:
                self.answer(self.identity)
            case _:
                self.identity = MouseId.STANDARD
                self.wrapping = 0
                self.set_default()
                self.answer(PASSED)
                self.answer(self.identity)

    def take_parameter(self, command: u8, value: u8) -> None:
        """The parameter of a command."""
        if command == MouseCommand.RESOLUTION and value < len(UNITS):
            self.resolution = value
            self.acknowledge()
        elif command == MouseCommand.SAMPLE_RATE and value in RATES:
            self.set_rate(value)
            self.acknowledge()
        else:
            self.refuse()

    def set_rate(self, value: u8) -> None:
        """Three rates in a row are the knock of a driver that knows more than IBM's mouse."""
        if value == 80 and self.rate == 100 and self.rate_before == 200:
            self.identity = MouseId.WHEEL
        elif value == 80 and self.rate == 200 and self.rate_before == 200:
            self.identity = MouseId.BUTTONS
        self.rate_before = self.rate
        self.rate = value

    # ---- inside ---------------------------------------------------------------------------

    def begin(self) -> None:
        """A new packet, empty."""
        self.length = 0
        self.sent = 0

    def answer(self, value: u8) -> None:
        """One more byte of the packet."""
        self.packet[self.length % LONGEST] = value
        self.length += 1

    def acknowledge(self) -> None:
        """The byte was taken."""
        self.refused = 0
        self.answer(ACKNOWLEDGE)

    def refuse(self) -> None:
        """The byte was not taken: Resend, and Error if it is the second in a row."""
        self.answer(MOUSE_ERROR if self.refused else RESEND)
        self.refused = 1

    def set_default(self) -> None:
        """Set Default: what the buttons are and the wheel's being there stay."""
        self.rate = DEFAULT_RATE
        self.rate_before = 0
        self.resolution = DEFAULT_RESOLUTION
        self.scaling = 0
        self.remote = 0
        self.enabled = 0
        self.clear()

    def clear(self) -> None:
        """Nothing is left to report."""
        self.x = 0
        self.y = 0
        self.wheel = 0
        self.reported = self.buttons
        self.moved = 0

    def streams(self) -> bool:
        """Whether it reports by itself."""
        return self.enabled != 0 and not (self.remote or self.wrapping or self.awaiting)

    def status(self) -> u8:
        """Byte 1 of the answer to Status Request."""
        status = 0
        if self.buttons & Report.LEFT:
            status |= MouseStatus.LEFT
        if self.buttons & Report.RIGHT:
            status |= MouseStatus.RIGHT
        if self.buttons & Report.MIDDLE:
            status |= MouseStatus.MIDDLE
        if self.scaling:
            status |= MouseStatus.SCALING
        if self.enabled:
            status |= MouseStatus.ENABLED
        if self.remote:
            status |= MouseStatus.REMOTE
        return status

    def has_news(self) -> bool:
        """Whether a report would tell anything."""
        unit = self.unit()
        moved = count(self.x, unit) != 0 or count(self.y, unit) != 0
        return moved or self.wheel != 0 or self.buttons != self.reported

    def unit(self) -> u8:
        """Eighths of a millimetre in one count."""
        return UNITS[self.resolution & 3]

    def report(self, scaled: bool) -> None:
        """A report of the movement. What is too far for it is lost; a part of a count is kept."""
        unit = self.unit()
        x, x_out = counts(self.x, unit, scaled)
        y, y_out = counts(self.y, unit, scaled)
        flags = Report.ALWAYS | (self.buttons & Report.BUTTONS)
        if x < 0:
            flags |= Report.X_NEGATIVE
        if y < 0:
            flags |= Report.Y_NEGATIVE
        if x_out:
            flags |= Report.X_OVERFLOW
        if y_out:
            flags |= Report.Y_OVERFLOW
        self.x -= count(self.x, unit) * unit
        self.y -= count(self.y, unit) * unit
        self.answer(flags)
        self.answer(u8(x))
        self.answer(u8(y))
        if self.identity != MouseId.STANDARD:
            self.report_wheel()
        self.reported = self.buttons
        self.moved = 0

    def report_wheel(self) -> None:
        """A report's byte 4: the wheel; beside buttons 4 and 5 it has 4 bits, the rest waits."""
        turns = self.wheel
        if self.identity == MouseId.BUTTONS:
            turns = max(-8, min(turns, 7))
            self.answer((turns & 0x0F) | (self.buttons >> 3 & 3) << 4)
        else:
            self.answer(u8(turns))
        self.wheel -= turns


def within(value: i64, bound: u16) -> i32:
    """The nearest that is as far from 0 as `bound` at most."""
    return max(-bound, min(value, bound))


def count(distance: i32, unit: u8) -> i32:
    """How many whole units."""
    return distance // unit if distance >= 0 else -(-distance // unit)


def counts(distance: i32, unit: u8, scaled: bool) -> tuple[i32, bool]:
    """What a report says of a distance, and whether it is too far for it."""
    whole = count(distance, unit)
    size = u32(abs(whole))
    if scaled:
        size = SCALED[size] if size < len(SCALED) else 2 * size
    whole = -size if whole < 0 else size
    bounded = max(-COUNTS, min(whole, COUNTS - 1))
    return bounded, bounded != whole
