"""Arbitrary accesses to each of the small devices, in CPython and compiled.

    python -m tests.devices.fuzz_models --count 200000 --seed 1 --device uart

Every device's rules are checked after every access; answers and final state must be the same
in compiled code. Prints the number of accesses and the seed; exit status 1 at a failure.
"""

import random
import sys

from tests.devices import fuzzing
from tests.devices.models import MODELS, Model, Step, execute, interpret, random_steps

LENGTH = 500  # accesses in one sequence, from reset
DEFAULT = 200_000  # accesses a device


def main() -> int:
    """Fuzz the devices asked for, each for so many accesses or so long."""
    parser = fuzzing.parser(__doc__, "accesses a device", DEFAULT)
    parser.add_argument("--device", choices=MODELS, action="append", help="all without it")
    options = parser.parse_args()
    devices = options.device or list(MODELS)
    failed = False
    for name in devices:
        limit = fuzzing.limit(options, DEFAULT, share=len(devices))
        done, problem = fuzz(MODELS[name], limit, random.Random(options.seed))
        print(f"{name}: {done} accesses, seed {options.seed}: {problem or 'no failure'}")
        failed |= problem is not None
    return int(failed)


def fuzz(model: Model, limit: fuzzing.Limit, chance: random.Random) -> tuple[int, str | None]:
    """How many accesses were made, and what went wrong."""
    done = 0
    while left := limit.left(done):
        steps = random_steps(model, min(LENGTH, left), chance)
        done += len(steps)
        try:
            answers, state = interpret(model, steps)
        except fuzzing.FAILURES as error:
            return done, f"{type(error).__name__}: {error} in {spelled(steps)}"
        if execute(model, steps) != (answers, state):
            return done, f"compiled code differs in {spelled(steps)}"
    return done, None


def spelled(steps: list[Step]) -> str:
    """The sequence, to be tried again."""
    calls = (f"{step.operation.method.__qualname__}{step.arguments}" for step in steps)
    return "; ".join(calls)


if __name__ == "__main__":
    sys.exit(main())
