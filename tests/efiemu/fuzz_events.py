"""Guests that are interrupted at random, by a shell in CPython and compiled.

    python -m tests.efiemu.fuzz_events --count 200 --seed 1

All that was raised has to come, once, when the processor can take it. Prints the number of guests
and the seed; exit status 1 at a failure.
"""

import random
import sys

from tests.devices import fuzzing
from tests.efiemu.interrupting import run

DEFAULT = 300
EXITS = 100  # of each guest


def fuzz(limit: fuzzing.Limit, chance: random.Random) -> tuple[int, str | None]:
    """How many guests there were, and what went wrong."""
    done = 0
    while limit.left(done):
        seed = chance.getrandbits(32)
        done += 1
        try:
            run(random.Random(seed), EXITS)
        except fuzzing.FAILURES as error:
            return done, f"run(random.Random({seed}), {EXITS}): {error!r}"
    return done, None


if __name__ == "__main__":
    sys.exit(fuzzing.main(__doc__, "events", "guests", DEFAULT, fuzz))
