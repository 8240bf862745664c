"""How fast a virtio disk with an overlay is, against raw disks.

    python -m bench.overlay [--rounds 3]

One software host, and in each round one guest with three virtio disks: a raw file of which ext4 has
every sector, a raw file that is a hole, and a copy of the first with a temporary overlay. The three
take turns at each of fio's jobs, so that the machine's own speed meets all alike. Each kind of
request has sectors of its own; of these a slice at a time is read, written for the first time,
written again, and read back. What is read, and the first raw file, is in the page cache before.
Writes bench/results/overlay.json and .svg and the tables in docs/performance.md.
"""

import statistics
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from bench import virtio_disk
from bench.common import command, guests, readings, results
from bench.common.guests import Guest
from bench.common.readings import Job
from bench.common.results import Goal, Rounds
from bench.common.virtio_bench import CLOSING
from bench.virtio_disk import FILES, GUEST, MEMORY, RAW_FILE
from bench.virtio_report import EXITS, HOST, RATE, key
from tests.guests import kernels, roots
from vestige.host import images
from vestige.softhost import SoftHost

NAME = "overlay"
RAW, NEW, OVERLAY = "raw, written before", "raw, new", "with an overlay"
DEVICES = {RAW: "vda", NEW: "vdb", OVERLAY: "vdc"}
COLOURS = {RAW: "#7f8c8d", NEW: "#bdc3c7", OVERLAY: "#1b6ca8"}
OLD_FILE, NEW_FILE, BASE_FILE = (f"{FILES}/{name}.img" for name in ("old", "new", "base"))
DISK = 128  # MiB
TIMEOUT = 1800.0  # seconds, of a guest
LEAST = {128: 0.95, 4: 0.9}  # of raw, by the KiB of an operation: sequential, random
SLICES = 2  # of each way's sectors: each is gone through on its own
# Of the file system, MiB: where less is free than twice what is dirty, ext4 writes that back.
SPACE = 16 * DISK
# Each file anew, nothing of them dirty; the raw file and the base, which are made alike, in the
# page cache, the hole not.
PREPARE = """
rm -f "$2" "$3" "$4" && cat "$1" > /dev/null && cp "$1" "$2" && cp "$1" "$4" &&
truncate -s "$5M" "$3" && sync && cat "$2" "$4" > /dev/null
"""
GLOBAL = """[global]
ioengine=libaio
direct=1
thread=1
stonewall
"""
# By buffers all over the guest's memory: a chunk of that is registered once, for the first request
# that uses it, which takes more than the request.
REGISTER = """[register]
filename=/dev/vda
rw=read
bs=4m
iodepth=48
io_size=384m
"""


class Way(NamedTuple):
    """How requests come: how large, how many at a time, and how many of them to a slice."""

    kib: int
    depth: int
    operations: int

    @property
    def words(self) -> str:
        """For people, without what is done; fio's own words make the job's name."""
        order = "sequential" if self.is_sequential else "random"
        return f"{self.kib} KiB {order} {{}}, {self.depth} at a time"

    @property
    def is_sequential(self) -> bool:
        """From the slice's first sector to its last."""
        return self.kib == 128

    @property
    def unit(self) -> str:
        """Of its throughput."""
        return "MiB/s" if self.is_sequential else "operations/s"


class Stage(NamedTuple):
    """What is done with a slice, and what an overlay is compared with."""

    words: str
    rw: str  # fio's
    against: tuple[str, ...]


WAYS = {
    "sequential-1": Way(128, 1, 128),
    "sequential-8": Way(128, 8, 128),
    "random-1": Way(4, 1, 512),
    "random-32": Way(4, 32, 2048),
}
STAGES = {
    "base": Stage("read of the base", "read", (RAW,)),
    "first": Stage("first write", "write", (RAW, NEW)),
    "again": Stage("later write", "write", (RAW, NEW)),
    "back": Stage("read of what was written", "read", (RAW, NEW)),
}
ROOM = DISK // len(WAYS) // SLICES  # MiB of a slice


