"""Debian's own installer on a PC, from a disc: typed through to the network, and by UEFI."""

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.guests import installer, reading, uefi
from tests.guests.named import NamedRun

pytestmark = [
    pytest.mark.slow,
    pytest.mark.softhost,
    pytest.mark.skipif(
        not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64 (software host)"
    ),
]

PATIENCE = 900.0  # seconds for what comes next, on a busy machine
DISK = 2 << 30  # bytes of the one to install to
MEMORY = ("--memory", "1G")  # with half of it the installer skips questions
# A text screen that stays one: no VBE mode by the boot loader, no driver for the VGA in it.
LINE = "install vga=normal fb=false modprobe.blacklist=bochs"
AT_ONCE = 8  # characters: a BIOS keeps 15 keys
QUESTIONS = ("Select a language", "Select your location", "Configure the keyboard")
NETWORK = "Please enter the hostname for this system"  # what DHCP has said nothing of


@pytest.mark.skipif(not shutil.which("passt"), reason="needs passt")
def test_the_installer_is_typed_through_to_the_network_on_a_text_screen(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate(DISK)
    words = ("--cdrom", str(installer.disc("text")), "--disk", str(disk), "--net", "user")
    name = f"installer-{os.getpid()}"
    with NamedRun(name, tmp_path / "log", "--machine", "pc", *MEMORY, *words) as pc:
        pc.wait_for("shows graphics", PATIENCE)  # isolinux's menu
        pc.type("esc")
        pc.wait_for("boot:", PATIENCE)
        for start in range(0, len(LINE), AT_ONCE):
            end = start + AT_ONCE
            pc.type("--text", LINE[start:end])
            pc.wait_for(f"boot: {LINE[:end].rstrip()}", PATIENCE)
        pc.type("enter")
        for question in QUESTIONS:
            pc.wait_for(question, PATIENCE)
            pc.type("enter")
        screen = pc.wait_for(NETWORK, PATIENCE)
    assert "Configure the network" in screen


def test_the_installer_asks_its_first_question_behind_ovmf_and_grub(
    surroundings: dict[str, str],
) -> None:
    """All of it on the serial port."""
    disc = installer.disc("text")
    with uefi.run(surroundings, *MEMORY, "--cdrom", str(disc)) as (_, person):
        person.read_until("Advanced options")  # of GRUB's menu
        person.type("c")
        for line in (
            f"linux /{installer.FOLDER}/linux console=ttyS0 quiet",
            f"initrd /{installer.FOLDER}/initrd.gz",
            "boot",
        ):
            person.read_until("grub> ")
            person.type(f"{line}\n")
        person.read_until(QUESTIONS[0])


@pytest.mark.skipif(not reading.is_there(), reason="needs tesseract")
def test_grub_and_the_installer_are_drawn_behind_ovmf_and_hear_keys(
    surroundings: dict[str, str], tmp_path: Path
) -> None:
    words = (
        *("--accel", "soft", "--machine", "pc", "--firmware", str(uefi.firmware())),
        *(*MEMORY, "--cdrom", str(installer.disc("text"))),
    )
    name, log = f"drawn-{os.getpid()}", tmp_path / "log"
    with NamedRun(name, log, *words, environment=surroundings) as pc:
        read_until(pc, "Advanced options", tmp_path / "menu.png")
        pc.type("enter")
        read_until(pc, QUESTIONS[0], tmp_path / "question.png")


def read_until(pc: NamedRun, mark: str, picture: Path) -> None:
    """Until it is on the screen, of which `picture` is the last."""
    deadline = time.monotonic() + PATIENCE
    said, last = "", b""
    while not reading.has(mark, said):
        assert time.monotonic() < deadline, said
        pc.pause()
        done = pc.ask("screen", "-o", str(picture))
        if done.returncode == 0 and picture.read_bytes() != last:
            last, said = picture.read_bytes(), reading.words(picture)
