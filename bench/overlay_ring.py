"""How fast a disk with an overlay is, against raw disks: the monitor's driver and the host's ring.

    python -m bench.overlay_ring [--rounds 60]

No guest: the ring driver, compiled, asks this machine's own restricted io_uring for series of
requests, on files in build/bench that are in the page cache. What a guest and its virtio device
take beside that is alike for all disks, so a whole disk differs less. Each round has new files: a
raw one that was written before, a raw one that is a hole, and a copy of the first with an
overlay. They take turns at each series: the base is read, sectors are written for the first time,
written again, and read back.
Writes bench/results/overlay_ring.json and .svg and the tables in docs/performance.md.
"""

import ctypes
import os
import platform
import random
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from bench.common import command, results
from bench.common.guests import WORK
from bench.common.results import Rounds
from bench.common.series import Series, serve
from bench.overlay import DEVICES, NEW, OVERLAY, STAGES, WAYS, Way, costs, draw, speeds
from bench.virtio_report import RATE, key
from tests.monitor.real_ring import Bench
from vestige import abi
from vestige.errors import GuestError
from vestige.host.backends.disks import DiskImage, open_disk
from vestige.host.kvm.memory import Region
from vestige.host.options import TEMPORARY, DiskOption
from vestige.lang.build import compile_functions
from vestige.lang.native import NativeImage
from vestige.monitor.block import Operation

NAME = "overlay_ring"
ROUNDS = 60
SIZE = 16 << 20  # bytes of a disk
TIME = "processor time"
OPERATIONS = {"read": Operation.READ, "write": Operation.WRITE}
Code = Mapping[str, Callable[..., Any]] | NativeImage
TOLD = 10  # rounds between two lines of progress


def main() -> int:
    """The command line."""
    found = command.arguments(__doc__.partition("\n")[0], rounds="of all disks", count=ROUNDS)
    WORK.mkdir(parents=True, exist_ok=True)
    say = command.Progress(NAME)
    say("compiling the driver")
    code = NativeImage(compile_functions([serve], base=None, runtime="process"))
    measured: dict[str, list[dict[str, float]]] = {disk: [] for disk in DEVICES}
    for number in range(found.rounds):
        if number % TOLD == 0:
            say(f"round {number + 1} of {found.rounds}")
        taken: dict[str, dict[str, float]] = {disk: {} for disk in DEVICES}
        for name, way in WAYS.items():
            for disk, values in one(code, name, way, number).items():
                taken[disk] |= values
        for disk, values in taken.items():
            measured[disk].append(values)
    report(measured, found.rounds, write_page=not found.no_page)
    return 0


def one(code: Code, name: str, way: Way, number: int) -> dict[str, dict[str, float]]:
    """New files, and all stages of one way."""
    chance = random.Random(number)
    content = chance.randbytes(SIZE)
    taken: dict[str, dict[str, float]] = {disk: {} for disk in DEVICES}
    with ExitStack() as stack:
        images = {disk: stack.enter_context(closing(opened(disk, content))) for disk in DEVICES}
        files = [image.descriptor for image in images.values()]
        overlay = images[OVERLAY].overlay
        if overlay is None:
            raise GuestError("the disk has no overlay")
        files.append(overlay.descriptor)
        written = stack.enter_context(closing(Region(overlay.map_size)))
        written.share(0, overlay.map_size, overlay.claim, abi.OVERLAY_MAP_AT, "an overlay's map")
        written.read_page_by_page()
        eventfd = os.eventfd(0)
        stack.callback(os.close, eventfd)
        bench = stack.enter_context(closing(Bench(files, eventfd)))
        pin(bench, way.kib * way.depth << 10)
        told = {disk: abi.Disk() for disk in DEVICES}
        for at, (disk, image) in enumerate(images.items()):
            image.describe(told[disk], at, at)
        overlay.describe(told[OVERLAY], len(images), written.address)
        disks = list(DEVICES)
        blocks = range(0, SIZE >> 9, way.kib * 2)
        count = min(way.operations * 2, len(blocks))
        chosen = list(blocks[:count]) if way.is_sequential else chance.sample(blocks, count)
        for at, (stage, does) in enumerate(STAGES.items()):
            turn = (number + at) % len(disks)
            for disk in (*disks[turn:], *disks[:turn]):
                if disk in (OVERLAY, *does.against):
                    operation = OPERATIONS[does.rw]
                    rate, processor = timed(code, bench, told[disk], way, operation, chosen)
                    taken[disk] |= {
                        key(f"{stage}-{name}", RATE): rate,
                        key(f"{stage}-{name}", TIME): processor,
                    }
    return taken


