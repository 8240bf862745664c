"""Answers: as lines, and in the pieces in which they come from the machine's process.

Threat: what that says is data of bounded length, and becomes one line, whatever is in it.
"""

import marshal
from _collections_abc import Iterator

from vestige.errors import GuestError, UsageError
from vestige.host.control.commands import OF_MACHINE, NotNowError
from vestige.host.process.link import MOST
from vestige.lang.enumeration import IntEnum
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from vestige.host.process.inner import Machine

LONGEST = 1 << 20  # bytes of an answer
DEEPEST = 16  # lists and objects within each other: what Python writes and shows it does by frames
PIECE = MOST - 2
ESCAPES = {ord('"'): '\\"', ord("\\"): "\\\\"} | {each: f"\\u{each:04x}" for each in range(32)}


class Part(IntEnum):
    """The first byte of a piece."""

    MORE = 0  # another follows
    LAST = 1
    ERROR = 2  # the last: what was wrong, in words
    NOT_NOW = 3  # the same, where nothing is wrong with what was asked


def question(command: str, request: "Any") -> bytes:
    """What the machine's process is asked, which believes the run's."""
    return marshal.dumps((command, request))


def answer(machine: "Machine", asked: bytes, descriptor: int = -1) -> Iterator[bytes]:
    """The pieces of the answer to a question: a JSON value. `descriptor`: what came with it."""
    command, request = marshal.loads(asked)
    last = Part.LAST
    try:
        if descriptor >= 0:
            request = {**request, "descriptor": descriptor}
        data = encoded(json_of(OF_MACHINE[command](machine, request)))
        if len(data) > LONGEST:
            raise UsageError(f"an answer of {len(data)} bytes; at most {LONGEST} are told")
    except UsageError as error:
        data = encoded(str(error))
        last = Part.NOT_NOW if isinstance(error, NotNowError) else Part.ERROR
    *starts, end = range(0, max(len(data), 1), PIECE)
    for start in starts:
        yield bytes((Part.MORE,)) + data[start : start + PIECE]
    yield bytes((last,)) + data[end:]


class Collected:
    """The pieces that have come of an answer."""

    def __init__(self) -> None:
        self._data = bytearray()

    def take(self, piece: bytes) -> bytes | None:
        """One more; the answer's line, once it is whole."""
        self._data += piece[1 : 2 + LONGEST - len(self._data)]
        if piece[:1] == bytes((Part.MORE,)):
            return None
        data, self._data = bytes(self._data), bytearray()
        if len(data) > LONGEST:
            return error_line(f"an answer of more than {LONGEST} bytes")
        if piece[:1] == bytes((Part.LAST,)):
            return answer_line(data.decode("utf-8", "replace"))
        text = data.decode("utf-8", "replace")
        return error_line(GuestError(text) if piece[:1] == bytes((Part.NOT_NOW,)) else text)


def answer_line(json: str) -> bytes:
    """Of a JSON value, without its end."""
    return encoded(f'{{"answer": {json}}}'.replace("\n", " "))


def is_answer(line: bytes) -> bool:
    """Whether it is an answer's, and not an error's."""
    return line.startswith(b'{"answer"')


def error_line(error: str | GuestError | UsageError) -> bytes:
    """The same of what was wrong; of a GuestError it is `passing`, as nothing is wrong with it."""
    told = {"error": str(error)} | ({"passing": True} if isinstance(error, GuestError) else {})
    return encoded(json_of(told))


def is_deep(value: object, most: int = DEEPEST) -> bool:
    """Whether more than `most` lists and objects are within each other."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return False
    return most == 0 or any(is_deep(each, most - 1) for each in value)


def encoded(text: str) -> bytes:
    """What UTF-8 has no bytes for becomes an escape, as JSON has them too."""
    return text.encode("utf-8", "backslashreplace")


def json_of(value: object) -> str:
    """A JSON value, without a line's end; bytes are in base64.

    The module of that name takes too long to import on the way to a run, and can't be imported in a
    jail.
    """
    if isinstance(value, str):
        return f'"{value.translate(ESCAPES)}"'
    if isinstance(value, bytes | bytearray | memoryview):
        import binascii  # noqa: PLC0415 - it brings zlib; commands.prepare has imported it

        return f'"{binascii.b2a_base64(value, newline=False).decode()}"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json_of(str(k))}: {json_of(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(json_of, value)) + "]"
    return repr(value)  # a number
