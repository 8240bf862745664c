"""What a person gets to read: lines on standard error, and what a command prints."""

import os
import sys

from vestige.errors import UsageError

TYPE_CHECKING = False  # as typing has it, which takes 3 ms to import on the way to every run

if TYPE_CHECKING:
    from typing import TextIO

LONGEST_WORD, LONGEST_LINE = 512, 4096  # characters of what is told: more of a path says no more


class UnreadError(Exception):
    """Nobody reads what a command prints any more: it ends, with nothing to say about that."""


def tell(line: str) -> None:
    """One line on standard error, where that can be written: see StandardError."""
    pass_on(f"vestige: {line}")


def pass_on(line: str) -> None:
    """The same for a line of another process of ours."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(f"{in_one_line(line)}\n")
        sys.stderr.flush()
    except OSError:
        _give_up(sys.stderr)


def show(text: str) -> None:
    """Print `text`, lines with their ends, on standard output.

    Raises UsageError where that can't be written, UnreadError where it is a pipe that nobody reads.
    """
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _give_up(sys.stdout)
        raise UnreadError from None
    except OSError as error:
        _give_up(sys.stdout)
        raise UsageError(
            f"standard output can't be written: {error.strerror}; make room or send it elsewhere"
        ) from None


def _give_up(stream: "TextIO") -> None:
    """Let the rest go nowhere: Python would try again at its end, and complain."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except OSError:
        return  # then it complains


def bounded(line: str) -> str:
    """A refusal, in which long words and what there is too much of are left out in the middle.

    It repeats what was given, however long that is; before it and behind it is what matters.
    """
    if len(line) <= LONGEST_WORD:
        return line
    return _shortened(" ".join(_shortened(each, LONGEST_WORD) for each in line.split(" ")))


def _shortened(text: str, most: int = LONGEST_LINE) -> str:
    left = len(text) - most
    if left <= 0:
        return text
    return f"{text[: most // 2]}[... {left} characters ...]{text[-(most // 2) :]}"


def in_one_line(text: str) -> str:
    """`text`, which may hold any file's name, with what can't be printed as escapes."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
