"""Anything, anywhere, from a subverted monitor in whole, jailed runs: each ends as runs may end.

    python -m tests.attacks.fuzz_jailed [--count N] [--seconds S] [--seed N]

A run makes ROUNDS rounds at most: each scribbles over some words of what the monitor may write, and
makes some call with some arguments, while the worker does so too. Each run is a fork.
"""

import os
import random
import select
import signal
import sys
import tempfile
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from tests.attacks import kernels, subverted
from tests.attacks.harness import LINE, TRACES, Attacks, others
from tests.attacks.monitor import Attack, Orders
from tests.devices import fuzzing
from tests.host.harness import why_not
from vestige.host.compiled import Compiled

DEFAULT = 100_000
ROUNDS = 250  # of a run, at most
TIMEOUT = "1.5"  # of a run, in seconds
LATEST = 20.0  # seconds after which a run has not ended
MOST_LINES = 256 + 2 * 16 + 10
MOST_BYTES = 1 << 20
STATUSES = (0, 1, 3, 124)
MACHINES = (
    (),
    ("--cpus", "2", "--console", "virtio"),
    ("--disk", "{0}", "--ring", "kick"),
    ("--disk", "{0},discard=unmap", "--disk", "{1},bus=ide", "--rng", "--stats", "{2}"),
    ("--disk", "{0},readonly", "--ring", "poll", "--ide", "memory", "--hpet"),
    ("--disk", "{0}", "--disk", "{1}", "--cpus", "2", "--on-reboot", "restart"),
    ("--disk", "{0}", "--machine", "pc"),
    ("--disk", "{0}", "--port", "p={2}", "--console", "virtio,early:/dev/null"),
)
IMAGE = 1 << 16  # bytes of each


class Runs:
    """Whole runs, in a folder with all that they need."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._compiled: Compiled = subverted.compiled_with(Attacks(folder).monitor)
        self._left: list[int] = []  # processes, of the last

    def run(self, rounds: int, chance: random.Random) -> str | None:
        """One; what is wrong with how it ended."""
        seed, machine = chance.getrandbits(32), chance.choice(MACHINES)
        orders = Orders(attack=Attack.ROUNDS, parameter=rounds, seed=seed)
        kernel = kernels.write(kernels.traps, self._folder / "kernel", orders)
        names = [str(self._folder / name) for name in ("first", "second", "file")]
        for name in names[:2]:
            Path(name).write_bytes(bytes(IMAGE))
        words = ["--kernel", kernel, "--memory", "64M", "--timeout", TIMEOUT]
        words += [word.format(*names) for word in machine]
        errors = self._folder / "errors"
        status = self._forked(words, errors)
        problem = self._problem(status, errors.read_bytes())
        sizes = [Path(name).stat().st_size for name in names[:2]]
        if sizes != [IMAGE, IMAGE]:
            problem = f"images of {sizes} bytes"
        return problem and f"{problem} (run's seed {seed:#x}, {rounds} rounds, {' '.join(words)})"

    def _forked(self, words: list[str], errors: Path) -> int | None:
        """The exit status of a run in a session of its own; None: it did not end in time."""
        pid = os.fork()
        if pid == 0:
            self._be(words, errors)
        descriptor = os.pidfd_open(pid)
        ended = select.select([descriptor], [], [], LATEST)[0]
        os.close(descriptor)
        if not ended:
            os.killpg(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self._left = others(pid)
        return status if ended else None

    def _be(self, words: list[str], errors: Path) -> NoReturn:
        status = 70
        try:
            os.setsid()
            nowhere = os.open(os.devnull, os.O_RDWR)
            file = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for target, source in enumerate((nowhere, nowhere, file)):
                os.dup2(source, target)
            sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - of no file
            status = subverted.run_words(self._compiled, words)
        except BaseException:  # noqa: BLE001 - any is what is looked for
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _problem(self, status: int | None, errors: bytes) -> str | None:
        lines = errors.splitlines(keepends=True)
        if status not in STATUSES:
            return f"status {status}, {errors[-1000:]!r}"
        if self._left:
            return f"processes {self._left} are left"
        if any(trace in errors for trace in TRACES):
            return f"a bug, {errors[-4000:].decode('utf-8', 'replace')}"
        if len(lines) > MOST_LINES or len(errors) > MOST_BYTES:
            return f"{len(lines)} lines of {len(errors)} bytes"
        for line in lines:
            text = line[:-1].decode("utf-8", "replace")
            if not (line.startswith(LINE) and line.endswith(b"\n") and text.isprintable()):
                return f"the line {line!r}"
        if status == 1 and not lines:
            return "status 1 without a line"
        return None


def fuzz(limit: fuzzing.Limit, chance: random.Random) -> tuple[int, str | None]:
    """How many rounds there were, at most, and what is wrong."""
    done = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        runs = Runs(folder)
        while more := limit.left(done):
            rounds = min(ROUNDS, more)
            if (problem := runs.run(rounds, chance)) is not None:
                return done, problem
            done += rounds
    return done, None


if __name__ == "__main__":
    if (reason := why_not()) is not None:
        print(f"jailed runs: not here: {reason}")
        sys.exit(0)
    sys.exit(fuzzing.main(__doc__, "jailed runs", "rounds", DEFAULT, fuzz))
