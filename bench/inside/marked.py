"""Run a guest, and note what it has taken when it says a line on its console.

Imports nothing that takes long: it is used inside a software host too.
"""

import os
import select
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.common.batches import Way
from bench.inside.processes import beyond_guest_memory, tree
from vestige.errors import GuestError

_CPU_CLOCK = 2  # of a process, all its threads: the kernel's posix-timers.h, CPUCLOCK_SCHED
_GRACE = 20.0  # seconds, to end
_PIECE = 1 << 16


class Mark(NamedTuple):
    """A moment: since just before the start, of all processes that a guest has for itself."""

    seconds: float
    cpu: float  # seconds of processor time
    memory: float  # bytes resident at most, less guest RAM


def run(
    way: Way, marks: Sequence[str], memory: int, seconds: float, errors: Path
) -> dict[str, Mark]:
    """Start one until its guest, of `memory` bytes, has said all the marks, each a line; end it.

    `errors` is the file of what it says on its standard error. Raises GuestError where a mark is
    missing after `seconds`, or when it ends before.
    """
    found: dict[str, Mark] = {}
    limit = time.monotonic() + seconds
    said = b""
    output, its_output = os.pipe()
    batch = way(its_output)
    try:
        began = time.monotonic()
        batch.start()
        os.close(its_output)
        [guest] = batch.guests()
        for mark in marks:
            line = f"{mark}\n".encode()
            while line not in said.replace(b"\r", b""):
                piece = _piece(output, limit - time.monotonic())
                if not piece:
                    raise GuestError(_missing(mark, said, errors))
                said += piece
            moment = time.monotonic() - began
            cpu = sum(cpu_time(pid) for pid in tree(guest))
            found[mark] = Mark(moment, cpu, beyond_guest_memory(guest, memory))
        _end(guest)
    finally:
        batch.end()
        os.close(output)
    return found


def cpu_time(pid: int) -> float:
    """Seconds of processor time of a process's threads, those that ended too."""
    return time.clock_gettime((~pid << 3) | _CPU_CLOCK)


def _piece(output: int, seconds: float) -> bytes:
    """More of its standard output; nothing at its end, or when time is up."""
    ready, _, _ = select.select([output], [], [], max(seconds, 0))
    return os.read(output, _PIECE) if ready else b""


def _end(guest: int) -> None:
    """Have it end in order."""
    process = os.pidfd_open(guest)
    signal.pidfd_send_signal(process, signal.SIGTERM)
    select.select([process], [], [], _GRACE)
    os.close(process)


def _missing(mark: str, said: bytes, errors: Path) -> str:
    tail = said[-2000:].decode(errors="replace")
    complaint = errors.read_text(errors="replace")
    return f"a guest has said no line {mark!r}\n{tail}\n{complaint}"
