"""What `--stats` writes: the host's counters and, read from its memory, the monitor's.

Threat: the monitor's numbers are what the monitor says.
"""

import os
from _collections_abc import Sequence

from vestige import abi
from vestige.host.files.outlet import Outlet
from vestige.host.kvm import api as kvm
from vestige.host.loop.runloop import REASONS, Loop
from vestige.host.loop.session import Session
from vestige.host.messages import tell
from vestige.lang.types import TYPE_CHECKING, Array
from vestige.signals import Watch

if TYPE_CHECKING:
    from typing import Any

GRACE = 10.0  # seconds for who reads the statistics
STATUS, STATUS_SIZE = "/proc/self/status", 8192
START_TIME = 19  # field 22 of proc(5)'s stat, counted from field 3, behind the name


def start_of_process() -> float:
    """When this process was started, in seconds of CLOCK_BOOTTIME, to the kernel's 10 ms."""
    with open("/proc/self/stat", "rb") as file:  # noqa: PTH123
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[START_TIME]) / os.sysconf("SC_CLK_TCK")


class Counters:
    """Of a machine, to be collected when it is over, by a process that can open nothing then."""

    def __init__(self) -> None:
        """Have all that is needed. Raises OSError."""
        import json  # noqa: PLC0415 - only needed here, and no module can be read later

        self._written = json.dumps
        self._status = os.open(STATUS, os.O_RDONLY | os.O_CLOEXEC)

    def text_of(self, session: Session, first_instruction: float, restarts: int) -> str:
        """What is written of a machine that is over: JSON, in ASCII.

        `first_instruction`: ms from the start.
        """
        memory = peak_memory(os.pread(self._status, STATUS_SIZE, 0))
        counters = {
            "milliseconds_to_first_instruction": round(first_instruction, 1),
            "peak_resident_bytes": memory,
            **collect(session, restarts),
        }
        return self._written(counters, indent=1) + "\n"


def peak_memory(status: bytes) -> int:
    """The most bytes of memory a process had resident, guest RAM in use included: proc(5)."""
    (size,) = (line.split()[1] for line in status.splitlines() if line.startswith(b"VmHWM:"))
    return int(size) * 1024


def collect(session: Session, restarts: int) -> "dict[str, Any]":
    """All counters of a machine.

    A virtio function is counted in its domains; all else is added up.
    """
    loops = [each.loop for each in session.threads]
    configs, monitors = session.untrusted.configs, session.untrusted.statistics()
    domains = list(zip(configs, monitors, strict=True))

    def total(name: str) -> int:
        return sum(getattr(monitor, name) for monitor in monitors)

    exits = _sums([loop.exits for loop in loops], REASONS)
    calls = _sums([loop.calls for loop in loops], abi.CALLS)
    return {
        "restarts": restarts,
        "guest_exits": {kvm.exit_name(number): count for number, count in exits.items()},
        "forwards": sum(loop.forwards for loop in loops),
        "interrupted_runs": sum(loop.interrupted for loop in loops),
        "host_calls": {_call_name(number): count for number, count in calls.items()},
        "coalesced_writes": total("coalesced_writes"),
        "answered": sum(sum(loop.answered) for loop in loops),
        "traps": _traps(monitors, loops),
        "traps_elsewhere": total("traps_elsewhere"),
        "ring": {
            "polled": any(config.ring.polled for config in configs),
            "reads": total("reads"),
            "read_bytes": total("read_bytes"),
            "writes": total("writes"),
            "written_bytes": total("write_bytes"),
            "flushes": total("flushes"),
            "discards": total("discards"),
            "errors": total("ring_errors"),
        },
        "nvme": [
            _numbers(monitors[0].nvme[index])
            for index in range(abi.MAX_NVME)
            if configs[0].nvme[index].present
        ],
        "virtio": [
            _function(having, number)
            for number in range(abi.MAX_VIRTIO)
            if (having := [each for config, each in domains if config.virtio[number].kind])
        ],
        "network": _network(domains),
        "worker": _worker(session),
        "worker_wakeups": total("worker_wakeups"),
        "workers": [
            {
                "wakeups": each.worker_wakeups,
                "requests": sum(function.requests for function in each.virtio),
                "virtio": [
                    number for number, function in enumerate(config.virtio) if function.kind
                ],
            }
            for config, each in domains
        ],
        "doorbells": total("doorbells"),
        "waits_for_posted_starts": monitors[0].fences,
    }


