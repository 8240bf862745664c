"""Random INS and OUTS by way of page tables, in CPython and compiled.

    python -m tests.efiemu.fuzz_strings --count 5000 --seed 1

Both must leave the same memory, registers and faults, and write the same to the port. Prints the
number of instructions and the seed; exit status 1 at a failure.
"""

import random
import sys

from tests.devices import fuzzing
from tests.efiemu.transfers import done_by_us, random_strings
from tests.efiemu.walks import Ram

DEFAULT = 5000


def fuzz(limit: fuzzing.Limit, chance: random.Random) -> tuple[int, str | None]:
    """How many instructions were done, and what went wrong."""
    ram, done = Ram(), 0
    while limit.left(done):
        wanted = random_strings(chance)
        done += 1
        ours = done_by_us(wanted, ram, native=False)
        if done_by_us(wanted, ram, native=True) != ours:
            return done, f"compiled code differs: {wanted}"
    return done, None


if __name__ == "__main__":
    sys.exit(fuzzing.main(__doc__, "strings", "instructions", DEFAULT, fuzz))
