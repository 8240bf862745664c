"""Configuration space in memory, as OVMF uses it on QEMU's q35: the IDE is there, the NVMe is not.

One boot. The firmware's shell lists PCI's functions, and its own driver finds the disk. Then an
application of the tests' starts the other processors, as many as there may be, by x2APIC. At the
end Linux does so, from the disk, with more memory than there is room for below 4 GiB. This OVMF is
the newest that can be had, and the one with system management mode, to which all processors come
for each variable that is written.
"""

import re
from typing import NamedTuple

import pytest

from tests.efiemu import lone, ovmf, x2apic
from tests.guests import images, initramfs, kernels
from vestige.efiemu.build import application

pytestmark = pytest.mark.xdist_group("efiemu ecam")  # its tests share one boot

SCRIPT = (
    "fs0:",
    "\\efiemu.efi",
    "pci",
    "map -r",
    "fs1:",
    "type note.txt",
    "set kept yes",
    "set kept",
    "fs0:\\x2apic.efi",
    "set kept no",
    "set kept",
    "fs1:\\vmlinuz.efi initrd=\\initrd.img console=ttyS0 tsc=reliable no_timer_check",
)
PROCESSORS, MEMORY = 8, 6 << 20  # KiB
LAHF_IN_LONG_MODE, SVM = 1 << 0, 1 << 2  # CPUID Fn8000_0001, ECX
NOTE = b"This is on the NVMe.\r\n"


class Boot(NamedTuple):
    """What was on the serial port, and the firmware's variables afterwards; its version."""

    lines: list[str]
    variables: bytes
    later: str | None


@pytest.fixture(scope="module")
def boot(tmp_path_factory: pytest.TempPathFactory) -> Boot:
    folder = tmp_path_factory.mktemp("esp")
    (folder / "efiemu.efi").write_bytes(application())
    (folder / "startup.nsh").write_text("".join(f"{line}\r\n" for line in SCRIPT))
    elsewhere = tmp_path_factory.mktemp("nvme")
    disk, note = elsewhere / "disk.img", elsewhere / "note.txt"
    note.write_bytes(NOTE)
    files = {
        "note.txt": note,
        "vmlinuz.efi": kernels.kernel("cloud").bzimage,
        "initrd.img": initramfs.reached(),
    }
    images.partitioned(disk, [images.SystemPartition(files)])
    (folder / "x2apic.efi").write_bytes(lone.application(x2apic.efi_main))
    size = ("-smp", str(PROCESSORS), "-m", f"{MEMORY}K")
    drive = ("-drive", f"file={disk},format=raw,if=none,id=disk")
    device = ("-device", "nvme,serial=4,drive=disk,addr=4")
    variables = disk.with_name("variables")
    firmware, cpu = ovmf.firmware_with_smm(folder, variables), ovmf.CPU + ",+x2apic"
    lines = ovmf.boot(
        folder, *size, *drive, *device, machine="q35,smm=on", cpu=cpu, of=firmware.words
    )
    return Boot(lines, variables.read_bytes(), firmware.later)


@pytest.fixture
def lines(boot: Boot) -> list[str]:
    return boot.lines


def test_the_ide_is_in_the_controllers_place(lines: list[str]) -> None:
    assert any(line.startswith("efiemu: NVMe 1b36:0010 at 00:04.0: taken over") for line in lines)
    words = [" ".join(line.split()) for line in lines]
    place = words.index("00 00 04 00 ==> Mass Storage Controller - IDE controller")
    assert words[place + 1] == "Vendor 8086 Device 7010 Prog Interface 8A"
    assert not any("Non-volatile memory" in line for line in lines)


def test_the_firmwares_own_driver_reads_from_it(lines: list[str]) -> None:
    assert any("Pci(0x4,0x0)/Ata(" in line and "/HD(1,MBR," in line for line in lines)
    assert NOTE.decode().strip() in lines


def test_processors_that_are_started_by_x2apic_are_guests_too(lines: list[str]) -> None:
    (found,) = [line.split() for line in lines if line.startswith("x2apic: ")]
    features = int(found[2], 16)
    assert int(found[1], 16) == PROCESSORS - 1, "they have arrived where the guest wanted them"
    assert features & LAHF_IN_LONG_MODE
    assert not features & SVM


def test_the_firmware_writes_variables_before_and_after_that(boot: Boot) -> None:
    words = [line.split() for line in boot.lines]
    assert [line[2] for line in words if line[:2] == ["kept", "="]] == ["yes", "no"]
    for text in ("kept", "yes", "no"):
        assert text.encode("utf-16-le") in boot.variables, "which only that mode can write"


def test_linux_has_all_processors_and_memory_above_4_gib(lines: list[str]) -> None:
    """Its own lines may be between the guest's."""
    text = "\n".join(lines)
    assert "INIT-REACHED" in text
    assert f"cpus: {PROCESSORS}\n" in text
    memory = re.search(r"memory: (\d+) KiB", text)
    assert memory is not None
    assert MEMORY * 0.9 < int(memory[1]) < MEMORY


def test_the_firmware_is_of_a_later_suite(boot: Boot) -> None:
    """Linux writes its version."""
    if boot.later is None:
        pytest.skip("needs Debian's later suites; all else was tried on the release's own OVMF")
    found = re.search(r"DMI: QEMU .* BIOS (\S+) ", "\n".join(boot.lines))
    assert found is not None
    assert found[1] == boot.later
