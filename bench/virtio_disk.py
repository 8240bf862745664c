"""How fast a virtio disk is on Vestige and on QEMU, and what it costs their host.

    python -m bench.virtio_disk [--rounds 3] [--seconds 2]

One software host; the same kernel, initial RAM disk and raw file for every guest, through the page
cache. Each round boots every configuration once and runs fio in it, past the guest's page cache.
Besides throughput: processor time of the host and exits to user space for one operation. Writes
bench/results/virtio_disk.json and .svg and the tables in docs/performance.md.
"""

import contextlib
import statistics
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bench import virtio_report
from bench.common import command, guests, newest_qemu, readings
from bench.common.guests import ROOT, Guest
from bench.common.virtio_bench import Bench, Configuration
from bench.virtio_report import Page, span_costs
from tests.guests import initramfs, kernels, programs, roots
from vestige.host import images
from vestige.softhost import SoftHost

NAME = "virtio_disk"
GUEST = ROOT / "bench" / "guest"
MEMORY = 384  # MiB of each guest: fio's libraries are 80
DISK = 256  # MiB
FILES = "/dev/shm/files"  # inside, where the ext4 with the raw file is
RAW_FILE = f"{FILES}/disk.img"
KICK, POLL, THEIRS = "Vestige, --ring kick", "Vestige, --ring poll", "QEMU"
JOBS = {  # fio's, and the KiB of one operation
    "sequential-read-1": 128,
    "sequential-read-8": 128,
    "sequential-write-1": 128,
    "sequential-write-8": 128,
    "random-read-1": 4,
    "random-read-32": 4,
    "random-write-1": 4,
    "random-write-32": 4,
}
WORDS = {
    job: f"{kib} KiB {' '.join(job.split('-')[:2])}, {job.split('-')[2]} at a time"
    for job, kib in JOBS.items()
}
PAGE = Page(
    name=NAME,
    title="Virtio disks in the software host",
    operation="operation",
    jobs=WORDS,
    units={job: "MiB/s" if kib == 128 else "operations/s" for job, kib in JOBS.items()},
    pairs=((KICK, THEIRS), (POLL, THEIRS)),
    colours={KICK: "#1b6ca8", POLL: "#0b3c5d", THEIRS: "#c0392b"},
)
# Disks' pages stay dirty in memory, however many there are: writing them back at some time or other
# would take that time from whoever runs then.
NO_WRITING_BACK = """
cd /proc/sys/vm
echo 0 > dirty_writeback_centisecs
echo 90 > dirty_ratio
echo 80 > dirty_background_ratio
"""


class Drive(NamedTuple):
    """How QEMU serves its disk."""

    aio: str
    thread: bool  # of its own
    packed: bool  # the ring

    @property
    def words(self) -> str:
        """For the report."""
        place = "an I/O thread" if self.thread else "in its main loop"
        return f"aio={self.aio}, {place}, a {'packed' if self.packed else 'split'} ring"


DRIVES = tuple(
    Drive(aio, thread, packed)
    for aio, thread in (("io_uring", True), ("io_uring", False), ("threads", True))
    for packed in (False, True)
)


def main() -> int:
    """The command line."""
    arguments = command.arguments(
        __doc__.partition("\n")[0], seconds="each fio job takes", each=2.0
    )
    result = measure(arguments.rounds, arguments.seconds)
    virtio_report.report(PAGE, result, write_page=not arguments.no_page)
    return 0


def measure(
    rounds: int,
    seconds: float,
    table: Mapping[str, Configuration] | None = None,
) -> dict[str, object]:
    """All of it, or what `table` has, in one software host."""
    say = command.Progress(NAME)
    say("preparing the guest, from Debian's packages")
    images.ensure()
    kernel = kernels.kernel("cloud")
    theirs = newest_qemu.qemu()
    guest = Guest(kernel.bzimage, initial_disk(), MEMORY, theirs.words)
    with host_of_files(roots.data_disk(DISK, 1), DISK, say) as host:
        bench = Bench(host, guest, seconds, say)
        said = ""
        if table is None:
            drive = choose_drive(bench)
            table = {KICK: vestige("kick"), POLL: vestige("poll"), THEIRS: qemu(drive)}
            said = f"QEMU: {drive.words}."
        versions = {"kernel": kernel.release, "qemu": theirs.version}
        return bench.result(table, rounds, one, versions, said=said)


@contextlib.contextmanager
def host_of_files(content: Path, room: int, say: command.Progress) -> Iterator[SoftHost]:
    """A software host with an ext4 file system in FILES, of `room` MiB or more, that has `content`
    as RAW_FILE.
    """
    modules = kernels.modules_for("standard", "crc32c_generic", "ext4")
    host = SoftHost(disks=[(guests.disk_of_files(content, room), False)])
    host.start(say)
    with host:
        guests.load_modules(host, kernels.kernel("standard").release, modules)
        guests.inside(host, "mkdir $1 && mount -t ext4 $2 $1", FILES, host.disk_names[0])
        guests.inside(host, NO_WRITING_BACK)
        yield host


def vestige(ring: str) -> Configuration:
    """By io_uring: the monitor's kicks, or a kernel thread that polls."""
    disk = ("--ring", ring, "--disk", RAW_FILE)
    return lambda guest, append: guests.vestige(guest, append, disk, console=guests.VIRTIO)


def qemu(drive: Drive) -> Configuration:
    """QEMU's virtio-blk over PCI, modern only, on its smallest machine that has PCI."""
    file = f"file={RAW_FILE},if=none,id=disk,format=raw,cache=writeback,aio={drive.aio}"
    device = f"virtio-blk-pci,drive=disk,{guests.MODERN}{guests.ring(packed=drive.packed)}"
    words = ["-drive", file, "-device", device]
    if drive.thread:
        words = ["-object", "iothread,id=thread", *words[:-1], f"{device},iothread=thread"]
    return lambda guest, append: guests.qemu_virtio(guest, append, words, guests.MICROVM_PCI)


def choose_drive(bench: Bench) -> Drive:
    """Which way of serving its disk is QEMU's fastest: fio's jobs, a second each."""
    brief = bench._replace(seconds=1)
    rates = {}
    for drive in DRIVES:
        bench.say(f"QEMU: {drive.words}")
        found = one(brief, qemu(drive))
        rates[drive] = statistics.geometric_mean(
            found[virtio_report.key(job, virtio_report.RATE)] for job in JOBS
        )
    chosen = max(DRIVES, key=lambda drive: rates[drive])
    bench.say(f"{chosen.words} is the fastest")
    return chosen


def one(bench: Bench, configuration: Configuration) -> dict[str, float]:
    """Boot once; every measure of every job."""
    run = bench.boot(configuration)
    found: dict[str, float] = {}
    for job, moved in readings.fio(run.console).items():
        rate = moved.mebibytes if JOBS[job] == 128 else moved.operations
        found |= span_costs(job, rate, moved.kibibytes / JOBS[job], run.spans[job])
    bench.say("  " + virtio_report.summary(PAGE, found))
    return found


def initial_disk(
    name: str = NAME, jobs: Path = GUEST / "virtio.fio", script: Path = GUEST / "disk-job"
) -> Path:
    """The guest's initial RAM disk: fio, its jobs, and the script that has it run them."""
    files = {
        **programs.programs("fio"),
        "bin/mark": GUEST / "mark",
        "jobs.fio": jobs,
        "job": script,
    }
    modules = kernels.modules_for("cloud", "virtio_pci", "virtio_console", "virtio_blk")
    return initramfs.with_programs(name, GUEST / "virtio-init", "cloud", files, modules)


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))
