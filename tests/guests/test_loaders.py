"""Debian's boot loaders on a PC, and Debian by them: what they do without our help.

SeaBIOS starts them from an IDE disk, an image or an NVMe controller behind it, or from a floppy
disk, all in one software host. Their console is the BIOS's, on the serial port.
"""

import gzip
import hashlib
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.guests import (
    discs,
    fat,
    grub,
    i386,
    images,
    initramfs,
    kernels,
    loaders,
    newest,
    programs,
    roots,
)
from tests.guests.dialogue import Dialogue
from tests.guests.seat import Seat
from tests.machine.iasl import check_table
from tests.screen import pictures, theirs
from tests.screen.theirs import Theirs
from vestige.abi import Board
from vestige.devices import DEVICES
from vestige.errors import GuestError
from vestige.host import images as monitor_images
from vestige.machine.acpi import every_table
from vestige.machine.config import MachineConfig
from vestige.place import standard
from vestige.softhost import SoftHost

pytestmark = [
    pytest.mark.slow,
    pytest.mark.softhost,
    pytest.mark.skipif(
        not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64 (software host)"
    ),
]

TIMEOUT = 300  # seconds, of a guest
PAYLOAD = images.random_bytes(1, seed=5)[: 16 << 10]  # GRUB's driver reads two bytes an access
TYPED = "The quick brown fox, 2 lazy dogs & a (cat)"
ROOT = "root=/dev/sda1 console=ttyS0 quiet panic=-1 chips"
MENU = f"""set timeout=300
menuentry "Debian for 32 bits" --hotkey=o {{
    linux16 /old/vmlinuz {ROOT} noapic clocksource=hpet floppies
    initrd16 /old/initrd
}}
menuentry "Debian, not by the BIOS" --hotkey=d {{
    set gfxpayload=text
    linux /new/vmlinuz {ROOT} clocksource=acpi_pm tables
    initrd /new/initrd
}}
menuentry "iPXE" --hotkey=i {{
    linux16 /ipxe.lkrn
}}
menuentry "GRUB's own drivers" --hotkey=n {{
    nativedisk pata
    hashsum --hash sha256 (ata0,msdos1)/payload
    terminal_input at_keyboard
    echo "GRUB listens"
    read line
    echo "GRUB heard: $line"
    reboot
}}
submenu "In graphics" --hotkey=g {{
    loadfont /{grub.FONT}
    set gfxmode=1024x768
    terminal_output gfxterm serial
    menuentry "Draw no more" {{
        reboot
    }}
    menuentry "Draw nothing else" {{
        halt
    }}
}}
"""
CHOOSE = "Press enter to boot the selected OS"
SYSLINUX = """PROMPT 1
LABEL memory
    KERNEL memtest
"""


ISOLINUX = """DEFAULT debian
UI vesamenu.c32
MENU TITLE Drawn by isolinux
LABEL debian
    KERNEL vmlinuz
    INITRD initrd
    APPEND console=ttyS0 quiet panic=-1 vga=0x317
LABEL nothing
    LOCALBOOT -1
"""
# 0x112: the BIOS's mode 0x12, which the kernel's setup code sets.
ISOLINUX_PLANES = """DEFAULT debian
LABEL debian
    KERNEL vmlinuz
    INITRD initrd
    APPEND console=ttyS0 quiet panic=-1 vga=0x112
"""
# The first that was seen with a vga16fb that takes a VGA, for which orig_video_isVGA is 1. In 5.10
# and 6.12 it wants a constant there that nothing sets.
FIRST_WITH_PLANES = (7, 3)
TEXT = "drawn by Linux"  # by planes-init
SIXTEEN = (  # Linux's
    *(0x000000, 0xAA0000, 0x00AA00, 0xAA5500, 0x0000AA, 0xAA00AA, 0x00AAAA, 0xAAAAAA),
    *(0x555555, 0xFF5555, 0x55FF55, 0xFFFF55, 0x5555FF, 0xFF55FF, 0x55FFFF, 0xFFFFFF),
)
GRUBS, MENUS, PLANES = (1024, 768), (640, 480), (640, 480)  # dots across and down
CHARACTER = (8, 16)  # likewise
TESTING = re.compile(r"Testing: +4MB - \S+ \[.* Pattern: +\S", re.DOTALL)
SMALL = ("--memory", "64M")
FILLER = b"\xf6"  # what Linux's driver formats with


