"""Arbitrary accesses and buffers to a virtio disk, in CPython and compiled.

    python -m tests.devices.fuzz_virtio --count 20000 --seed 1

Prints the number of accesses and the seed; exit status 1 at a failure.
"""

import random
import sys

from tests.devices import fuzzing
from tests.devices.virtio.arbitrary import make_accesses
from tests.devices.virtio.bench import Bench

LENGTH = 300  # accesses in one sequence, from power-on
DEFAULT = 20_000


def fuzz(limit: fuzzing.Limit, chance: random.Random) -> tuple[int, str | None]:
    """How many accesses were made, and what went wrong."""
    done = 0
    while left := limit.left(done):
        one = chance.getrandbits(32)
        length = min(LENGTH, left)
        bench = Bench(read_only=one % 7 == 0, can_discard=one % 3 == 0)
        try:
            make_accesses(bench, random.Random(one), length)
        except fuzzing.FAILURES as error:
            return done, f"{type(error).__name__}: {error}, sequence {one} of {length}"
        done += length
    return done, None


if __name__ == "__main__":
    sys.exit(fuzzing.main(__doc__, "virtio", "accesses", DEFAULT, fuzz))
