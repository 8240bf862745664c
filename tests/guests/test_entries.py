"""Kernels that start neither by Linux's 64-bit entry nor by PVH, in the software host."""

import shutil
from pathlib import Path

import pytest

from tests.guests import i386, xen
from tests.guests.boots import boot, boot_words
from vestige.softhost import SoftHost

pytestmark = [
    pytest.mark.softhost,
    pytest.mark.skipif(
        not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64 (software host)"
    ),
]

MODULE = b"no domain 0 at all\n" * 1000


def test_debian_for_32_bits_starts_by_its_32_bit_entry(there: SoftHost | None) -> None:
    kernel = i386.kernel()
    guest = boot(kernel.bzimage, kernel.reached, "marker=one", "--memory", "256M", there=there)
    assert "INIT-REACHED" in guest.lines, guest
    assert "marker=one" in guest.after("command line:")[0].split()
    (memory,) = guest.after("memory:")
    assert 200 << 10 < int(memory.removesuffix(" KiB")) <= 256 << 10
    assert guest.status == 0, guest


@pytest.mark.slow
def test_processors_of_a_pc_are_found_by_our_mp_tables_without_acpi() -> None:
    kernel = i386.kernel()
    words = ("--machine", "pc", "--cpus", "8", "--memory", "256M")
    guest = boot(kernel.bzimage, kernel.reached, "acpi=off reboot=p do=reset", *words)
    assert guest.after("cpus:") == ["8"], guest
    assert guest.status == 3, guest


@pytest.mark.slow
def test_xen_starts_by_multiboot_and_finds_memory_tables_and_module(tmp_path: Path) -> None:
    """It takes its one module for the kernel of its first domain, and resets as that is none."""
    module = tmp_path / "module"
    module.write_bytes(MODULE)
    guest = boot_words(
        *("--machine", "pc", "--kernel", str(xen.hypervisor()), "--initrd", str(module)),
        *("--memory", "256M", "--append", "com1=115200,8n1 console=com1 marker=one"),
    )
    said = [line.removeprefix("(XEN) ") for line in guest.lines if line.startswith("(XEN)")]
    assert "Bootloader: Vestige" in said, guest
    assert "Command line: com1=115200,8n1 console=com1 marker=one" in said
    ranges = said[said.index("Multiboot-e820 RAM map:") + 1 :]
    assert ranges[0].strip() == "[0000000000000000, 000000000009ffff] (usable)"
    assert any(line.strip() == "[0000000000100000, 000000000fffffff] (usable)" for line in ranges)
    assert "ACPI: RSDP 000E0000, 0024 (r2 VESTIG)" in said
    assert "Platform timer is 3.580MHz ACPI PM Timer" in said, "the PIIX4's, as the FADT says"
    assert "ELF: not an ELF binary" in said, "the module"
    assert guest.status == 3, "it has reset the machine"


@pytest.mark.slow
def test_seabios_starts_debian_for_32_bits_with_its_initrd_and_command_line() -> None:
    """By the 16-bit boot protocol, from fw_cfg: it knows memory and processors by the BIOS."""
    kernel = i386.kernel()
    started = ("--machine", "pc", "--firmware", "bios", "--cpus", "8", "--memory", "256M")
    guest = boot(kernel.bzimage, kernel.reached, "marker=one acpi=off do=reset", *started)
    assert any("SeaBIOS" in line for line in guest.lines), guest
    assert "INIT-REACHED" in guest.lines, guest
    assert guest.after("cpus:") == ["8"]
    assert "marker=one" in guest.after("command line:")[0].split()
    (memory,) = guest.after("memory:")
    assert 200 << 10 < int(memory.removesuffix(" KiB")) <= 256 << 10
    assert guest.status == 3, guest
