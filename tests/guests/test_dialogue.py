"""Somebody at a console that a test holds the other end of."""

import os
from collections.abc import Iterator

import pytest

from tests.guests.dialogue import Dialogue


class Console:
    """Both ends: the guest's, in `says` and `typed`, and the person's."""

    def __init__(self) -> None:
        output, self._says = os.pipe()
        self._typed, keys = os.pipe()
        self.shown: list[str] = []
        self.person = Dialogue(output, keys, 0.2, self.shown.append)
        self._ours = [output, keys, self._typed]

    def says(self, text: str | bytes) -> None:
        os.write(self._says, text.encode() if isinstance(text, str) else text)

    def ends(self) -> None:
        os.close(self._says)

    def typed(self) -> str:
        return os.read(self._typed, 1000).decode()

    def close(self) -> None:
        for file in self._ours:
            os.close(file)


@pytest.fixture
def console() -> Iterator[Console]:
    found = Console()
    yield found
    found.close()


def test_what_comes_before_a_mark_is_read_and_what_comes_after_it_is_kept(console: Console) -> None:
    console.says("one\r\ntwo: three")
    assert console.person.read_until("two") == "one\n"
    assert console.person.read_until("three") == ": "
    assert console.shown == ["one\ntwo: three"]


def test_a_letter_that_is_cut_is_shown_once_it_is_whole(console: Console) -> None:
    console.says(b"\xe2\x94")
    with pytest.raises(TimeoutError):
        console.person.read_until("x")
    console.says(b"\x94 x")
    console.person.read_until("x")
    assert "".join(console.shown) == "\u2514 x"


def test_a_mark_that_does_not_come_is_told_with_what_has(console: Console) -> None:
    console.says("Boot error")
    with pytest.raises(TimeoutError, match="Boot error"):
        console.person.read_until("boot: ")


def test_a_guest_that_ends_is_told_at_once(console: Console) -> None:
    console.says("panic")
    console.ends()
    with pytest.raises(TimeoutError, match="'login' does not come; there is b'panic'"):
        console.person.read_until("login")


def test_a_long_text_is_typed_as_it_is_echoed(console: Console) -> None:
    console.says("0123456789ab")
    console.person.type("0123456789abcdef")
    assert console.typed() == "0123456789abcdef"
    with pytest.raises(TimeoutError):
        console.person.type("0123456789abcdef")
    assert console.typed() == "0123456789ab", "the rest waits for an echo"


def test_a_carriage_return_alone_is_no_end(console: Console) -> None:
    console.says("\r")
    with pytest.raises(TimeoutError, match="nothing more"):
        console.person.read_until("text")


def test_what_steers_a_terminal_is_no_text_however_it_arrives(console: Console) -> None:
    for part in ("\x1bcWel\x1b", "[04;0", "5H\x1b[04;05Hcome\x1b[0", "m to GRUB"):
        console.says(part)
        with pytest.raises(TimeoutError):
            console.person.read_until("never")
    assert console.person.read_until(" GRUB") == "Welcome to"


def test_the_last_lines_are_read_to_the_end(console: Console) -> None:
    console.says("first\nlast")
    console.ends()
    assert console.person.lines() == ["first", "last"]
