"""Words for keys and pointers, as records: codes against a keyboard's own table."""

import string
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestige.abi import EVENT_SIZE, EventKind
from vestige.errors import UsageError
from vestige.host.keys import ACTIONS, ALIASES, NAMED, PLAIN, SHIFT, SHIFTED, Desk, Typist
from vestige.monitor.devices.i8042.keyboard import is_key

TABLET = Desk(keyboard=False, tablet=True)
BOTH = Desk(tablet=True)
DOWN, UP = "down", "up"
# IBM PS/2 Technical Reference, "Scan Codes", set 1: some that are told by other sources, too.
KNOWN = {"esc": 0x01, "1": 0x02, "0": 0x0B, "q": 0x10, "p": 0x19, "a": 0x1E, "l": 0x26, "z": 0x2C,
         "m": 0x32, "f1": 0x3B, "f10": 0x44, "f11": 0x57, "f12": 0x58, "kp7": 0x47, "kp5": 0x4C,
         "kp0": 0x52, "kpdot": 0x53, "up": 0xE048, "delete": 0xE053, "altgr": 0xE038,
         "pause": 0xE11D, "print": 0xE037, "space": 0x39, "enter": 0x1C, "\\": 0x2B, "`": 0x29,
         "/": 0x35, ";": 0x27, "'": 0x28, "[": 0x1A, "]": 0x1B, "-": 0x0C, "=": 0x0D}  # fmt: skip


def done(line: str) -> list[tuple[str, int]]:
    """The keys that a line presses and releases."""
    data = Typist().records(line)
    found = []
    for at in range(0, len(data), EVENT_SIZE):
        kind = {EventKind.PRESS: DOWN, EventKind.RELEASE: UP}[EventKind(data[at])]
        found.append((kind, int.from_bytes(data[at + 2 : at + 4], "little")))
    return found


def pointer(*lines: str) -> list[tuple[int, int, int, int]]:
    """The movements of lines: buttons, right, away, wheel."""
    typist = Typist()
    data = b"".join(map(typist.records, lines))
    found = []
    for at in range(0, len(data), EVENT_SIZE):
        assert data[at] == EventKind.POINTER
        numbers = [
            int.from_bytes(data[at + place : at + place + 2], "little", signed=True)
            for place in (4, 6, 8)
        ]
        found.append((data[at + 1], *numbers))
    return found  # type: ignore[return-value] # three of them


@pytest.mark.parametrize("name", KNOWN)
def test_a_key_has_its_code(name: str) -> None:
    assert done(name) == [(DOWN, KNOWN[name]), (UP, KNOWN[name])]


@pytest.mark.parametrize("name", [*NAMED, *ALIASES, *(f"kp{n}" for n in range(10))])
def test_each_name_is_a_key_in_any_case(name: str) -> None:
    assert done(name) == done(name.upper())
    assert all(is_key(code) for _, code in done(name))


def test_names_are_of_different_keys() -> None:
    assert len({*NAMED.values()}) == len(NAMED)
    assert {"a", "b"} <= PLAIN.keys()
    assert not PLAIN.keys() & SHIFTED.keys()


def test_every_printable_character_is_on_a_key() -> None:
    printable = set(string.printable) - set("\r\x0b\x0c")
    assert printable <= PLAIN.keys() | SHIFTED.keys()
    assert SHIFTED["A"] == PLAIN["a"]
    assert SHIFTED["?"] == PLAIN["/"]
    assert SHIFTED["{"] == PLAIN["["]


def test_keys_that_are_held_together_are_released_the_other_way_round() -> None:
    assert done("ctrl-alt-delete") == [
        *((DOWN, 0x1D), (DOWN, 0x38), (DOWN, 0xE053)),
        *((UP, 0xE053), (UP, 0x38), (UP, 0x1D)),
    ]
    assert done("ctrl--") == [(DOWN, 0x1D), (DOWN, 0x0C), (UP, 0x0C), (UP, 0x1D)]
    assert done("alt-F4") == [(DOWN, 0x38), (DOWN, 0x3E), (UP, 0x3E), (UP, 0x38)]


def test_text_is_typed_with_shift_where_it_needs_that() -> None:
    assert done("text a A") == [
        *((DOWN, 0x1E), (UP, 0x1E), (DOWN, 0x39), (UP, 0x39)),
        *((DOWN, SHIFT), (DOWN, 0x1E), (UP, 0x1E), (UP, SHIFT)),
    ]
    assert done("A") == [(DOWN, SHIFT), (DOWN, 0x1E), (UP, 0x1E), (UP, SHIFT)]
    assert done("text  a ") == [*done("space"), *done("a"), *done("space")]


def test_escapes_are_keys() -> None:
    assert done(r"text \n\t\b\e\\") == [
        each for name in ("enter", "tab", "backspace", "esc", "\\") for each in done(name)
    ]


def test_keys_may_be_held_over_lines() -> None:
    typist = Typist()
    held = typist.records("press ctrl-shift") + typist.records("release ctrl-shift")
    assert [held[at] for at in range(0, len(held), EVENT_SIZE)] == [1, 1, 2, 2]


def test_the_pointer_goes_right_and_down() -> None:
    assert pointer("move 10 -5", "wheel 3", "wheel -1") == [
        *((0, 10, 5, 0), (0, 0, 0, 3), (0, 0, 0, -1)),
    ]


