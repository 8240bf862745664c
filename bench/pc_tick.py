"""What a tick of a PC's timer takes: an interrupt of its PIT by its PIC, and the PIC's EOI.

    python -m bench.pc_tick [--rounds 5]

A guest of a few instructions (bench/guest/tick.c) sleeps through COUNT ticks: on Vestige, and on
QEMU's pc, once with its PIC and PIT in user space, as Vestige has them outside of KVM, once with
KVM's own. By turns, natively and in one software host. The time is what all threads and processes
of the virtual machine have of the processor between the first tick and the last, the guest's own
instructions included. Exits are returns of KVM_RUN, by Vestige's --stats and by QEMU's trace: in
runs of their own, the difference of many ticks and few. Writes bench/results/pc_tick.json and .svg
and the table in docs/performance.md.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.common import command, pc
from bench.common.pc import KERNEL, OURS, ROOT, SPLIT
from bench.common.places import INSIDE, NATIVE, in_the_software_host

NAME = "pc_tick"
WORK = ROOT / "build" / "bench"
FAST = "/dev/shm"  # a file system in memory, in the software host too
RATE = 250  # ticks a second
COUNT, FEW = 1000, 100
BEGIN, END = "tick: begin", "tick: end"
TIME, GUEST, ALL, CAUSES = "time", "exits", "returns", "causes"
BOUND = 1.2  # times QEMU's, with its chips in user space
THEIRS = (SPLIT, KERNEL)


def main() -> int:
    """The command line."""
    return pc.command_line(__doc__, 5, measure, conclude)


def conclude(rounds: int, write_page: bool) -> None:
    """Measure, and tell."""
    from bench import pc_tick_report  # noqa: PLC0415 - not needed inside

    pc_tick_report.report(prepared(rounds), write_page=write_page)


def prepared(rounds: int) -> dict[str, Any]:
    """Everything measured, by place."""
    from bench.common import newest_qemu, ready  # noqa: PLC0415 - not needed inside

    say = command.Progress(NAME)
    WORK.mkdir(parents=True, exist_ok=True)
    kernel = WORK / "tick"
    pc.kernel(pc.GUESTS / "tick.c", kernel)
    what: dict[str, Any] = {**ready.prepared(), "kernel": str(kernel), "rounds": rounds}
    say("natively")
    native = measure(**what)
    inside = in_the_software_host("bench.pc_tick", ["--inside", json.dumps(what)], say)
    return {
        **newest_qemu.taken(),
        "ticks a second": RATE,
        "ticks": COUNT,
        NATIVE: native,
        INSIDE: inside,
    }


def commands(qemu: list[str], kernel: str, count: int) -> dict[str, list[str]]:
    """How each starts."""
    words = ("--kernel", kernel, "--append", f"{RATE} {count}")
    theirs = ("-kernel", kernel, "-append", f"{RATE} {count}")
    return {OURS: pc.vestige(*words)} | {name: pc.qemu(qemu, name, *theirs) for name in THEIRS}


def measure(*, qemu: list[str], kernel: str, rounds: int) -> dict[str, Any]:
    """Here. The first round fills caches and does not count. `qemu` begins its command lines."""
    with TemporaryDirectory(dir=FAST) as name:
        folder = Path(name)
        many, few = (commands(qemu, kernel, count) for count in (COUNT, FEW))
        times: dict[str, list[dict[str, float]]] = {each: [] for each in many}
        for number in range(rounds + 1):
            for each, words in many.items():
                marks = pc.measured(words, (BEGIN, END), folder / "errors")
                took = marks[END].cpu - marks[BEGIN].cpu
                if number:
                    times[each].append({TIME: round(1e6 * took / COUNT, 2)})
        counts = {}
        for each in many:
            more, less = (pc.exits(each, by[each], END, folder) for by in (many, few))
            counts[each] = slope(less, more)
    return {"rounds": times, "counts": counts}


def slope(few: pc.Exits, many: pc.Exits) -> dict[str, Any]:
    """What one tick adds."""
    ticks = COUNT - FEW
    causes = {
        cause: round((count - few.causes.get(cause, 0)) / ticks, 3)
        for cause, count in many.causes.items()
    }
    return {
        GUEST: round((many.guest - few.guest) / ticks, 3),
        ALL: round((many.all - few.all) / ticks, 3),
        CAUSES: {cause: count for cause, count in causes.items() if abs(count) > 0.005},
    }


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))
