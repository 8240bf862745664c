"""The ACPI tables of the machine, laid out where the guest looks for them.

Source: ACPI specification 6.5, chapters 5 (tables), 6 (device configuration), 19 and 20 (ASL
and AML); PCI Firmware Specification 3.3 (MCFG, _OSC).
"""

from vestige.abi import ACPI_TABLES, Board
from vestige.machine.acpi import dsdt, tables
from vestige.machine.config import MachineConfig
from vestige.machine.memory_map import BIOS_ENTRY

ALIGNMENT = 64


def build(config: MachineConfig) -> bytes:
    """The RSDP and every table, for guest-physical address ACPI_TABLES on; the RSDP is first."""
    area = bytearray(ALIGNMENT)  # room for the RSDP, which is known last

    def place(table: bytes) -> int:
        address = ACPI_TABLES + len(area)
        area.extend(table)
        area.extend(bytes(-len(area) % ALIGNMENT))
        return address

    differentiated = place(tables.table(b"DSDT", 2, dsdt.definition_block(config)))
    old = config.board == Board.PC
    fixed_hardware = old or any(device.fixed_hardware for device in config.devices)
    facs = place(tables.facs()) if fixed_hardware else 0
    described = [place(tables.fadt(differentiated, facs, old=old)), place(tables.madt(config))]
    described.append(place(tables.mcfg()))
    for device in config.devices:
        if device.table is not None:
            own = device.table
            described.append(place(tables.table(own.signature, own.revision, own.body)))
    rsdt = place(tables.rsdt(described))
    xsdt = place(tables.xsdt(described))
    pointer = tables.rsdp(rsdt, xsdt)
    area[: len(pointer)] = pointer
    if ACPI_TABLES + len(area) > BIOS_ENTRY:
        raise ValueError(f"ACPI tables of {len(area)} bytes, {BIOS_ENTRY - ACPI_TABLES} have room")
    return bytes(area)
