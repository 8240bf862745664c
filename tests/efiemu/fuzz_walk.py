"""Walks through random page tables, in CPython and compiled.

    python -m tests.efiemu.fuzz_walk --count 20000 --seed 1

Both must end in the same way, with the same marks in the tables. Prints the number of walks and the
seed; exit status 1 at a failure. (`translating` has a processor judge such walks.)
"""

import random
import sys

from tests.devices import fuzzing
from tests.efiemu.walks import MODES, Ram, execute, interpret, new_walk, random_case

DEFAULT = 20_000


def fuzz(limit: fuzzing.Limit, chance: random.Random) -> tuple[int, str | None]:
    """How many walks were made, and what went wrong."""
    ram, done = Ram(), 0
    while limit.left(done):
        case = random_case(chance, MODES[done % len(MODES)])
        bits, gibibyte_pages = chance.choice((36, 40, 48, 52)), chance.random() < 0.8
        done += 1
        walks = [new_walk(bits, gibibyte_pages=gibibyte_pages) for _ in range(2)]
        seen = interpret(case, ram, walks[0])
        if execute(case, ram, walks[1]) != seen:
            return done, f"compiled code differs: {case}"
    return done, None


if __name__ == "__main__":
    sys.exit(fuzzing.main(__doc__, "walks", "walks", DEFAULT, fuzz))
