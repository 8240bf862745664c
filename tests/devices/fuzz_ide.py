"""Arbitrary accesses to the IDE, in CPython and compiled.

    python -m tests.devices.fuzz_ide --count 200000 --seed 1

What must hold between accesses is checked after every one; answers and final state must be the
same in compiled code. Prints the number of accesses and the seed; exit status 1 at a failure.
"""

import random
import sys

from tests.devices import fuzzing
from tests.devices.piix3_ide.arbitrary import MODES, Driver, Step, random_step, state_of
from tests.devices.piix3_ide.compiled import compiled

LENGTH = 500  # steps in one sequence, from power-on
DEFAULT = 200_000


def fuzz(limit: fuzzing.Limit, chance: random.Random) -> tuple[int, str | None]:
    """How many accesses were made, and what went wrong."""
    done = 0
    while left := limit.left(done):
        steps = [random_step(chance) for _ in range(min(LENGTH, left))]
        mode = chance.choice(MODES)
        done += len(steps)
        try:
            problem = differs(steps, mode)
        except fuzzing.FAILURES as error:
            problem = f"{type(error).__name__}: {error}"
        if problem is not None:
            return done, f"{problem} ({mode}) in {steps}"
    return done, None


def differs(steps: list[Step], mode: str) -> str | None:
    """Run the steps both ways; what is not the same."""
    interpreted, machine_code = Driver(mode=mode), Driver(compiled(), mode=mode)
    interpreted.run(steps)
    machine_code.run(steps)
    if machine_code.answers != interpreted.answers:
        return "compiled code answers differently"
    if state_of(machine_code.rig) != state_of(interpreted.rig):
        return "compiled code ends in another state"
    return None


if __name__ == "__main__":
    sys.exit(fuzzing.main(__doc__, "ide", "accesses", DEFAULT, fuzz))
