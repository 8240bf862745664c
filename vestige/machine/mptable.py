"""The tables by which a kernel without ACPI finds a PC's processors and interrupts.

Source: Intel, MultiProcessor Specification 1.4 (242016-006), chapter 4.
"""

import struct

from vestige.abi import IOAPIC, LOCAL_APIC, PIN_TIMER
from vestige.lang.enumeration import IntEnum
from vestige.machine.config import MachineConfig
from vestige.machine.memory_map import MP_TABLES
from vestige.monitor.devices.piix3_isa.spec import FIRMWARE_ROUTES, FIRST_SLOT, PIRQS

REVISION = 4  # 1.4
LOCAL_APIC_VERSION = 0x14  # any that is integrated: 0x10 to 0x1F
IO_APIC_VERSION = 0x20
MOST_IDS = 16  # an I/O APIC's ID has 4 bits
PARAGRAPH = 16  # bytes
POINTER = struct.Struct("<4sIBBB5x")
HEADER = struct.Struct("<4sHBB8s12sIHHIHBx")
CHECKSUM = 7  # of the header
POINTER_CHECKSUM = 10


class Entry(IntEnum):
    """Types of entries, 4.3."""

    PROCESSOR = 0
    BUS = 1
    IO_APIC = 2
    IO_INTERRUPT = 3
    LOCAL_INTERRUPT = 4


class Interrupt(IntEnum):
    """Types of interrupts, 4.3.4."""

    INT = 0
    NMI = 1
    EXT_INT = 3


PCI, ISA = 0, 1  # bus IDs
CASCADE = 2  # the IRQ that is the slave's
SLOTS = 32
BUS_DEFAULT = 0  # polarity and trigger as the bus has them
HIGH_LEVEL = 0b1101  # active high, level triggered
ALL_APICS = 0xFF
ENABLED, BOOT = 1, 2  # of a processor
FAMILY_6, FPU_AND_APIC = 0x600, 1 << 9 | 1  # its signature and features; kernels ask CPUID


def build(config: MachineConfig) -> bytes:
    """The floating pointer and the configuration table behind it, for address MP_TABLES."""
    table = _table(config)
    at = MP_TABLES + PARAGRAPH
    pointer = bytearray(POINTER.pack(b"_MP_", at, 1, REVISION, 0))
    pointer[POINTER_CHECKSUM] = -sum(pointer) & 0xFF
    return bytes(pointer) + table


def _table(config: MachineConfig) -> bytes:
    entries = _processors(config.cpus)
    entries += [
        struct.pack("<BB6s", Entry.BUS, PCI, b"PCI   "),
        struct.pack("<BB6s", Entry.BUS, ISA, b"ISA   "),
    ]
    if config.ioapic:
        entries += _io_apic(config.cpus if config.cpus < MOST_IDS else 0)
    for kind, pin in ((Interrupt.EXT_INT, 0), (Interrupt.NMI, 1)):
        entries.append(_interrupt(Entry.LOCAL_INTERRUPT, kind, 0, ISA, 0, ALL_APICS, pin))
    body = b"".join(entries)
    size, count = HEADER.size + len(body), len(entries)
    names = b"VESTIGE ", b"PC          "
    header = HEADER.pack(b"PCMP", size, REVISION, 0, *names, 0, 0, count, LOCAL_APIC, 0, 0)
    table = bytearray(header + body)
    table[CHECKSUM] = -sum(table) & 0xFF
    return bytes(table)


def _processors(count: int) -> list[bytes]:
    """CPU n has local APIC n; the first is the boot CPU."""
    form = "<BBBBII8x"
    return [
        struct.pack(
            form,
            *(Entry.PROCESSOR, cpu, LOCAL_APIC_VERSION, ENABLED if cpu else ENABLED | BOOT),
            *(FAMILY_6, FPU_AND_APIC),
        )
        for cpu in range(count)
    ]


def _io_apic(number: int) -> list[bytes]:
    """Itself, and what leads to its pins: ISA's IRQs, then INTA to INTD of each PCI device.

    Those go where the PIIX3's routes lead them at power-on, if there is no firmware.
    """
    entries = [
        struct.pack("<BBBBI", Entry.IO_APIC, number, IO_APIC_VERSION, ENABLED, IOAPIC),
    ]
    for irq in range(16):
        if irq != CASCADE and irq not in FIRMWARE_ROUTES:
            pin = irq or PIN_TIMER
            entries.append(
                _interrupt(Entry.IO_INTERRUPT, Interrupt.INT, BUS_DEFAULT, ISA, irq, number, pin)
            )
    for slot in range(SLOTS):
        for line in range(PIRQS):
            source = slot << 2 | line
            irq = FIRMWARE_ROUTES[(slot - FIRST_SLOT + line) % PIRQS]
            entries.append(
                _interrupt(Entry.IO_INTERRUPT, Interrupt.INT, HIGH_LEVEL, PCI, source, number, irq)
            )
    return entries


def _interrupt(
    entry: int, kind: int, flags: int, bus: int, source: int, apic: int, pin: int
) -> bytes:
    return struct.pack("<BBHBBBB", entry, kind, flags, bus, source, apic, pin)