def main() -> int:
    """The command line."""
    found = command.arguments(__doc__.partition("\n")[0])
    report(measure(found.rounds), write_page=not found.no_page)
    return 0


def measure(rounds: int) -> dict[str, object]:
    """A guest a round, in one software host."""
    say = command.Progress(NAME)
    say("preparing the guest, from Debian's packages")
    images.ensure()
    kernel = kernels.kernel("cloud")
    guests.WORK.mkdir(parents=True, exist_ok=True)
    file = guests.WORK / "overlay.fio"
    file.write_text(GLOBAL + REGISTER + "".join(jobs()))
    initrd = virtio_disk.initial_disk(NAME, file, GUEST / "overlay-job")
    guest = Guest(kernel.bzimage, initrd, MEMORY)
    measured: dict[str, list[dict[str, float]]] = {disk: [] for disk in DEVICES}
    with virtio_disk.host_of_files(roots.data_disk(DISK, 1), SPACE, say) as host:
        for number in range(1, rounds + 1):
            say(f"round {number} of {rounds}")
            for disk, found in one(host, guest).items():
                measured[disk].append(found)
    return {
        "date": results.today(),
        "kernel": kernel.release,
        "rounds": rounds,
        "measured": measured,
    }


def jobs() -> Iterator[str]:
    """fio's, in their order. A job's name is the stage's, the way's, the slice's and the disk's."""
    place = 0
    disks = list(DEVICES)
    for way, how in WAYS.items():
        for piece in range(SLICES):
            disks = [*disks[1:], disks[0]]
            for stage, does in STAGES.items():
                for disk in disks:
                    if disk in (OVERLAY, *does.against):
                        yield job(f"{stage}_{way}_{piece}_{DEVICES[disk]}", place, how, does.rw)
                if stage == "first" and not how.is_sequential:
                    yield from (filler(disk, place) for disk in disks if disk != NEW)
            place += ROOM


def job(name: str, place: int, way: Way, rw: str) -> str:
    """One that is measured, in the slice that begins at the disk's MiB `place`."""
    return (
        f"[{name}]\nfilename=/dev/{name.rpartition('_')[2]}\noffset={place}m\nsize={ROOM}m\n"
        f"rw={'' if way.is_sequential else 'rand'}{rw}\nbs={way.kib}k\niodepth={way.depth}\n"
        f"number_ios={way.operations}\n"
        f"exec_prerun=mark begin {name}\nexec_postrun=mark end {name}\n"
    )


def filler(disk: str, place: int) -> str:
    """Writes what random writes have left of a slice."""
    return (
        f"[fill_{place}_{DEVICES[disk]}]\nfilename=/dev/{DEVICES[disk]}\noffset={place}m\n"
        f"size={ROOM}m\nrw=write\nbs=1m\niodepth=8\n"
    )


def one(host: SoftHost, guest: Guest) -> dict[str, dict[str, float]]:
    """Boot once; every measure, by the disk."""
    guests.inside(host, PREPARE, RAW_FILE, OLD_FILE, NEW_FILE, BASE_FILE, str(DISK))
    disks = (OLD_FILE, NEW_FILE, f"{BASE_FILE},overlay=temporary")
    options = [word for disk in disks for word in ("--disk", disk)]
    line = guests.vestige(guest, "", options, console=guests.VIRTIO)
    run = guests.observe(host, ["env", f"TMPDIR={FILES}", *line], TIMEOUT, CLOSING)
    return by_disk(readings.fio(run.console), run.spans)


