"""The fixed-form tables: RSDP, RSDT, XSDT, FADT, FACS, MADT, MCFG. ACPI 6.5, 5.2.

Hardware-reduced ACPI has no FACS (5.2.10: optional there), nor anything of what that holds: no
global lock, and no firmware waking vector as there is no firmware.
"""

import struct
from _collections_abc import Sequence

from vestige.abi import (
    ECAM,
    ECAM_SIZE,
    IOAPIC,
    LOCAL_APIC,
    MIB,
    PIN_SCI,
    PIN_TIMER,
    PORT_PM1_CONTROL,
    PORT_PM1_EVENT,
    PORT_SLEEP_CONTROL,
    PORT_SLEEP_STATUS,
    Board,
)
from vestige.lang.enumeration import IntEnum, IntFlag
from vestige.machine.acpi.layout import Table, checksum
from vestige.machine.config import MachineConfig

OEM = b"VESTIG"
OEM_TABLE = b"VESTIGE "
CREATOR = b"VSTG"
REVISION = 1
HEADER_SIZE = 36
CHECKSUM = 9  # its offset in the header
RSDP_SIZE = 36
RSDP_SIZE_1 = 20  # of ACPI 1.0's part, which has a checksum of its own
RSDP_CHECKSUMS = ((8, RSDP_SIZE_1), (32, RSDP_SIZE))  # offset, bytes that it covers
PCAT_COMPAT = 1  # MADT: there is an 8259
LEVEL_ACTIVE_HIGH = 0xD  # MPS INTI flags, table 5.28


class FixedFlags(IntFlag):
    """FADT flags, table 5.10."""

    WBINVD = 1 << 0
    PWR_BUTTON = 1 << 4  # no fixed power button
    SLP_BUTTON = 1 << 5  # no fixed sleep button
    RESET_REG_SUP = 1 << 10
    HW_REDUCED_ACPI = 1 << 20


class BootFlags(IntFlag):
    """FADT IA-PC boot architecture flags, table 5.11.

    Without a PC's chips LEGACY_DEVICES and 8042 stay clear: what exists is in the namespace, the
    UART too.
    """

    LEGACY_DEVICES = 1 << 0
    HAS_8042 = 1 << 1
    VGA_NOT_PRESENT = 1 << 2
    CMOS_RTC_NOT_PRESENT = 1 << 5


class Apic(IntEnum):
    """MADT structure types, table 5.21."""

    LOCAL = 0
    IO = 1
    SOURCE_OVERRIDE = 2


def table(signature: bytes, revision: int, body: bytes) -> bytes:
    """A system description table that points to none: header (5.2.6), `body`, checksum."""
    result = bytearray(_unsummed(signature, revision, body))
    result[CHECKSUM] = checksum(result)
    return bytes(result)


def _unsummed(signature: bytes, revision: int, body: bytes) -> bytes:
    """Header and body; the checksum is 0."""
    length = HEADER_SIZE + len(body)
    header = struct.pack(
        "<4sIBB6s8sI4sI",
        signature,
        length,
        revision,
        0,
        OEM,
        OEM_TABLE,
        REVISION,
        CREATOR,
        REVISION,
    )
    return header + body


def _pointing(
    signature: bytes, revision: int, body: bytes, pointers: Sequence[tuple[int, int, Table]]
) -> Table:
    """The same of one that points to others: (offset in the table, bytes, the other)."""
    data = _unsummed(signature, revision, body)
    return Table(data, pointers, ((CHECKSUM, len(data)),))


def rsdp(rsdt: Table, xsdt: Table) -> Table:
    """Root System Description Pointer, 5.2.5.3: 36 bytes, two checksums."""
    data = struct.pack("<8sB6sBIIQB3x", b"RSD PTR ", 0, OEM, 2, 0, RSDP_SIZE, 0, 0)
    return Table(data, ((16, 4, rsdt), (24, 8, xsdt)), RSDP_CHECKSUMS)


def rsdt(tables: Sequence[Table]) -> Table:
    """Root table with 32-bit addresses, 5.2.7."""
    return _root(b"RSDT", 4, tables)


def xsdt(tables: Sequence[Table]) -> Table:
    """Root table with 64-bit addresses, 5.2.8."""
    return _root(b"XSDT", 8, tables)


def _root(signature: bytes, size: int, tables: Sequence[Table]) -> Table:
    pointers = [(HEADER_SIZE + size * n, size, each) for n, each in enumerate(tables)]
    return _pointing(signature, 1, bytes(size * len(tables)), pointers)


def _port(address: int, bits: int = 8) -> bytes:
    """Generic Address Structure of a register of ports, 5.2.3.2: accessed by as much, or words."""
    system_io, offset, access = 1, 0, 1 if bits == 8 else 2
    return struct.pack("<BBBBQ", system_io, bits, offset, access, address)


def facs() -> bytes:
    """Firmware ACPI Control Structure, 5.2.10: neither waking vectors nor a held lock."""
    size, version = 64, 2
    return struct.pack("<4sI24xB31x", b"FACS", size, version)


