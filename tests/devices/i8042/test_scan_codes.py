"""Scan codes: IBM's tables of set 1 and set 2."""

import pytest

from vestige.monitor.devices.i8042.scan_codes import SET_2, TRANSLATED

# Set 1 and set 2 of a key, as the table of the keyboard has them.
KEYS = {
    "Escape": (0x01, 0x76),
    "1": (0x02, 0x16),
    "Q": (0x10, 0x15),
    "Enter": (0x1C, 0x5A),
    "Left Shift": (0x2A, 0x12),
    "Space": (0x39, 0x29),
    "F1": (0x3B, 0x05),
    "F7": (0x41, 0x83),
    "Keypad 8": (0x48, 0x75),
    "Alt and Print Screen": (0x54, 0x84),
    "F12": (0x58, 0x07),
}


@pytest.mark.parametrize("key", KEYS)
def test_a_key_s_codes_are_each_other_s_translation(key: str) -> None:
    set_1, set_2 = KEYS[key]
    assert SET_2[set_1] == set_2
    assert TRANSLATED[set_2] == set_1


def test_every_make_code_comes_back_from_set_2() -> None:
    assert [TRANSLATED[SET_2[code]] for code in range(1, 0x80)] == list(range(1, 0x80))
    assert len(set(SET_2)) == 0x80


def test_a_keyboard_s_answers_are_not_translated() -> None:
    for answer in (0xAA, 0xAB, 0xE0, 0xE1, 0xEE, 0xF0, 0xFA, 0xFE):
        assert TRANSLATED[answer] == answer
