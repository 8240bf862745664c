"""How long from the call to a clone's first answer by its agent, and to that of a guest that boots.

    python -m bench.clone_answer [--rounds 5]

One software host; demo-clone's Debian with its guest agent, 256 MiB, its disk what is written over
one image, for all: vestige.launcher, which is ready, has the guest boot, and has another go on from
a snapshot of it; QEMU's microvm boots the same, and another takes its state from a file to which
such a guest was migrated (`-incoming`). Both guests were frozen once they had booted to the end. By
turns, each once a round, alone. Snapshot, file and what is written are in the software host's
memory. Writes bench/results/clone_answer.json and .svg and
the table in docs/performance.md.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from bench.common import command, pc, results
from bench.common.guests import Guest
from bench.common.migrated import Qemu, incoming
from bench.common.places import in_the_software_host
from vestige.launcher import Launcher, Machine

NAME = "clone_answer"
MEMORY = 256  # MiB of each guest
LIMIT = 600.0  # seconds, for an answer
SETTLED = 2.0  # seconds until nothing of what has ended works any more
BOOTED = ("systemctl", "is-system-running", "--wait")  # ends once no more services start
FAST = "/dev/shm"  # a file system in memory
# A software host beside other work may take longer to find a disk than systemd waits.
APPEND = "root=/dev/vda console=ttyS0 quiet systemd.default_device_timeout_sec=600"
BOOT, CLONE = "Vestige, boot", "Vestige, clone"
THEIR_BOOT, INCOMING = "QEMU microvm, boot", "QEMU microvm, -incoming"
COLOURS = {BOOT: "#5fa8d3", CLONE: "#1b6ca8", THEIR_BOOT: "#e08e79", INCOMING: "#c0392b"}
TIME = "time"
GOALS = (
    results.Goal(TIME, CLONE, BOOT, 0.05, at_most=True),
    results.Goal(TIME, CLONE, INCOMING, 1.0, at_most=True),
)


class Answering(Protocol):
    """A guest with an agent."""

    def ping(self) -> None:
        """Return once that answers."""


Start = Callable[[], AbstractContextManager[Answering]]


def main() -> int:
    """The command line."""
    return pc.command_line(__doc__, 5, measure, conclude)


def conclude(rounds: int, write_page: bool) -> None:
    """Measure there, and tell."""
    from bench.common import newest_qemu  # noqa: PLC0415 - not needed inside
    from tests.guests import debian, initramfs, kernels  # noqa: PLC0415
    from vestige.host import images  # noqa: PLC0415

    say = command.Progress(NAME)
    say("preparing a Debian, by debootstrap: minutes, the first time")
    images.ensure()
    kernel = kernels.kernel("cloud")
    qemu = newest_qemu.qemu()
    what = {
        "kernel": str(kernel.bzimage),
        "initrd": str(initramfs.debian("cloud")),
        "qemu": qemu.words,
        "version": qemu.version,
        "rounds": rounds,
    }
    words = ["--inside", json.dumps(what)]
    say(f"{rounds + 1} rounds of some two minutes each")
    found = {
        "date": results.today(),
        "kernel": kernel.release,
        "qemu": qemu.version,
        "rounds": rounds,
        "measured": in_the_software_host(f"bench.{NAME}", words, say, [debian.python_disk()]),
    }
    report(found, write_page=write_page)


def measure(
    *, kernel: str, initrd: str, qemu: list[str], version: str, rounds: int
) -> command.Measured:
    """Inside: milliseconds. The first round fills caches and does not count. `qemu` begins the
    command line of a QEMU of that version.
    """
    disk = Path("/dev/vda")
    with TemporaryDirectory(dir=FAST) as name:
        os.environ["TMPDIR"] = name  # where temporary overlays are, QEMU's, too
        folder = Path(name)
        copies = [Path(shutil.copy(each, folder)) for each in (kernel, initrd)]
        guest = Guest(copies[0], copies[1], MEMORY, tuple(qemu))
        with Launcher() as launcher:
            ways = {**ours(launcher, guest, disk, folder), **theirs(guest, version, disk, folder)}
            measured: command.Measured = {each: [] for each in ways}
            for number in range(rounds + 1):
                for each, start in ways.items():
                    took = to_the_answer(start)
                    if number:
                        measured[each].append({TIME: round(1000 * took, 1)})
    return measured


def to_the_answer(start: Start) -> float:
    """Seconds from the call that starts a guest until its agent answers."""
    time.sleep(SETTLED)
    began = time.monotonic()
    with start() as answering:
        answering.ping()
        return time.monotonic() - began


def ours(launcher: Launcher, guest: Guest, disk: Path, folder: Path) -> dict[str, Start]:
    """Boot, and go on from a snapshot that this makes."""
    snapshot = folder / "snapshot"

    def patient(machine: Machine) -> Machine:
        machine.patience = LIMIT
        return machine

    def boot() -> Machine:
        return patient(
            launcher.start(
                kernel=guest.kernel,
                initrd=guest.initrd,
                memory=f"{guest.memory}M",
                append=APPEND,
                disk=f"{disk},overlay=temporary",
                agent=True,
                console=os.devnull,
            )
        )

    def clone() -> Machine:
        return patient(launcher.thaw(snapshot, console=os.devnull))

    with boot() as machine:
        machine.run(BOOTED)
        time.sleep(SETTLED)
        machine.freeze(snapshot, stop=True)
    return {BOOT: boot, CLONE: clone}


def theirs(guest: Guest, version: str, disk: Path, folder: Path) -> dict[str, Start]:
    """The same of QEMU's."""
    state, written = folder / "state", folder / "written"

    def boot(image: Path, *more: str, snapshot: str = "on") -> Qemu:
        """`snapshot` on: what it writes is in a temporary overlay."""
        drive = f"file={image},format=raw,snapshot={snapshot}"
        return Qemu(guest, APPEND, drive, folder, LIMIT, *more)

    subprocess.run(["cp", "--sparse=always", str(disk), str(written)], check=True)
    with boot(written, snapshot="off") as machine:
        machine.ping()
        machine.run(BOOTED)
        time.sleep(SETTLED)
        machine.migrate(state)
    return {
        THEIR_BOOT: lambda: boot(disk),
        INCOMING: lambda: boot(written, *incoming(version, state)),
    }


