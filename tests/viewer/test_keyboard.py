"""Keysyms and codes of viewers, as keys of the guest's keyboard."""

from collections.abc import Sequence

import pytest

from vestige.abi import EVENT_SIZE, EventKind
from vestige.host.keys import Typist
from vestige.viewer.keyboard import KEYS, Keyboard
from vestige.viewer.layouts import DEAD, LAYOUTS, ROWS, keys_of

SHIFT, ALTGR, CONTROL = 0xFFE1, 0xFE03, 0xFFE3
UP = {EventKind.PRESS: "", EventKind.RELEASE: "-"}


class Keys:
    """A keyboard, and what the guest's does: codes in hexadecimal, - in front where one goes up."""

    def __init__(self, layout: str = "us") -> None:
        self.did: list[str] = []
        self.keyboard = Keyboard(self.take, layout)

    def take(self, records: bytes) -> None:
        for at in range(0, len(records), EVENT_SIZE):
            code = int.from_bytes(records[at + 2 : at + 4], "little")
            self.did.append(f"{UP[EventKind(records[at])]}{code:x}")

    def does(self, *keysyms: int) -> str:
        """Of keysyms that go down, or up where they are negative."""
        self.did.clear()
        for keysym in keysyms:
            self.keyboard.key(abs(keysym), down=keysym > 0)
        return " ".join(self.did)


def test_a_character_is_the_key_that_makes_it() -> None:
    assert Keys().does(ord("a"), -ord("a")) == "1e -1e"
    assert Keys("fr").does(ord("a"), -ord("a")) == "10 -10"
    assert Keys("de").does(ord("y"), -ord("y")) == "2c -2c"


def test_shift_is_held_as_the_guests_layout_needs_it() -> None:
    keys = Keys()
    assert keys.does(SHIFT, ord("A"), -ord("A"), -SHIFT) == "2a 1e -1e -2a"
    assert keys.does(ord("A"), -ord("A")) == "2a 1e -2a -1e"  # of a viewer with Caps Lock
    # A viewer whose / is Shift-7, as on a German keyboard, means the guest's key of /.
    assert keys.does(SHIFT, ord("/"), -ord("/"), -SHIFT) == "2a -2a 35 2a -35 -2a"
    assert Keys("de").does(ord("/"), -ord("/")) == "2a 8 -2a -8"


def test_altgr_is_held_as_the_guests_layout_needs_it() -> None:
    assert Keys("de").does(ALTGR, ord("@"), -ord("@"), -ALTGR) == "e038 10 -10 -e038"
    assert Keys("de").does(ord("@"), -ord("@")) == "e038 10 -e038 -10"
    assert Keys("us").does(ALTGR, ord("@"), -ord("@"), -ALTGR) == (
        "e038 2a -e038 3 -2a e038 -3 -e038"
    )


def test_a_key_that_is_held_with_ctrl_is_left_as_it_is() -> None:
    assert Keys().does(CONTROL, ord("C"), -ord("C"), -CONTROL) == "1d 2e -2e -1d"


def test_a_dead_key_is_followed_by_a_space_where_the_character_alone_is_meant() -> None:
    assert Keys("de").does(ord("^"), -ord("^")) == "29 -29 39 -39"
    assert Keys("de").does(0xFE52, -0xFE52) == "29 -29"
    assert Keys("fr").does(ord("^"), -ord("^")) == "e038 a -e038 -a"


def test_a_key_that_repeats_is_down_once_and_all_go_up_at_the_end() -> None:
    keys = Keys()
    assert keys.does(ord("a"), ord("a"), SHIFT) == "1e 2a"
    keys.did.clear()
    keys.keyboard.leave()
    assert keys.did == ["-1e", "-2a"]


@pytest.mark.parametrize("keysym", [0, 0xFFFF_FFFF, 0x0100_0000, 0xFFE5, ord("€"), 0x0110_FFFF + 1])
def test_what_stands_for_no_key_does_nothing(keysym: int) -> None:
    assert not Keys().does(keysym, -keysym)


@pytest.mark.parametrize(
    ("told", "code"),
    [(0x1E, "1e"), (0x9C, "e01c"), (0xC8, "e048"), (0x54, "e037"), (0xC6, "e11d"), (0xDB, "e05b")],
)
def test_a_code_is_the_same_key(told: int, code: str) -> None:
    keys = Keys()
    for down in (True, False):
        keys.keyboard.code(told, down=down)
    assert keys.did == [code, f"-{code}"]


@pytest.mark.parametrize("told", [0, 0x7F, 0xFF, 1 << 31])
def test_a_code_of_no_key_does_nothing(told: int) -> None:
    keys = Keys()
    keys.keyboard.code(told, down=True)
    assert told == 1 << 31 or not keys.did


def test_the_american_layout_is_the_typists() -> None:
    for character, (code, level) in keys_of("us").items():
        if character != "\\":
            typed = Typist().records(f"text {character}")
            assert (typed[2] == 0x2A) is bool(level), character
            assert code.to_bytes(2, "little") in (typed[2:4], typed[EVENT_SIZE + 2 :][:2])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_has_all_of_ascii(layout: str) -> None:
    keys = keys_of(layout)
    for character in map(chr, range(0x20, 0x7F)):
        assert character in keys or DEAD[character] in keys, character


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
def test_each_row_has_its_keys(layout: Sequence[Sequence[str]]) -> None:
    for level in layout:
        assert [len(row) for row in level] == [12, 12, 11, 10, 3]
    assert len(ROWS) == 4


def test_every_key_by_name_is_one_that_can_be_typed() -> None:
    from vestige.host.viewer.outer import CODES  # noqa: PLC0415 - beside what it is compared with

    codes = {code for layout in LAYOUTS for code, _ in keys_of(layout).values()}
    assert codes | set(KEYS.values()) <= CODES
