"""Words for what is done at a keyboard, a mouse and a tablet, and the records they become.

A line is one of ACTIONS with its words, or a key, or several that are held together, as
ctrl-alt-delete. Keys are those of a US keyboard of 102 keys.
"""

from _collections_abc import Callable, Iterator, Mapping, Sequence

from vestige.abi import TABLET_END, EventKind
from vestige.errors import UsageError
from vestige.host.numbers import plain
from vestige.host.options import NamedValues

EXTENDED = 0xE000
PAUSE = 0xE11D

# Characters of keys whose codes follow each other: alone, with Shift, and the first code.
ROWS = (
    ("1234567890-=\b\tqwertyuiop[]\n", '!@#$%^&*()_+\b\tQWERTYUIOP{}\n', 0x02),
    ("asdfghjkl;'`", 'ASDFGHJKL:"~', 0x1E),
    ("\\zxcvbnm,./", "|ZXCVBNM<>?", 0x2B),
    (" ", " ", 0x39),
    ("\x1b", "\x1b", 0x01),
)  # fmt: skip
SHIFT, RIGHT_SHIFT = 0x2A, 0x36
PLAIN = {
    character: first + number
    for row, _, first in ROWS
    for number, character in enumerate(row)
}  # fmt: skip
SHIFTED = {
    character: first + number
    for _, row, first in ROWS
    for number, character in enumerate(row)
    if character not in PLAIN
}  # fmt: skip
NAMED = {
    "esc": 0x01, "minus": 0x0C, "equal": 0x0D, "backspace": 0x0E, "tab": 0x0F, "enter": 0x1C,
    "ctrl": 0x1D, "shift": SHIFT, "rightshift": RIGHT_SHIFT, "alt": 0x38, "space": 0x39,
    "capslock": 0x3A, "numlock": 0x45, "scrolllock": 0x46, "less": 0x56,
    "kpenter": EXTENDED | 0x1C, "rightctrl": EXTENDED | 0x1D, "kpslash": EXTENDED | 0x35,
    "print": EXTENDED | 0x37, "rightalt": EXTENDED | 0x38, "home": EXTENDED | 0x47,
    "up": EXTENDED | 0x48, "pageup": EXTENDED | 0x49, "left": EXTENDED | 0x4B,
    "right": EXTENDED | 0x4D, "end": EXTENDED | 0x4F, "down": EXTENDED | 0x50,
    "pagedown": EXTENDED | 0x51, "insert": EXTENDED | 0x52, "delete": EXTENDED | 0x53,
    "super": EXTENDED | 0x5B, "rightsuper": EXTENDED | 0x5C, "menu": EXTENDED | 0x5D,
    "pause": PAUSE, "kpasterisk": 0x37, "f11": 0x57, "f12": 0x58,
    **{f"f{number}": 0x3A + number for number in range(1, 11)},
    **{
        f"kp{name}": 0x47 + number
        for number, name in enumerate((*"789", "minus", *"456", "plus", *"1230", "dot"))
    },
}  # fmt: skip
ALIASES = {
    "escape": "esc", "return": "enter", "control": "ctrl", "del": "delete", "ins": "insert",
    "pgup": "pageup", "pgdn": "pagedown", "altgr": "rightalt", "sysrq": "print", "win": "super",
}  # fmt: skip
BUTTONS = {"left": 1, "right": 2, "middle": 4, "fourth": 8, "fifth": 16}
ESCAPES = {"n": "\n", "t": "\t", "b": "\b", "e": "\x1b", "\\": "\\"}
LONGEST_WAIT = 60_000  # ms
FARTHEST = 4096  # of a movement, at once
EXAMPLES = "enter, a, ctrl-alt-delete"
NEAREST = 3  # names that are told for one that is none


class Desk(NamedValues):
    """What there is to do something at: a keyboard with a mouse, a tablet, or both."""

    __slots__ = ("keyboard", "tablet")

    def __init__(self, *, keyboard: bool = True, tablet: bool = False) -> None:
        self.keyboard, self.tablet = keyboard, tablet