class Disks(NamedTuple):
    """One with GRUB, Debian, and what else GRUB starts; the same again; a floppy with syslinux."""

    grub: Path
    controller: Path  # of the NVMe controller
    syslinux: Path


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Disks:
    folder = tmp_path_factory.mktemp("loaders")
    disks = Disks(*(folder / f"{name}.img" for name in Disks._fields))
    old, new = i386.kernel(), kernels.kernel("cloud")
    payload, old_initrd, new_initrd = (folder / name for name in ("payload", "old", "new"))
    payload.write_bytes(PAYLOAD)
    for initrd, source in ((old_initrd, old.root), (new_initrd, initramfs.root("cloud"))):
        initrd.write_bytes(gzip.compress(source.read_bytes()))
    files = {
        grub.FONT: grub.font(),
        "ipxe.lkrn": loaders.boot_file(loaders.IPXE),
        "payload": payload,
        "old/vmlinuz": old.bzimage,
        "old/initrd": old_initrd,
        "new/vmlinuz": new.bzimage,
        "new/initrd": new_initrd,
    }

    def fill(tree: Path) -> None:
        roots.fill_small(tree, old.shell)
        for place, program in programs.programs("acpidump").items():
            (tree / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(program, tree / place)
        shutil.copy(programs.floppy_formatter(), tree / "bin/format-floppy")

    grub.write_disk(disks.grub, MENU, files, fill)
    images.copy(disks.grub, disks.controller)
    memtest = {"memtest": loaders.boot_file(loaders.MEMTEST)}
    loaders.write_syslinux_floppy(disks.syslinux, SYSLINUX, memtest)
    return disks


@pytest.fixture(scope="module")
def host(disks: Disks) -> Iterator[SoftHost]:
    monitor_images.ensure()  # in the software host, compiling takes ten times as long
    with SoftHost(nvme=[disks.controller]) as host:
        yield host


def sit_down(host: SoftHost, key: str, *disks: Path | str, words: Sequence[str] = ()) -> Seat:
    """GRUB's menu has come, and `key` has been pressed there."""
    behind = [word for disk in disks for word in ("--disk", f"{disk},bus=ide")]
    seat = Seat(host, "--machine", "pc", *behind, *words, timeout=TIMEOUT)
    choose(seat, key)
    return seat


def choose(person: Dialogue, key: str) -> None:
    """Press it at GRUB's menu."""
    person.read_until(CHOOSE)
    person.type(key)


def test_grub_starts_ipxe_which_starts_syslinux_which_starts_memtest86(
    host: SoftHost, disks: Disks
) -> None:
    with sit_down(host, "i", disks.grub, words=(*drive(disks.syslinux), *SMALL)) as seat:
        seat.read_until("Press Ctrl-B")
        seat.type("\x02")
        seat.read_until("iPXE> ")
        seat.type("show version\r")
        assert re.search(r"builtin/version:string = \S+", seat.read_until("iPXE> "))
        seat.type("sanboot --drive 0\r")  # the floppy
        seat.read_until("SYSLINUX ")
        seat.read_until("boot: ")
        seat.type("memory\r")
        screen = wait_for_memtest(seat)
    assert re.search(r"^Memory +: +62MB ", screen, re.MULTILINE), "the rest is iPXE's"


def test_grub_uses_disk_and_keyboard_by_its_own_drivers_and_resets_the_machine(
    host: SoftHost, disks: Disks
) -> None:
    with sit_down(host, "n", disks.grub) as seat:
        read = seat.read_until("(ata0,msdos1)/payload")
        assert hashlib.sha256(PAYLOAD).hexdigest() in read
        seat.read_until("GRUB listens")
        seat.tell("type", "--text", f"{TYPED}\\n")
        seat.read_until("GRUB heard: ")
        heard = " ".join(seat.lines())  # GRUB breaks what it prints into lines between words
    assert heard.startswith(f"{TYPED} "), heard
    assert seat.status == 3


def test_grub_draws_its_menu_by_the_vga_s_bios_as_on_qemu_s_pc(
    host: SoftHost, disks: Disks, tmp_path: Path
) -> None:
    with (
        sit_down(host, "g", disks.grub) as seat,
        Theirs(tmp_path, *theirs.disk(disks.grub)) as neighbour,
    ):
        person = Dialogue(neighbour.console, neighbour.keys, TIMEOUT)
        choose(person, "g")
        for each in (seat, person):
            each.read_until(CHOOSE)
        wait_for_the_same(seat, neighbour, GRUBS, tmp_path / "menu.png")


def test_memtest86_starts_by_its_32_bit_entry_with_its_command_line(host: SoftHost) -> None:
    memtest = ("--kernel", str(loaders.boot_file(loaders.MEMTEST)))
    words = (*memtest, "--append", "nobench console=ttyS0,115200", *SMALL)
    with Seat(host, "--machine", "pc", *words, timeout=TIMEOUT) as seat:
        seat.read_until("Memtest86+ v")  # on the console that it was told
        screen = wait_for_memtest(seat)
    assert re.search(r"^Memory +: +64MB ", screen, re.MULTILINE)


def test_grub_starts_a_32_bit_debian_on_an_ide_disk_without_the_io_apic(
    host: SoftHost, disks: Disks, tmp_path: Path
) -> None:
    """By the 16-bit boot protocol, noapic and clocksource=hpet; and two floppy drives beside."""
    written = tmp_path / "written.img"
    written.write_bytes(bytes(2 * fat.FLOPPY_SIZE))  # 2.88 MB
    floppies = (*drive(disks.syslinux, ",readonly"), *drive(written))
    with sit_down(host, "o", disks.grub, words=("--hpet", *floppies)) as seat:
        said = check_debian(seat, disks.grub)
    formatted = FILLER * (2 * fat.FLOPPY_SIZE)
    pattern = (2 * roots.pattern())[: fat.FLOPPY_SIZE]
    assert written.read_bytes() == pattern + formatted[fat.FLOPPY_SIZE :], said
    assert [line for line in said if line.startswith("floppy: ")] == [
        f"floppy: {hashlib.sha256(disks.syslinux.read_bytes()).hexdigest()}",
        "floppy: formatted",
        f"floppy: {hashlib.sha256(formatted).hexdigest()}",
        "floppy: written",
        f"floppy: {hashlib.sha256(written.read_bytes()).hexdigest()}",
    ]
    assert any("Floppy drive(s): fd0 is 1.44M, fd1 is 2.88M" in line for line in said), said
    assert interrupts(said)["6"] == ("XT-PIC", "floppy")
    assert "machine: i686" in said
    assert "clocksource: hpet" in said
    lines = interrupts(said)
    assert [controller for controller, _ in lines.values()] == ["XT-PIC"] * len(lines)
    assert lines["14"][1] == "ata_piix"


def test_grub_starts_debian_on_an_nvme_controller_behind_the_ide_with_our_tables(
    host: SoftHost, disks: Disks, tmp_path: Path
) -> None:
    """By the 32-bit entry, clocksource=acpi_pm; acpidump reads the tables in memory."""
    (controller,) = host.nvme_addresses
    words = ("--hpet", "--memory", "256M")  # all of it is pinned
    with sit_down(host, "d", f"vfio:{controller}", words=words) as seat:
        said = check_debian(seat, disks.controller)
    assert "machine: x86_64" in said
    assert "clocksource: acpi_pm" in said
    assert interrupts(said)["14"] == ("IO-APIC", "ata_piix")
    assert "tables: kept" in said
    check_tables(disks.controller, tmp_path)


def drive(image: Path, more: str = "") -> tuple[str, str]:
    """The words for a floppy drive with a disk."""
    return "--floppy", f"{image}{more}"


def wait_for_memtest(seat: Seat) -> str:
    """The screen once memory is being tested."""
    deadline = time.monotonic() + TIMEOUT
    while not TESTING.search(screen := seat.tell("screen")):
        assert time.monotonic() < deadline, screen
    assert re.search(r"^ *Memtest86\+ v[\d.]+ ", screen), screen
    return screen


def check_debian(seat: Seat, disk: Path) -> list[str]:
    """It has its root on the first partition of /dev/sda, writes there, and powers off."""
    said = seat.lines()
    assert "root: 0:0 partition 1 rw" in said, said
    (channel,) = [line for line in said if " cmd 0x1f0 ctl 0x3f6 " in line]
    assert channel.endswith(" irq 14"), "compatibility mode"
    assert "file: written" in said
    assert seat.status == 0
    offset = images.partition_offset(disk, 1)
    images.check_ext4(disk, offset)
    assert images.read_file(disk, "/written", offset) == b"written by the guest\n"
    return said


def wait_for_the_same(
    seat: Seat, neighbour: Theirs, size: tuple[int, int], path: Path, before: bytes = b""
) -> bytes:
    """The dots of both screens once they are alike, of this size, drawn, and not as `before`.

    `path` has the last picture of ours.
    """
    deadline = time.monotonic() + TIMEOUT
    while True:
        assert time.monotonic() < deadline, f"{path} is not what is on QEMU's screen"
        try:
            seat.tell("screen", "-o", str(path))
        except GuestError:  # the screen is blank, or there is none yet
            assert seat.status is None
            continue
        width, height, dots = pictures.read(path.read_bytes())
        if (width, height) != size or dots == before or neighbour.picture() != (*size, dots):
            continue
        if len(pictures.colours(dots, width, width, height)) > 1:
            return dots


def check_filled(path: Path) -> None:
    """Mode 0x317, of 16 bits, whose first 100 lines are filled with 0x5555, but for the cursor."""
    width, height, dots = pictures.read(path.read_bytes())
    assert (width, height) == (1024, 768)
    cursor, end = 16 * 3 * width, 100 * 3 * width
    assert dots[cursor:end] == bytes.fromhex("52aaad") * ((end - cursor) // 3)
    assert not any(dots[end:])


def interrupts(said: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Of /proc/interrupts, by number: the controller, and who is there; those that came alone."""
    found = [re.fullmatch(r"last: (\d+): +[1-9]\d* +(\S+) .*?(\S+)", line) for line in said]
    return {match[1]: (match[2], match[3]) for match in found if match}


def check_tables(disk: Path, folder: Path) -> None:
    """What acpidump found is what we made, but for the addresses where the BIOS has put it."""
    offset = images.partition_offset(disk, 1)
    devices = standard(DEVICES, Board.PC) - {"floppy"} | {"hpet"}
    config = MachineConfig(board=Board.PC, devices=devices)
    pointer, *others = every_table(config)
    for name, table in [("RSDP", pointer), *((each.data[:4].decode(), each) for each in others)]:
        data = bytearray(images.read_file(disk, f"/tables/{name.lower()}.dat", offset))
        if table is not pointer:
            check_table(folder, name, bytes(data))
        summed = [(place, 1) for place, _ in table.checksums]
        for place, size in [*((place, size) for place, size, _ in table.pointers), *summed]:
            data[place : place + size] = bytes(size)
        assert bytes(data) == table.data, name


def test_a_disk_that_boots_nothing_ends_the_run_which_says_where_the_bios_says_why(
    host: SoftHost, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.img"
    empty.write_bytes(bytes(1 << 20))
    with Seat(host, "--machine", "pc", "--disk", f"{empty},bus=ide", timeout=TIMEOUT) as seat:
        seat.read_until("No bootable device")
        (line,) = [each for each in seat.lines() if "vestige: the guest " in each]
    assert "its console, standard output, says why (a BIOS that finds nothing to boot" in line
    assert line.endswith("`vestige screen seat` shows its screen then")
    assert seat.status == 3


def test_isolinux_starts_debian_which_reads_discs_that_are_changed(
    host: SoftHost, tmp_path: Path
) -> None:
    """From its menu in graphics, which is as on QEMU's PC.

    The standard kernel's own sr_mod, and vesafb in a mode that it has set; discs by xorriso.
    """
    kernel, initrd = kernels.kernel("standard").bzimage, tmp_path / "initrd"
    initrd.write_bytes(gzip.compress(initramfs.discs("standard").read_bytes()))
    disc, other = tmp_path / "disc.iso", tmp_path / "other.iso"
    picture = tmp_path / "screen.png"
    files = {"vmlinuz": kernel, "initrd": initrd, **discs.drawn_menu()}
    discs.write_disc(disc, ISOLINUX, files)
    discs.write_disc(other, "", {"payload": initrd})
    with Seat(host, "--machine", "pc", "--cdrom", str(disc), timeout=TIMEOUT) as seat:
        seat.read_until("Booting from DVD/CD")
        seat.read_until("ISOLINUX")
        with Theirs(tmp_path, *theirs.disc(disc)) as neighbour:
            menu = wait_for_the_same(seat, neighbour, MENUS, tmp_path / "menu.png")
            seat.tell("type", "down")
            neighbour.press("down")
            wait_for_the_same(seat, neighbour, MENUS, tmp_path / "next.png", menu)
        seat.tell("type", "up", "enter")
        said = seat.read_until("eject: the disc")
        assert re.search(r"scsi 1:0:0:0: CD-ROM +VESTIGE +CD-ROM", said)
        assert "UDMA" in said or "MWDMA2" in said
        assert f"disc: {hashlib.sha256(disc.read_bytes()).hexdigest()}  /dev/sr0" in said
        assert "file: DEFAULT debian" in said
        assert "frame buffer: 0 VESA VGA" in said
        seat.tell("screen", "-o", str(picture))
        check_filled(picture)
        seat.tell("eject")
        seat.read_until("insert: another")
        seat.tell("insert", str(other))
        seat.read_until("other disc: ")
        said = "\n".join(seat.lines())  # to the end
        assert f"{hashlib.sha256(other.read_bytes()).hexdigest()}  /dev/sr0" in said
    assert seat.status == 0


def test_linux_draws_in_planes_by_vga16fb(host: SoftHost, tmp_path: Path) -> None:
    kernel = newest.kernel("vga16fb", flavour=newest.STANDARD)
    if tuple(map(int, kernel.release.split(".")[:2])) < FIRST_WITH_PLANES:
        pytest.skip(f"needs a newer Linux than {kernel.release}, whose vga16fb takes no VGA")
    initrd, disc = tmp_path / "initrd", tmp_path / "disc.iso"
    initrd.write_bytes(gzip.compress(initramfs.planes(kernel.modules).read_bytes()))
    discs.write_disc(disc, ISOLINUX_PLANES, {"vmlinuz": kernel.bzimage, "initrd": initrd})
    with Seat(host, "--machine", "pc", "--cdrom", str(disc), timeout=2 * TIMEOUT) as seat:
        said = seat.read_until("screen: drawn")
        assert "device: vga-framebuffer.0" in said
        assert "frame buffer: 0 VGA16 VGA" in said
        seat.tell("screen", "-o", str(tmp_path / "screen.png"))
        seat.type("\n")
        seat.lines()
    assert seat.status == 0
    check_planes(tmp_path / "screen.png")


def check_planes(path: Path) -> None:
    """A line of text, below it a character's block of each colour, and black."""
    width, height, dots = pictures.read(path.read_bytes())
    assert (width, height) == PLANES
    across, down = CHARACTER
    text = pictures.colours(dots, width, across * len(TEXT), down)
    assert text == {"0000aa", "aaaaaa"}, "grey on blue"
    line = pictures.RGB * width
    blocks = b"".join(across * colour.to_bytes(pictures.RGB, "big") for colour in SIXTEEN)
    assert dots[down * line : 2 * down * line] == down * blocks.ljust(line, b"\0")
    assert not any(dots[2 * down * line :])


def test_linux_reads_a_tablet(host: SoftHost) -> None:
    """Behind keys, which are the other device's."""
    kernel, initrd = kernels.kernel("standard").bzimage, initramfs.tablet("standard")
    words = (
        *("--machine", "pc", "--tablet"),
        *("--kernel", str(kernel), "--initrd", str(initrd)),
        *("--append", "console=ttyS0 loglevel=3 panic=-1"),
    )
    with Seat(host, *words, timeout=TIMEOUT) as seat:
        seat.read_until("point: the tablet")
        seat.tell("type", "a", "point 5 6", "button left down", "wheel 1", "point 32767 0")
        said = "\n".join(seat.lines())
    assert seat.status == 0
    (events,) = re.findall(r"events: (.*)", said)
    at, button, wheel = ["3,0,5", "3,1,6"], ["1,272,1"], ["2,8,-1"]
    end = ["0,0,0"]
    # Linux passes on what has changed, and no more.
    assert events.split() == [*at, *end, *button, *end, *wheel, *end, "3,0,32767", "3,1,0", *end]
