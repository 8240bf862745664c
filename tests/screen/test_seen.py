"""What a run tells of its screen is checked before it is believed."""

from typing import Any

import pytest

from tests.screen.screens import answer, in_base64
from vestige.errors import GuestError
from vestige.screen.seen import Cell, Cursor, read

CELLS = b"A\7B\x1fC\7D\7"


def test_a_screen_s_rows_are_its_cells() -> None:
    seen = read(answer(CELLS, 2))
    assert (seen.columns, seen.rows) == (2, 2)
    assert seen.row(0) == [Cell(ord("A"), 7), Cell(ord("B"), 0x1F)]
    assert seen.row(1) == [Cell(ord("C"), 7), Cell(ord("D"), 7)]


def test_a_cursor_may_be_anywhere() -> None:
    assert read(answer(CELLS, 2)).cursor is None
    assert read(answer(CELLS, 2, cursor=[900, 4, 13, 14])).cursor == Cursor(900, 4, 13, 14)


NONSENSE: dict[str, list[Any]] = {
    "columns": [0, 3, 257, "2", 2.0, None, True],
    "rows": [0, 129, []],
    "width": [7, 10],
    "height": [0, 33],
    "dot_width": [0, 3],
    "dot_height": [0, 3],
    "cells": ["", "!", in_base64(CELLS[1:]), 5, {}],
    "fonts": [[], ["", ""], [in_base64(bytes(8192))], "ab", None],
    "colours": [[0] * 15, [0] * 17, [1 << 24] * 16, ["0"] * 16, 0],
    "cursor": [[1, 2, 3], [1, 2, 3, -1], 7, ["0"] * 4],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in NONSENSE for value in NONSENSE[name]]
)
def test_nonsense_is_refused(name: str, value: Any) -> None:
    with pytest.raises(GuestError, match="the run tells of its screen what can't be"):
        read(answer(CELLS, 2) | {name: value})


@pytest.mark.parametrize("told", [None, [], {}, "text", 5])
def test_so_is_what_is_no_screen_at_all(told: Any) -> None:
    with pytest.raises(GuestError, match="what can't be"):
        read(told)
