"""Keys as a viewer names them, by X11's keysyms, and what the guest's keyboard does of it.

A keysym says which character is meant, whatever the viewer's keyboard looks like. So for each the
key is sought that makes it on the guest's, and Shift and AltGr are held or let go around it where
they are not as that needs. A viewer that says which key it is instead, by its code, has all keys
go as they are. X Window System Protocol, appendix A; the rfbproto registry for codes.
"""

from collections.abc import Callable, Mapping

from vestige.abi import EVENT_SIZE, EventKind
from vestige.viewer.layouts import ALTGR, DEAD, SHIFT, SHIFT_ALTGR, SPACE, US, keys_of

LEFT_SHIFT, RIGHT_SHIFT, RIGHT_ALT = 0x2A, 0x36, 0xE038
SHIFTS, CONTROLS = (LEFT_SHIFT, RIGHT_SHIFT), (0x1D, 0xE01D, 0x38)  # and the left Alt
EXTENDED = 0xE000
LATIN = range(0x20, 0x100)  # keysyms that are characters of Latin-1
UNICODE = 0x0100_0000  # and with this, of Unicode
LAST_CHARACTER = 0x10_FFFF
CODES = range(1, 0x59)  # of keys in set 1, as a viewer tells them; with bit 7 those of E0
EXTENDED_CODE = 0x80
PRINT_SCREEN, PAUSE, SYSTEM_REQUEST = 0xE037, 0xE11D, 0x54
MOST_HELD = 32  # keys at once
CAPS_LOCK = 0xFFE5  # a viewer has applied it already: what it sends are capitals

CHARACTERS: Mapping[int, str] = {
    0x20AC: "€", 0xFE50: "\u0300", 0xFE51: "\u0301", 0xFE52: "\u0302", 0xFE57: "\u0308",
}  # fmt: skip
KEYS: Mapping[int, int] = {
    0xFF08: 0x0E, 0xFF09: 0x0F, 0xFE20: 0x0F, 0xFF0D: 0x1C, 0xFF1B: 0x01,  # BackSpace to Escape
    0xFF13: PAUSE, 0xFF6B: PAUSE, 0xFF14: 0x46, 0xFF15: PRINT_SCREEN, 0xFF61: PRINT_SCREEN,
    0xFF50: 0xE047, 0xFF51: 0xE04B, 0xFF52: 0xE048, 0xFF53: 0xE04D,  # Home, Left, Up, Right
    0xFF54: 0xE050, 0xFF55: 0xE049, 0xFF56: 0xE051, 0xFF57: 0xE04F,  # Down, PageUp, PageDown, End
    0xFF63: 0xE052, 0xFFFF: 0xE053, 0xFF67: 0xE05D, 0xFF7F: 0x45,  # Insert, Delete, Menu, NumLock
    0xFFE1: LEFT_SHIFT, 0xFFE2: RIGHT_SHIFT, 0xFFE3: 0x1D, 0xFFE4: 0xE01D,
    0xFFE7: 0xE05B, 0xFFE8: 0xE05C, 0xFFE9: 0x38, 0xFFEA: RIGHT_ALT,  # Meta, Alt
    0xFFEB: 0xE05B, 0xFFEC: 0xE05C, 0xFE03: RIGHT_ALT, 0xFF7E: RIGHT_ALT,  # Super, AltGr
    **{0xFFBE + number: 0x3B + number for number in range(10)},  # F1 to F10
    0xFFC8: 0x57, 0xFFC9: 0x58,
    # The keypad's: by its digits, and by what they are without NumLock.
    **{0xFFB0 + digit: code for digit, code in enumerate(
        (0x52, 0x4F, 0x50, 0x51, 0x4B, 0x4C, 0x4D, 0x47, 0x48, 0x49))},
    0xFF95: 0x47, 0xFF96: 0x4B, 0xFF97: 0x48, 0xFF98: 0x4D, 0xFF99: 0x50, 0xFF9A: 0x49,
    0xFF9B: 0x51, 0xFF9C: 0x4F, 0xFF9D: 0x4C, 0xFF9E: 0x52, 0xFF9F: 0x53, 0xFFAE: 0x53,
    0xFFAC: 0x53, 0xFF8D: EXTENDED | 0x1C, 0xFFAA: 0x37, 0xFFAB: 0x4E, 0xFFAD: 0x4A,
    0xFFAF: EXTENDED | 0x35,
}  # fmt: skip


