"""The lines of QEMU's guest agent: requests as bytes, answers as values, and how long each may be.

Source: QEMU 7.2, qga/qapi-schema.json and docs/interop/qemu-ga.rst. A request is a JSON object, an
answer is one in a line of its own.

Threat: an answer is the guest's, who may say anything. It is bounded before it is read as JSON, and
each value is looked at before it is believed; of what is wrong no more is shown than its kind.
"""

import binascii
import json
from collections.abc import Mapping
from typing import Any

from vestige.errors import GuestError, UsageError
from vestige.host.messages import in_one_line

MARK = 0xFF  # before guest-sync-delimited and its answer: no byte of UTF-8
KIB, MIB = 1 << 10, 1 << 20
LONGEST_REQUEST = 48 * MIB  # bytes; the agent's parser takes 64 MiB
MOST_INPUT = 32 * MIB  # bytes for a command's standard input, which is one request
MOST_OUTPUT = 16 * MIB  # bytes of each of a command's streams that the agent keeps
ANSWER = 64 * KIB  # bytes of an answer without data
MOST_PARTS = 64  # values of a longer answer, which is one or two long texts
SHOWN = 300  # characters of an error of the agent's
LONGEST_NUMBER = (1 << 63) - 1


class RefusedError(GuestError):
    """The agent answers that it could not do what it was asked."""


def longest(data: int) -> int:
    """Bytes of an answer with so many bytes in base64."""
    return ANSWER + (data + 2) // 3 * 4


def request(command: str, arguments: Mapping[str, Any]) -> bytes:
    """What is sent. Raises UsageError where it is too long, or has text that is not Unicode."""
    told = {"execute": command, "arguments": arguments} if arguments else {"execute": command}
    line = json.dumps(told, ensure_ascii=True).encode() + b"\n"
    if len(line) > LONGEST_REQUEST:
        raise UsageError(
            f"a request of {len(line)} bytes; the guest agent takes {LONGEST_REQUEST >> 20} MiB at"
            " once, put more into a file of the guest's"
        )
    return line


def base64(data: bytes) -> str:
    """For a request."""
    return binascii.b2a_base64(data, newline=False).decode()


def value_of(line: bytes) -> Any:
    """The JSON value of a line; None: it is none."""
    if len(line) > ANSWER and sum(map(line.count, (b"{", b"[", b","))) > MOST_PARTS:
        return None  # each part takes many times its length as an object of Python's
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError):
        return None


def returned(line: bytes) -> Any:
    """What an answer returns. Raises RefusedError for an agent's error, GuestError for nonsense."""
    match value_of(line):
        case {"return": value}:
            return value
        case {"error": {"desc": str(text)}}:
            raise RefusedError(f"the guest agent: {_shown(text)}")
    raise nonsense("an answer that returns nothing")


def nonsense(what: str) -> GuestError:
    """The error for an answer that is none of an agent's."""
    return GuestError(f"the guest agent gave {what}; what answers in the guest is no working agent")


def number(told: object, name: str, most: int = LONGEST_NUMBER) -> int:
    """A whole number from 0 to `most` of an object. Raises GuestError."""
    value = told.get(name) if isinstance(told, dict) else None
    if type(value) is not int or not 0 <= value <= most:
        raise nonsense(f"an answer without a number {name!r}")
    return value


def flag(told: object, name: str, default: bool | None = None) -> bool:
    """A truth value of an object; `default`: where it isn't there. Raises GuestError."""
    value = told.get(name, default) if isinstance(told, dict) else None
    if not isinstance(value, bool):
        raise nonsense(f"an answer without a truth value {name!r}")
    return value


def data(told: object, name: str) -> bytes:
    """What an object has in base64; none where it isn't there. Raises GuestError."""
    value = told.get(name, "") if isinstance(told, dict) else None
    try:
        if isinstance(value, str):
            return binascii.a2b_base64(value, strict_mode=True) if value else b""
    except ValueError:  # binascii.Error, and what ASCII has not
        pass
    raise nonsense(f"an answer whose {name!r} is no base64")


def _shown(text: str) -> str:
    """An error's words, in one line of bounded length."""
    shown = in_one_line(text[:SHOWN])
    return shown if len(text) <= SHOWN else f"{shown} [...]"