PC_DESK = Desk()
Held = tuple[int, tuple[int, int] | None]  # buttons, and a tablet's place


class Typist:
    """Whoever is at a desk; `buttons` are down, and the tablet's pointer is at `place`.

    They are those of the tablet while there is a `place`, else the mouse's.
    """

    def __init__(self, desk: Desk = PC_DESK) -> None:
        self.desk = desk
        self.buttons = 0
        self.place: tuple[int, int] | None = None if desk.keyboard else (0, 0)

    @property
    def held(self) -> Held:
        """How the pointer is."""
        return self.buttons, self.place

    @held.setter
    def held(self, held: Held) -> None:
        self.buttons, self.place = held

    def records(self, line: str) -> bytes:
        """What a line means. Raises UsageError, and then nothing is done."""
        action, _, words = line.partition(" ")
        self._check(action)
        if action in ACTIONS:
            return b"".join(ACTIONS[action](self, words if action == "text" else words.strip()))
        codes = _keys_of(line.strip())
        return b"".join((*map(press, codes), *map(release, reversed(codes))))

    def _check(self, action: str) -> None:
        """Raise UsageError where there is nothing to do that at."""
        if action == "point" and not self.desk.tablet:
            raise UsageError("point: no tablet; `vestige run --tablet` has one")
        if action not in OF_TABLETS and not self.desk.keyboard:
            raise UsageError(
                f"{action}: no keyboard and no mouse, but a tablet: give point X Y, button or"
                " wheel, or have the others by `vestige run --machine pc`"
            )

    def text(self, text: str) -> Iterator[bytes]:
        """Each character by its key, with Shift where it needs that."""
        for character in _without_escapes(text):
            shifted = character in SHIFTED
            code = SHIFTED.get(character) or PLAIN.get(character)
            if code is None:
                raise UsageError(
                    f"text: {character!r} is on no key of a US keyboard; leave it out, or give the"
                    " keys that make it in the guest"
                )
            yield press(SHIFT) if shifted else b""
            yield press(code) + release(code)
            yield release(SHIFT) if shifted else b""

    def press(self, words: str) -> Iterator[bytes]:
        """Keys that are held from now on."""
        yield from map(press, _keys_of(words, "press"))

    def release(self, words: str) -> Iterator[bytes]:
        """And no more."""
        yield from map(release, reversed(_keys_of(words, "release")))

    def wait(self, words: str) -> Iterator[bytes]:
        """Before what follows."""
        (milliseconds,) = _numbers("wait", words, "MILLISECONDS", 0, LONGEST_WAIT)
        yield record(EventKind.WAIT, code=milliseconds)

    def move(self, words: str) -> Iterator[bytes]:
        """The mouse, to the right and down, as a screen counts."""
        x, y = _numbers("move", words, "RIGHT DOWN", -FARTHEST, FARTHEST)
        self.place = None
        yield self._pointer(x=x, y=-y)

    def point(self, words: str) -> Iterator[bytes]:
        """The tablet's pointer, in 32767ths of the screen from its upper left corner."""
        x, y = _numbers("point", words, "X Y", 0, TABLET_END)
        self.place = (x, y)
        yield self._pointer()

    def wheel(self, words: str) -> Iterator[bytes]:
        """Turns towards the user, which is down."""
        (turns,) = _numbers("wheel", words, "TURNS", -127, 127)
        yield self._pointer(wheel=turns)

    def button(self, words: str) -> Iterator[bytes]:
        """Down, up, or both."""
        name, _, how = words.partition(" ")
        if name not in BUTTONS or how.strip() not in ("", "down", "up"):
            raise UsageError(
                f"{_said('button', words)}: give {', '.join(BUTTONS)}, and down, up or neither"
            )
        if how.strip() != "up":
            self.buttons |= BUTTONS[name]
            yield self._pointer()
        if how.strip() != "down":
            self.buttons &= ~BUTTONS[name]
            yield self._pointer()

    def _pointer(self, x: int = 0, y: int = 0, wheel: int = 0) -> bytes:
        if self.place is not None:
            x, y = self.place
            return record(EventKind.TABLET, self.buttons, x=x, y=y, wheel=wheel)
        return record(EventKind.POINTER, self.buttons, x=x, y=y, wheel=wheel)


