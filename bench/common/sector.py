"""What a boot sector does so many times, on Vestige and on QEMU's pc, in one software host.

The sector (bench/guest) has two words for who makes the disk: what it does, and how often; before
and behind that it writes a line. Exits are returns of KVM_RUN of the guest's CPU, by Vestige's
--stats and by QEMU's trace: the difference of many times and few. The time is the virtual machine's
of the processor between the two lines.
"""

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from bench.common import command, pc
from bench.common.pc import KERNEL, OURS, ROOT
from bench.common.places import in_the_software_host

WORK = ROOT / "build" / "bench"
FAST = "/dev/shm"  # a file system in memory
FIELDS = 504  # of the sector: what it does, and how often
COM1 = 0x3F8
TIME, EXITS = "time", "exits"
NAMES = (OURS, KERNEL)


Report = Callable[[dict[str, Any], bool], None]  # what was found, and whether to write the page


class Way(NamedTuple):
    """The first of its words, and how often it is done: few times, and many."""

    word: int
    few: int
    many: int


class Sector(NamedTuple):
    """Its benchmark `bench.NAME`, its source, what it does, and the two lines that it writes."""

    name: str
    source: str
    ways: Mapping[str, Way]
    marks: tuple[str, str]


def run(about: str, sector: Sector, report: Report) -> int:
    """The command line of its benchmark, 3 rounds unless asked for more or fewer."""

    def conclude(rounds: int, write_page: bool) -> None:
        report(prepared(sector.name, sector.source, rounds), write_page)

    def measure(**what: Any) -> dict[str, Any]:
        return measured(sector, **what)

    return pc.command_line(about, 3, measure, conclude)


def prepared(name: str, source: str, rounds: int) -> dict[str, Any]:
    """What `bench.NAME` measures with this source of a sector."""
    from bench.common import ready  # noqa: PLC0415 - not needed inside

    say = command.Progress(name)
    WORK.mkdir(parents=True, exist_ok=True)
    disk = WORK / f"{name}.img"
    pc.disk(pc.GUESTS / source, disk)
    port = WORK / "sercon-port"
    port.write_bytes(struct.pack("<H", COM1))
    what: dict[str, Any] = {**ready.prepared(), "disk": str(disk), "rounds": rounds}
    what["qemu"] += ["-fw_cfg", f"name=etc/sercon-port,file={port}"]
    found: dict[str, Any] = in_the_software_host(
        f"bench.{name}", ["--inside", json.dumps(what)], say
    )
    return found


def measured(sector: Sector, *, qemu: list[str], disk: str, rounds: int) -> dict[str, Any]:
    """Inside: by way rounds of times in µs, and exits, of one time. The first round does not count.

    `qemu` begins its command lines.
    """
    begin, end = sector.marks
    found: dict[str, Any] = {}
    with TemporaryDirectory(dir=FAST) as name:
        folder = Path(name)
        image = Path(disk).read_bytes()
        for title, way in sector.ways.items():
            disks = {}
            for count in (way.few, way.many):
                disks[count] = folder / f"{way.word}-{count}.img"
                fields = struct.pack("<HH", way.word, count)
                disks[count].write_bytes(image[:FIELDS] + fields + image[FIELDS + len(fields) :])
            less, more = (commands(qemu, disks[count]) for count in (way.few, way.many))
            times: dict[str, list[dict[str, float]]] = {each: [] for each in NAMES}
            for number in range(rounds + 1):
                for each, words in more.items():
                    at = pc.measured(words, (begin, end), folder / "errors")
                    took = at[end].cpu - at[begin].cpu
                    if number:
                        times[each].append({TIME: round(1e6 * took / way.many, 3)})
            counts = {}
            for each in NAMES:
                both = [pc.exits(each, by[each], end, folder).guest for by in (less, more)]
                counts[each] = round((both[1] - both[0]) / (way.many - way.few), 4)
            found[title] = {"rounds": times, EXITS: counts}
    return found


def commands(qemu: list[str], disk: Path) -> dict[str, list[str]]:
    """How each starts."""
    drive = ("-drive", f"file={disk},if=ide,format=raw")
    return {
        OURS: pc.vestige("--disk", f"{disk},bus=ide", vga="std"),
        KERNEL: pc.qemu(qemu, KERNEL, *drive, vga="std"),
    }
