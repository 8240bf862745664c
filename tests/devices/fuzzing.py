"""What the devices' fuzzers share: the words of their command line, and when they end."""

import argparse
import random
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from vestige.lang.intrinsics import CheckFailed
from vestige.lang.native import PanicError

FAILURES = (
    *(ArithmeticError, AssertionError, IndexError, RuntimeError, ValueError),
    *(CheckFailed, PanicError),
)


class Limit(NamedTuple):
    """How long to go on: so many, or until `end` by the monotonic clock, in seconds."""

    most: int
    end: float | None = None

    def left(self, done: int) -> int:
        """How many more after `done` of them; none when the time is over."""
        if self.end is not None and time.monotonic() >= self.end:
            return 0
        return max(self.most - done, 0)


Fuzz = Callable[[Limit, random.Random], tuple[int, str | None]]


def parser(document: str | None, unit: str, default: int) -> argparse.ArgumentParser:
    """Of a module with this docstring, which makes `default` times a `unit` by itself."""
    words = argparse.ArgumentParser(description=(document or "").partition("\n")[0])
    words.add_argument("--count", type=int, help=f"{unit} (default {default})")
    words.add_argument("--seconds", type=float, help="or how long, all in all")
    words.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    return words


def limit(options: argparse.Namespace, default: int, share: int = 1) -> Limit:
    """From now on, for one of `share` equal parts of the time."""
    if not options.seconds:
        return Limit(options.count or default)
    return Limit(options.count or sys.maxsize, time.monotonic() + options.seconds / share)


def main(document: str | None, name: str, unit: str, default: int, fuzz: Fuzz) -> int:
    """Fuzz one device and say how it went; the exit status."""
    options = parser(document, unit, default).parse_args()
    done, problem = fuzz(limit(options, default), random.Random(options.seed))
    print(f"{name}: {done} {unit}, seed {options.seed}: {problem or 'no failure'}")
    return int(problem is not None)
