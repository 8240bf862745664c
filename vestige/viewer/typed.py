"""What is typed at a terminal, as keys of the guest's keyboard. ECMA-48; XTerm Control Sequences.

A terminal sends characters, and sequences that begin with ESC for keys that are none. ESC alone is
the key Esc: what says so is that nothing follows it soon.
"""

from collections.abc import Mapping

from vestige.viewer.keyboard import Keyboard

ESC = 0x1B
SHIFT, ALT, CONTROL = 0xFFE1, 0xFFE9, 0xFFE3  # keysyms
BACKSPACE, TAB, RETURN, ESCAPE = 0xFF08, 0xFF09, 0xFF0D, 0xFF1B
LONGEST = 16  # bytes of a sequence
CONTROLS: Mapping[int, int] = {
    0x08: BACKSPACE, 0x09: TAB, 0x0A: RETURN, 0x0D: RETURN, 0x7F: BACKSPACE,
}  # fmt: skip
LETTERS: Mapping[str, int] = {  # the last byte of a sequence
    "A": 0xFF52, "B": 0xFF54, "C": 0xFF53, "D": 0xFF51, "H": 0xFF50, "F": 0xFF57,
    "P": 0xFFBE, "Q": 0xFFBF, "R": 0xFFC0, "S": 0xFFC1,
}  # fmt: skip
NUMBERS: Mapping[str, int] = {  # the first of one that ends with ~
    "1": 0xFF50, "2": 0xFF63, "3": 0xFFFF, "4": 0xFF57, "5": 0xFF55, "6": 0xFF56,
    **{str(number): 0xFFBE + each for each, number in enumerate((11, 12, 13, 14, 15))},
    **{str(number): 0xFFC3 + each for each, number in enumerate((17, 18, 19, 20, 21))},
    "23": 0xFFC8, "24": 0xFFC9,
}  # fmt: skip
HELD = ((1, SHIFT), (2, ALT), (4, CONTROL))  # bits of the second number less 1


class Typed:
    """Bytes of a terminal, on their way to a keyboard."""

    def __init__(self, keyboard: Keyboard) -> None:
        self._keyboard = keyboard
        self._coming = b""

    @property
    def waits(self) -> bool:
        """Whether something has come of which it is not clear yet what it means."""
        return bool(self._coming)

    def take(self, data: bytes) -> None:
        """Type what has come whole."""
        self._coming += data
        while self._coming:
            used = self._one(self._coming)
            if not used:
                return
            self._coming = self._coming[used:]

    def end(self) -> None:
        """Nothing has followed: what waits is what it is by itself."""
        coming, self._coming = self._coming, b""
        if coming[:1] == bytes((ESC,)):
            self._strike(ESCAPE)
            self.take(coming[1:])

    def _one(self, data: bytes) -> int:
        """Type the first key; the bytes that it has, 0 where more are to come."""
        first = data[0]
        if first == ESC:
            return self._sequence(data)
        if first in CONTROLS:
            self._strike(CONTROLS[first])
            return 1
        if first < 0x20:
            self._strike(first | 0x60 if 0 < first < 0x1B else first | 0x40, CONTROL)
            return 1
        return self._character(data)

    def _character(self, data: bytes) -> int:
        """In UTF-8. What is none is passed over."""
        first = data[0]
        length = 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
        if len(data) < length:
            return 0
        for character in data[:length].decode("utf-8", "ignore"):
            self._keyboard.type(character)
        return length

    def _sequence(self, data: bytes) -> int:
        if len(data) == 1:
            return 0
        if data[1] not in b"[O":  # Alt and a key
            if data[1] == ESC:
                self._strike(ESCAPE)
                return 1
            used = 0 if len(data) < 2 else self._with_alt(data[1:])
            return used and 1 + used
        for place in range(2, min(len(data), LONGEST)):
            if 0x40 <= data[place] <= 0x7E:
                self._strike_sequence(data[2:place].decode("ascii", "ignore"), chr(data[place]))
                return place + 1
        return 0 if len(data) < LONGEST else LONGEST

    def _with_alt(self, data: bytes) -> int:
        self._keyboard.key(ALT, down=True)
        used = self._one(data)
        self._keyboard.key(ALT, down=False)
        return used

    def _strike_sequence(self, parameters: str, last: str) -> None:
        number, _, held = parameters.partition(";")
        keysym = NUMBERS.get(number) if last == "~" else LETTERS.get(last)
        if last == "Z":
            keysym, held = TAB, "2"
        if keysym is not None:
            bits = int(held) - 1 if held.isascii() and held.isdigit() else 0
            self._strike(keysym, *(each for bit, each in HELD if bits & bit))

    def _strike(self, keysym: int, *held: int) -> None:
        keys = (*held, keysym)
        for each in keys:
            self._keyboard.key(each, down=True)
        for each in reversed(keys):
            self._keyboard.key(each, down=False)
