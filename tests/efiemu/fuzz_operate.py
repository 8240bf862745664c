"""Random instructions on memory: by this machine's processor, in CPython, and compiled.

    python -m tests.efiemu.fuzz_operate --count 20000 --seed 1

All must leave the same registers, flags and memory. Prints the number of instructions and the seed;
exit status 1 at a failure.
"""

import sys

from tests.devices import fuzzing
from tests.efiemu.executing import execute_many

DEFAULT = 20_000

if __name__ == "__main__":
    sys.exit(fuzzing.main(__doc__, "operations", "instructions", DEFAULT, execute_many))
