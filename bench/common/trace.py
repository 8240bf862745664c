"""What Linux's tracepoints say of one processor that runs guests: who had it, for how long.

Documentation/trace/ftrace.rst, "Output format", of Linux 6.1. Only of one processor: what a task
does is told by its last event, and whose turn it is by sched:sched_switch.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from vestige import abi

EVENTS = (
    "sched/sched_switch", "kvm/kvm_entry", "kvm/kvm_exit", "kvm/kvm_userspace_exit",
    "irq/irq_handler_entry",
)  # fmt: skip

GUEST, MONITOR, WORKER = "the guest itself", "the monitor, for traps", "the monitor's worker"
KVM, USER = "KVM", "the run loop, or QEMU's vCPU thread"
OTHERS, IDLE = "other threads", "nobody"
WHO = (GUEST, MONITOR, WORKER, KVM, USER, OTHERS, IDLE)

_LINE = re.compile(r"^ *.+-(\d+) +\[\d+\] +\S+ +([\d.]+): (\w+): (.*)$")
_RIP = re.compile(r"vcpu (\d+), rip 0x([0-9a-f]+)")
_NEXT = re.compile(r"next_pid=(\d+)")
_IMAGE = range(abi.IMAGE, abi.SHARED)
_GAP = 0.2  # seconds: interrupts that are further apart are not of one run of requests
_EDGE = 6  # of a run's requests, one part in so many at each end is left out


class Event(NamedTuple):
    """One line."""

    time: float  # seconds
    task: int
    name: str
    text: str


class Share(NamedTuple):
    """What one request took, on average."""

    requests: int  # looked at
    seconds: dict[str, float]  # by WHO
    entries: dict[str, float]  # of VMs: by GUEST, MONITOR and WORKER


def events(lines: Iterable[str]) -> list[Event]:
    """All lines that are events."""
    found = (_LINE.match(line) for line in lines)
    return [Event(float(m[2]), int(m[1]), m[3], m[4]) for m in found if m]


def share(trace: Sequence[Event], device: str) -> Share:
    """Of the longest run of requests, told by the interrupts of a device with `device` in its name.

    Raises ValueError where there is none of at least 100.
    """
    times = [e.time for e in trace if e.name == "irq_handler_entry" and device in e.text]
    runs: list[list[float]] = [[]]
    for time in times:
        if runs[-1] and time - runs[-1][-1] > _GAP:
            runs.append([])
        runs[-1].append(time)
    run = max(runs, key=len)
    if len(run) < 100:
        raise ValueError(f"{len(run)} interrupts of {device} in a row, not at least 100")
    edge = len(run) // _EDGE
    begin, end = run[edge], run[-edge]
    seconds = dict.fromkeys(WHO, 0.0)
    entries: Counter[str] = Counter()
    who: dict[int, str] = {0: IDLE}  # by task
    current, since = OTHERS, begin
    for event in trace:
        if event.time > end:
            break
        if event.time >= begin:
            seconds[current] += event.time - since
            since = event.time
        current = _after(event, who)
        if event.time >= begin and event.name == "kvm_entry":
            entries[current] += 1
    count = sum(begin <= time < end for time in times)
    return Share(
        count,
        {name: total / count for name, total in seconds.items()},
        {name: entries[name] / count for name in (GUEST, MONITOR, WORKER)},
    )


def _after(event: Event, who: dict[int, str]) -> str:
    """Who has the processor after this event."""
    match event.name:
        case "sched_switch":
            found = _NEXT.search(event.text)
            return who.get(int(found[1]), OTHERS) if found else OTHERS
        case "kvm_entry":
            found = _RIP.search(event.text)
            monitor = found is not None and int(found[2], 16) in _IMAGE
            worker = monitor and found is not None and found[1] != "0"
            who[event.task] = WORKER if worker else MONITOR if monitor else GUEST
        case "kvm_exit":
            who[event.task] = KVM
        case "kvm_userspace_exit":
            who[event.task] = USER
        case _:
            pass
    return who.get(event.task, OTHERS)