def report(result: dict[str, Any], *, write_page: bool) -> None:
    """JSON, a plot, and the table in docs/performance.md."""
    from bench.common import plot  # noqa: PLC0415 - matplotlib is an extra, and slow to import

    results.write_json(NAME, result)
    rounds: results.Rounds = result["measured"]
    values = {name: [each[TIME] for each in some] for name, some in rounds.items()}
    medians = {name: statistics.median(some) for name, some in values.items()}
    short = {name: medians[name] for name in (CLONE, INCOMING)}
    panels = [
        plot.Panel("from the call to the agent's answer", "ms", values, medians),
        plot.Panel("of what did not boot", "ms", values, short),
    ]
    plot.bars(results.RESULTS / f"{NAME}.svg", "A clone's first answer", panels, COLOURS)
    lines = page_lines(result)
    print("\n".join(lines))
    if write_page:
        results.write_section(NAME, lines)


def page_lines(result: dict[str, Any]) -> list[str]:
    """The tables for docs/performance.md."""
    rounds: results.Rounds = result["measured"]
    rows = [
        [name, *(f"{results.number(each)} ms" for each in spread([row[TIME] for row in some]))]
        for name, some in rounds.items()
    ]
    goals = []
    for goal in GOALS:
        ratio = results.ratio(rounds, goal)
        wanted = f"{goal.ours} ≤ {goal.bound} x {goal.theirs}"
        goals.append([wanted, f"{ratio:.3f} x", results.verdict(goal.met(ratio))])
    return [
        f"{result['rounds']} rounds, {result['date']}{results.by_qemu(result)}.",
        "",
        *results.table(["from the call to the agent's answer", "median", "least", "most"], rows),
        "",
        *results.table(["goal", "is", ""], goals),
        "",
        f"![the same as bars, a dot a round](../bench/results/{NAME}.svg)",
    ]


def spread(values: list[float]) -> tuple[float, float, float]:
    """Median, least, most."""
    return statistics.median(values), min(values), max(values)


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))
