"""`vestige ps`: the runs of this user, from what each says of itself."""

import json
import select
import time
from collections.abc import Mapping, Sequence
from typing import Any

from vestige.cli.arguments import Arguments, Option, Syntax
from vestige.errors import GuestError, UsageError
from vestige.host.control.client import Run, SilentError, everyone
from vestige.host.messages import in_one_line, show
from vestige.host.options import EMPTY

SYNTAX = Syntax(
    (Option("--json", help="all that is known of each run, as a JSON array"),),
    note=(
        "A run that does not answer within 2 seconds is shown as silent: it is stopped, or is"
        " waiting for something."
    ),
)
PATIENCE = 2.0  # seconds for all of them
HEADER = ("NAME", "PID", "STATE", "TIME", "MACHINE", "CPUS", "MEMORY", "RUNS")
SILENT = "silent"
UNKNOWN = "-"
UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))  # of a time, in seconds

Told = Mapping[str, Any]


def run(arguments: Arguments) -> int:
    """Print them, in order of their names."""
    runs = everyone()
    try:
        told = ask_all(runs)
    finally:
        for each in runs:
            each.close()
    if arguments.has("--json"):
        show(json.dumps(told, indent=1) + "\n")
        return 0
    for line in table([HEADER, *map(row, told)]):
        show(f"{line}\n")
    return 0


def ask_all(runs: Sequence[Run]) -> list[Told]:
    """What each says of itself; of one that says nothing in time, or nonsense, what is known."""
    told: dict[str, Told] = {
        each.name: {"name": each.name, "pid": each.pid, "state": SILENT} for each in runs
    }
    poll = select.poll()
    waiting = {}
    for each in runs:
        try:
            each.send({"do": "status"})
        except SilentError:
            continue
        waiting[each.fileno()] = each
        poll.register(each, select.POLLIN)
    deadline = time.monotonic() + PATIENCE
    while waiting and (left := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(1000 * left):
            each = waiting[descriptor]
            try:
                answer = each.take()
            except SilentError:  # it has ended
                del told[each.name]
                answer = {}
            except (GuestError, UsageError):
                answer = {}
            if answer is not None:
                poll.unregister(descriptor)
                del waiting[descriptor]
            if isinstance(answer, dict) and answer:
                known = {"name": each.name, "pid": each.pid}  # by the kernel, whatever it says
                told[each.name] = {**told[each.name], **answer, **known}
    return list(told.values())


def row(told: Told) -> Sequence[str]:
    """A line of the table."""
    start, kernel, disks = told.get("start", UNKNOWN), told.get("kernel"), told.get("disks")
    behind = [] if kernel in (None, start) else [kernel]  # what a firmware starts
    what = [start, *behind, *(disks if isinstance(disks, list) else [])]
    if "cdrom" in told:  # there is a drive, maybe without a disc
        what.append(f"cdrom {told['cdrom'] or EMPTY}")
    seconds, memory = told.get("seconds"), told.get("memory")
    return (
        str(told["name"]),
        str(told["pid"]),
        str(told["state"]),
        time_of(int(seconds)) if isinstance(seconds, int | float) else UNKNOWN,
        str(told.get("machine", UNKNOWN)),
        str(told.get("cpus", UNKNOWN)),
        f"{memory >> 20}M" if isinstance(memory, int) else UNKNOWN,
        ", ".join(map(str, what)),
    )


def time_of(seconds: int) -> str:
    """In its two greatest units, like 5m12s."""
    parts: list[str] = []
    for unit, size in UNITS:
        if seconds >= size or parts or unit == "s":
            parts.append(f"{seconds // size}{unit}")
            seconds %= size
    return "".join(parts[:2])


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines, in which each column but the last is as wide as need be."""
    rows = [[in_one_line(word) for word in line] for line in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{word:<{width}}" for word, width in zip(line, widths, strict=True)).rstrip()
        for line in rows
    ]
