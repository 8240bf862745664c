"""A guest in a VM that makes any accesses to all that a PC alone has, with the monitor itself.

    python -m tests.monitor.fuzz_pc [--count N] [--seconds S] [--seed N]

Each run is a machine of ACCESSES accesses. Every fourth may end itself before; the others make all
of them, and then still speak. Exit status 1 at a failure.
"""

import os
import random
import sys
import tempfile
from contextlib import closing

from tests.devices import fuzzing
from tests.host.harness import Payload, why_not
from tests.monitor import pc_guest
from tests.monitor.guest import DONE
from vestige import abi
from vestige.errors import GuestError
from vestige.host import images
from vestige.host.loop.wait import POWERED_OFF, RESET

DEFAULT = 100_000
ACCESSES = 2000  # of a run


def run(accesses: int, seed: int, *, spares: bool) -> tuple[int, str | None]:
    """One machine: how many accesses it made, and what is wrong with how it ended."""
    with tempfile.TemporaryFile() as console:
        files = [console.fileno()]
        with closing(
            Payload(pc_guest.hammer, files=files, monitor=images.monitor_image(), regions=True)
        ) as payload:
            config = payload.twin.private.shared().config
            config.board, config.vga = abi.Board.PC, 1
            config.floppies[0] = abi.FloppyDrive.OF_1440K
            config.console.present, config.console.output, config.console.input = 1, 0, -1
            report = payload.report
            report.command, report.values[0], report.values[2] = seed, accesses, int(spares)
            try:
                status = payload.run()
            except GuestError as error:
                return report.values[1], str(error)
            made = report.values[1]
            traps = sum(trap.count for trap in payload.twin.private.shared().statistics.traps)
        said = os.pread(files[0], 1 << 16, 0)
    if status not in (POWERED_OFF, RESET):
        return made, f"status {status} after {made} accesses"
    if traps < made // 2:
        return made, f"{traps} traps of {made} accesses"
    # A wide access to the floppy controller's last port goes on to the serial port.
    if spares and not (status == POWERED_OFF and made == accesses and said.endswith(DONE)):
        return made, f"status {status} after {made} accesses, {said!r}"
    return made, None


def fuzz(limit: fuzzing.Limit, chance: random.Random) -> tuple[int, str | None]:
    """How many accesses were made, and what is wrong."""
    done = 0
    while more := limit.left(done):
        seed, spares = chance.getrandbits(63) | 1, chance.randrange(4) > 0
        made, problem = run(min(more, ACCESSES), seed, spares=spares)
        done += max(made, 1)
        if problem is not None:
            return done, f"{problem} (run's seed {seed:#x}, {'spares' if spares else 'any'})"
    return done, None


if __name__ == "__main__":
    if (reason := why_not()) is not None:
        print(f"a PC in a VM: not here: {reason}")
        sys.exit(0)
    sys.exit(fuzzing.main(__doc__, "a PC in a VM", "accesses", DEFAULT, fuzz))
