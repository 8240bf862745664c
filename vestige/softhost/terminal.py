"""The caller's terminal while a command inside has one of its own."""

import contextlib
import os
import signal
import termios
import tty
from collections.abc import Iterator
from types import FrameType

from vestige.softhost.command import Command

_INPUT = 0
_OUTPUT = 1


def size() -> tuple[int, int]:
    """Rows and columns of the terminal on standard output, of one that does not know them 24, 80.

    A serial line says 0, which would mean no terminal at all inside.
    """
    found = os.get_terminal_size(_OUTPUT)
    return found.lines or 24, found.columns or 80


@contextlib.contextmanager
def raw(command: Command) -> Iterator[None]:
    """Pass every key, and each change of the window's size, to the command's terminal.

    The terminal is as it was afterwards, however the block ends.
    """

    def pass_size(_number: int, _frame: FrameType | None) -> None:
        command.resize(*size())

    before = termios.tcgetattr(_INPUT)
    handler = signal.signal(signal.SIGWINCH, pass_size)
    try:
        tty.setraw(_INPUT)
        yield
    finally:
        signal.signal(signal.SIGWINCH, handler)
        termios.tcsetattr(_INPUT, termios.TCSADRAIN, before)
