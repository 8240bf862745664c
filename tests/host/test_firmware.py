"""A PC that starts from its firmware: what is wrong with the words, and SeaBIOS on this KVM."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host.harness import PATIENCE, why_not
from tests.machine import images
from vestige import abi
from vestige.errors import UsageError
from vestige.host.options import (
    BIOS,
    FIRMWARES,
    IDE,
    PC,
    VGA_BIOS,
    ConsoleOption,
    DiskOption,
    NetOption,
    PortOption,
    RunOptions,
    check,
)

SEABIOS = Path(FIRMWARES[BIOS])
SECTOR = 512
MOST_EXITS = 1200  # to the sector and through it, without a VGA
TEXT = b"the first sector has started\r\n\0"
# Writes TEXT to the serial port, then 0x20 to the high byte of PM1 control: power off.
BOOT_SECTOR = (
    bytes.fromhex(
        "31c0"  # xor ax, ax
        "8ed8"  # mov ds, ax
        "be1b7c"  # mov si, 0x7c00 + 0x1b
        "ac"  # next: lodsb
        "84c0"  # test al, al
        "7406"  # jz end
        "baf803"  # mov dx, 0x3f8
        "ee"  # out dx, al
        "ebf5"  # jmp next
        "ba0506"  # end: mov dx, 0x605
        "b020"  # mov al, 0x20
        "ee"  # out dx, al
        "f4"  # hlt
        "ebfd"  # jmp to that
    )
    + TEXT
)


def vestige(*words: str) -> "subprocess.CompletedProcess[bytes]":
    """A run on this KVM."""
    command = (sys.executable, "-m", "vestige.cli.main", "run", "--accel", "kvm", *words)
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False
    )


@pytest.mark.kvm
@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
@pytest.mark.skipif(not SEABIOS.exists(), reason="needs seabios")
def test_seabios_starts_the_first_sector_of_a_disk(tmp_path: Path) -> None:
    assert BOOT_SECTOR.index(TEXT) == 0x1B
    disk = tmp_path / "disk.img"
    sector = BOOT_SECTOR.ljust(SECTOR - 2, b"\0") + b"\x55\xaa"
    disk.write_bytes(sector.ljust(1 << 20, b"\0"))
    stats = tmp_path / "stats.json"
    words = ("--machine", "pc", "--memory", "64M", "--disk", f"{disk},bus=ide", "--timeout", "50")
    done = vestige(*words, "--vga", "none", "--stats", str(stats))
    assert b"SeaBIOS" in done.stdout, done
    assert b"Booting from Hard Disk" in done.stdout
    assert TEXT[1:-1] in done.stdout  # SeaBIOS's own last characters come among the first
    assert (done.returncode, done.stderr) == (0, b"")
    counters = json.loads(stats.read_text())
    assert sum(counters["guest_exits"].values()) <= MOST_EXITS
    log = {
        trap["coalesced"]: trap["count"]
        for trap in counters["traps"]
        if (trap["address"], trap["access"]) == (hex(abi.PORT_FIRMWARE_LOG), "write")
    }
    assert log[True] > 100, "its log is queued, and costs an exit only where the queue is full"
    assert log.get(False, 0) < log[True] / 50


# As boot.rst says that a boot loader enters it: prints the command line from where COMMAND_LINE is,
# and what the kernel begins with, at 1 MiB, then powers off.
SETUP_CODE = bytes.fromhex(
    "b80020"  # mov ax, 0x2000
    "31f6"  # xor si, si
    "e81200"  # call print
    "b8ffff"  # mov ax, 0xffff
    "be1000"  # mov si, 0x10
    "e80900"  # call print
    "ba0506"  # mov dx, 0x605
    "b020"  # mov al, 0x20
    "ee"  # out dx, al
    "f4"  # hlt
    "ebfd"  # jmp to that
    "8ed8"  # print: mov ds, ax
    "bafd03"  # mov dx, 0x3fd
    "ec"  # wait: in al, dx
    "a820"  # test al, 0x20
    "74fb"  # jz wait
    "ac"  # lodsb
    "84c0"  # test al, al
    "7406"  # jz end
    "baf803"  # mov dx, 0x3f8
    "ee"  # out dx, al
    "ebed"  # jmp to the port of wait
    "c3"  # end: ret
)
SETUP_CODE_AT = 0x26C  # where the header's jump leads
KERNEL_TEXT = b"the kernel is at 1 MiB\r\n"


@pytest.mark.kvm
@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
@pytest.mark.skipif(not SEABIOS.exists(), reason="needs seabios")
def test_seabios_starts_a_kernel_from_fw_cfg(tmp_path: Path) -> None:
    kernel = images.bzimage(load_flags_64=0)
    kernel[SETUP_CODE_AT : SETUP_CODE_AT + len(SETUP_CODE)] = SETUP_CODE
    kernel[-len(images.BZIMAGE_CODE) :] = KERNEL_TEXT.ljust(len(images.BZIMAGE_CODE), b"\0")
    done = vestige(
        *("--machine", "pc", "--memory", "64M", "--timeout", "50", "--vga", "none"),
        *("--firmware", "bios", "--kernel", images.write(tmp_path, kernel)),
        *("--append", "these are words\r\n"),
    )
    assert b"Booting from ROM" in done.stdout, done
    assert b"these are words\r\n" + KERNEL_TEXT in done.stdout
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "--kernel: give one; or --machine pc, whose firmware boots the first disk"),
        ({"kernel": "k", "firmware": BIOS}, "--firmware: a PC's; give --machine pc, too"),
        ({"kernel": "k", "vga": "none"}, "--vga: a PC's; give --machine pc, too"),
        ({"machine": PC, "initrd": "i"}, "--initrd: a kernel's; give --kernel, too"),
        ({"machine": PC, "append": "quiet"}, "--append: a kernel's; give --kernel, too"),
    ],
)
def test_words_that_do_not_go_together_are_refused(options: dict[str, str], line: str) -> None:
    with pytest.raises(UsageError) as refused:
        check(RunOptions(**options))  # type: ignore[arg-type] # all are text
    assert str(refused.value).startswith(line)


def test_a_firmware_without_a_disk_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        check(RunOptions(machine=PC))
    assert str(refused.value).startswith("--machine pc: its firmware boots a disk; give")


def test_a_firmware_takes_virtio_functions() -> None:
    disks = DiskOption("d"), DiskOption("e", IDE)
    ports = (PortOption("p", "f"),)
    console = ConsoleOption("c", "virtio")
    net = NetOption("user")
    check(RunOptions(machine=PC, disks=disks, ports=ports, console=console, net=net, entropy=True))


def test_a_pc_starts_from_a_kernel_or_a_firmware() -> None:
    assert RunOptions("k", machine=PC).start == ("--kernel", "k")
    both = RunOptions("k", machine=PC, firmware="rom", initrd="i", append="quiet")
    check(both)
    assert both.start == ("--firmware", "rom")
    assert RunOptions(machine=PC).start == ("--firmware", FIRMWARES[BIOS])
    assert RunOptions(machine=PC, firmware=BIOS).start == ("--firmware", FIRMWARES[BIOS])
    assert RunOptions(machine=PC, firmware="rom").start == ("--firmware", "rom")


def test_a_pc_with_a_vga_has_its_bios() -> None:
    assert RunOptions(machine=PC).vga_bios == VGA_BIOS
    assert RunOptions(machine=PC, vga="none").vga_bios is None
    assert RunOptions("k").has_vga is False