def key_record(kind: EventKind, code: int) -> bytes:
    """One of abi/events.py."""
    return (bytes((kind, 0)) + code.to_bytes(2, "little")).ljust(EVENT_SIZE, b"\0")


class Keyboard:
    """One viewer's. `say` takes records; `layout`: of the guest's keyboard, one of LAYOUTS."""

    def __init__(self, say: Callable[[bytes], object], layout: str = US) -> None:
        self._say = say
        self._keys = keys_of(layout)
        self._held: dict[int, int] = {}  # what is down: by keysym, or by minus its code, the code

    def key(self, keysym: int, *, down: bool) -> None:
        """A key, by its keysym, goes down or up. One that stands for no key is passed over."""
        if keysym == CAPS_LOCK:
            return
        if not down:
            self._release(keysym)
            return
        if keysym in self._held or len(self._held) >= MOST_HELD:
            return  # the guest's keyboard repeats by itself
        code = KEYS.get(keysym)
        if code is None:
            self._press_character(keysym)
        else:
            self._held[keysym] = code
            self._say(key_record(EventKind.PRESS, code))

    def code(self, told: int, *, down: bool) -> None:
        """The same by its code, with EXTENDED_CODE where that is one behind E0."""
        code = told & 0x7F | (EXTENDED if told & EXTENDED_CODE else 0)
        if told == SYSTEM_REQUEST:
            code = PRINT_SCREEN
        elif told == EXTENDED_CODE | 0x46:
            code = PAUSE
        elif told & 0x7F not in CODES and code not in (0xE05B, 0xE05C, 0xE05D):
            return
        if not down:
            self._release(-code)
        elif -code not in self._held and len(self._held) < MOST_HELD:
            self._held[-code] = code
            self._say(key_record(EventKind.PRESS, code))

    def type(self, character: str) -> None:
        """A character goes down and up again."""
        keysym = UNICODE | ord(character)
        self._press_character(keysym)
        self._release(keysym)

    def leave(self) -> None:
        """The viewer has gone: its keys are up."""
        for name in list(self._held):
            self._release(name)

    def _release(self, name: int) -> None:
        code = self._held.pop(name, None)
        if code is not None and code not in self._held.values():
            self._say(key_record(EventKind.RELEASE, code))

    def _press_character(self, keysym: int) -> None:
        character = _character(keysym)
        key = self._keys.get(character)
        dead = self._keys.get(DEAD.get(character, ""))
        if key is None and dead is not None:
            self._say(self._around(dead, _struck(dead[0])) + _struck(SPACE))
        elif key is not None:
            self._held[keysym] = key[0]
            self._say(self._around(key, key_record(EventKind.PRESS, key[0])))

    def _around(self, key: tuple[int, int], records: bytes) -> bytes:
        """The records, with Shift and AltGr as the key's level needs them.

        A key that is held with Ctrl or Alt is meant as a key, and left as it is.
        """
        down = set(self._held.values())
        if down.intersection(CONTROLS):
            return records
        _, level = key
        before = after = b""
        for codes, needed in (
            (SHIFTS, level in (SHIFT, SHIFT_ALTGR)),
            ((RIGHT_ALT,), level in (ALTGR, SHIFT_ALTGR)),
        ):
            there = [code for code in codes if code in down]
            if needed and not there:
                before += key_record(EventKind.PRESS, codes[0])
                after += key_record(EventKind.RELEASE, codes[0])
            elif not needed:
                before += b"".join(key_record(EventKind.RELEASE, code) for code in there)
                after += b"".join(key_record(EventKind.PRESS, code) for code in there)
        return before + records + after


def _struck(code: int) -> bytes:
    return key_record(EventKind.PRESS, code) + key_record(EventKind.RELEASE, code)


def _character(keysym: int) -> str:
    """What a keysym means as a character; "": none."""
    if keysym in LATIN:
        return chr(keysym)
    number = keysym - UNICODE
    if LATIN.stop <= number <= LAST_CHARACTER or number in LATIN:
        return chr(number)
    return CHARACTERS.get(keysym, "")
