"""Any bytes in the memory that a monitor writes: the host goes on, or ends the guest by one line.

    python -m tests.host.loop.fuzz_untrusted [--count N] [--seconds S] [--seed N]

No VM runs meanwhile: what a monitor could have written lies there, and its calls are served.
"""

import ctypes
import io
import json
import os
import random
import sys
import tempfile
import traceback
from contextlib import closing, redirect_stderr

from tests.devices import fuzzing
from tests.host import guest_payload
from tests.host.harness import Payload, why_not
from vestige import abi
from vestige.host.backends.disks import open_disk
from vestige.host.files.failures import MOST_REASONS, FileFailures
from vestige.host.loop import failure, statistics
from vestige.host.loop.monitor_log import MOST_BYTES, MOST_LINES, MonitorLog
from vestige.host.loop.runloop import Leave, Loop
from vestige.host.loop.session import Session
from vestige.host.options import DiskOption
from vestige.host.screen import KINDS, told

DEFAULT = 20_000
EDGES = (0, 1, 7, 8, 23, 24, 1023, 1024, abi.GSIS - 1, abi.GSIS, 1 << 31, 1 << 32, (1 << 64) - 1)
WAYS = (Leave.CALL, Leave.CALL, Leave.CALL, Leave.GUEST, Leave.MONITOR)
STREAMS = ("--console x", "--port p=y")
FEW = 8  # bytes changed of all, in half of the rounds


class Rounds:
    """A machine that never runs, with two CPUs, a disk and a console."""

    def __init__(self, payload: Payload, image: str, chance: random.Random) -> None:
        self._payload, self._chance = payload, chance
        self._disk = open_disk(DiskOption(image))
        failures, log = FileFailures({0: self._disk}).tell, MonitorLog().take
        self._ways: list[int] = []
        self._session = Session(payload.twin, [], self._leave, failures, log)
        self._session.stop()  # no thread is to wait where one says that it has stopped
        private = payload.twin.private
        self._places = [
            *((private.host_address(abi.SHARED), abi.Shared),),
            *((private.host_address(abi.STACKS + n * abi.STACK_SIZE), abi.Cpu) for n in range(3)),
        ]

    def _leave(self, _loop: Loop) -> int:
        return self._ways.pop() if self._ways else Leave.STOPPED

    def _scribble(self) -> None:
        """As a monitor could; a guest vCPU's page too."""
        chance = self._chance
        whole = chance.random() < 0.5
        for address, kind in self._places:
            size = len(memoryview(kind()).cast("B"))
            view = memoryview((ctypes.c_uint8 * size).from_address(address)).cast("B")
            if whole:
                view[:] = chance.randbytes(size)
            else:
                for _ in range(FEW):
                    view[chance.randrange(size)] = chance.getrandbits(8)
        for index in range(3):
            arguments = self._payload.twin.private.cpu(index).argument
            for number in range(2):
                if chance.random() < 0.7:
                    arguments[number] = chance.choice((*EDGES, chance.randrange(2048)))
        page = self._payload.twin.guest.cpus[0].mapping
        page[:64] = chance.randbytes(64)

    def round(self) -> None:
        """Raises AssertionError, or whatever the host did, where that is no line."""
        chance, session = self._chance, self._session
        self._scribble()
        each = chance.choice(session.threads)
        each.loop.call = chance.choice((*abi.Call, chance.getrandbits(8)))
        each.loop.reason = chance.choice((2, 6, 8, 9, 17, 24, chance.getrandbits(32)))
        self._ways = [chance.choice(WAYS)]
        session.outcome = None
        session._run(each)
        if session.outcome is not None:
            assert_a_line(session.outcome.error or "")
        self._payload.twin.doorbells._routes.clear()  # KVM refuses them all for one bad message
        counters = statistics.collect(session, 0)
        assert json.loads(json.dumps(counters)) == counters
        assert counters["virtio"] == []  # of the host's own Config
        twin, line = self._payload.twin, self._chance.choice((0, 1, 479, -1, None, 1 << 40))
        regions = [] if twin.regions is None else [each.view for each in twin.regions.memory]
        screen = told(session.untrusted.screen(), twin.memory.region.view, regions, line)
        assert screen["kind"] in KINDS.values()
        for report in session.untrusted.statistics()[0].nvme:
            assert_a_line(failure.controller(report))

    def close(self) -> None:
        """Give back what it has."""
        self._session.close()
        self._disk.close()


def assert_a_line(text: str) -> None:
    """One that a person can read."""
    assert text.isascii(), text
    assert text.isprintable(), text
    assert len(text) < 1000, text


def fuzz(limit: fuzzing.Limit, chance: random.Random) -> int:
    """How many rounds there were. Raises what is wrong."""
    done, said = 0, io.StringIO()
    with tempfile.NamedTemporaryFile(suffix=".img") as image, redirect_stderr(said):
        os.ftruncate(image.fileno(), 4096)
        with (
            closing(Payload(guest_payload.sleep_for_ever, cpus=2, regions=True)) as payload,
            closing(Rounds(payload, image.name, chance)) as rounds,
        ):
            while limit.left(done):
                rounds.round()
                done += 1
    lines = said.getvalue().splitlines()
    assert len(lines) <= MOST_LINES + MOST_REASONS * (1 + len(STREAMS)) + 1
    assert sum(map(len, lines)) < 4 * MOST_BYTES + 200 * len(lines)
    for line in lines:
        assert line.isascii(), line
        assert line.isprintable(), line
    return done


def main() -> int:
    """Fuzz for so many rounds, or so long."""
    options = fuzzing.parser(__doc__, "rounds", DEFAULT).parse_args()
    if (reason := why_not()) is not None:
        print(f"untrusted memory: not here: {reason}")
        return 0
    try:
        done = fuzz(fuzzing.limit(options, DEFAULT), random.Random(options.seed))
    except Exception as error:  # noqa: BLE001 - any is what is looked for
        traceback.print_exception(error)
        print(f"untrusted memory: seed {options.seed}: a failure")
        return 1
    print(f"untrusted memory: {done} rounds, seed {options.seed}: no failure")
    return 0


if __name__ == "__main__":
    sys.exit(main())
