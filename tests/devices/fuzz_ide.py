"""Arbitrary accesses to the IDE, in CPython and compiled.

    python -m tests.devices.fuzz_ide --count 200000 --seed 1

What must hold between accesses is checked after every one; answers and final state must be the
same in compiled code. Prints the number of accesses and the seed; exit status 1 at a failure.
"""

import argparse
import random
import sys
import time

from tests.devices.piix3_ide.arbitrary import MODES, Driver, Step, random_step, state_of
from tests.devices.piix3_ide.compiled import compiled
from vestige.lang.intrinsics import CheckFailed
from vestige.lang.native import Panic

LENGTH = 500  # steps in one sequence, from power-on
DEFAULT = 200_000
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
    done, problem = fuzz(count, end, random.Random(options.seed))
    print(f"ide: {done} accesses, seed {options.seed}: {problem or 'no failure'}")
    return int(problem is not None)


def fuzz(count: int, end: float | None, chance: random.Random) -> tuple[int, str | None]:
    """How many accesses were made, and what went wrong."""
    done = 0
    while done < count and (end is None or time.monotonic() < end):
        steps = [random_step(chance) for _ in range(min(LENGTH, count - done))]
        mode = chance.choice(MODES)
        done += len(steps)
        try:
            problem = differs(steps, mode)
        except FAILURES as error:
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
    sys.exit(main())
