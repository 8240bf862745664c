"""A machine of one processor, taken over by what GRUB starts, from a USB stick.

What the disk has is Debian's GRUB, too, which starts Linux from it.
"""

from pathlib import Path

import pytest

from tests import compiling
from tests.efiemu import ovmf
from tests.guests import grub, images, initramfs, kernels
from vestige.efiemu.build import application

STICK = """
terminal_output console
chainloader /efiemu.efi nvme=00:04.0
boot
"""
LINUX = "/vmlinuz console=ttyS0 quiet tsc=reliable no_timer_check"
DISK = f"""
terminal_output console
linux {LINUX}
initrd /initrd.img
boot
"""


@pytest.mark.slow
def test_debians_grub_starts_it_and_is_started_by_it(tmp_path: Path) -> None:
    for name, text in (("stick.cfg", STICK), ("disk.cfg", DISK)):
        (tmp_path / name).write_text(text)
    (tmp_path / "efiemu.efi").write_bytes(compiling.kept("efiemu.efi", application))
    folder, disk = tmp_path / "none", tmp_path / "disk.img"
    folder.mkdir()
    default = {"EFI/BOOT/BOOTX64.EFI": grub.signed()}
    linux = {"vmlinuz": kernels.kernel("cloud").bzimage, "initrd.img": initramfs.reached()}
    disks = {**default, **linux, "EFI/debian/grub.cfg": tmp_path / "disk.cfg"}
    images.partitioned(disk, [images.SystemPartition(disks)])
    sticks = {**default, "EFI/debian/grub.cfg": tmp_path / "stick.cfg"}
    words = ovmf.stick(tmp_path / "stick.img", {**sticks, "efiemu.efi": tmp_path / "efiemu.efi"})
    words += ("-smp", "1", "-drive", f"file={disk},format=raw,if=none,id=disk")
    lines = ovmf.boot(folder, *words, "-device", "nvme,serial=4,drive=disk,addr=4")
    text = "\n".join(lines)
    assert "efiemu: NVMe 1b36:0010 at 00:04.0: taken over; this firmware goes on as" in text
    assert f"command line: BOOT_IMAGE={LINUX}\n" in text
    assert "cpus: 1\n" in text
    assert "INIT-REACHED" in text
