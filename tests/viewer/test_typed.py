"""What a terminal sends, as keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.viewer.test_keyboard import Keys
from vestige.viewer.typed import Typed


def typed(data: bytes, *, ends: bool = True) -> str:
    keys = Keys()
    typing = Typed(keys.keyboard)
    for byte in data:
        typing.take(bytes((byte,)))
    if ends:
        typing.end()
    return " ".join(keys.did)


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"a", "1e -1e"),
        (b"A", "2a 1e -2a -1e"),
        (b"\r", "1c -1c"),
        (b"\n", "1c -1c"),
        (b"\t", "f -f"),
        (b"\x7f", "e -e"),
        (b"\x03", "1d 2e -2e -1d"),
        (b"\x1b", "1 -1"),
        (b"\x1b\x1b", "1 -1 1 -1"),
        (b"\x1b[A", "e048 -e048"),
        (b"\x1bOA", "e048 -e048"),
        (b"\x1bOP", "3b -3b"),
        (b"\x1b[15~", "3f -3f"),
        (b"\x1b[21~", "44 -44"),
        (b"\x1b[24~", "58 -58"),
        (b"\x1b[3~", "e053 -e053"),
        (b"\x1b[1;5C", "1d e04d -e04d -1d"),
        (b"\x1b[Z", "2a f -f -2a"),
        (b"\x1bx", "38 2d -2d -38"),
        (b"\x1b[99~b", "30 -30"),
        ("é".encode(), ""),  # on no key of a US keyboard
        (b"\xff\xff\xff\xff", ""),
    ],
)
def test_a_key_is_a_key(data: bytes, keys: str) -> None:
    assert typed(data) == keys


def test_what_may_go_on_is_waited_for() -> None:
    assert not typed(b"\x1b", ends=False)
    assert not typed(b"\x1b[1;", ends=False)


@given(st.binary(max_size=60))
def test_any_bytes_leave_no_key_down(data: bytes) -> None:
    keys = typed(data).split()
    assert sorted(each for each in keys if each[0] != "-") == sorted(
        each[1:] for each in keys if each[0] == "-"
    )
