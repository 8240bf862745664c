"""Where RAM and the windows are in the guest's physical address space (docs/machine.md).

The first instruction's contents of low memory, all of it in RAM that e820 gives to the guest
as usable (Linux keeps the first MiB for itself and copies what it needs from there early):

    0x01000  GDT                              0x09000  PVH: start info, modules, memory map
    0x02000  page tables, six pages           0x20000  command line
    0x08000  Linux: boot_params ("zero page") 0xE0000  ACPI: RSDP first (reserved)
                                              0xF8000  SMBIOS, of a PC (reserved)
                                              0xFF000  a PC's MP tables (reserved)
                                              0xFFFF0  what a BIOS is entered by (reserved)

A Multiboot kernel may itself be between the GDT and 0x70000, so what it is told is above that:

    0x70000  information, module, memory map  0x80000  command line
"""

from vestige.abi import (
    ACPI_TABLES,
    ECAM,
    ECAM_SIZE,
    GIB,
    HIGH_RAM,
    IOAPIC,
    KIB,
    LOW_RAM_LIMIT,
    MIB,
    PCI_WINDOW,
    Board,
)

BASE_MEMORY = 0x413  # u16: KiB below LOW_RAM_END, in the BIOS's data area; Xen asks nobody else
GDT = 0x1000
PAGE_TABLES = 0x2000  # PML4, page-directory pointers, four page directories
BOOT_PARAMS = 0x8000
PVH_START_INFO = 0x9000
STACK_TOP = 0x20000  # grows down to the end of the PVH structures
COMMAND_LINE = 0x20000
COMMAND_LINE_LIMIT = 64 * KIB  # with the NUL
MULTIBOOT_FLOOR = GDT + 4 * KIB  # from here to the information a Multiboot kernel may be
MULTIBOOT_INFO = 0x70000
MULTIBOOT_COMMAND_LINE = 0x80000

LOW_RAM_END = 640 * KIB  # above it the PC's video memory and ROMs, which nothing backs here
ACPI_TABLES_SIZE = 128 * KIB  # reserved, to the end of the first MiB
SMBIOS = 0xF8000  # kernels search from 0xF0000 on; ACPI's end before it
MP_TABLES = 0xFF000  # of a PC, to BIOS_ENTRY
BIOS_ENTRY = 0xFFFF0  # the real-mode address FFFF:0000
KERNEL_FLOOR = 1 * MIB
PAGE = 4 * KIB

RAM_TYPE = 1  # e820 address range types, ACPI 6.5, table 15.2
RESERVED_TYPE = 2

LEAST_WINDOW = 2 * GIB  # where a PC's 32-bit PCI window begins at the lowest
PCI_WINDOW_64_SIZE = 16 * GIB  # also its alignment: a BAR of any size up to this fits aligned


class MemoryMap:
    """The physical address space of a machine with `memory` bytes of RAM.

    RAM starts at 0; what exceeds 3 GiB continues at 4 GiB. `low_size` and `high_size` are the
    two parts in bytes, `window` and `window_size` are the 32-bit PCI window, `window_64` is the
    start of the 64-bit one above RAM. `ecam`: whether configuration space is in memory. A PC's is
    not, so its firmware gives out all that is below the I/O APIC: SeaBIOS the highest addresses,
    OVMF from 2 GiB on, or from the end of RAM.
    """

    __slots__ = (
        "ecam", "high_size", "low_size", "window", "window_64", "window_64_size", "window_size",
    )  # fmt: skip

    def __init__(self, memory: int, board: Board = Board.MODERN) -> None:
        self.ecam = board != Board.PC
        self.low_size = min(memory, LOW_RAM_LIMIT)
        self.window = PCI_WINDOW if self.ecam else max(self.low_size, LEAST_WINDOW)
        self.window_size = (ECAM if self.ecam else IOAPIC) - self.window
        self.high_size = memory - self.low_size
        end = HIGH_RAM + self.high_size
        self.window_64_size = PCI_WINDOW_64_SIZE
        self.window_64 = -(-end // PCI_WINDOW_64_SIZE) * PCI_WINDOW_64_SIZE

    @property
    def ram(self) -> list[tuple[int, int]]:
        """RAM's parts: (start, length), ascending."""
        parts = [(0, self.low_size), (HIGH_RAM, self.high_size)]
        return [part for part in parts if part[1]]

    def e820(self) -> list[tuple[int, int, int]]:
        """The address range map: (start, length, type), ascending, no overlaps.

        ECAM is reserved here too: Linux uses ECAM only where e820 or ACPI's motherboard
        resources reserve it (arch/x86/pci/mmconfig-shared.c).
        """
        ranges = [
            (0, LOW_RAM_END, RAM_TYPE),
            (ACPI_TABLES, ACPI_TABLES_SIZE, RESERVED_TYPE),
            (KERNEL_FLOOR, self.low_size - KERNEL_FLOOR, RAM_TYPE),
        ]
        if self.ecam:
            ranges.append((ECAM, ECAM_SIZE, RESERVED_TYPE))
        if self.high_size:
            ranges.append((HIGH_RAM, self.high_size, RAM_TYPE))
        return ranges
