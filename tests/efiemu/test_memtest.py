"""memtest86+ as the guest: it starts the other processor, and finds no memory that isn't its own.

One page is in the place of the shell's block again and again. A test that took it for RAM would
find there what it had written elsewhere.
"""

import re
from pathlib import Path

import pytest

from tests import compiling
from tests.efiemu import ovmf
from tests.guests import loaders
from vestige.efiemu.build import application

SCRIPT = ("fs0:", "\\efiemu.efi", "\\memtest.efi console=ttyS0,115200")
FOUR_TESTS = "#4  [Moving inversions, 8 bit pattern]"  # is the next one


@pytest.mark.slow
def test_two_processors_test_all_memory_and_find_no_errors(tmp_path: Path) -> None:
    folder, disk = tmp_path / "esp", tmp_path / "disk.img"
    folder.mkdir()
    (folder / "efiemu.efi").write_bytes(compiling.kept("efiemu.efi", application))
    (folder / "memtest.efi").write_bytes(loaders.boot_file(loaders.MEMTEST_EFI).read_bytes())
    (folder / "startup.nsh").write_text("".join(f"{line}\r\n" for line in SCRIPT))
    disk.write_bytes(bytes(1 << 20))
    words = ["-m", "256M", "-vga", "std", "-smp", "2"]
    words += ["-drive", f"file={disk},format=raw,if=none,id=disk"]
    words += ["-device", "nvme,serial=4,drive=disk,addr=4"]
    lines = ovmf.boot_until(FOUR_TESTS, 1, folder, *words, whole_line=False)
    assert any("taken over" in line for line in lines)
    screen = " ".join(lines)
    assert "SMP: 2T (PAR)" in screen
    assert set(re.findall(r"Errors: +(\d+)", screen)) == {"0"}
