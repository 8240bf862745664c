"""The disk of a machine that efiemu.efi has taken over, against the NVMe below it and QEMU's IDE.

    python -m bench.efiemu [--rounds 3] [--seconds 4]

One stock machine under QEMU's emulator with OVMF, its disk an image, booted by turns: taken over;
with its NVMe controller as it is; with QEMU's IDE instead. The guest is Debian's cloud kernel. It
times `in` from three ports of the machine that is taken over: one that nobody intercepts, one that
the shell answers, and the drive's Status, which the monitor does; runs `hdparm -t`, then fio, one
request at a time, past the page cache. Then the time that a small guest takes from the firmware's
shell to its init, its kernel being on the disk. Writes bench/results/efiemu.json and .svg and the
tables in docs/performance.md.
"""

import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.common import command, guests, newest_qemu, readings, results
from bench.common.guests import ROOT, WORK
from bench.efiemu_report import BARE, BOOT, NAME, TAKEN, THEIRS, report
from tests.efiemu import ovmf
from tests.guests import images as disks
from tests.guests import initramfs, kernels, programs, roots
from vestige.efiemu.build import application
from vestige.softhost import emulator

GUEST = ROOT / "bench" / "guest"
DISK = 256  # MiB
SHELL, REACHED = "FS0:\\>", "INIT-REACHED"
CLOSING = "bench: done"
LIMIT = 300.0  # seconds, of a boot, besides what it measures
PORTS = {"no exit": 0x80, "one exit": 0x177, "monitor": 0x1F7}
WORDS = "console=ttyS0 quiet panic=-1 tsc=reliable"
KERNEL = f"\\vmlinuz.efi {WORDS} initrd=\\initrd.img"
NVME, IDE = "nvme,serial=1,drive=disk,addr=4", "ide-hd,drive=disk,bus=ide.0"


class Configuration(NamedTuple):
    """What QEMU gives the machine, whether it is taken over, and what Linux calls the disk."""

    device: str
    taken: bool
    disk: str


CONFIGURATIONS = {
    TAKEN: Configuration(NVME, True, "sda"),
    BARE: Configuration(NVME, False, "nvme0n1"),
    THEIRS: Configuration(IDE, False, "sda"),
}


class Bench(NamedTuple):
    """What all of them are made of: two folders of files for the firmware, and two disks."""

    measuring: Path
    booting: Path
    disk: Path
    bootable: Path
    seconds: float
    say: command.Progress


def main() -> int:
    """The command line."""
    arguments = command.arguments(
        __doc__.partition("\n")[0], seconds="each fio job takes", each=4.0
    )
    report(measure(arguments.rounds, arguments.seconds), page=not arguments.no_page)
    return 0


def measure(rounds: int, seconds: float) -> dict[str, object]:
    """All of it."""
    bench = prepared(seconds)
    measured = command.by_turns(CONFIGURATIONS, rounds, lambda each: one(bench, each), bench.say)
    return {
        "date": results.today(),
        "kernel": kernels.kernel("cloud").release,
        "qemu": newest_qemu.version_of(emulator.ensure(bench.say)),
        "fio seconds": seconds,
        "rounds": rounds,
        "measured": measured,
    }


def prepared(seconds: float) -> Bench:
    """Everything that is booted."""
    say = command.Progress(NAME)
    say("preparing the guest, from Debian's packages")
    WORK.mkdir(parents=True, exist_ok=True)
    kernel = kernels.kernel("cloud").bzimage
    measuring, booting = WORK / "efiemu-measuring", WORK / "efiemu-booting"
    for folder in (measuring, booting):
        folder.mkdir(exist_ok=True)
        (folder / "efiemu.efi").write_bytes(application())
    (measuring / "vmlinuz.efi").write_bytes(kernel.read_bytes())
    (measuring / "initrd.img").write_bytes(initial_disk().read_bytes())
    bootable = WORK / "efiemu-boot.img"
    small = {"vmlinuz.efi": kernel, "initrd.img": initramfs.reached()}
    disks.partitioned(bootable, [disks.SystemPartition(small)])
    disk = disks.copy(roots.data_disk(DISK, 1), WORK / "efiemu.img")
    return Bench(measuring, booting, disk, bootable, seconds, say)


