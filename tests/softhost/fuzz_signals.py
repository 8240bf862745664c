"""Signals at random moments of a start: each ends it soon, with its own status.

    python -m tests.softhost.fuzz_signals --count 1000 --seed 1

A fake QEMU stands in for the software host. Exit status 1 at a failure.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.devices import fuzzing
from tests.softhost.conftest import fake_environment

DEFAULT = 1000
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LONGEST = 1.0  # seconds from the start: its end comes somewhere in that time
PATIENCE = 60.0  # seconds in which a process that was told to end is gone
# "silent" keeps a boot under way for ever; "works" gets to the command, which would take a minute.
BEHAVIOURS = ("works", "silent")
PROGRAM = str(Path(sys.executable).with_name("vestige"))
COMMAND = [PROGRAM, "softhost", "--", "sh", "-c", "sleep 60"]


def fuzz(limit: fuzzing.Limit, chance: random.Random) -> tuple[int, str | None]:
    """How many signals were sent, and what went wrong."""
    done = 0
    with tempfile.TemporaryDirectory(prefix="vestige-") as folder:
        environment = os.environ | fake_environment(Path(folder))
        while limit.left(done):
            number, behaviour = chance.choice(NUMBERS), chance.choice(BEHAVIOURS)
            delay = chance.uniform(0, LONGEST)
            problem = once(environment | {"VESTIGE_FAKE_QEMU": behaviour}, number, delay)
            done += 1
            if problem is not None:
                return done, f"{number.name} after {delay:.3f} s, {behaviour}: {problem}"
    return done, None


def once(environment: dict[str, str], number: signal.Signals, delay: float) -> str | None:
    """Start, send the signal, wait; what is wrong."""
    # Its group is its own: whatever it leaves behind is found there, or holds the pipe open.
    with subprocess.Popen(
        COMMAND, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        time.sleep(delay)
        process.send_signal(number)
        try:
            errors = process.communicate(timeout=PATIENCE)[1].decode()
        except subprocess.TimeoutExpired:
            process.kill()
            return f"still there after {PATIENCE:.0f} s"
    status = process.returncode
    if "Traceback" in errors:
        # Python's own start, which ends in its own way, is none of ours.
        return errors if "vestige/" in errors else None
    # Before the handlers are there it ends as any program does.
    if status not in (128 + number, -number):
        return f"status {status}: {errors}"
    return None


if __name__ == "__main__":
    sys.exit(fuzzing.main(__doc__, "signals", "signals", DEFAULT, fuzz))
