"""What a PC's firmware is, where it lies, and what it is told of the machine by fw_cfg.

An image ends at 4 GiB, where a processor begins after a reset; its last 128 KiB are below 1 MiB,
too, as a chipset shows them then. A UEFI firmware's variables are below it, in flash memory.
Source: QEMU, docs/specs/fw_cfg.rst; SeaBIOS, docs/Runtime_config.md.
"""

import struct
from _collections_abc import Sequence

from vestige.abi import (
    FLASH_SIZE,
    PORT_UART,
    Board,
    Bus,
    Config,
    FirmwareKey,
    VirtioKind,
)
from vestige.bounds import MIB
from vestige.errors import UsageError
from vestige.machine import smbios
from vestige.machine.acpi import loader
from vestige.machine.config import MachineConfig
from vestige.machine.files import InputFile
from vestige.machine.memory_map import RAM_TYPE, MemoryMap
from vestige.rows import ROWS

UNIT = 64 << 10  # bytes, of which a BIOS has a multiple
SHADOW = 128 << 10  # bytes at the end of an image that are below 1 MiB too
LARGEST_BIOS = 256 << 10  # bytes
PAGE = 4 << 10  # bytes, of which a larger image, a UEFI firmware's, has a multiple
E820_ENTRY = struct.Struct("<QQI")  # address, size, kind
VGA_ROM = "pci1234,1111.rom"
# Where nothing boots, SeaBIOS says so, waits, and resets the machine, which ends most runs.
FAIL_WAIT = "etc/boot-fail-wait"
FAIL_MILLISECONDS = 1000


def is_uefi(size: int) -> bool:
    """Whether an image of so many bytes is a UEFI firmware's: a BIOS has less."""
    return LARGEST_BIOS < size <= FLASH_SIZE


def read(file: InputFile, variables: int = 0) -> bytes:
    """The image, all of it, which has so many bytes of `variables` below it.

    Raises UsageError for a size that none has, or what can't be read.
    """
    unit = UNIT if file.size <= LARGEST_BIOS else PAGE
    if file.size % unit or not SHADOW <= file.size <= FLASH_SIZE - variables:
        below = f", with the variables' {variables >> 10} below it" if variables else ""
        raise UsageError(
            f"--firmware {file.path}: {file.size} bytes, no firmware image; one has"
            f" {SHADOW >> 10} to {LARGEST_BIOS >> 10} KiB, a multiple of {UNIT >> 10}, or at most"
            f" {FLASH_SIZE >> 10}{below}, a multiple of {PAGE >> 10}"
        )
    image = bytearray(file.size)
    file.read_at(0, memoryview(image))
    return bytes(image)


def shadow(ram: memoryview, image: bytes) -> None:
    """Put an image's end below 1 MiB of guest RAM."""
    ram[MIB - SHADOW : MIB] = image[-SHADOW:]


def files(
    config: MachineConfig, vga_bios: InputFile | None, order: Sequence[str]
) -> dict[str, bytes]:
    """fw_cfg's files by name: RAM, ACPI tables, what drives the VGA, if there is one.

    The serial port is the BIOS's screen, too. `order`: what to boot from, the first first, as
    `boot_order` says it.
    """
    ranges = MemoryMap(config.memory, config.board).ram
    told = {
        "bootorder": "\n".join(order).encode() + b"\0",
        "etc/e820": b"".join(E820_ENTRY.pack(*part, RAM_TYPE) for part in ranges),
        "etc/sercon-port": struct.pack("<H", PORT_UART),
        FAIL_WAIT: struct.pack("<I", FAIL_MILLISECONDS),
    }
    if vga_bios is not None:
        rom = bytearray(vga_bios.size)
        vga_bios.read_at(0, memoryview(rom))
        told[VGA_ROM] = bytes(rom)
    return loader.files(config) | smbios.firmware_files(config) | told


def boot_order(config: Config) -> list[str]:
    """The disks as Open Firmware names devices, in the order in which they were given.

    Floppy disks are the last.

    `config`: the machine's, before functions are dealt out. Source: QEMU, docs/bootindex.txt;
    SeaBIOS, src/boot.c.
    """
    functions = {place.disks: place.pci.first(Board.PC) for place in ROWS if place.pci}
    (isa,) = (place.pci.first(Board.PC) for place in ROWS if place.pci and place.steers)
    ports = {place.disks: place.ports[0].first for place in ROWS if place.ports}
    ide, virtio = functions[Bus.IDE], functions[Bus.VIRTIO]
    slots = {
        function.index: virtio.slot + number
        for number, function in enumerate(config.virtio)
        if function.kind == VirtioKind.BLOCK
    }
    order = []
    for number, disk in enumerate(config.disks):
        if disk.present and disk.bus == Bus.VIRTIO:
            order.append(f"/pci@i0cf8/scsi@{slots[number]:x}/disk@0,0")
        elif disk.present and disk.bus == Bus.FLOPPY:
            place = f"isa@{isa.slot:x}/fdc@{ports[Bus.FLOPPY]:04x}/floppy@{disk.unit:x}"
            order.append(f"/pci@i0cf8/{place}")
        elif disk.present:
            place = f"ide@{ide.slot:x},{ide.number:x}/drive@{disk.channel:x}/disk@{disk.unit:x}"
            order.append(f"/pci@i0cf8/{place}")
    return order


def items(config: MachineConfig) -> dict[int, bytes]:
    """fw_cfg's items without a name: how many processors there are, and may be."""
    count = struct.pack("<H", config.cpus)
    return {FirmwareKey.CPUS: count, FirmwareKey.MOST_CPUS: count}