Fields = tuple[tuple[int, str, int | bytes], ...]  # offset, form, value


def fadt(dsdt: Table, facs: Table | None, config: MachineConfig) -> Table:
    """Fixed ACPI Description Table, 5.2.9.

    Hardware-reduced, with neither PM registers nor SCI, unless there is a FACS. A PC has its
    chipset's registers. SMI_CMD is 0: ACPI mode is the only one.
    """
    size = 276
    old = config.board == Board.PC
    flags = (
        FixedFlags.WBINVD
        | FixedFlags.PWR_BUTTON
        | FixedFlags.SLP_BUTTON
        | FixedFlags.RESET_REG_SUP
        | (0 if facs else FixedFlags.HW_REDUCED_ACPI)
    )
    boot_flags = 0 if config.has_screen else BootFlags.VGA_NOT_PRESENT
    if old:
        boot_flags |= BootFlags.LEGACY_DEVICES | BootFlags.HAS_8042
    else:
        boot_flags |= BootFlags.CMOS_RTC_NOT_PRESENT
    fixed_hardware: Fields = ()
    if old:
        fixed_hardware = _chipset_registers(config.power_ports)
    elif facs:
        fixed_hardware = _fixed_hardware(PORT_PM1_EVENT, PORT_PM1_CONTROL)
    reset_port, reset_value = config.reset_register
    body = bytearray(size - HEADER_SIZE)
    for offset, form, value in (
        (109, "<H", boot_flags),
        (112, "<I", flags),
        (116, "12s", _port(reset_port)),
        (128, "<B", reset_value),
        (131, "<B", 5),  # minor version: 6.5
        (268, "8s", OEM_TABLE),  # hypervisor vendor
        *fixed_hardware,
        *(() if old else SLEEP_REGISTERS),
    ):
        struct.pack_into(form, body, offset - HEADER_SIZE, value)
    pointers = [(40, 4, dsdt), (140, 8, dsdt)]
    if facs:
        pointers.append((36, 4, facs))
    return _pointing(b"FACP", 6, bytes(body), pointers)


def _fixed_hardware(event: int, control: int) -> Fields:
    """What there is of it on any machine, 4.8.3.1 and 4.8.3.2, by its ports."""
    return (
        (46, "<H", PIN_SCI),
        (56, "<I", event),
        (64, "<I", control),
        (88, "<B", 4),  # bytes of the event block
        (89, "<B", 2),  # and of the control block
        (96, "<H", 101),  # latencies that say: no C2,
        (98, "<H", 1001),  # no C3
        (148, "12s", _port(event, 32)),
        (172, "12s", _port(control, 16)),
    )


def _chipset_registers(ports: int) -> Fields:
    """The PIIX4's, its timer, whose 24 bits no flag makes 32, and its general-purpose events."""
    from vestige.monitor.devices.piix4_pm.spec import Register  # noqa: PLC0415 - a PC's alone

    return (
        *_fixed_hardware(ports + Register.STATUS, ports + Register.CONTROL),
        (76, "<I", ports + Register.TIMER),
        (80, "<I", ports + Register.GENERAL_STATUS),
        (91, "<B", 4),  # bytes of the timer block
        (92, "<B", 4),  # and of the events'
        (208, "12s", _port(ports + Register.TIMER, 32)),
        (220, "12s", _port(ports + Register.GENERAL_STATUS, 32)),
    )


SLEEP_REGISTERS: Fields = (
    (244, "12s", _port(PORT_SLEEP_CONTROL)),
    (256, "12s", _port(PORT_SLEEP_STATUS)),
)


def madt(config: MachineConfig) -> bytes:
    """Multiple APIC Description Table, 5.2.12: CPU n has local APIC n and processor UID n.

    PCAT_COMPAT and source overrides where there is an 8259: IRQ 0 is at pin 2, and the SCI is a
    level. Other pins are what the namespace says.
    """
    enabled = 1
    old = config.board == Board.PC
    body = struct.pack("<II", LOCAL_APIC, PCAT_COMPAT if old else 0)
    for cpu in range(config.cpus):
        body += struct.pack("<BBBBI", Apic.LOCAL, 8, cpu, cpu, enabled)
    if config.ioapic:
        identifier, first_gsi = 0, 0
        body += struct.pack("<BBBBII", Apic.IO, 12, identifier, 0, IOAPIC, first_gsi)
        if old:
            for irq, pin, flags in ((0, PIN_TIMER, 0), (PIN_SCI, PIN_SCI, LEVEL_ACTIVE_HIGH)):
                body += struct.pack("<BBBBIH", Apic.SOURCE_OVERRIDE, 10, 0, irq, pin, flags)
    return table(b"APIC", 5, body)


def mcfg() -> bytes:
    """PCI Express memory-mapped configuration, PCI Firmware Specification 3.3, table 4-2."""
    segment, first_bus, last_bus = 0, 0, ECAM_SIZE // MIB - 1
    return table(b"MCFG", 1, struct.pack("<QQHBB4x", 0, ECAM, segment, first_bus, last_bus))
