"""The ACPI tables for a firmware that puts them where it likes, and the script by which it does.

Source: QEMU, hw/acpi/bios-linker-loader.c: commands of 128 bytes, little-endian. They allocate a
file of fw_cfg, add the address of one to a field of another, and make a checksum.
"""

import struct

from vestige.lang.enumeration import IntEnum
from vestige.machine.acpi import every_table
from vestige.machine.acpi.layout import ALIGNMENT, join, point
from vestige.machine.config import MachineConfig

SCRIPT = "etc/table-loader"
POINTER = "etc/acpi/rsdp"
TABLES = "etc/acpi/tables"
COMMAND_SIZE = 128
NAME = "56s"  # of a file, with NULs behind it
POINTER_ALIGNMENT = 16  # bytes, of the RSDP: ACPI 6.5, 5.2.5.1


class Command(IntEnum):
    """A command's first 32 bits; what follows them."""

    ALLOCATE = 1  # name, alignment (32 bits), Zone (8 bits)
    ADD_POINTER = 2  # name of the file with the field, of the other, offset (32), bytes (8)
    ADD_CHECKSUM = 3  # name, offset of the checksum, of the first byte, length (32 bits each)


class Zone(IntEnum):
    """Where a file is to be."""

    HIGH = 1  # anywhere
    FSEG = 2  # 0xF0000 to 0xFFFFF, where an RSDP is looked for


def files(config: MachineConfig) -> dict[str, bytes]:
    """The three files of fw_cfg: the script, and what it allocates.

    Fields for addresses hold offsets in TABLES, to which its address is added. Checksums that
    change by that hold 0.
    """
    pointer, *tables = every_table(config)
    area, offsets = join(tables)
    for table, start in offsets.items():
        point(area, start, table, offsets)
    first = bytearray(pointer.data)
    point(first, 0, pointer, offsets)
    script = [allocate(POINTER, POINTER_ALIGNMENT, Zone.FSEG)]
    script.append(allocate(TABLES, ALIGNMENT, Zone.HIGH))
    everything = [(POINTER, pointer, 0), *((TABLES, *placed) for placed in offsets.items())]
    for name, table, start in everything:
        for offset, size, _ in table.pointers:
            script.append(add_pointer(name, TABLES, start + offset, size))
    for name, table, start in everything:
        for offset, length in table.checksums:
            script.append(add_checksum(name, start + offset, start, length))
    return {SCRIPT: b"".join(script), POINTER: bytes(first), TABLES: bytes(area)}


def allocate(name: str, alignment: int, zone: Zone) -> bytes:
    """Give the file memory of its own."""
    return command(Command.ALLOCATE, f"{NAME}IB", name, alignment, zone)


def add_pointer(name: str, other: str, offset: int, size: int) -> bytes:
    """Add the address of `other` to `size` bytes at `offset` of the file."""
    return command(Command.ADD_POINTER, f"{NAME}{NAME}IB", name, other, offset, size)


def add_checksum(name: str, offset: int, start: int, length: int) -> bytes:
    """Have the byte at `offset` of the file make the sum of `length` bytes from `start` zero."""
    return command(Command.ADD_CHECKSUM, f"{NAME}III", name, offset, start, length)


def command(number: Command, form: str, *values: str | int) -> bytes:
    """One command of the script."""
    plain = [value.encode() if isinstance(value, str) else value for value in values]
    return struct.pack(f"<I{form}", number, *plain).ljust(COMMAND_SIZE, b"\0")
