"""A PC's chips as Debian's cloud kernel uses them: in the software host, on a real KVM."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import pytest

from tests.guests import grub, initramfs, kernels
from tests.guests.boots import CONSOLE, GUEST_TIMEOUT, Boot, boot
from tests.screen import pictures
from vestige.cli.screen import look, pictured
from vestige.screen.picture import draw
from vestige.screen.seen import Seen
from vestige.screen.text import lines

pytestmark = [
    pytest.mark.softhost,
    pytest.mark.skipif(
        not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64 (software host)"
    ),
]


DISK = bytes(range(256)) * 4096
SECTOR = 512
DRAWN = "drawn by Linux"
CLOCK_ERROR = 3  # seconds that one of a busy machine may take longer


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pc") / "disk.img"
    path.write_bytes(DISK)
    virtio_beside(path).write_bytes(DISK[SECTOR:])
    return path


def virtio_beside(disk: Path) -> Path:
    """Another one."""
    return disk.with_name("virtio.img")


def pc(disk: Path, append: str) -> Boot:
    """A guest that says what it found, see pc-init."""
    cloud = kernels.kernel("cloud")
    return boot(cloud.vmlinux, initramfs.pc("cloud"), append, *machine(disk))


def machine(disk: Path) -> tuple[str, ...]:
    """A PC with an IDE disk and a virtio disk."""
    return ("--machine", "pc", "--disk", f"{disk},bus=ide", "--disk", str(virtio_beside(disk)))


TYPED = 'the Quick BROWN fox; jumps_over (13) lazy-dogs @ "home", isn\'t it? ~/|\\\\{} ' * 6


def attended(words: Sequence[str], hear: "Callable[[str, subprocess.Popen[str]], None]") -> Boot:
    """A run to its end; `hear` gets each line of its console, and the process, as it comes."""
    command = (sys.executable, "-m", "vestige.cli.main", "run", "--timeout", str(GUEST_TIMEOUT))
    process = subprocess.Popen(
        [*command, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line.rstrip("\r\n"))
            hear(said[-1], process)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    return Boot(process.returncode, said, errors)


def typing_boot(disk: Path, append: str, name: str, drawn: Path) -> Boot:
    """The same with a kernel that has drivers for mouse and frame buffer.

    What is typed where it asks; `drawn` is a picture of the screen when that is.
    """
    standard = kernels.kernel("standard")
    words = ("--kernel", str(standard.vmlinux), "--initrd", str(initramfs.pc("standard")))
    asked = {
        "type:": ("--text", TYPED, "shift-a", "enter"),
        "move:": ("move 10 -5", "button left down"),
    }

    def hear(line: str, process: "subprocess.Popen[str]") -> None:
        if line.startswith("screen: drawn"):
            drawn.write_bytes(pictured(name))
            say_enter(process)
        if typed := asked.get(line.partition(" ")[0]):
            command = [sys.executable, "-m", "vestige.cli.main", "type", name, *typed]
            done = subprocess.run(command, capture_output=True, timeout=300, check=False)
            assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

    return attended(
        [*words, "--append", f"{CONSOLE} {append}", *machine(disk), "--name", name], hear
    )


MENU = """set timeout=0
menuentry "Debian" {
    echo "GRUB starts it"
    linux16 /vmlinuz console=tty0 console=ttyS0 quiet panic=-1 do=screen
    initrd16 /initrd
}
"""


@pytest.fixture(scope="module")
def bootable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk with GRUB in its MBR, and Debian's kernel, compressed, in its file system."""
    path = tmp_path_factory.mktemp("bootable") / "disk.img"
    files = {"vmlinuz": kernels.kernel("cloud").bzimage, "initrd": initramfs.pc("cloud")}
    grub.write_disk(path, MENU, files)
    return path


def counts(guest: Boot, when: str) -> dict[str, tuple[int, str, str]]:
    """Of /proc/interrupts, by number: the first CPU's count, the controller, and who is there."""
    found = {}
    for line in guest.after(f"{when}:"):
        if match := re.fullmatch(r"(\d+):\s+(\d+)\s+(\S+)\s+(.*)", line):
            found[match[1]] = int(match[2]), match[3], match[4].split()[-1]
    return found


def check_clocks(guest: Boot, *more: str) -> None:
    """Each clock that a kernel can choose keeps the time: the chipset's, and `more`."""
    said = [line.split() for line in guest.after("clock:")]
    assert {clock for clock, _, _ in said} >= {"kvm-clock", "acpi_pm", *more}, guest
    for clock, before, after in said:
        assert 0.99 <= float(after) - float(before) < 1 + CLOCK_ERROR, f"a second of {clock}"


def digest(disk: Path) -> str:
    """What sha256sum says of a disk."""
    return sha256(disk.read_bytes()).hexdigest()


def check_chips(guest: Boot, ide: Path, virtio: Path) -> None:
    """What a kernel finds whether or not there is an I/O APIC, or a firmware."""
    log = guest.after("log:")
    assert "serio: i8042 KBD port at 0x60,0x64 irq 1" in log, guest
    assert "serio: i8042 AUX port at 0x60,0x64 irq 12" in log
    assert "AT Translated Set 2 keyboard" in [each.strip('"') for each in guest.after("input:")]
    assert guest.after("disk:") == [f"{digest(ide)}  /dev/sda"]
    assert guest.after("virtio disk:") == [f"{digest(virtio)}  /dev/vda"]
    assert any("cmd 0x1f0 ctl 0x3f6" in line and line.endswith("irq 14") for line in log)
    assert [line.split()[1:] for line in guest.after("pci:")] == [
        ["0x8086", "0x1237"],
        ["0x8086", "0x7000"],
        ["0x8086", "0x7010"],
        ["0x8086", "0x7113"],
        ["0x1234", "0x1111"],
        ["0x1af4", "0x1042"],
    ]
    assert any(line.endswith("[io  0x0600-0x063f] claimed by PIIX4 ACPI") for line in log)
    check_clocks(guest)
    (clock,) = [line for line in log if "setting system clock to" in line]
    (seconds,) = re.findall(r"\((\d+)\)", clock)
    assert abs(int(seconds) - time.time()) < 600  # the guest's whole run


