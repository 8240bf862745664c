"""The ACPI tables of the machine, laid out where the guest looks for them.

Source: ACPI specification 6.5, chapters 5 (tables), 6 (device configuration), 19 and 20 (ASL
and AML); PCI Firmware Specification 3.3 (MCFG, _OSC).
"""

from vestige.abi import ACPI_TABLES, Board
from vestige.machine.acpi import dsdt, tables
from vestige.machine.acpi.layout import Table, checksum, join, point
from vestige.machine.config import MachineConfig
from vestige.machine.memory_map import SMBIOS


def every_table(config: MachineConfig) -> list[Table]:
    """All tables in the order in which they lie; the RSDP is first."""
    differentiated = Table(tables.table(b"DSDT", 2, dsdt.definition_block(config)))
    old = config.board == Board.PC
    fixed_hardware = old or any(device.fixed_hardware for device in config.devices)
    facs = Table(tables.facs()) if fixed_hardware else None
    described = [
        tables.fadt(differentiated, facs, config),
        Table(tables.madt(config)),
    ]
    if not old:
        described.append(Table(tables.mcfg()))
    for device in config.devices:
        if device.table is not None:
            own = device.table
            described.append(Table(tables.table(own.signature, own.revision, own.body)))
    rsdt, xsdt = tables.rsdt(described), tables.xsdt(described)
    named_by_fadt = [differentiated, facs] if facs else [differentiated]
    return [tables.rsdp(rsdt, xsdt), *named_by_fadt, *described, rsdt, xsdt]


def build(config: MachineConfig) -> bytes:
    """The RSDP and every table, for guest-physical address ACPI_TABLES on; the RSDP is first."""
    everything = every_table(config)
    area, offsets = join(everything)
    addresses = {table: ACPI_TABLES + offset for table, offset in offsets.items()}
    for table, start in offsets.items():
        point(area, start, table, addresses)
        for offset, length in table.checksums:
            area[start + offset] = checksum(area[start : start + length])
    if ACPI_TABLES + len(area) > SMBIOS:
        raise ValueError(f"ACPI tables of {len(area)} bytes, {SMBIOS - ACPI_TABLES} have room")
    return bytes(area)
