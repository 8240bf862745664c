"""Answers that are none, and what each is told as; requests that can't be."""

import pytest

from vestige.agent import protocol
from vestige.errors import GuestError, UsageError


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"\xff\xfe",
        b'{"return": 1',
        b"[]",
        b"null",
        b"17",
        b"{}",
        b'{"RETURN": 1}',
        b'{"error": null}',
        b'{"error": {}}',
        b'{"error": {"desc": 5}}',
        b'{"error": "text"}',
        b'{"return": ' + b"9" * 10_000 + b"}",
        b"[" * 60_000,
        b'{"return":' * 6_000,
        b'{"return": [' + b"[]," * 100_000 + b"[]]}",
        b'{"return": {' + b'"a":1,' * 100_000 + b'"a":1}}',
    ],
)
def test_what_is_no_answer_is_told_in_one_line(line: bytes) -> None:
    with pytest.raises(GuestError) as told:
        protocol.returned(line)
    assert str(told.value) == (
        "the guest agent gave an answer that returns nothing; what answers in the guest is no"
        " working agent"
    )


def test_an_error_of_the_agents_is_told_in_one_line_of_bounded_length() -> None:
    text = "no\\nsuch\\u001b[31m file\\ud800" + "x" * 5000
    with pytest.raises(protocol.RefusedError) as told:
        protocol.returned(f'{{"error": {{"class": "GenericError", "desc": "{text}"}}}}'.encode())
    line = str(told.value)
    assert line.startswith(r"the guest agent: no\nsuch\x1b[31m file\ud800xxx")
    assert line.endswith("xxx [...]")
    assert len(line) < 400


@pytest.mark.parametrize("value", [None, "1", True, 1.0, -1, 1 << 63, float("inf"), [], {}])
def test_a_number_is_a_whole_one(value: object) -> None:
    with pytest.raises(GuestError, match=r"without a number 'pid'"):
        protocol.number({"pid": value}, "pid")


@pytest.mark.parametrize("told", [None, [], "pid", 5, {}])
def test_what_is_no_object_has_no_number(told: object) -> None:
    with pytest.raises(GuestError, match=r"without a number 'pid'"):
        protocol.number(told, "pid")


@pytest.mark.parametrize("value", [None, 0, 1, "true", [], {}])
def test_a_truth_value_is_one(value: object) -> None:
    with pytest.raises(GuestError, match=r"without a truth value 'exited'"):
        protocol.flag({"exited": value}, "exited")


@pytest.mark.parametrize("value", [None, 5, [], "A", "AAAA\n", "AAA=AAAA", "AA==\x00", "ä" * 4])
def test_data_is_base64(value: object) -> None:
    with pytest.raises(GuestError, match=r"whose 'out-data' is no base64"):
        protocol.data({"out-data": value}, "out-data")


def test_data_that_is_not_there_is_none() -> None:
    assert protocol.data({}, "out-data") == b""
    assert protocol.data({"out-data": ""}, "out-data") == b""


def test_a_request_that_the_agent_would_not_read_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^a request of \d+ bytes; the guest agent takes 48 MiB"):
        protocol.request("guest-exec", {"path": "x" * protocol.LONGEST_REQUEST})