def check_drawn(path: Path) -> None:
    """bochs-drm has drawn a line of text, grey on blue, on a screen that is black otherwise."""
    width, height, dots = pictures.read(path.read_bytes())
    assert (width, height) == (1024, 768)
    assert pictures.colours(dots, width, 8 * len(DRAWN), 16) == {"0000aa", "aaaaaa"}
    assert not any(dots[16 * pictures.RGB * width :])


@pytest.mark.slow
def test_debian_uses_a_pc_s_chips_by_its_io_apic(disk: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "drawn.png"
    guest = typing_boot(disk, "do=read pci=nomsi", "test-pc", drawn)
    check_chips(guest, disk, virtio_beside(disk))
    assert guest.after("typed:")[0] == TYPED.replace("\\\\", "\\") + "A"
    assert guest.after("moved:")[0].split() == ["8", "20", "10", "9", "0", "0"], "8 counts a mm"
    assert counts(guest, "typed")["1"][0] > counts(guest, "last")["1"][0] + len(TYPED)
    last = counts(guest, "last")
    assert all(last[number][1] == "IO-APIC" for number in ("1", "4", "8", "9", "12", "14"))
    assert last["9"][2] == "acpi"
    assert last["11"][1:] == ("IO-APIC", "virtio0"), "INTA of 00:03.0 by PIRQC"
    assert last["11"][0] > 0
    assert last["1"][0] > 0, "the keyboard has answered"
    assert last["12"][0] > 0, "the mouse"
    assert last["14"][0] > 0
    assert guest.after("frame buffer:") == ["0 bochs-drmdrmfb"]
    check_drawn(drawn)
    assert counts(guest, "first")["8"][0] < last["8"][0], "the clock has rung"
    assert guest.status == 0


@pytest.mark.slow
def test_debian_runs_by_pic_and_pit_alone_and_resets_by_the_keyboard_controller(
    disk: Path,
) -> None:
    """Linux leaves the I/O APIC alone where it has no local APIC."""
    guest = pc(disk, "nolapic clocksource=tsc reboot=k do=reset")
    check_chips(guest, disk, virtio_beside(disk))
    first, last = counts(guest, "first"), counts(guest, "last")
    assert {number: last[number][1:] for number in ("0", "1", "4", "8", "9", "11", "12", "14")} == {
        "0": ("XT-PIC", "timer"),
        "1": ("XT-PIC", "i8042"),
        "4": ("XT-PIC", "ttyS0"),
        "8": ("XT-PIC", "rtc0"),
        "9": ("XT-PIC", "acpi"),
        "11": ("XT-PIC", "virtio0"),
        "12": ("XT-PIC", "i8042"),
        "14": ("XT-PIC", "ata_piix"),
    }
    assert all(last[number][0] > 0 for number in ("0", "1", "4", "11", "12", "14"))
    assert first["0"][0] < last["0"][0]
    assert first["8"][0] < last["8"][0]
    assert guest.after("clock:")[-1].split()[0] == "tsc", "as it was before all were tried"
    assert guest.status == 3, "the guest reset itself"


def say_enter(process: "subprocess.Popen[str]") -> None:
    """At the guest's console."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def boot_and_look(name: str, *words: str) -> tuple[Boot, Seen]:
    """A run to its end, and its screen when it says that something is drawn there."""
    seen: list[Seen] = []

    def hear(line: str, process: "subprocess.Popen[str]") -> None:
        if line.startswith("screen: drawn"):
            seen.append(look(name))
            say_enter(process)

    guest = attended(["--name", name, *words], hear)
    assert seen, guest
    return guest, seen[0]


@pytest.mark.parametrize("cpus", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_debian_is_booted_from_a_virtio_disk_by_seabios_and_grub(
    bootable: Path, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpus: int
) -> None:
    """Behind it an IDE disk, which would boot first if it were not for fw_cfg's boot order."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    disks = ("--disk", f"{bootable},readonly", "--disk", f"{disk},bus=ide")
    guest, seen = boot_and_look("pc", "--machine", "pc", "--hpet", "--cpus", str(cpus), *disks)
    assert any("SeaBIOS" in line for line in guest.lines), guest
    assert any(line.endswith("GRUB starts it") for line in guest.lines)
    check_chips(guest, disk, bootable)
    log = guest.after("log:")
    named = {line.split()[1] for line in log if line.startswith("ACPI: ") and "VESTIG" in line}
    assert named >= {"RSDP", "XSDT", "FACP", "DSDT", "APIC"}, "ours, put there by the BIOS"
    assert "MCFG" not in named
    assert "Console: colour VGA+ 80x25" in log
    assert lines(seen)[0] == "drawn by Linux ╔═╗"
    first = draw(seen)[: seen.height]
    assert {dot for line in first for dot in line[: 14 * seen.width]} == {1, 7}, "grey on blue"
    corner = [line[15 * seen.width : 18 * seen.width] for line in first]
    assert any(set(line[5:23]) == {7} for line in corner), "the corners are joined"
    assert any("virtio0" in line and "PCI-MSI" in line for line in guest.after("last:"))
    check_clocks(guest, "hpet")
    assert guest.after("cpus:") == [str(cpus)], "from real mode, by the MADT"
    assert guest.status == 0, "by the chipset's sleep type"
