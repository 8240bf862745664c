"""What `--stats` writes: the host's counters and, read from its memory, the monitor's.

Threat: the monitor's numbers are what the monitor says.
"""

import os
import time

from vestige import abi
from vestige.errors import UsageError
from vestige.host import kvm
from vestige.host.runloop import REASONS
from vestige.host.session import Session
from vestige.lang.types import TYPE_CHECKING, Array

if TYPE_CHECKING:
    from typing import Any, TextIO

START_TIME = 19  # field 22 of proc(5)'s stat, counted from field 3, behind the name


def open_file(path: str) -> "TextIO":
    """Open `path` for the statistics, early: a bad path is told before the guest runs."""
    try:
        return open(path, "w", encoding="ascii")  # noqa: PTH123 - the caller closes it
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"--stats {path}: {reason}; give a file that can be written") from None


def milliseconds_since_start() -> float:
    """Time since this process was started, to the 10 ms of the kernel's record of it."""
    with open("/proc/self/stat", "rb") as file:  # noqa: PTH123
        fields = file.read().rpartition(b")")[2].split()
    started = int(fields[START_TIME]) / os.sysconf("SC_CLK_TCK")
    return (time.clock_gettime(time.CLOCK_BOOTTIME) - started) * 1000


def peak_memory() -> int:
    """The most bytes of memory this process had resident, guest RAM in use included."""
    with open("/proc/self/status", "rb") as file:  # noqa: PTH123
        for line in file:
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def collect(
    session: Session, shared: abi.Shared, first_instruction: float, restarts: int = 0
) -> "dict[str, Any]":
    """All counters of a machine that is over; `first_instruction` is in ms from the start."""
    loops = [each.loop for each in session.threads]
    monitor = shared.statistics
    exits = _sums([loop.exits for loop in loops], REASONS)
    calls = _sums([loop.calls for loop in loops], 8)
    return {
        "milliseconds_to_first_instruction": round(first_instruction, 1),
        "restarts": restarts,
        "peak_resident_bytes": peak_memory(),
        "guest_exits": {kvm.exit_name(number): count for number, count in exits.items()},
        "forwards": sum(loop.forwards for loop in loops),
        "interrupted_runs": sum(loop.interrupted for loop in loops),
        "host_calls": {_call_name(number): count for number, count in calls.items()},
        "coalesced_writes": monitor.coalesced_writes,
        "traps": _traps(monitor),
        "traps_elsewhere": monitor.traps_elsewhere,
        "ring": {
            "polled": bool(shared.config.ring.polled),
            "reads": monitor.reads,
            "read_bytes": monitor.read_bytes,
            "writes": monitor.writes,
            "written_bytes": monitor.write_bytes,
            "flushes": monitor.flushes,
            "discards": monitor.discards,
            "errors": monitor.ring_errors,
        },
        "nvme": [
            _numbers(monitor.nvme[index])
            for index in range(abi.MAX_NVME)
            if shared.config.nvme[index].present
        ],
        "virtio": [
            _numbers(monitor.virtio[number])
            for number in range(abi.MAX_VIRTIO)
            if shared.config.virtio[number].kind
        ],
        "network": _numbers(monitor.net) if shared.config.net.backend else None,
        "worker": _worker(session),
        "doorbells": monitor.doorbells,
        "worker_wakeups": monitor.worker_wakeups,
        "waits_for_posted_starts": monitor.fences,
    }


def write(file: "TextIO", counters: "dict[str, Any]") -> None:
    """Write `counters` as JSON and close the file."""
    import json  # noqa: PLC0415 - only needed here

    with file:
        json.dump(counters, file, indent=1)
        file.write("\n")


def _sums(tables: "list[Array[int]]", size: int) -> dict[int, int]:
    """Number to total over all `tables`, without zeroes."""
    totals = {number: sum(table[number] for table in tables) for number in range(size)}
    return {number: total for number, total in totals.items() if total}


def _worker(session: Session) -> "dict[str, Any]":
    """How often the worker left the kernel, and what for: interrupts alone never make it."""
    (loop,) = (each.loop for each in session.threads if each.is_worker)
    calls = {_call_name(number): count for number, count in enumerate(loop.calls) if count}
    return {
        "returns_to_user_space": sum(calls.values()) + loop.interrupted,
        "host_calls": calls,
        "interrupted_runs": loop.interrupted,
    }


def _numbers(struct: abi.NvmeReport | abi.VirtioReport | abi.NetReport) -> dict[str, int]:
    return {name: getattr(struct, name) for name, *_ in struct._fields_}


def _call_name(number: int) -> str:
    return abi.Call(number).name if number in set(abi.Call) else f"call {number}"


def _traps(statistics: abi.Statistics) -> "list[dict[str, Any]]":
    """The monitor's counts, the most frequent first."""
    kind = abi.TrapKind
    traps = [
        {
            "where": "memory" if trap.kind & kind.MEMORY else "port",
            "address": f"{trap.address:#x}",
            "access": "eoi"
            if trap.kind & kind.EOI
            else "write"
            if trap.kind & kind.WRITE
            else "read",
            "coalesced": bool(trap.kind & kind.COALESCED),
            "posted": bool(trap.kind & kind.POSTED),
            "count": trap.count,
        }
        for trap in statistics.traps
        if trap.count
    ]
    return sorted(traps, key=lambda trap: -int(trap["count"]))
