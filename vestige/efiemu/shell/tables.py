"""ACPI's tables, as the firmware has made them. Source: ACPI 6.5, 5.2.5 and 5.2.8."""

from ctypes import sizeof

from vestige.efiemu.shell.uefi import ACPI_20, Configuration, SystemTable
from vestige.lang.intrinsics import load32, load64
from vestige.lang.types import u64

XSDT, LENGTH, FIRST = 24, 4, 36  # offsets: in the RSDP, in a table, of a table's first entry
MOST_TABLES = 256
IOMMUS = (0x5352_5649, 0x5241_4D44)  # "IVRS", AMD's, and "DMAR", Intel's


def has_iommu(system: SystemTable) -> bool:
    """Whether a table tells the operating system of one."""
    pointer = acpi_pointer(system)
    if pointer == 0:
        return False
    root = load64(u64(pointer + XSDT))
    if root == 0:
        return False
    length = load32(u64(root + LENGTH))
    for number in range(MOST_TABLES):
        entry = FIRST + 8 * number
        if entry + 8 > length:
            return False
        if load32(load64(u64(root + entry))) in IOMMUS:
            return True
    return False


def acpi_pointer(system: SystemTable) -> u64:
    """The address of the RSDP, of version 2 or later; 0: there is none."""
    for number in range(MOST_TABLES):
        if number >= system.entries:
            return 0
        entry = Configuration.at(u64(system.configuration + sizeof(Configuration) * number))
        if entry.guid.low == ACPI_20[0] and entry.guid.high == ACPI_20[1]:
            return entry.table
    return 0