def test_buttons_stay_down_until_they_are_up() -> None:
    assert pointer("button left down", "move 1 1", "button right", "button left up") == [
        *((1, 0, 0, 0), (1, 1, -1, 0), (3, 0, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0)),
    ]


def at_tablet(*lines: str, desk: Desk = BOTH) -> list[tuple[int, ...]]:
    """Kind, buttons, place and wheel of each record."""
    typist = Typist(desk)
    data = b"".join(map(typist.records, lines))
    return [
        (kind, buttons, x, y, wheel)
        for kind, buttons, _, x, y, wheel in struct.iter_unpack("<BBHHHh", data)
    ]


def test_a_tablets_pointer_is_where_it_is_put_and_buttons_are_there() -> None:
    tablet = EventKind.TABLET
    assert at_tablet("point 5 32767", "button left down", "wheel 2", "point 0 0") == [
        (tablet, 0, 5, 32767, 0), (tablet, 1, 5, 32767, 0), (tablet, 1, 5, 32767, 2),
        (tablet, 1, 0, 0, 0),
    ]  # fmt: skip


def test_buttons_are_the_mouses_again_behind_a_movement() -> None:
    kinds = [kind for kind, *_ in at_tablet("point 1 1", "move 1 1", "wheel 1", "point 1 1")]
    pointer, tablet = EventKind.POINTER, EventKind.TABLET
    assert kinds == [tablet, pointer, pointer, tablet]


@pytest.mark.parametrize(
    ("desk", "line", "words"),
    [
        (Desk(), "point 1 1", "point: no tablet; `vestige run --tablet` has one"),
        (TABLET, "move 1 1", "move: no keyboard and no mouse, but a tablet"),
        (TABLET, "enter", "enter: no keyboard"),
        (TABLET, "text a", "text: no keyboard"),
        (TABLET, "point 1", "point 1: give X Y, each from 0 to 32767"),
        (TABLET, "point 0 32768", "point 0 32768: give X Y"),
    ],
)
def test_what_is_not_there_is_told(desk: Desk, line: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        Typist(desk).records(line)
    assert str(refused.value).startswith(words)


def test_a_tablet_alone_has_buttons_and_a_wheel() -> None:
    assert at_tablet("wheel -1", "button right down", desk=TABLET) == [
        (EventKind.TABLET, 0, 0, 0, -1), (EventKind.TABLET, 2, 0, 0, 0),
    ]  # fmt: skip


def test_a_wait_is_in_milliseconds() -> None:
    data = Typist().records("wait 300")
    assert (data[0], int.from_bytes(data[2:4], "little")) == (EventKind.WAIT, 300)


@given(st.text() | st.builds("{} {}".format, st.sampled_from(sorted(ACTIONS)), st.text()))
def test_any_line_is_whole_records_or_refused(line: str) -> None:
    try:
        data = Typist().records(line)
    except UsageError:
        return
    assert len(data) % EVENT_SIZE == 0
    assert set(data[::EVENT_SIZE]) <= set(EventKind)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("entre", "'entre' is no key: is it enter"),
        ("ctl-a", "'ctl' is no key: is it ctrl"),
        ("ctrl-", "ctrl-: a key is missing beside -; give keys like enter, a, ctrl-alt-delete"),
        ("-a", "-a: a key is missing beside -"),
        ("ctrl+c", "'ctrl+c' is no key: is it ctrl-c?"),
        ("Ctrl+Alt+Del", "'Ctrl+Alt+Del' is no key: is it ctrl-alt-del?"),
        ("ctrl+qqqq", "'ctrl+qqqq' is no key"),
        ("qqqqqqqqqqqq", "is no key: there are a, 7, f1"),
        ("é", "'é' is no key"),
        ("a b", "'a b' is no key"),
        ("", "'': without a key"),
        ("text naïve", "'ï' is on no key of a US keyboard"),
        (r"text C:\dir", r"\d means nothing; there are \n, \t, \b, \e, \\"),
        ("text \\", "\\ means nothing"),
        ("move 1", "move 1: give RIGHT DOWN, each from -4096 to 4096"),
        ("move a b", "give RIGHT DOWN"),
        ("move 99999 0", "give RIGHT DOWN"),
        ("move 1 2 3", "give RIGHT DOWN"),
        ("wait ٣", "wait ٣: give MILLISECONDS"),
        ("wait 1_0", "wait 1_0: give MILLISECONDS"),
        ("\u212a", "is no key"),
        ("ctrl-\u212a", "is no key"),
        ("wheel 128", "give TURNS"),
        ("wait -1", "give MILLISECONDS"),
        ("wait 60001", "give MILLISECONDS"),
        ("wait " + "9" * 5000, "give MILLISECONDS"),
        ("button", "button: give left, right, middle"),
        ("move", "move: give RIGHT DOWN"),
        ("button top", "give left, right, middle"),
        ("button left twice", "down, up or neither"),
        ("press", "press: without a key; give keys like enter"),
        ("release ", "release: without a key"),
    ],
)
def test_what_means_nothing_is_told(line: str, words: str) -> None:
    typist = Typist()
    with pytest.raises(UsageError) as refused:
        typist.records(line)
    assert words in str(refused.value)
    assert typist.buttons == 0
