"""Snapshots with a wrong byte: they are refused in a line, or their guest fails, and no more.

    python -m tests.host.freeze.fuzz_snapshots [--count N] [--seconds S] [--seed N]

Of the manifest and of what KVM is to take back, each byte in turn, in an order that the seed says.
Between them the whole snapshot is thawed, and its guest must go on.
"""

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from tests.devices import fuzzing
from tests.host.harness import why_not
from tests.host.kernel_payload import HELLO, Kernels
from vestige.errors import GuestError, UsageError
from vestige.host import images
from vestige.launcher import Launcher

DEFAULT = 2000
PATIENCE = 120.0  # seconds for a guest to say a word, or to end
GLIMPSE = 0.2  # seconds that a machine has to start in, and its guest to fail
LONG = 3.0  # for one that is whole
LOOK = 0.01  # seconds between two looks at what a guest has written
WHOLE = 100  # wrong ones, between two that aren't
OVER = 124  # status: the timeout is over
OVER_LINE = "vestige: the timeout is over\n"
STATUSES = (0, 1, 2, 3, OVER)
MOST_LINES = 2
PARTS = ("manifest.json", "state")
# Other options of the machine that is frozen: the files of a PC are others.
GUESTS: tuple[dict[str, Any], ...] = ({}, {"machine": "pc", "cpus": 2})


class Frozen:
    """A guest that sleeps, in a folder."""

    def __init__(self, launcher: Launcher, folder: Path, kernel: str, **options: Any) -> None:
        self._launcher, self.folder = launcher, folder / "snapshot"
        console, self._errors = folder / "console", folder / "errors"
        with launcher.start(kernel=kernel, memory="64M", console=console, **options) as machine:
            deadline = time.monotonic() + PATIENCE
            while not (console.exists() and console.read_bytes().endswith(HELLO)):
                if time.monotonic() > deadline:
                    raise GuestError("it says nothing")
                time.sleep(LOOK)
            machine.freeze(self.folder, stop=True)
        self.parts = {name: (self.folder / name).read_bytes() for name in PARTS}

    def thaw(self, seconds: float = GLIMPSE) -> tuple[int, str]:
        """Its exit status, and what it told, within so many."""
        with self._errors.open("wb") as errors:
            try:
                machine = self._launcher.thaw(self.folder, timeout=str(seconds), stderr=errors)
            except UsageError as error:
                return 2, f"{error}\n"
            with machine:
                status = machine.wait(PATIENCE)
        return status, self._errors.read_text(errors="replace")

    def wrong(self, name: str, place: int, value: int) -> str | None:
        """What is wrong with how it goes on with another byte there."""
        data = bytearray(self.parts[name])
        data[place] = value
        (self.folder / name).write_bytes(data)
        try:
            status, told = self.thaw()
        except (GuestError, TimeoutError) as error:
            return f"{error}"
        finally:
            (self.folder / name).write_bytes(self.parts[name])
        if status in STATUSES and told.count("\n") <= MOST_LINES and "Traceback" not in told:
            return None
        return f"status {status}: {told}"


class Byte(NamedTuple):
    """Of one of the guests' parts."""

    guest: int
    part: str
    place: int


def places(frozen: list[Frozen], chance: random.Random) -> Iterator[Byte]:
    """All, ever again."""
    every = [
        Byte(number, part, place)
        for number, each in enumerate(frozen)
        for part, data in each.parts.items()
        for place in range(len(data))
    ]
    while True:
        chance.shuffle(every)
        yield from every


def fuzz(limit: fuzzing.Limit, chance: random.Random) -> tuple[int, str | None]:
    """How many wrong bytes there were, and what is wrong."""
    done = 0
    images.ensure()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        launcher, kernels = stack.enter_context(Launcher()), Kernels(folder)
        frozen = []
        for number, options in enumerate(GUESTS):
            place = folder / str(number)
            place.mkdir()
            frozen.append(Frozen(launcher, place, kernels("idle"), **options))
        for byte in places(frozen, chance):
            if not limit.left(done):
                break
            guest = frozen[byte.guest]
            before = guest.parts[byte.part][byte.place]
            change = chance.choice((1 << chance.randrange(8), 0xFF, chance.randrange(1, 256)))
            value = before ^ change
            if (problem := guest.wrong(byte.part, byte.place, value)) is not None:
                return done, f"{value:#04x} at {byte}: {problem}"
            done += 1
            if done % WHOLE == 0 and (found := guest.thaw(LONG)) != (OVER, OVER_LINE):
                return done, f"behind it the whole one: {found}"
    return done, None


if __name__ == "__main__":
    if (reason := why_not()) is not None:
        print(f"snapshots: not here: {reason}")
        sys.exit(0)
    sys.exit(fuzzing.main(__doc__, "snapshots", "wrong bytes", DEFAULT, fuzz))
