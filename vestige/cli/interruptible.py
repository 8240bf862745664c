"""Commands that have something to put right where a signal ends them."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from vestige.signals import ENDING, SIGNALLED


class Interrupted(KeyboardInterrupt):
    """A signal ends this command."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    @property
    def status(self) -> int:
        """The command's exit status."""
        return SIGNALLED + self.number


@contextmanager
def interruptible() -> Iterator[None]:
    """What ends this process raises Interrupted meanwhile."""
    # What is ignored stays so: nohup(1) asks for that.
    ending = [each for each in ENDING if signal.getsignal(each) != signal.SIG_IGN]
    before = {number: signal.signal(number, _interrupt) for number in ending}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted(number)
