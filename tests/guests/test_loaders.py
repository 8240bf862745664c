"""Debian's boot loaders on a PC: what they do without our help, in one software host.

Each is started by SeaBIOS from an IDE disk, and its console is the BIOS's, on the serial port.
"""

import hashlib
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests import grub, i386, images, loaders
from tests.guests.seat import Seat
from vestige.host import images as monitor_images
from vestige.softhost import SoftHost

pytestmark = [
    pytest.mark.softhost,
    pytest.mark.xdist_group("softhost"),
    pytest.mark.skipif(
        not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64 (software host)"
    ),
]

TIMEOUT = 300  # seconds, of a guest
PAYLOAD = images.random_bytes(1, seed=5)[: 16 << 10]  # GRUB's driver reads two bytes an access
TYPED = "The quick brown fox, 2 lazy dogs & a (cat)"
MENU = """set timeout=300
menuentry "iPXE" --hotkey=i {
    linux16 /ipxe.lkrn
}
menuentry "memtest86+" --hotkey=m {
    linux16 /memtest
}
menuentry "GRUB's own drivers" --hotkey=n {
    nativedisk pata
    hashsum --hash sha256 (ata0,msdos1)/payload
    terminal_input at_keyboard
    echo "GRUB listens"
    read line
    echo "GRUB heard: $line"
    reboot
}
"""
SYSLINUX = """SERIAL 0 115200
PROMPT 1
LABEL old
    KERNEL vmlinuz
    INITRD initrd
    APPEND console=ttyS0 quiet panic=-1
"""


@pytest.fixture(scope="module")
def host() -> Iterator[SoftHost]:
    monitor_images.ensure()  # in the software host, compiling takes ten times as long
    with SoftHost() as host:
        yield host


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """One with GRUB, and what it starts; one with syslinux, which starts Linux."""
    folder = tmp_path_factory.mktemp("loaders")
    first, second, payload = folder / "grub.img", folder / "syslinux.img", folder / "payload"
    payload.write_bytes(PAYLOAD)
    grub.write_disk(
        first,
        MENU,
        {
            "ipxe.lkrn": loaders.boot_file(loaders.IPXE),
            "memtest": loaders.boot_file(loaders.MEMTEST),
            "payload": payload,
        },
    )
    old = i386.kernel()
    loaders.write_syslinux_disk(second, SYSLINUX, {"vmlinuz": old.bzimage, "initrd": old.reached})
    return [str(first), str(second)]


def sit_down(host: SoftHost, disks: list[str], key: str) -> Seat:
    """GRUB's menu has come, and `key` has been pressed there."""
    words = [word for disk in disks for word in ("--disk", f"{disk},bus=ide")]
    seat = Seat(host, "--machine", "pc", *words, timeout=TIMEOUT)
    seat.read_until("Press enter to boot the selected OS")
    seat.type(key)
    return seat


def test_grub_starts_ipxe_which_starts_syslinux_which_starts_a_32_bit_linux(
    host: SoftHost, disks: list[str]
) -> None:
    with sit_down(host, disks, "i") as seat:
        seat.read_until("Press Ctrl-B")
        seat.type("\x02")
        seat.read_until("iPXE> ")
        seat.type("show version\r")
        assert re.search(r"builtin/version:string = \S+", seat.read_until("iPXE> "))
        seat.type("sanboot --drive 0x81\r")  # the second disk
        seat.read_until("SYSLINUX ")
        seat.read_until("boot: ")
        seat.type("old\r")
        said = seat.lines()
    assert "INIT-REACHED" in said
    (line,) = [line for line in said if line.startswith("command line: ")]
    assert {"BOOT_IMAGE=vmlinuz", "initrd=initrd"} <= set(line.split()), "as syslinux says it"
    assert seat.status == 0


def test_grub_uses_disk_and_keyboard_by_its_own_drivers_and_resets_the_machine(
    host: SoftHost, disks: list[str]
) -> None:
    with sit_down(host, disks[:1], "n") as seat:
        read = seat.read_until("(ata0,msdos1)/payload")
        assert hashlib.sha256(PAYLOAD).hexdigest() in read
        seat.read_until("GRUB listens")
        seat.tell("type", "--text", f"{TYPED}\\n")
        seat.read_until("GRUB heard: ")
        heard = " ".join(seat.lines())  # GRUB breaks what it prints into lines between words
    assert heard.startswith(f"{TYPED} "), heard
    assert seat.status == 3


def test_memtest86_finds_the_memory_and_tests_it_on_the_screen(
    host: SoftHost, disks: list[str]
) -> None:
    with sit_down(host, disks[:1], "m") as seat:
        deadline = time.monotonic() + TIMEOUT
        while "Status: Testing" not in (screen := seat.tell("screen")):
            assert time.monotonic() < deadline, screen
    assert re.search(r"^ *Memtest86\+ v[\d.]+ ", screen), screen
    assert re.search(r"^Memory +: +512MB ", screen, re.MULTILINE)


def test_a_disk_that_boots_nothing_ends_the_run_and_the_bios_says_so(
    host: SoftHost, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.img"
    empty.write_bytes(bytes(1 << 20))
    with Seat(host, "--machine", "pc", "--disk", f"{empty},bus=ide", timeout=TIMEOUT) as seat:
        seat.read_until("No bootable device")
        seat.lines()
    assert seat.status == 3
