"""Guests frozen at moments that nobody chooses, and thawed, until they are through.

    python -m tests.host.freeze.fuzz_freezes [--count N] [--seconds S] [--seed N]

Each writes sector after sector, and says a full stop for each that is flushed: in all of its lives
together it says no more and no fewer, and its disks have all that it wrote.
"""

import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.devices import fuzzing
from tests.host.harness import why_not
from tests.host.kernel_payload import FEW_SECTORS, FLUSHED_SECTORS, QUEUES, SOME_SECTORS, Kernels
from vestige.errors import GuestError
from vestige.host import images
from vestige.launcher import Launcher
from vestige.launcher.launcher import Machine

DEFAULT = 200
PATIENCE = 120.0  # seconds for a guest to end, or to say a word
LONGEST = 0.2  # seconds of a life
SIZE = 4 << 20
STOPPED = 143
# A kernel, disks by their buses, CPUs, other options; sectors that it writes to each, full stops.
GUESTS: tuple[tuple[str, tuple[str, ...], int, dict[str, Any], int, int], ...] = (
    ("virtio_flush", ("virtio",), 1, {}, FLUSHED_SECTORS, FLUSHED_SECTORS),
    ("virtio_some", ("virtio",), 2, {"ring": "poll"}, SOME_SECTORS, SOME_SECTORS),
    ("flush", ("ide",), 1, {}, FLUSHED_SECTORS, FLUSHED_SECTORS),
    ("virtio_disks", ("virtio",) * 3, 4, {}, FEW_SECTORS, FEW_SECTORS),
    ("virtio_queues", ("virtio",) * 2, 16, {}, FEW_SECTORS * QUEUES, FEW_SECTORS),
)


class Lives:
    """Those of one guest."""

    def __init__(self, launcher: Launcher, folder: Path, chance: random.Random) -> None:
        self._launcher, self._folder, self._chance = launcher, folder, chance
        self.consoles: list[Path] = []

    def console(self) -> str:
        """Of the next one."""
        self.consoles.append(self._folder / f"console{len(self.consoles)}")
        self.consoles[-1].unlink(missing_ok=True)
        return str(self.consoles[-1])

    def live(self, machine: Machine, most: int) -> int:
        """Freeze and thaw it until it is through, or `most` times; how often."""
        snapshot = self._folder / "snapshot"
        for number in range(most):
            self._await_word()
            time.sleep(self._chance.random() * LONGEST)  # at any moment
            try:
                machine.freeze(snapshot, stop=True)
            except GuestError:  # it is through
                self._end(machine, 0)
                return number
            self._end(machine, STOPPED)
            machine = self._launcher.thaw(snapshot, console=self.console())
        self._end(machine, 0)
        return most

    def _await_word(self) -> None:
        console, deadline = self.consoles[-1], time.monotonic() + PATIENCE
        while not (console.exists() and console.stat().st_size):
            if time.monotonic() > deadline:
                raise TimeoutError("it says nothing")
            time.sleep(LONGEST / 20)

    @staticmethod
    def _end(machine: Machine, expected: int) -> None:
        status = machine.wait(PATIENCE)
        machine.close()
        if status != expected:
            raise RuntimeError(f"status {status}")

    @property
    def said(self) -> bytes:
        """By all of them."""
        return b"".join(path.read_bytes() for path in self.consoles if path.exists())


def fuzz(limit: fuzzing.Limit, chance: random.Random) -> tuple[int, str | None]:
    """How many freezes there were, and what is wrong."""
    done = 0
    images.ensure()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        launcher, kernels = stack.enter_context(Launcher()), Kernels(folder)
        while more := limit.left(done):
            kernel, buses, cpus, options, sectors, stops = chance.choice(GUESTS)
            disks = [folder / f"disk{number}" for number in range(len(buses))]
            for path in disks:
                path.write_bytes(bytes(SIZE))
            lives = Lives(launcher, folder, chance)
            machine = launcher.start(
                kernel=kernels(kernel),
                memory="64M",
                cpus=cpus,
                disk=[f"{path},bus={bus}" for path, bus in zip(disks, buses, strict=True)],
                console=lives.console(),
                **options,
            )
            try:
                done += lives.live(machine, more)
            except (TimeoutError, RuntimeError, GuestError) as error:
                return done, f"{kernel}, life {len(lives.consoles)}: {error}"
            if lives.said != b"." * stops:
                return done, f"{kernel}: {len(lives.said)} words of {stops}"
            for path in disks:
                data = path.read_bytes()
                for sector in range(sectors):
                    number = int.from_bytes(data[512 * sector : 512 * sector + 4], "little")
                    if number != sector + 1:
                        return done, f"{kernel}: {number} in sector {sector} of {path.name}"
    return done, None


if __name__ == "__main__":
    if (reason := why_not()) is not None:
        print(f"freezes: not here: {reason}")
        sys.exit(0)
    sys.exit(fuzzing.main(__doc__, "guests", "freezes", DEFAULT, fuzz))
