"""A PS/2 keyboard of 101 or 102 keys.

IBM Personal System/2 Hardware Interface Technical Reference (1988), "Keyboards (101- and 102-Key)".
It tests itself and answers in no time. Times are nanoseconds.
"""

from vestige.lang.types import Struct, u8, u16, u64
from vestige.monitor.devices.i8042.scan_codes import (
    BREAK,
    EXTENDED,
    LONGEST,
    OVERRUN_SET_1,
    OVERRUN_SET_2,
    PAUSE,
    PAUSE_SET_1,
    PAUSE_SET_2,
    PRINT_SCREEN,
    RELEASED,
    SET_2,
    SHIFT,
)
from vestige.monitor.devices.i8042.spec import (
    ACKNOWLEDGE,
    DEFAULT_TYPEMATIC,
    DELAY_UNIT,
    FIRST_KEYBOARD_COMMAND,
    KEYBOARD_BUFFER,
    KEYBOARD_ID,
    LEDS,
    PASSED,
    RESEND,
    TYPEMATIC_UNIT,
    KeyboardCommand,
)
from vestige.monitor.line import NEVER

PLACES = KEYBOARD_BUFFER + 1  # with that of the overrun code
LONGEST_REPLY = 3  # bytes


class Keyboard(Struct):
    """`write` and `take` are the controller's; `press` and `release` come from outside."""

    buffer: u8[PLACES]  # a ring of scan codes
    first: u8
    count: u8
    overrun: u8  # 1: the last code in the buffer says that keys were lost
    stroke: u8[LONGEST]  # what a key sends, before it is in the buffer
    stroke_length: u8
    reply: u8[LONGEST_REPLY]  # goes before the buffer, and takes no place in it
    reply_length: u8
    replied: u8  # how much of the reply has been sent
    last: u8  # the byte sent last, but for RESEND
    awaiting: u8  # the command whose option byte is to come, 0: none
    scanning: u8  # 1: keys are looked at
    greeted: u8  # 1: a driver has enabled it since power-on: it is known
    code_set: u8  # 1 or 2
    leds: u8  # lit: bit 0 Scroll Lock, 1 Num Lock, 2 Caps Lock
    typematic: u8  # as F3 says
    held: u16  # the key that repeats, 0: none
    repeat_at: u64  # when; NEVER: no key repeats

    def reset(self) -> None:
        """Power-on: tested, and scanning."""
        self.last = PASSED
        self.greeted = 0
        self.set_default()

    # ---- the controller -------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether it has a byte to send. Scan codes wait for the end of a command."""
        if self.replied < self.reply_length:
            return True
        return self.count != 0 and not self.awaiting

    def take(self) -> u8:
        """The next byte of one that is ready."""
        if self.replied < self.reply_length:
            value = self.reply[self.replied % LONGEST_REPLY]
            self.replied += 1
        else:
            value = self.buffer[self.first % PLACES]
            self.first = (self.first + 1) % PLACES
            self.count -= 1
        if value != RESEND:
            self.last = value
        return value

    def write(self, value: u8) -> None:
        """A command, or an option byte. What is left of the reply before is not sent.

        A command in place of an option byte is taken, and the one before it left undone.
        """
        self.reply_length = 0
        self.replied = 0
        awaiting = self.awaiting
        self.awaiting = 0
        if awaiting and value < FIRST_KEYBOARD_COMMAND:
            self.take_option(awaiting, value)
        else:
            self.take_command(value)

    # ---- outside --------------------------------------------------------------------------

    def press(self, code: u16, now: u64) -> bool:
        """A key goes down, and repeats from then on; False: there was no room, and it is lost."""
        if not self.scanning or not is_key(code):
            return True
        self.stop_repeating()
        self.spell(code, False)
        if not self.enter():
            return False
        if code != PAUSE:
            self.held = code
            self.repeat_at = u64(now + self.delay())
        return True

    def release(self, code: u16) -> bool:
        """A key goes up; False: there was no room, and it is lost."""
        if code == self.held:
            self.stop_repeating()
        if not self.scanning or not is_key(code) or code == PAUSE:
            return True
        self.spell(code, True)
        return self.enter()

    def is_idle(self) -> bool:
        """Whether it looks at keys for a driver, and has nothing to send or to hear."""
        replies = self.replied < self.reply_length
        listens = self.scanning != 0 and self.greeted != 0
        return listens and self.count == 0 and not self.awaiting and not replies

    def expire(self, inhibited: bool, now: u64) -> None:
        """Repeat a key that is held, if that is due, and what it sent has been taken.

        `inhibited`: the controller takes nothing now. See Keyboard Buffer.
        """
        if now < self.repeat_at:
            return
        self.repeat_at = u64(now + self.period())
        if self.count == 0 and not inhibited:
            self.stroke_length = 0
            self.spell_key(self.held, False)  # without what Print Screen pretends
            self.enter()

    # ---- commands -------------------------------------------------------------------------

    def take_command(self, value: u8) -> None:
        """Commands from the System."""
        match value:
            case KeyboardCommand.LEDS | KeyboardCommand.TYPEMATIC:
                self.awaiting = value
            case KeyboardCommand.ECHO:
                self.answer(KeyboardCommand.ECHO)
                return
            case (
                KeyboardCommand.SCAN_CODE_SET
                | KeyboardCommand.KEY_TYPEMATIC
                | KeyboardCommand.KEY_MAKE_BREAK
                | KeyboardCommand.KEY_MAKE
            ):
                self.clear()
                self.awaiting = value
            case KeyboardCommand.READ_ID:
                self.answer(ACKNOWLEDGE)
                self.answer(KEYBOARD_ID[0])
                self.answer(KEYBOARD_ID[1])
                return
            case KeyboardCommand.ENABLE:
                self.clear()
                self.scanning = 1
                self.greeted = 1
            case KeyboardCommand.DEFAULT_DISABLE:
                self.set_default()
                self.scanning = 0
            case KeyboardCommand.SET_DEFAULT:
                self.set_default()
            case (
                KeyboardCommand.ALL_TYPEMATIC
                | KeyboardCommand.ALL_MAKE_BREAK
                | KeyboardCommand.ALL_MAKE
                | KeyboardCommand.ALL_TYPEMATIC_MAKE_BREAK
            ):
                self.clear()
            case KeyboardCommand.RESEND:
                self.answer(self.last)
                return
            case KeyboardCommand.RESET:
                self.set_default()
                self.answer(ACKNOWLEDGE)
                self.answer(PASSED)
                return
            case _:
                self.answer(RESEND)
                return
        self.answer(ACKNOWLEDGE)

    def take_option(self, command: u8, value: u8) -> None:
        """The option byte of a command."""
        match command:
            case KeyboardCommand.LEDS:
                self.leds = value & LEDS
            case KeyboardCommand.TYPEMATIC:
                self.typematic = value
            case KeyboardCommand.SCAN_CODE_SET:
                if value > 2:
                    self.answer(RESEND)
                    return
                if value:
                    self.code_set = value
                else:
                    self.answer(ACKNOWLEDGE)
                    self.answer(self.code_set)
                    return
            case _:
                self.awaiting = command  # a key in set 3; another may follow
        self.answer(ACKNOWLEDGE)

    # ---- inside ---------------------------------------------------------------------------

    def answer(self, value: u8) -> None:
        """One more byte of the reply."""
        self.reply[self.reply_length % LONGEST_REPLY] = value
        self.reply_length += 1

    def set_default(self) -> None:
        """As at power-on."""
        self.clear()
        self.scanning = 1
        self.code_set = 2
        self.leds = 0
        self.typematic = DEFAULT_TYPEMATIC

    def clear(self) -> None:
        """Nothing is in the buffer, and no key repeats."""
        self.first = 0
        self.count = 0
        self.overrun = 0
        self.stop_repeating()

    def stop_repeating(self) -> None:
        """No key repeats."""
        self.held = 0
        self.repeat_at = NEVER

    def delay(self) -> u64:
        """How long a key is held before it repeats."""
        return (1 + (self.typematic >> 5 & 3)) * DELAY_UNIT

    def period(self) -> u64:
        """From one repetition to the next."""
        return ((8 + (self.typematic & 7)) << (self.typematic >> 3 & 3)) * TYPEMATIC_UNIT

    def spell(self, code: u16, released: bool) -> None:
        """What a key sends."""
        self.stroke_length = 0
        if code == PAUSE:
            if self.code_set == 1:
                for value in PAUSE_SET_1:
                    self.add(value)
            else:
                for value in PAUSE_SET_2:
                    self.add(value)
            return
        if code == PRINT_SCREEN and not released:
            self.spell_key(EXTENDED << 8 | SHIFT, False)
        self.spell_key(code, released)
        if code == PRINT_SCREEN and released:
            self.spell_key(EXTENDED << 8 | SHIFT, True)

    def spell_key(self, code: u16, released: bool) -> None:
        """What a key sends that has one make code and one break code."""
        make = code & 0x7F
        if code >> 8 == EXTENDED:
            self.add(EXTENDED)
        if self.code_set == 1:
            self.add(make | BREAK if released else make)
        else:
            if released:
                self.add(RELEASED)
            self.add(SET_2[make])

    def add(self, value: u8) -> None:
        """One more byte of what a key sends."""
        self.stroke[self.stroke_length % LONGEST] = value
        self.stroke_length += 1

    def enter(self) -> bool:
        """Put what a key sends into the buffer, all of it, or an overrun code: Keyboard Buffer."""
        length = self.stroke_length
        if self.count + length > KEYBOARD_BUFFER:
            if not self.overrun:
                self.overrun = 1
                self.put(OVERRUN_SET_1 if self.code_set == 1 else OVERRUN_SET_2)
            return False
        self.overrun = 0
        for i in range(LONGEST):
            if i < length:
                self.put(self.stroke[i])
        return True

    def put(self, value: u8) -> None:
        """One code into the buffer, which has room."""
        self.buffer[(self.first + self.count) % PLACES] = value
        self.count += 1


def is_key(code: u16) -> bool:
    """Whether there may be such a key."""
    return code == PAUSE or (code >> 8 in (0, EXTENDED) and 0 < code & 0xFF < BREAK)
