"""ACPI's tables, as the firmware has made them. Source: ACPI 6.5, 5.2.5 and 5.2.8."""

from ctypes import sizeof

from vestige.efiemu.shell.uefi import ACPI_20, Configuration, SystemTable
from vestige.lang.intrinsics import load32, load64
from vestige.lang.types import u32, u64

XSDT, LENGTH, FIRST = 24, 4, 36  # offsets: in the RSDP, in a table, of a table's first entry
MOST_TABLES = 256
# Signatures: AMD's IOMMU and Intel's, configuration space in memory, and interrupt controllers.
IVRS, DMAR, MCFG, MADT = 0x5352_5649, 0x5241_4D44, 0x4746_434D, 0x4349_5041


def has_iommu(system: SystemTable) -> bool:
    """Whether a table tells the operating system of one."""
    return find_table(system, IVRS) != 0 or find_table(system, DMAR) != 0


def find_table(system: SystemTable, signature: u32) -> u64:
    """The address of the first one with that signature; 0: there is none."""
    pointer = acpi_pointer(system)
    if pointer == 0:
        return 0
    root = load64(u64(pointer + XSDT))
    if root == 0:
        return 0
    length = load32(u64(root + LENGTH))
    for number in range(MOST_TABLES):
        entry = FIRST + 8 * number
        if entry + 8 > length:
            return 0
        table = load64(u64(root + entry))
        if load32(table) == signature:
            return table
    return 0


def acpi_pointer(system: SystemTable) -> u64:
    """The address of the RSDP, of version 2 or later; 0: there is none."""
    for number in range(MOST_TABLES):
        if number >= system.entries:
            return 0
        entry = Configuration.at(u64(system.configuration + sizeof(Configuration) * number))
        if entry.guid.low == ACPI_20[0] and entry.guid.high == ACPI_20[1]:
            return entry.table
    return 0
