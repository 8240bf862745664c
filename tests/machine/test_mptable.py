"""A PC's MP tables: MultiProcessor Specification 1.4, chapter 4."""

import struct

import pytest

from vestige.abi import IOAPIC, LOCAL_APIC, Board
from vestige.bounds import MAX_CPUS
from vestige.machine.config import MachineConfig
from vestige.machine.memory_map import BIOS_ENTRY, MP_TABLES
from vestige.machine.mptable import build
from vestige.monitor.devices.piix3_isa.spec import FIRMWARE_ROUTES

SIZES = {0: 20, 1: 8, 2: 8, 3: 8, 4: 8}  # of entries, by type


def entries(table: bytes) -> list[bytes]:
    """Those behind the header, which says how many there are and how long they are."""
    size, count = struct.unpack_from("<H", table, 4)[0], struct.unpack_from("<H", table, 34)[0]
    found, at = [], 44
    while at < size:
        found.append(table[at : at + SIZES[table[at]]])
        at += len(found[-1])
    assert (at, len(found)) == (size, count)
    return found


def table_of(config: MachineConfig) -> bytes:
    """What the floating pointer names."""
    area = build(config)
    signature, at, length, revision = struct.unpack_from("<4sIBB", area)
    assert (signature, length, revision) == (b"_MP_", 1, 4)
    assert sum(area[:16]) % 256 == 0
    assert area[11:16] == bytes(5), "there is a table, and no IMCR"
    table = area[at - MP_TABLES :]
    assert table.startswith(b"PCMP")
    assert sum(table) % 256 == 0
    assert struct.unpack_from("<I", table, 36)[0] == LOCAL_APIC
    return table


@pytest.mark.parametrize("cpus", [1, 2, 8, 16, MAX_CPUS])
def test_each_processor_is_there_and_one_boots(cpus: int) -> None:
    config = MachineConfig(cpus=cpus, board=Board.PC)
    processors = [each for each in entries(table_of(config)) if each[0] == 0]
    assert [each[1] for each in processors] == list(range(cpus))
    assert [each[3] for each in processors] == [3] + [1] * (cpus - 1)
    assert MP_TABLES % 16 == 0
    assert MP_TABLES + len(build(config)) <= BIOS_ENTRY


def test_the_io_apic_s_id_is_no_processor_s_where_there_is_one_left() -> None:
    for cpus, number in ((1, 1), (15, 15), (16, 0)):
        found = entries(table_of(MachineConfig(cpus=cpus, board=Board.PC)))
        (io_apic,) = [each for each in found if each[0] == 2]
        assert io_apic[1] == number
        assert io_apic[3] == 1
        assert struct.unpack_from("<I", io_apic, 4)[0] == IOAPIC


def test_isa_s_irqs_are_at_their_pins_but_for_irq_0() -> None:
    found = entries(table_of(MachineConfig(board=Board.PC)))
    buses = {each[1]: each[2:].strip() for each in found if each[0] == 1}
    assert sorted(buses.values()) == [b"ISA", b"PCI"]
    isa = {each[5]: each[7] for each in found if each[0] == 3 and buses[each[4]] == b"ISA"}
    assert isa == {0: 2} | {irq: irq for irq in range(1, 16) if irq not in (2, 10, 11)}
    assert all(each[2] == 0 for each in found if each[0] == 3 and buses[each[4]] == b"ISA")


def test_pci_s_lines_are_levels_where_the_piix3_leads_them() -> None:
    found = entries(table_of(MachineConfig(board=Board.PC)))
    pci = [each for each in found if each[0] == 3 and each[4] == 0]
    pins = {(each[5] >> 2, each[5] & 3): each[7] for each in pci}
    assert len(pins) == 32 * 4
    assert [pins[1, line] for line in range(4)] == list(FIRMWARE_ROUTES)
    assert [pins[slot, 0] for slot in (2, 3, 4, 5)] == [10, 11, 11, 10]
    assert {each[2] for each in pci} == {0b1101}, "high, level"


def test_the_pic_interrupts_by_lint_0() -> None:
    found = entries(table_of(MachineConfig(board=Board.PC)))
    local = {each[1]: (each[6], each[7]) for each in found if each[0] == 4}
    assert local == {3: (0xFF, 0), 1: (0xFF, 1)}