def initial_disk() -> Path:
    """The guest's initial RAM disk."""
    files = {
        **programs.programs("fio", "hdparm"),
        "bin/port": guests.compile_program(GUEST / "port.c"),
        "jobs.fio": GUEST / "jobs.fio",
    }
    modules = kernels.modules_for("cloud", "sd_mod", "ata_piix", "nvme")
    return initramfs.with_programs("bench-efiemu", GUEST / "init", "cloud", files, modules)


def one(bench: Bench, configuration: Configuration) -> dict[str, float]:
    """Two boots; every measure by its name."""
    words = f"seconds={bench.seconds:g} disk={configuration.disk}"
    if configuration.taken:
        words += f" port={','.join(str(port) for port in PORTS.values())}"
    script = ["\\efiemu.efi"] if configuration.taken else []
    console = boot(
        bench.measuring, bench.disk, configuration, [*script, f"{KERNEL} {words}"],
        LIMIT + 20 * bench.seconds,
    )  # fmt: skip
    text = "\n".join(line for _, line in console)
    if CLOSING not in text:
        raise readings.ReadingError(f"the guest did not end with {CLOSING!r}:\n{text}")
    found = port_times(text) if configuration.taken else {}
    found["hdparm -t"] = readings.hdparm(text)
    for name, job in readings.fio(text).items():
        sequential = name.startswith("sequential")
        found[name] = job.mebibytes if sequential else job.operations
    found[BOOT] = boot_time(bench, configuration)
    bench.say("  " + ", ".join(f"{name} {value:,.1f}" for name, value in found.items()))
    return found


def port_times(console: str) -> dict[str, float]:
    """Nanoseconds of one read of each port."""
    return {
        name: readings.port_time(
            "\n".join(line for line in console.splitlines() if line.startswith(f"port: {port} "))
        )
        for name, port in PORTS.items()
    }


def boot_time(bench: Bench, configuration: Configuration) -> float:
    """Seconds from the firmware's shell to init; the kernel is read from the disk."""
    script = ["fs1:", KERNEL]
    if configuration.taken:
        script = [f"\\efiemu.efi boot={KERNEL}"]
    console = boot(bench.booting, bench.bootable, configuration, script, LIMIT)
    first = next((seconds for seconds, line in console if SHELL in line), None)
    reached = next((seconds for seconds, line in console if REACHED in line), None)
    if first is None or reached is None:
        text = "\n".join(line for _, line in console)
        raise readings.ReadingError(f"the guest did not reach its init:\n{text}")
    return reached - first


def boot(
    folder: Path,
    disk: Path,
    configuration: Configuration,
    script: Sequence[str],
    limit: float,
    *more: str,
) -> list[tuple[float, str]]:
    """Each line of the console until the machine powers off, with the seconds until it ended.

    `more`: what else QEMU is given.
    """
    lines = ["fs0:", *script]
    (folder / "startup.nsh").write_text("".join(f"{line}\r\n" for line in lines))
    drive = f"file={disk},format=raw,if=none,id=disk"
    words = ["-drive", drive, "-device", configuration.device, *more]
    found: list[tuple[float, str]] = []
    began, rest = time.monotonic(), b""
    output, end = os.pipe()
    with subprocess.Popen(
        ovmf.command_of(folder, *words), stdin=subprocess.DEVNULL, stdout=end,
        stderr=subprocess.DEVNULL,
    ) as emulated:  # fmt: skip
        os.close(end)
        try:
            while True:
                left = began + limit - time.monotonic()
                if not select.select([output], [], [], max(left, 0))[0]:
                    text = "\n".join(line for _, line in found)
                    raise readings.ReadingError(f"the machine ran for {limit:.0f} s:\n{text}")
                data = os.read(output, 1 << 16)
                if not data:
                    return found
                *ended, rest = (rest + data).split(b"\n")
                seconds = time.monotonic() - began
                found += [(seconds, ovmf.lines_of(line)[0]) for line in ended]
        finally:
            os.close(output)
            emulated.kill()


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))
