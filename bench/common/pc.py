"""A PC of Vestige's and of QEMU's: how each is started, and the small guests that measure it.

Imports nothing that takes long: it is used inside a software host too.
"""

import argparse
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.common.batches import Batch, Commands, Machines
from bench.common.tiny_guest import MIB, VESTIGE
from bench.inside.marked import Mark, run

if TYPE_CHECKING:  # slow to import in a software host
    from vestige.launcher import Machine

ROOT = Path(__file__).resolve().parent.parent.parent
GUESTS = ROOT / "bench" / "guest"
SECTOR = 512
DISK = 1 * MIB  # of a boot sector and nothing else
MEMORY = 512 * MIB
LIMIT = 120.0  # seconds, until a guest's last mark
OURS, READY = "Vestige", "Vestige, vestige.launcher"
SPLIT, KERNEL = "QEMU, its PIC and PIT in user space", "QEMU, KVM's PIC and PIT"
CHIPS = {SPLIT: "split", KERNEL: "on"}  # QEMU's kernel-irqchip
COLOURS = {OURS: "tab:green", READY: "tab:olive", SPLIT: "tab:gray", KERNEL: "tab:brown"}
_FREESTANDING = ("-O2", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector")
_KERNEL = (
    *("-mgeneral-regs-only", "-mno-red-zone", "-fno-asynchronous-unwind-tables", "-no-pie"),
    "-Wl,-N,-Ttext=0x100000,--build-id=none,--no-warn-rwx-segments",
)
_SECTOR = ("-m32", "-no-pie", "-Wl,-Ttext=0x7c00,--build-id=none,--oformat=binary")
_RUNS = "type 0xae80"  # KVM_RUN in QEMU's trace of kvm_vcpu_ioctl


Start = Callable[[int], "Machine"]  # a launcher's machine that writes to this descriptor


class Exits(NamedTuple):
    """Returns of KVM_RUN: of the guest's, and with a monitor's; the guest's by their cause."""

    guest: int
    all: int
    causes: dict[str, int]


def command_line(
    about: str,
    rounds: int,
    measure: Callable[..., dict[str, Any]],
    conclude: Callable[[int, bool], None],
) -> int:
    """A benchmark's: `conclude` has rounds, and whether the page is to be written.

    In the software host `measure` has what `conclude` out there gave it, and prints what it found.
    """
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=rounds, help=f"of all machines ({rounds})")
    parser.add_argument("--no-page", action="store_true", help="leave docs/performance.md alone")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(measure(**json.loads(options.inside))))
    else:
        conclude(options.rounds, not options.no_page)
    return 0


def kernel(source: Path, program: Path) -> None:
    """A freestanding C program as a kernel above 1 MiB."""
    subprocess.run(["gcc", *_FREESTANDING, *_KERNEL, "-o", str(program), str(source)], check=True)


def disk(source: Path, image: Path) -> None:
    """A boot sector in assembly language as a disk."""
    subprocess.run(["gcc", *_FREESTANDING, *_SECTOR, "-o", str(image), str(source)], check=True)
    with image.open("r+b") as file:
        file.truncate(DISK)


def vestige(*words: str, vga: str = "none") -> list[str]:
    """`vestige run` of a PC; `vga` is none or std."""
    size = f"{MEMORY // MIB}M"
    return [*VESTIGE, "--machine", "pc", "--vga", vga, "--memory", size, *words]


def qemu(program: Sequence[str], name: str, *words: str, vga: str = "none") -> list[str]:
    """QEMU's PC with such chips. Without a VGA its BIOS has the serial port, as Vestige's has.

    Without SMM, which not every KVM has.
    """
    screen = ",graphics=off" if vga == "none" else ""
    machine = f"pc,accel=kvm,kernel-irqchip={CHIPS[name]},smm=off{screen}"
    return [
        *(*program, "-no-user-config", "-nodefaults", "-display", "none", "-machine", machine),
        *("-m", f"{MEMORY // MIB}M", "-vga", vga, "-serial", "stdio", *words),
    ]


def measured(how: Sequence[str] | Start, marks: Sequence[str], errors: Path) -> dict[str, Mark]:
    """Run a guest to its last mark: by a command, or by a launcher."""

    def way(output: int) -> Batch:
        if callable(how):
            return Machines(output, how)
        errors.unlink(missing_ok=True)
        return Commands(output, tuple(how), errors)

    return run(way, marks, MEMORY, LIMIT, errors)


def exits_of_ours(command: Sequence[str], last: str, folder: Path) -> Exits:
    """Of Vestige's guest until its last mark."""
    file = folder / "stats.json"
    measured([*command, "--stats", str(file)], [last], folder / "errors")
    stats: dict[str, Any] = json.loads(file.read_text())
    guest = sum(stats["guest_exits"].values())
    calls = sum(stats["host_calls"].values())
    causes: Counter[str] = Counter()
    for trap in stats["traps"]:
        if not trap["coalesced"] and not trap["posted"]:
            causes[f"{trap['where']} {trap['address']}, {trap['access']}"] += trap["count"]
    causes.update(
        {name: count for name, count in stats["guest_exits"].items() if name not in ("IO", "MMIO")}
    )
    return Exits(guest, guest + calls + stats["interrupted_runs"], dict(causes))


def exits_of_qemu(command: Sequence[str], last: str, folder: Path) -> Exits:
    """Of QEMU's guest until its last mark, as QEMU itself tells of each KVM_RUN."""
    file = folder / "trace"
    file.unlink(missing_ok=True)
    words = [*command, "-trace", f"kvm_vcpu_ioctl,file={file}"]
    measured(words, [last], folder / "errors")
    count = sum(_RUNS in line for line in file.read_text(errors="replace").splitlines())
    return Exits(count, count, {})


def exits(name: str, command: Sequence[str], last: str, folder: Path) -> Exits:
    """Of either."""
    counted = exits_of_ours if name == OURS else exits_of_qemu
    return counted(command, last, folder)
