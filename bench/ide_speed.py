"""How fast an IDE disk is on Vestige and on QEMU, and how long a read of its Status takes.

    python -m bench.ide_speed [--rounds 3] [--seconds 4]

One software host; the same kernel and initial RAM disk in every guest. Each round boots every
configuration once, so that what the machine's own speed does meanwhile, it does to all of them.
One NVMe controller, handed to and fro between vfio-pci and Linux's own driver, is below three of
the disks. Writes bench/results/ide_speed.json and .svg and the tables in docs/performance.md.
"""

import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.common import command, guests, newest_qemu, readings, results
from bench.common.guests import ROOT, WORK, Guest
from bench.ide_speed_report import report
from tests.guests import images as disks
from tests.guests import initramfs, kernels, programs, roots
from vestige.host import images
from vestige.softhost import SoftHost

GUEST = ROOT / "bench" / "guest"
MEMORY = 384  # MiB of each guest: fio's libraries are 80
DISK = 256  # MiB, of the NVMe controller's and of the raw file
NAME = "ide_speed"
CLOSING = "bench: done"
BOOT_TIMEOUT = 240.0  # seconds, of a guest, besides what it measures
STATUS = 0x1F7  # of QEMU's PIIX3; Vestige's is in native mode, at its BAR 0
OUR_STATUS = 0xC007
LINE_STATUS = 0x3FD  # of the UART: microvm has no IDE
FILES = "/dev/shm/files"  # inside, where the ext4 with the raw file is
AIO = ("native", "io_uring")


class Bench(NamedTuple):
    """What every configuration is made of."""

    host: SoftHost
    guest: Guest
    seconds: float
    address: str  # of the NVMe controller, inside
    raw_file: str
    say: command.Progress


class Configuration(NamedTuple):
    """A way to boot the guest, what it measures there, and who has to hold the controller."""

    port: int | None
    disk: str | None  # as the guest calls it
    driver: str | None
    command: Callable[[Bench, str, str], list[str]]  # of the bench, more for --append, a device


def main() -> int:
    """The command line."""
    arguments = command.arguments(
        __doc__.partition("\n")[0], seconds="each fio job takes", each=4.0
    )
    report(measure(arguments.rounds, arguments.seconds), page=not arguments.no_page)
    return 0


def measure(
    rounds: int, seconds: float, table: Mapping[str, Configuration] | None = None
) -> dict[str, object]:
    """All of it, or what `table` has, in one software host."""
    say = command.Progress(NAME)
    say("preparing the guest, from Debian's packages")
    images.ensure()
    kernel = kernels.kernel("cloud")
    modules = kernels.modules_for("standard", "nvme", "crc32c_generic", "ext4")
    release = kernels.kernel("standard").release
    qemu = newest_qemu.qemu()
    guest = Guest(kernel.bzimage, initial_disk(), MEMORY, qemu.words)
    pristine = roots.data_disk(DISK, 1)
    WORK.mkdir(parents=True, exist_ok=True)
    nvme = disks.copy(pristine, WORK / "nvme.img")
    host = SoftHost(nvme=[nvme], disks=[(guests.disk_of_files(pristine, DISK), False)])
    host.start(say)
    with host:
        guests.load_modules(host, release, modules)
        guests.inside(host, "mkdir $1 && mount -t ext4 $2 $1", FILES, host.disk_names[0])
        bench = Bench(host, guest, seconds, host.nvme_addresses[0], f"{FILES}/disk.img", say)
        aio: dict[str, object] = {}
        if table is None:
            aio = choose_aio(bench)
            table = configurations(str(aio["chosen"]))
        measured = command.by_turns(table, rounds, lambda each: one(bench, each), say)
    return {
        "date": results.today(),
        "kernel": kernel.release,
        "fio seconds": seconds,
        "rounds": rounds,
        "qemu": qemu.version,
        "qemu aio": aio,
        "measured": measured,
    }


def configurations(aio: str) -> dict[str, Configuration]:
    """Every one, in the order of a round."""
    return {
        "Vestige, IDE on NVMe": Configuration(OUR_STATUS, "sda", "vfio-pci", vestige_nvme),
        "Vestige, IDE in memory on NVMe": Configuration(None, "sda", "vfio-pci", vestige_memory),
        "QEMU, IDE on NVMe": Configuration(STATUS, "sda", "nvme", qemu_nvme(aio)),
        "QEMU, NVMe itself": Configuration(None, "nvme0n1", "vfio-pci", qemu_pass_through),
        "Vestige, IDE on a file": Configuration(OUR_STATUS, "sda", None, vestige_file),
        "QEMU, IDE on a file": Configuration(STATUS, "sda", None, qemu_file),
        "QEMU microvm": Configuration(LINE_STATUS, None, None, qemu_microvm),
    }


