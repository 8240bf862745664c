"""Arbitrary accesses and buffers to a virtio disk, in CPython and compiled.

    python -m tests.devices.fuzz_virtio --count 20000 --seed 1

Prints the number of accesses and the seed; exit status 1 at a failure.
"""

import argparse
import random
import sys
import time

from tests.devices.virtio.arbitrary import make_accesses
from tests.devices.virtio.bench import Bench
from vestige.lang.intrinsics import CheckFailed
from vestige.lang.native import Panic

LENGTH = 300  # accesses in one sequence, from power-on
DEFAULT = 20_000
FAILURES = (ArithmeticError, AssertionError, IndexError, ValueError, CheckFailed, Panic)


def main() -> int:
    """Fuzz so many accesses or so long."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, help=f"accesses (default {DEFAULT})")
    parser.add_argument("--seconds", type=float, help="or how long")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    count = options.count or (sys.maxsize if options.seconds else DEFAULT)
    end = time.monotonic() + options.seconds if options.seconds else None
    done, problem = fuzz(count, end, options.seed)
    print(f"virtio: {done} accesses, seed {options.seed}: {problem or 'no failure'}")
    return int(problem is not None)


def fuzz(count: int, end: float | None, seed: int) -> tuple[int, str | None]:
    """How many accesses were made, and what went wrong."""
    done = 0
    chance = random.Random(seed)
    while done < count and (end is None or time.monotonic() < end):
        one = chance.getrandbits(32)
        length = min(LENGTH, count - done)
        bench = Bench(read_only=one % 7 == 0, can_discard=one % 3 == 0)
        try:
            make_accesses(bench, random.Random(one), length)
        except FAILURES as error:
            return done, f"{type(error).__name__}: {error}, sequence {one} of {length}"
        done += length
    return done, None


if __name__ == "__main__":
    sys.exit(main())
