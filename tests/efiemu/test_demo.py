"""The parts of efiemu's demo: the disk that it boots from, and how it judges its guest."""

import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo_efiemu import driver, nested
from examples.telling import Failure, attend
from tests.guests import debian, fat, grub, images
from tests.guests.dialogue import Dialogue
from vestige.errors import UsageError
from vestige.softhost import emulator

BRIDGE = "00:00.0 Host bridge [0600]: Intel Corporation Controller [8086:29c0]"
IDE = "00:04.0 IDE interface [0101]: Intel Corporation 82371SB PIIX3 IDE [8086:7010]"
NVME = "00:04.0 Non-Volatile memory controller [0108]: Red Hat, Inc. QEMU NVM Express [1b36:0010]"
SUM = "5c" * 32
PATIENCE = 60.0  # seconds


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the demo's is made, of a tree that has next to nothing of Debian."""
    folder = tmp_path_factory.mktemp("disk")
    tree = folder / "tree"
    interfaces = tree / "etc/network/interfaces"
    interfaces.parent.mkdir(parents=True)
    interfaces.write_text("auto lo\nauto eth0\niface eth0 inet dhcp\n")
    boot = {name: folder / name for name in ("vmlinuz", "initrd.img")}
    for name, file in boot.items():
        file.write_text(f"This is {name}.")
    debian.write_efi_disk(folder / "disk.img", tree, boot, 8)
    return folder / "disk.img"


def firmwares(disk: Path, name: str) -> bytes:
    """A file of the partition that the firmware boots from."""
    copy = disk.with_name("copy")
    copy.unlink(missing_ok=True)
    fat.run("mcopy", "-i", f"{disk}@@{images.partition_offset(disk, 1)}", f"::{name}", copy)
    return copy.read_bytes()


def test_the_firmwares_default_is_debians_signed_grub(disk: Path) -> None:
    assert firmwares(disk, "EFI/BOOT/BOOTX64.EFI") == grub.signed().read_bytes()
    assert b"Debian Secure Boot Signer" in grub.signed().read_bytes()


def test_grub_is_led_to_the_partition_with_debian(disk: Path) -> None:
    offset = images.partition_offset(disk, debian.EFI_ROOT)
    images.check_ext4(disk, offset)
    probe = [images.tool("blkid"), "--probe", "--offset", str(offset), "-s", "UUID", "-o", "value"]
    said = subprocess.run([*probe, str(disk)], capture_output=True, text=True, check=True)
    uuid = said.stdout.strip()
    early = firmwares(disk, "EFI/debian/grub.cfg").decode().splitlines()
    assert early[0] == f"search.fs_uuid {uuid} root"
    menu = images.read_file(disk, "/boot/grub/grub.cfg", offset).decode()
    for word in ("linux", "initrd"):
        (line,) = [line for line in menu.splitlines() if line.strip().startswith(f"{word} ")]
        file = line.split()[1]
        assert images.read_file(disk, file, offset).decode() == f"This is {Path(file).name}."
    assert f"root=UUID={uuid}" in menu
    assert b"auto eth0" not in images.read_file(disk, "/etc/network/interfaces", offset)


def test_the_ide_has_to_be_where_the_nvme_was_and_nowhere_else() -> None:
    assert driver.judge_functions(f"{BRIDGE}\n{IDE}\n") == ""
    for found in (NVME, BRIDGE, IDE.replace("00:04", "00:01"), f"{IDE}\n{IDE.replace('4', '1')}"):
        assert driver.judge_functions(found).startswith("8086:7010 (PIIX3 IDE) is not at 00:04.0")
    other = NVME.replace("00:04", "00:05")
    assert driver.judge_functions(f"{IDE}\n{other}") == f"there still is {other}"


def test_a_digest_is_the_written_files_alone() -> None:
    said = f"64+0 records in\n{SUM}  {driver.PAYLOAD}\n"
    assert driver.digest(said) == SUM
    assert driver.digest(said.replace(driver.PAYLOAD, "/other")) == ""


@pytest.mark.parametrize(
    ("said", "failure"),
    [
        ("efiemu.efi... ok\nefiemu: the processor shows no SVM", "efiemu said: the processor sh"),
        (f"efiemu: {driver.TAKEN}", "the firmware does not say that it loads efiemu.efi"),
    ],
)
def test_a_machine_that_is_not_taken_over_ends_the_demo_with_what_was_said(
    said: str, failure: str
) -> None:
    words = [sys.executable, "-c", f"print({said!r}, flush=True); input()"]
    with pytest.raises(Failure, match=failure):
        attend(words, driver.start_up, PATIENCE, lambda _text: None)


def test_a_vm_that_ends_at_once_ends_the_demo() -> None:
    def talk(guest: Dialogue) -> None:
        driver.talk(guest, 2, [])

    with pytest.raises(TimeoutError, match="'efiemu: ' does not come; there is b'no disk"):
        attend(["echo", "no disk"], talk, PATIENCE, lambda _text: None)


PARTS = driver.Parts(Path("/firmware.fd"), Path("/served"), Path("/a disk.img"))


def test_the_nested_vm_has_no_local_apic_of_kvms(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one, the emulator below ends."""
    qemu = Path("/usr/bin/qemu-system-x86_64")
    monkeypatch.setattr(emulator, "installed", lambda: (qemu, (7, 2, 22)))
    words = nested.nested(PARTS)
    inside = words[words.index("--") + 1 :]
    assert words[1:4] == ["softhost", "--nvme", "/a disk.img"]
    assert inside[0] == str(qemu)
    assert inside[inside.index("-machine") + 1] == "q35,kernel_irqchip=off"
    assert "vfio-pci,host=0000:00:10.0,addr=4" in inside


def test_a_qemu_that_cant_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "installed", lambda: (Path("/usr/bin/qemu"), (10, 0, 2)))
    with pytest.raises(UsageError, match=r"/usr/bin/qemu: QEMU 10.0.2 has no local APIC for a VM"):
        nested.nested(PARTS)
