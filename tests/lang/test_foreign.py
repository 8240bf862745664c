"""What a run has in ctypes' place is what ctypes has."""

import ctypes
import errno
import os

import pytest

from vestige.lang import foreign

NAMES = ["c_char", *(f"c_{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))]
OF_LAYOUTS = ["_type_", "__name__"]  # freeze/layout.py tells layouts apart by these


@pytest.mark.parametrize("name", NAMES)
def test_a_type_is_as_ctypes_has_it(name: str) -> None:
    own, its = getattr(foreign, name), getattr(ctypes, name)
    for each in OF_LAYOUTS:
        assert getattr(own, each) == getattr(its, each)
    assert ctypes.sizeof(own) == ctypes.sizeof(its)
    assert (own * 3).__name__ == (its * 3).__name__
    data = bytes(range(0x7E, 0x7E + ctypes.sizeof(own)))
    assert own.from_buffer_copy(data).value == its.from_buffer_copy(data).value


def test_what_is_no_simple_type_is_ctypes_own() -> None:
    for name in ("Array", "Structure", "addressof", "get_errno", "sizeof"):
        assert getattr(foreign, name) is getattr(ctypes, name)


def test_a_buffer_holds_bytes_and_a_zero() -> None:
    assert bytes(foreign.create_string_buffer(b"a\0b")) == b"a\0b\0"


def test_a_function_is_called_and_errno_told() -> None:
    getpid = foreign.function("getpid", result=foreign.c_int32)
    assert getpid() == os.getpid()
    close = foreign.holding("close", foreign.c_int32, result=foreign.c_int32)
    assert close(-1) == -1
    assert foreign.get_errno() == errno.EBADF
