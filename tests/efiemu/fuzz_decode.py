"""Random instructions: what the decoder says of them, in CPython, compiled, and GNU's disassembler.

    python -m tests.efiemu.fuzz_decode --count 20000 --seed 1

Prints the number of instructions and the seed; exit status 1 at a failure.
"""

import random
import sys

from tests.devices import fuzzing
from tests.efiemu.disassembly import MACHINES, compare

DEFAULT = 60_000
BATCH = 1000  # instructions, for each size of code


def fuzz(limit: fuzzing.Limit, chance: random.Random) -> tuple[int, str | None]:
    """How many instructions were decoded, and what went wrong."""
    done = 0
    while limit.left(done):
        problem = compare(BATCH, chance)
        done += BATCH * len(MACHINES)
        if problem:
            return done, problem
    return done, None


if __name__ == "__main__":
    sys.exit(fuzzing.main(__doc__, "decoder", "instructions", DEFAULT, fuzz))
