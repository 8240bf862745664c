"""The caller's terminal."""

import os
import termios

import pytest

from vestige import terminal


@pytest.mark.parametrize(
    ("columns", "rows", "expected"), [(132, 50, (50, 132)), (0, 0, (24, 80)), (0, 30, (30, 80))]
)
def test_a_terminal_that_does_not_know_its_size_has_one(
    monkeypatch: pytest.MonkeyPatch, columns: int, rows: int, expected: tuple[int, int]
) -> None:
    found = os.terminal_size((columns, rows))
    monkeypatch.setattr(os, "get_terminal_size", lambda _descriptor: found)
    assert terminal.size(1) == expected


@pytest.mark.parametrize("mode", [terminal.guest_keys, terminal.all_keys])
def test_what_was_typed_before_the_terminal_is_raw_is_kept(mode: terminal.Mode) -> None:
    ours, theirs = os.openpty()
    try:
        before = termios.tcgetattr(theirs)
        os.write(ours, b"echo FIRST\necho")
        raw = terminal.RawTerminal(theirs, mode)
        raw.start()
        assert os.read(theirs, 64) == b"echo FIRST\necho"
        raw.close()
        assert termios.tcgetattr(theirs) == before
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_terminal_that_has_hung_up_is_no_obstacle() -> None:
    ours, theirs = os.openpty()
    raw = terminal.RawTerminal(theirs, terminal.guest_keys)
    raw.start()
    os.close(ours)
    raw.take_again()
    raw.close()
    terminal.RawTerminal(theirs, terminal.all_keys).start()
    assert terminal.size(theirs) == terminal.DEFAULT_SIZE
    os.close(theirs)