def opened(disk: str, content: bytes) -> DiskImage:
    """A new file of that kind, without a name from now on, and open as a machine has it."""
    path = Path(WORK, f"{NAME}.{os.getpid()}")
    try:
        with path.open("wb") as file:
            if disk == NEW:
                file.truncate(SIZE)
            else:
                file.write(content)
        overlay = TEMPORARY if disk == OVERLAY else None
        return open_disk(DiskOption(str(path), overlay=overlay))
    finally:
        path.unlink()


def pin(bench: Bench, size: int) -> None:
    """Register so much of RAM, from its beginning, and have all of it be there."""
    ctypes.memset(bench.ram.low, 1, size)
    for chunk in range(-(-size // abi.CHUNK)):
        bench.driver.want(chunk)
        if bench.ring.pin(chunk):
            raise GuestError("a chunk of RAM can't be registered: raise ulimit -l")
    bench.driver.pin_count = 0


def timed(
    code: Code, bench: Bench, disk: abi.Disk, way: Way, operation: int, lbas: list[int]
) -> tuple[float, float]:
    """All these requests; throughput, and this process's processor time in µs of a request."""
    sectors = array("Q", lbas)
    series = Series(
        lbas=sectors.buffer_info()[0],
        buffers=bench.ram.low,
        descriptor=bench.ring.descriptor,
        count=len(lbas),
        depth=way.depth,
        sectors=way.kib * 2,
        operation=operation,
    )
    arguments = series, bench.driver, disk, bench.ram, bench.description, bench.statistics
    processor, began = time.process_time(), time.perf_counter()
    code["serve"](*arguments)
    taken, used = time.perf_counter() - began, time.process_time() - processor
    if series.failed:
        raise GuestError(f"{series.failed} requests failed")
    rate = len(lbas) / taken
    rate = rate * way.kib / 1024 if way.is_sequential else rate
    return to_four_figures(rate), to_four_figures(1e6 * used / len(lbas))


def to_four_figures(value: float) -> float:
    """Thousands of them are kept."""
    return float(f"{value:.4g}")


def report(rounds: Rounds, count: int, *, write_page: bool) -> None:
    """JSON, a plot, and the tables in docs/performance.md."""
    asked = ["df", "--output=fstype", str(WORK)]
    told = subprocess.run(asked, check=True, capture_output=True, text=True)
    system = f"Linux {platform.release().partition('-')[0]}, {told.stdout.split()[-1]}"
    result = {"date": results.today(), "system": system, "rounds": count, "measured": rounds}
    results.write_json(NAME, result)
    draw(NAME, "A disk with an overlay: driver and ring alone", rounds)
    lines = page_lines(result)
    print("\n".join(lines))
    if write_page:
        results.write_section(NAME, lines)


def page_lines(result: Mapping[str, Any]) -> list[str]:
    """The tables for docs/performance.md."""
    return [
        f"Medians of {result['rounds']} rounds, {result['date']}. {result['system']}.",
        "",
        *speeds(result["measured"]),
        "",
        *costs(result["measured"], TIME, TIME),
        "",
        f"![the same as bars, a dot a round](../bench/results/{NAME}.svg)",
    ]


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))
