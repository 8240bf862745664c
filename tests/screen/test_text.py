"""A screen as lines of Unicode."""

from tests.screen.screens import answer
from vestige.screen.seen import read
from vestige.screen.text import CHARACTERS, lines


def shown(*rows: bytes) -> list[str]:
    cells = b"".join(bytes([byte, 7]) for row in rows for byte in row)
    return lines(read(answer(cells, len(rows[0]))))


def test_rows_end_with_their_last_character() -> None:
    assert shown(b"one  ", b"\0\0\0\0\0", b" two ", b"     ", b"\xff\xff\xff\xff\xff") == [
        *("one", "", " two"),
    ]


def test_an_empty_screen_has_no_lines() -> None:
    assert shown(b"   ", b"\0\0\0") == []


def test_all_characters_can_be_printed() -> None:
    assert len(CHARACTERS) == 256
    assert CHARACTERS.isprintable()


def test_frames_letters_and_control_characters_are_what_the_rom_shows() -> None:
    assert shown(b"\x01\x1b[\xc9\xcd\xbb\x7f\x81\xdb") == ["☺←[╔═╗⌂ü█"]