def vestige_nvme(bench: Bench, append: str, _device: str) -> list[str]:
    """The controller is the monitor's."""
    return guests.vestige(bench.guest, append, ["--disk", f"vfio:{bench.address},bus=ide"])


def vestige_memory(bench: Bench, append: str, _device: str) -> list[str]:
    """The same, most of the IDE's registers being memory that the guest reads without an exit."""
    disk = f"vfio:{bench.address},bus=ide"
    return guests.vestige(bench.guest, append, ["--ide", "memory", "--disk", disk])


def qemu_nvme(aio: str) -> Callable[[Bench, str, str], list[str]]:
    """The controller is the software host's own, QEMU reads past its page cache."""

    def words(bench: Bench, append: str, device: str) -> list[str]:
        drive = f"file={device},if=ide,format=raw,cache=none,aio={aio}"
        return guests.qemu(bench.guest, append, ["-drive", drive], guests.PC)

    return words


def qemu_pass_through(bench: Bench, append: str, _device: str) -> list[str]:
    """The controller is the guest's: no monitor can be faster."""
    device = f"vfio-pci,host={bench.address}"
    return guests.qemu(bench.guest, append, ["-device", device], guests.PC)


def vestige_file(bench: Bench, append: str, _device: str) -> list[str]:
    """By io_uring, through the software host's page cache."""
    return guests.vestige(bench.guest, append, ["--disk", f"{bench.raw_file},bus=ide"])


def qemu_file(bench: Bench, append: str, _device: str) -> list[str]:
    """Through the page cache too: QEMU's default."""
    drive = f"file={bench.raw_file},if=ide,format=raw,cache=writeback"
    return guests.qemu(bench.guest, append, ["-drive", drive], guests.PC)


def qemu_microvm(bench: Bench, append: str, _device: str) -> list[str]:
    """Nothing but its UART."""
    return guests.qemu(bench.guest, append, [], "microvm,isa-serial=on")


def choose_aio(bench: Bench) -> dict[str, object]:
    """Which aio= serves QEMU better on the controller: fio's jobs once with each."""
    rates: dict[str, dict[str, float]] = {}
    for aio in AIO:
        bench.say(f"QEMU's aio={aio}")
        configuration = Configuration(None, "sda", "nvme", qemu_nvme(aio))
        rates[aio] = one(bench, configuration)
    chosen = max(AIO, key=lambda aio: statistics.geometric_mean(rates[aio].values()))
    bench.say(f"aio={chosen} is the faster")
    return {"chosen": chosen, "measured": rates}


def one(bench: Bench, configuration: Configuration) -> dict[str, float]:
    """Boot once; every measure by its name."""
    device = ""
    if configuration.driver is not None:
        device = guests.bind(bench.host, bench.address, configuration.driver)
    words = [f"seconds={bench.seconds:g}"]
    if configuration.port is not None:
        words.append(f"port={configuration.port}")
    if configuration.disk is not None:
        words.append(f"disk={configuration.disk}")
    argv = configuration.command(bench, " ".join(words), device)
    timeout = BOOT_TIMEOUT + 20 * bench.seconds
    console = guests.boot(bench.host, argv, timeout, CLOSING)
    found: dict[str, float] = {}
    if configuration.port is not None:
        found["status read"] = readings.port_time(console)
    if configuration.disk is not None:
        found["hdparm -t"] = readings.hdparm(console)
        for name, job in readings.fio(console).items():
            sequential = name.startswith("sequential")
            found[name] = job.mebibytes if sequential else job.operations
    bench.say("  " + ", ".join(f"{name} {value:,.1f}" for name, value in found.items()))
    return found


def initial_disk() -> Path:
    """The guest's initial RAM disk."""
    files = {
        **programs.programs("fio", "hdparm"),
        "bin/port": guests.compile_program(GUEST / "port.c"),
        "jobs.fio": GUEST / "jobs.fio",
    }
    return initramfs.with_programs("bench", GUEST / "init", "cloud", files)


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))