def write(descriptor: int, text: bytes, watch: Watch) -> None:
    """Write `text`, or say why that can't be: how the guest ended counts more.

    Raises Ended where `watch` ends the wait for who reads them.
    """
    outlet = Outlet(descriptor)
    try:
        outlet.put(text)
        outlet.finish(watch, GRACE)
        if outlet.failure is not None:
            tell(f"--stats: the counters can't be written: {outlet.failure.strerror}")
        elif outlet.waiting:
            tell("--stats: the counters can't be written: nobody reads them")
    finally:
        outlet.close()


def _sums(tables: "list[Array[int]]", size: int) -> dict[int, int]:
    """Number to total over all `tables`, without zeroes."""
    totals = {number: sum(table[number] for table in tables) for number in range(size)}
    return {number: total for number, total in totals.items() if total}


def _function(monitors: "Sequence[abi.Statistics]", number: int) -> dict[str, int]:
    """A virtio function's counters, of all who share it; exits and resets each of them sees."""
    reports = [_numbers(each.virtio[number]) for each in monitors]
    added = ("requests", "interrupts", "failures")
    return reports[0] | {name: sum(report[name] for report in reports) for name in added}


def _network(domains: "Sequence[tuple[abi.Config, abi.Statistics]]") -> dict[str, int] | None:
    """The network interface's counters, if there is one."""
    for config, each in domains:
        if any(function.kind == abi.VirtioKind.NET for function in config.virtio):
            return _numbers(each.net)
    return None


def _worker(session: Session) -> "dict[str, Any]":
    """How often the workers left the kernel, and what for: interrupts alone never make them."""
    loops = [each.loop for each in session.threads if each.is_worker]
    counts = _sums([loop.calls for loop in loops], abi.CALLS)
    calls = {_call_name(number): count for number, count in counts.items()}
    interrupted = sum(loop.interrupted for loop in loops)
    return {
        "returns_to_user_space": sum(calls.values()) + interrupted,
        "host_calls": calls,
        "interrupted_runs": interrupted,
    }


def _numbers(struct: abi.NvmeReport | abi.VirtioReport | abi.NetReport) -> dict[str, int]:
    return {name: getattr(struct, name) for name, *_ in struct._fields_}


def _call_name(number: int) -> str:
    return abi.Call(number).name if number in set(abi.Call) else f"call {number}"


def _traps(monitors: "Sequence[abi.Statistics]", loops: "Sequence[Loop]") -> "list[dict[str, Any]]":
    """The monitor's counts, the most frequent first. Each domain counts for itself.

    With those of the reads that were answered without it.
    """
    kind = abi.TrapKind
    counts: dict[tuple[int, int], int] = {}
    for trap in [trap for monitor in monitors for trap in monitor.traps if trap.count]:
        place = trap.address, trap.kind
        counts[place] = counts.get(place, 0) + trap.count
    for loop in loops:
        for asked, count in zip(loop.asked, loop.answered, strict=True):
            if count:
                place = abi.port_of(asked), kind.PORT
                counts[place] = counts.get(place, 0) + count
    traps = [
        {
            "where": "memory" if flags & kind.MEMORY else "port",
            "address": f"{address:#x}",
            "access": "eoi" if flags & kind.EOI else "write" if flags & kind.WRITE else "read",
            "coalesced": bool(flags & kind.COALESCED),
            "posted": bool(flags & kind.POSTED),
            "count": count,
        }
        for (address, flags), count in counts.items()
    ]
    return sorted(traps, key=lambda trap: -int(trap["count"]))