def by_disk(
    moved: Mapping[str, Job], spans: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """For each disk the throughput of each stage and way, and what an operation took."""
    found: dict[str, dict[str, float]] = {disk: {} for disk in DEVICES}
    for disk, device in DEVICES.items():
        for stage, does in STAGES.items():
            if disk not in (OVERLAY, *does.against):
                continue
            for way, how in WAYS.items():
                names = [f"{stage}_{way}_{piece}_{device}" for piece in range(SLICES)]
                counts = [moved[name].kibibytes / how.kib for name in names]
                seconds = sum(
                    count / moved[name].operations
                    for name, count in zip(names, counts, strict=True)
                )
                cost = sum(spans[name]["cpu"] - spans[name]["guest"] for name in names)
                exits = sum(spans[name]["exits"] for name in names)
                rate = sum(counts) / seconds
                mebibytes = rate * how.kib / 1024
                found[disk] |= {
                    key(f"{stage}-{way}", RATE): mebibytes if how.is_sequential else rate,
                    key(f"{stage}-{way}", HOST): 1e6 * cost / sum(counts),
                    key(f"{stage}-{way}", EXITS): exits / sum(counts),
                }
    return found


def report(result: Mapping[str, Any], *, write_page: bool) -> None:
    """JSON, a plot, and the tables in docs/performance.md."""
    results.write_json(NAME, result)
    draw(NAME, "A disk with an overlay", result["measured"])
    lines = page_lines(result)
    print("\n".join(lines))
    if write_page:
        results.write_section(NAME, lines)


def draw(name: str, title: str, rounds: Rounds) -> None:
    """bench/results/NAME.svg: throughput, a panel for each stage and way."""
    from bench.common import plot  # noqa: PLC0415 - matplotlib is an extra, and slow to import

    panels = []
    for stage, does, way, how in rows():
        measure = key(f"{stage}-{way}", RATE)
        values = {
            disk: [row[measure] for row in some]
            for disk, some in rounds.items()
            if measure in some[0]
        }
        medians = {disk: statistics.median(some) for disk, some in values.items()}
        panels.append(plot.Panel(how.words.format(does.words), how.unit, values, medians))
    plot.bars(results.RESULTS / f"{name}.svg", title, panels, COLOURS)


def rows() -> Iterator[tuple[str, Stage, str, Way]]:
    """What is measured: each stage of each way."""
    for stage, does in STAGES.items():
        for way, how in WAYS.items():
            yield stage, does, way, how


def page_lines(result: Mapping[str, Any]) -> list[str]:
    """The tables for docs/performance.md."""
    rounds: Rounds = result["measured"]
    return [
        f"Medians of {result['rounds']} rounds, {result['date']}.",
        "",
        *speeds(rounds),
        "",
        *costs(rounds, HOST, "host CPU"),
        "",
        f"![the same as bars, a dot a round](../bench/results/{NAME}.svg)",
    ]


def speeds(rounds: Rounds) -> list[str]:
    """Throughput of each stage and way, and whether it is as promised."""
    lines = []
    for stage, does, way, how in rows():
        measure = key(f"{stage}-{way}", RATE)
        medians = [results.number(results.median(rounds, disk, measure)) for disk in DEVICES]
        found = [
            verdict(rounds, Goal(measure, OVERLAY, raw, LEAST[how.kib])) for raw in does.against
        ]
        words = f"{how.words.format(does.words)}, {how.unit}"
        lines.append([words, *medians, *found, *[""] * (2 - len(found))])
    return results.table(["throughput", *DEVICES, f"of {RAW}", f"of {NEW}"], lines)


def costs(rounds: Rounds, measure: str, words: str) -> list[str]:
    """What an operation of each stage and way takes, in µs."""
    lines = []
    for stage, does, way, how in rows():
        cost = key(f"{stage}-{way}", measure)
        medians = [results.number(results.median(rounds, each, cost)) for each in DEVICES]
        lines.append([how.words.format(does.words), *medians])
    return results.table([f"{words}, µs of an operation", *DEVICES], lines)


def verdict(rounds: Rounds, goal: Goal) -> str:
    """How a goal was met."""
    found = results.ratio(rounds, goal)
    return f"{found:.2f} x; ≥ {goal.bound} x: {results.verdict(goal.met(found))}"


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))
