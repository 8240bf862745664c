"""Configuration space in memory, as OVMF uses it on QEMU's q35: the IDE is there, the NVMe is not.

A boot of the firmware alone: its shell lists PCI's functions, and its own driver finds the disk. At
the end an application of the tests' starts the other processor by x2APIC. This OVMF is the newest
that can be had, and the one with system management mode, to which all processors come for each
variable that is written.
"""

from typing import NamedTuple

import pytest

from tests.efiemu import ovmf, x2apic
from tests.guests import images
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
    "reset -s",
)
LAHF_IN_LONG_MODE, SVM = 1 << 0, 1 << 2  # CPUID Fn8000_0001, ECX
NOTE = b"This is on the NVMe.\r\n"


class Boot(NamedTuple):
    """What was on the serial port, and the firmware's variables afterwards."""

    lines: list[str]
    variables: bytes


@pytest.fixture(scope="module")
def boot(tmp_path_factory: pytest.TempPathFactory) -> Boot:
    folder = tmp_path_factory.mktemp("esp")
    (folder / "efiemu.efi").write_bytes(application())
    (folder / "startup.nsh").write_text("".join(f"{line}\r\n" for line in SCRIPT))
    elsewhere = tmp_path_factory.mktemp("nvme")
    disk, note = elsewhere / "disk.img", elsewhere / "note.txt"
    note.write_bytes(NOTE)
    images.partitioned(disk, [images.SystemPartition({"note.txt": note})])
    (folder / "x2apic.efi").write_bytes(x2apic.application())
    words = ("-smp", "2", "-drive", f"file={disk},format=raw,if=none,id=disk")
    device = ("-device", "nvme,serial=4,drive=disk,addr=4")
    variables = disk.with_name("variables")
    firmware, cpu = ovmf.firmware_with_smm(folder, variables), ovmf.CPU + ",+x2apic"
    lines = ovmf.boot(folder, *words, *device, machine="q35,smm=on", cpu=cpu, of=firmware)
    return Boot(lines, variables.read_bytes())


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


def test_a_processor_that_is_started_by_x2apic_is_a_guest_too(lines: list[str]) -> None:
    (found,) = [line.split() for line in lines if line.startswith("x2apic: ")]
    features = int(found[2], 16)
    assert found[1] == "01", "it has arrived where the guest wanted it"
    assert features & LAHF_IN_LONG_MODE
    assert not features & SVM


def test_the_firmware_writes_variables_before_and_after_that(boot: Boot) -> None:
    words = [line.split() for line in boot.lines]
    assert [line[2] for line in words if line[:2] == ["kept", "="]] == ["yes", "no"]
    for text in ("kept", "yes", "no"):
        assert text.encode("utf-16-le") in boot.variables, "which only that mode can write"
