"""What the benchmarks boot, and how: Vestige's and QEMU's command lines, one boot, the NVMe."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.common import speed
from bench.inside.observe import MARK
from tests.guests import images as disks
from tests.guests.initramfs import busybox
from vestige.errors import GuestError
from vestige.softhost import SoftHost

ROOT = Path(__file__).resolve().parent.parent.parent
WORK = ROOT / "build" / "bench"
QUIET = "quiet panic=-1"
APPEND = f"console=ttyS0 {QUIET}"
VIRTIO_APPEND = f"console=hvc0 {QUIET}"
VIRTIO = "virtio"  # a virtio console on standard input and output
MODERN = "disable-legacy=on,disable-modern=off"  # of QEMU's virtio devices
# QEMU's smallest machine, without all its legacy; then with its RTC again: its tables promise one
# in any case, and Linux would ask it for the time for seconds.
BARE_MICROVM = "microvm,pic=off,pit=off,rtc=off,isa-serial=off,usb=off,x-option-roms=off,acpi=on"
MICROVM = BARE_MICROVM.replace("rtc=off", "rtc=on")
MICROVM_PCI = f"{MICROVM},pcie=on"
PC = "pc,smm=off"  # why: `_qemu`
_SHORT = 60.0  # seconds, of a command that is no guest

# The driver that is wanted takes the controller; Linux probes NVMe disks in the background.
_BIND = """
device=/sys/bus/pci/devices/$1
echo "$2" > "$device/driver_override"
[ -e "$device/driver" ] && echo "$1" > "$device/driver/unbind"
echo "$1" > /sys/bus/pci/drivers_probe
[ "$(basename "$(readlink "$device/driver")")" = "$2" ] || exit 1
[ "$2" = nvme ] || exit 0
tries=300
# Where there may be several paths to a disk, nvme0c0n1 is one of them, and nvme0n1 the disk.
until disk=$(ls "$device"/nvme/nvme*/ | sed -n 's/c[0-9]*n/n/; /^nvme[0-9]*n[0-9]*$/p') \\
        && [ -b "/dev/$disk" ]; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || exit 1
    sleep 0.1
done
echo "/dev/$disk"
"""


class Guest(NamedTuple):
    """The same for both: `memory` is in MiB. `qemu` begins QEMU's command line, where it is run."""

    kernel: Path
    initrd: Path
    memory: int
    qemu: tuple[str, ...] = ()


def vestige(
    guest: Guest, append: str, arguments: Sequence[str], *, console: str = "stdio"
) -> list[str]:
    """A `vestige run` inside the software host; `console` is for --console."""
    words = VIRTIO_APPEND if console == VIRTIO else APPEND
    return [
        *(sys.executable, "-m", "vestige.cli.main", "run", "--accel", "kvm"),
        *("--kernel", str(guest.kernel), "--initrd", str(guest.initrd), "--console", console),
        *("--memory", f"{guest.memory}M", "--append", f"{words} {append}"),
        *arguments,
    ]


def qemu(guest: Guest, append: str, arguments: Sequence[str], machine: str) -> list[str]:
    """QEMU inside the software host, its console a serial port."""
    return _qemu(guest, f"{APPEND} {append}", ["-serial", "stdio", *arguments], machine)


def qemu_virtio(
    guest: Guest, append: str, arguments: Sequence[str], machine: str, *, pci: bool = True
) -> list[str]:
    """The same with a virtio console, over PCI or at an address (virtio-mmio)."""
    console = [
        *("-device", f"virtio-serial-pci,{MODERN}" if pci else "virtio-serial-device"),
        *("-chardev", "stdio,id=console", "-device", "virtconsole,chardev=console"),
    ]
    return _qemu(guest, f"{VIRTIO_APPEND} {append}", [*console, *arguments], machine)


def _qemu(guest: Guest, append: str, arguments: Sequence[str], machine: str) -> list[str]:
    """QEMU.

    Without vapic and smm: each has QEMU read and set the guest's segments while the guest runs,
    and TCG then no longer lets programs use the ports they were given (ioperm).
    """
    return [
        *(*guest.qemu, "-machine", f"{machine},accel=kvm", "-cpu", "host"),
        *("-global", "kvm-apic.vapic=off"),
        *("-m", f"{guest.memory}M", "-nodefaults", "-display", "none"),
        *("-no-reboot", "-kernel", str(guest.kernel), "-initrd", str(guest.initrd)),
        *("-append", append),
        *arguments,
    ]


def ring(*, packed: bool) -> str:
    """What follows a virtio device of QEMU's: which form its rings have (virtio 1.2, 2.7, 2.8)."""
    return ",packed=on" if packed else ""


def boot(host: SoftHost, command: list[str], timeout: float, closing: str) -> str:
    """Run a guest to its end; what it said on its console.

    Raises GuestError unless it ends well and says `closing`, TimeoutError after `timeout` seconds.
    """
    done = host.capture(command, timeout=timeout, cwd=ROOT)
    console = done.stdout.decode(errors="replace").replace("\r", "")
    if done.status or not says(console, closing):
        said = console + done.stderr.decode(errors="replace")
        raise GuestError(f"{' '.join(command)}: status {done.status}, no {closing!r}\n{said}")
    return console