ACTIONS: Mapping[str, Callable[[Typist, str], Iterator[bytes]]] = {
    "text": Typist.text,
    "press": Typist.press,
    "release": Typist.release,
    "wait": Typist.wait,
    "move": Typist.move,
    "point": Typist.point,
    "wheel": Typist.wheel,
    "button": Typist.button,
}

OF_TABLETS = ("point", "wheel", "button", "wait")


def record(
    kind: EventKind, buttons: int = 0, *, code: int = 0, x: int = 0, y: int = 0, wheel: int = 0
) -> bytes:
    signed = (number.to_bytes(2, "little", signed=True) for number in (x, y, wheel))
    return bytes((kind, buttons)) + code.to_bytes(2, "little") + b"".join(signed)


def press(code: int) -> bytes:
    return record(EventKind.PRESS, code=code)


def release(code: int) -> bytes:
    return record(EventKind.RELEASE, code=code)


def _keys_of(words: str, action: str = "") -> Sequence[int]:
    """Codes of keys with - between them. One character is the key, and Shift, that makes it.

    Raises UsageError; `action` is what stood before them.
    """
    names = words.split("-") if len(words) > 1 else [words]
    if names[-2:] == ["", ""]:  # the last key is that of -
        names[-2:] = ["-"]
    if "" in names:
        missing = "a key is missing beside -" if words else "without a key"
        raise UsageError(f"{_said(action, words)}: {missing}; give keys like {EXAMPLES}")
    codes = []
    for name in names:
        if len(names) == 1 and name in SHIFTED:
            codes += [SHIFT, SHIFTED[name]]
        else:
            codes.append(_code_of(name))
    return codes


def _is_key(lower: str) -> bool:
    return lower.isprintable() and (lower in NAMED or lower in ALIASES or lower in PLAIN)


def _code_of(name: str) -> int:
    lower = name.lower() if name.isascii() else name  # that of the kelvin's sign is k
    if _is_key(lower):
        return NAMED.get(ALIASES.get(lower, lower)) or PLAIN[lower]
    import difflib  # noqa: PLC0415 - for an error alone

    known = [*NAMED, *ALIASES, *ACTIONS]
    parts = lower.split("+")
    if len(parts) > 1 and all(_is_key(part) for part in parts):
        near = ["-".join(parts)]
    else:
        near = difflib.get_close_matches(lower, known, NEAREST)
    meant = f"is it {' or '.join(near)}?" if near else "there are a, 7, f1, enter, up, kp5, ctrl, …"
    raise UsageError(f"{name!r} is no key: {meant} (docs/devices/i8042.md has all)")


def _numbers(action: str, words: str, form: str, least: int, most: int) -> Sequence[int]:
    try:
        numbers = [int(plain(word)) for word in words.split()]
    except ValueError:
        numbers = []
    if len(numbers) != len(form.split()) or not all(least <= each <= most for each in numbers):
        raise UsageError(f"{_said(action, words)}: give {form}, each from {least} to {most}")
    return numbers


def _said(action: str, words: str) -> str:
    return f"{action} {words}".strip() or "''"


def _without_escapes(text: str) -> Iterator[str]:
    characters = iter(text)
    for character in characters:
        if character != "\\":
            yield character
            continue
        escaped = next(characters, "")
        if escaped not in ESCAPES:
            known = ", ".join(f"\\{each}" for each in ESCAPES)
            raise UsageError(f"text: \\{escaped} means nothing; there are {known}")
        yield ESCAPES[escaped]
