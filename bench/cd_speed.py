"""How fast a CD is read on Vestige's PC and on QEMU's.

    python -m bench.cd_speed [--rounds 5]

One software host; the same kernel, initial RAM disk and image, by xorriso, in every guest. By
turns each reads it with `hdparm -t`, and with dd from its beginning to its end, 1 MiB at a time
past the page cache. Writes bench/results/cd_speed.json and the table in docs/performance.md.
"""

import random
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from bench.common import command, guests, newest_qemu, readings, results
from bench.common.guests import ROOT, WORK, Guest
from bench.common.results import Goal, Rounds, by_qemu, median, number, ratio, table, verdict
from tests.guests import discs, initramfs, kernels, programs
from vestige.host import images
from vestige.softhost import SoftHost

NAME = "cd_speed"
GUEST = ROOT / "bench" / "guest"
MEMORY = 384  # MiB of each guest
DISC = 192  # MiB
CLOSING = "bench: done"
TIMEOUT = 240.0  # seconds, of a guest
FILES = "/dev/shm/files"  # inside, where the ext4 with the image is
OURS, THEIRS = "Vestige", "QEMU pc"
HDPARM, DD = "hdparm -t", "dd, 1 MiB, O_DIRECT"
GOALS = tuple(Goal(measure, OURS, THEIRS, 1.0) for measure in (HDPARM, DD))
_DD = re.compile(r"^disc: (\d+) ([\d.]+) ([\d.]+)$", re.MULTILINE)
SECTORS = 2048  # in a MiB


def main() -> int:
    """The command line."""
    arguments = command.arguments(__doc__.partition("\n")[0])
    report(measure(arguments.rounds), page=not arguments.no_page)
    return 0


def measure(rounds: int) -> dict[str, Any]:
    """All of it, in one software host."""
    say = command.Progress(NAME)
    say("preparing the guest, from Debian's packages")
    images.ensure()
    kernel = kernels.kernel("standard")
    modules = kernels.modules_for("standard", "sr_mod", "ata_piix")
    files = programs.programs("hdparm")
    initrd = initramfs.with_programs("cd", GUEST / "init", "standard", files, modules)
    theirs = newest_qemu.qemu()
    guest = Guest(kernel.bzimage, initrd, MEMORY, theirs.words)
    host = SoftHost(disks=[(guests.disk_of_files(disc(), DISC), False)])
    host.start(say)
    with host:
        guests.load_modules(
            host, kernel.release, kernels.modules_for("standard", "crc32c_generic", "ext4")
        )
        guests.inside(host, "mkdir $1 && mount -t ext4 $2 $1", FILES, host.disk_names[0])
        measured = command.by_turns(
            {OURS: vestige, THEIRS: qemu}, rounds, lambda words: one(host, words(guest)), say
        )
    return {
        "date": results.today(),
        "kernel": kernel.release,
        "qemu": theirs.version,
        "rounds": rounds,
        "measured": measured,
    }


def disc() -> Path:
    """An image of an ISO file system with random bytes in it."""
    WORK.mkdir(parents=True, exist_ok=True)
    payload, image = WORK / "cd-payload", WORK / "cd.iso"
    payload.write_bytes(random.Random(NAME).randbytes(DISC << 20))
    shutil.rmtree(image.with_suffix(".files"), ignore_errors=True)
    discs.write_disc(image, "", {"payload": payload})
    payload.unlink()
    return image


def vestige(guest: Guest) -> list[str]:
    """The image by io_uring, through the software host's page cache."""
    words = ["--machine", "pc", "--vga", "none", "--cdrom", f"{FILES}/disk.img"]
    return guests.vestige(guest, "disc=sr0", words)


def qemu(guest: Guest) -> list[str]:
    """Through the page cache too: QEMU's default."""
    drive = f"file={FILES}/disk.img,if=ide,index=2,media=cdrom,format=raw,readonly=on"
    return guests.qemu(guest, "disc=sr0", ["-drive", drive], guests.PC)


def one(host: SoftHost, argv: list[str]) -> dict[str, float]:
    """Boot once; MiB/s by measure. Raises ReadingError where dd tells no time."""
    console = guests.boot(host, argv, TIMEOUT, CLOSING)
    copied = _DD.search(console)
    if copied is None:
        raise readings.ReadingError(f"no time by dd:\n{console}")
    return {
        HDPARM: readings.hdparm(console),
        DD: round(int(copied[1]) / SECTORS / (float(copied[3]) - float(copied[2])), 2),
    }


def report(result: dict[str, Any], *, page: bool) -> None:
    """Write all of it, and print the tables."""
    rounds: Rounds = result["measured"]
    goals = [(goal, ratio(rounds, goal)) for goal in GOALS]
    told = [{**goal._asdict(), "ratio": found, "met": goal.met(found)} for goal, found in goals]
    results.write_json(NAME, {**result, "goals": told})

    def shown(name: str, what: str) -> str:
        return number(median(rounds, name, what))

    lines = [
        f"Medians of {result['rounds']} rounds, {result['date']}{by_qemu(result)}, in MiB/s.",
        "",
        *table(
            ["", OURS, THEIRS, "ratio", "goal"],
            [
                [
                    goal.measure, shown(OURS, goal.measure), shown(THEIRS, goal.measure),
                    f"{found:.2f}", f"≥ {goal.bound}: {verdict(goal.met(found))}",
                ]
                for goal, found in goals
            ],
        ),
    ]  # fmt: skip
    print("\n".join(lines))
    if page:
        results.write_section(NAME, lines)


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))