class Observed(NamedTuple):
    """A guest's run: its console, and what was counted, in all and between its marks.

    See inside/observe.py. Of a span there is `own` besides, seconds of processor time that the
    software host itself took, all it is made of.
    """

    console: str
    exits: int
    spans: dict[str, dict[str, float]]


def _nothing(_begins: bool) -> None:
    """For who need not know when what is measured begins and ends."""


class Heard(io.BytesIO):
    """What observe says on standard error. At each mark the software host's time is noted."""

    def __init__(
        self, used: Callable[[], float], marked: Callable[[bool], None] = _nothing
    ) -> None:
        """`used`: its processor time until now; `marked` is called as a span begins, or not."""
        super().__init__()
        self._used, self._marked = used, marked
        self._rest = b""
        self._begins: dict[str, float] = {}
        self.own: dict[str, float] = {}

    def write(self, data: Any, /) -> int:
        """Some of it."""
        *lines, self._rest = (self._rest + bytes(data)).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace")
            if text.startswith(MARK):
                self._note(*text.removeprefix(MARK).split(maxsplit=1))
        return super().write(data)

    def _note(self, word: str, name: str) -> None:
        if word == "begin":
            self._begins[name] = self._used()
        else:
            self.own[name] = self._used() - self._begins[name]
        self._marked(word == "begin")


def observe(
    host: SoftHost,
    command: list[str],
    timeout: float,
    closing: str,
    marked: Callable[[bool], None] = _nothing,
) -> Observed:
    """As `boot`, and count; a guest with a virtio console may set marks. `marked` is called at each
    of them: whether something begins.
    """
    argv = [sys.executable, "-S", "-m", "bench.inside.observe", "--", *command]
    output, errors = io.BytesIO(), Heard(lambda: speed.used(host.pid), marked)
    running = host.spawn(argv, stdout=output, stderr=errors, cwd=ROOT)
    try:
        status = running.wait(timeout)
    except BaseException:
        running.kill()
        raise
    if status:
        said = errors.getvalue().decode(errors="replace")
        raise GuestError(f"{' '.join(argv)}: status {status}\n{said}")
    run = json.loads(output.getvalue())
    if run["status"] or not says(run["console"], closing):
        said = run["console"] + run["errors"]
        raise GuestError(f"{' '.join(command)}: status {run['status']}, no {closing!r}\n{said}")
    spans = {name: {**span, "own": errors.own[name]} for name, span in run["spans"].items()}
    return Observed(run["console"], run["exits"], spans)


def says(console: str, closing: str) -> bool:
    """Whether a line begins so."""
    return any(line.startswith(closing) for line in console.splitlines())


def inside(host: SoftHost, script: str, *arguments: str) -> str:
    """What a shell script says inside. Raises GuestError if it fails."""
    done = host.capture(["sh", "-c", script, "sh", *arguments], timeout=_SHORT)
    if done.status:
        said = (done.stdout + done.stderr).decode(errors="replace")
        raise GuestError(f"the software host: status {done.status} of:\n{script}\n{said}")
    return done.stdout.decode().strip()


def bind(host: SoftHost, address: str, driver: str) -> str:
    """Have "vfio-pci" or "nvme" drive the controller at `address`; nvme's block device."""
    return inside(host, _BIND, address, driver)


def load_modules(host: SoftHost, release: str, files: Sequence[Path]) -> None:
    """Load modules of the kernel `release` into the software host's.

    Raises GuestError if it has another kernel.
    """
    running = inside(host, "uname -r")
    if running != release:
        raise GuestError(
            f"the software host has Linux {running}, apt has {release}; remove the old one,"
            " ~/.cache/vestige/softhost, to have it fetched anew"
        )
    # A module that is there already is no error.
    inside(
        host,
        'shell=$1; shift; for file; do name=$(basename "$file" .ko); '
        '[ -e "/sys/module/$name" ] || "$shell" insmod "$file" || exit 1; done',
        str(busybox()),
        *(str(file) for file in files),
    )


def compile_program(source: Path) -> Path:
    """A freestanding C program for the guest."""
    WORK.mkdir(parents=True, exist_ok=True)
    program = WORK / source.stem
    flags = ("-O2", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector")
    subprocess.run(["gcc", *flags, "-o", str(program), str(source)], check=True)
    return program


def disk_of_files(content: Path, mebibytes: int) -> Path:
    """An image of an ext4 file system that holds `content`, of that size, as disk.img."""
    tree = WORK / "files"
    tree.mkdir(parents=True, exist_ok=True)
    (tree / "disk.img").unlink(missing_ok=True)
    (tree / "disk.img").hardlink_to(content)
    image = WORK / "files.img"
    disks.whole_disk(image, disks.FileSystem(mebibytes + mebibytes // 4, tree))
    return image
