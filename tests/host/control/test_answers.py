"""Answers: the JSON that the machine's process writes without a module for it, and its pieces."""

import json
import marshal
from base64 import b64decode
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestige.errors import UsageError
from vestige.host.control import answers, commands
from vestige.host.control.server import LONGEST_LINE
from vestige.host.process.link import MOST

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


@given(VALUES)
def test_a_value_is_what_json_reads_again(value: Any) -> None:
    text = answers.json_of(value)
    assert json.loads(text) == value
    assert "\n" not in text


@given(st.text(st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)))
def test_what_has_no_bytes_is_an_escape(text: str) -> None:
    """As in the name of a file."""
    assert json.loads(answers.encoded(answers.json_of(text))) == text


@pytest.mark.parametrize(
    "item", ["0", "[]", "{}", '""', '"\u00e9"', "1e1", "[0]", '{"":0}', "2147483648"]
)
def test_what_a_client_may_ask_is_one_message(item: str) -> None:
    start = '{"do":"test","x":['
    line = (
        start + ",".join([item] * ((LONGEST_LINE - len(start)) // (len(item.encode()) + 1))) + "]}"
    )
    assert len(answers.question("test", json.loads(line))) < MOST


@given(VALUES)
def test_what_is_not_too_deep_can_be_asked_and_shown(value: Any) -> None:
    if not answers.is_deep(value):
        assert marshal.loads(answers.question("test", {"x": value}))[1] == {"x": value}


@pytest.mark.parametrize("inner", ["[{}]", '{{"a": {}}}'])
def test_what_is_too_deep_is_told(inner: str) -> None:
    text = "1"
    for _ in range(answers.DEEPEST // inner.count("{") or 1):
        text = inner.format(text)
    depth = text.count("[") + text.count("{")
    assert not answers.is_deep(json.loads(text), depth)
    assert answers.is_deep(json.loads(text), depth - 1)
    assert answers.is_deep(json.loads("[" * 300 + "]" * 300))


def test_bytes_are_in_base64() -> None:
    data = bytes(range(256)) * 400
    assert b64decode(json.loads(answers.json_of({"page": data}))["page"]) == data


def told(monkeypatch: pytest.MonkeyPatch, answer: Any) -> bytes:
    """The line of what a command answers, through its pieces."""
    monkeypatch.setitem(commands.OF_MACHINE, "test", answer)
    collected = answers.Collected()
    *pieces, last = answers.answer(None, answers.question("test", {"do": "test"}))  # type: ignore[arg-type]
    for piece in pieces:
        assert len(piece) < MOST
        assert collected.take(piece) is None
    line = collected.take(last)
    assert line is not None
    return line


@pytest.mark.parametrize("size", [0, 1, 30_000, 100_000, 700_000])
def test_an_answer_of_any_size_comes_whole(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    data = bytes(index * 7 & 0xFF for index in range(size))
    line = told(monkeypatch, lambda _machine, _request: {"data": data})
    assert b64decode(json.loads(line)["answer"]["data"]) == data


def test_what_is_wrong_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(_machine: object, _request: object) -> dict[str, int]:
        raise UsageError('a "screen"\nthat there is not')

    line = told(monkeypatch, answer)
    assert json.loads(line) == {"error": 'a "screen"\nthat there is not'}
    assert b"\n" not in line


def test_an_answer_that_is_too_long_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    line = told(monkeypatch, lambda _machine, _request: {"data": bytes(answers.LONGEST)})
    assert "at most" in json.loads(line)["error"]


def test_pieces_without_an_end_are_not_kept() -> None:
    collected = answers.Collected()
    piece = bytes((answers.Part.MORE,)) + b"A" * (MOST - 2)
    for _ in range(3 * answers.LONGEST // MOST):
        assert collected.take(piece) is None
    line = collected.take(bytes((answers.Part.LAST,)))
    assert line is not None
    assert len(line) < 100
    assert "more than" in json.loads(line)["error"]


@pytest.mark.parametrize("piece", [b"", b"\1\nforged\n", b"\2\n{}\n", b"\xff\xff", b"\1\x00\n"])
def test_whatever_comes_is_one_line(piece: bytes) -> None:
    line = answers.Collected().take(piece)
    assert line is not None
    assert b"\n" not in line


def test_what_is_not_possible_now_is_passing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_machine: object, _request: object) -> NoReturn:
        raise commands.NotNowError("it ends")

    assert json.loads(told(monkeypatch, fails)) == {"error": "it ends", "passing": True}


def test_a_question_is_what_was_asked() -> None:
    asked = answers.question("test", {"do": "test", "rows": [1, None, "é"]})
    assert marshal.loads(asked) == ("test", {"do": "test", "rows": [1, None, "é"]})
