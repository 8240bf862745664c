"""A PC's firmware: its image, and what fw_cfg tells it."""

import struct
from pathlib import Path

import pytest

from vestige.abi import Board, Bus, Config, VirtioKind
from vestige.bounds import GIB, MIB
from vestige.errors import UsageError
from vestige.machine import firmware
from vestige.machine.config import MachineConfig
from vestige.machine.files import open_input


@pytest.mark.parametrize("size", [1, 0xFFFF, 0x10000, 0x1FFFF, 0x31000, 0x50001, 0x80_1000])
def test_a_size_that_no_image_has_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "rom"
    path.write_bytes(bytes(size))
    with open_input(str(path), "an image") as file, pytest.raises(UsageError) as refused:
        firmware.read(file)
    known = "one has 128 to 256 KiB, a multiple of 64, or at most 8192, a multiple of 4"
    assert str(refused.value) == f"--firmware {path}: {size} bytes, no firmware image; {known}"


@pytest.mark.parametrize("size", [0x37_C000, 0x7F_F000])
def test_a_uefi_firmware_has_8_mib_with_its_variables(tmp_path: Path, size: int) -> None:
    path = tmp_path / "rom"
    path.write_bytes(bytes(size))
    room = 0x80_0000 - size
    with open_input(str(path), "an image") as file:
        assert len(firmware.read(file, room)) == size
        with pytest.raises(UsageError) as refused:
            firmware.read(file, room + 0x1000)
    least = f"at most 8192, with the variables' {(room >> 10) + 4} below it, a multiple of 4"
    assert str(refused.value).endswith(least)


@pytest.mark.parametrize("size", [128 << 10, 192 << 10, 256 << 10, 0x37_C000])
def test_the_end_of_an_image_is_below_1_mib_too(tmp_path: Path, size: int) -> None:
    path = tmp_path / "rom"
    path.write_bytes(bytes(size - 16) + bytes(range(16)))
    with open_input(str(path), "an image") as file:
        image = firmware.read(file)
    ram = bytearray(2 * MIB)
    firmware.shadow(memoryview(ram), image)
    assert ram[MIB - 16 : MIB] == bytes(range(16))
    assert ram.count(0) == len(ram) - 15


def test_it_is_told_of_ram_processors_and_tables() -> None:
    config = MachineConfig(cpus=3, memory=4 * GIB, board=Board.PC)
    files, items = firmware.files(config, None, ["/a", "/b"]), firmware.items(config)
    assert list(struct.iter_unpack("<QQI", files["etc/e820"])) == [
        (0, 3 * GIB, 1),
        (4 * GIB, GIB, 1),
    ]
    assert files["bootorder"] == b"/a\n/b\0"
    assert {"etc/acpi/rsdp", "etc/acpi/tables", "etc/table-loader"} <= files.keys()
    assert {"etc/smbios/smbios-anchor", "etc/smbios/smbios-tables"} <= files.keys()
    assert files["etc/boot-fail-wait"] == (1000).to_bytes(4, "little")
    assert set(items.values()) == {b"\3\0"}


def test_disks_are_booted_in_the_order_in_which_they_were_given() -> None:
    config = Config()
    for number, (bus, channel, unit) in enumerate(
        [(Bus.VIRTIO, 0, 0), (Bus.IDE, 0, 0), (Bus.VIRTIO, 0, 0), (Bus.IDE, 1, 1)]
    ):
        disk = config.disks[number]
        disk.present, disk.bus, disk.channel, disk.unit = 1, bus, channel, unit
    config.virtio[0].kind, config.virtio[0].index = VirtioKind.BLOCK, 0
    config.virtio[1].kind = VirtioKind.ENTROPY
    config.virtio[2].kind, config.virtio[2].index = VirtioKind.BLOCK, 2
    assert firmware.boot_order(config) == [
        "/pci@i0cf8/scsi@3/disk@0,0",
        "/pci@i0cf8/ide@1,1/drive@0/disk@0",
        "/pci@i0cf8/scsi@5/disk@0,0",
        "/pci@i0cf8/ide@1,1/drive@1/disk@1",
    ]


def test_floppy_disks_are_booted_behind_the_others() -> None:
    config = Config()
    for number, bus in enumerate((Bus.IDE, Bus.FLOPPY)):
        config.disks[number].present, config.disks[number].bus = 1, bus
    config.disks[1].unit = 1
    assert firmware.boot_order(config) == [
        "/pci@i0cf8/ide@1,1/drive@0/disk@0",
        "/pci@i0cf8/isa@1/fdc@03f0/floppy@1",
    ]
