"""Which device answers where, and what nobody answers."""

import random

import pytest

from tests.monitor.rig import Rig
from vestige import abi
from vestige.devices import DEVICES
from vestige.monitor.core import bus
from vestige.place import Option, Place

UART = abi.PORT_UART
BRIDGE, IDE = 0x8000_0000, 0x8000_0000 | abi.IDE_SLOT << 11


@pytest.fixture
def rig() -> Rig:
    """A machine with one disk."""
    return Rig(disks=[bytearray(64 * 512)]).start()


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("port", [0, 0x60, 0x1F0, 0x602, 0xCF9, 0xCFC, 0xFFFF])
def test_a_port_nobody_claims_reads_all_ones(rig: Rig, port: int, size: int) -> None:
    rig.out(port, 0, size)
    assert rig.inp(port, size) == (1 << 8 * size) - 1


@pytest.mark.parametrize("size", range(1, 9))
def test_memory_nobody_claims_reads_all_ones(rig: Rig, size: int) -> None:
    for address in (0xD000_0000, 0xFED0_0000, 1 << 40, (1 << 64) - size):
        rig.write(address, 0, size)
        assert rig.read(address, size) == (1 << 8 * size) - 1


@pytest.mark.parametrize(("port", "size"), [(0xCFB, 2), (0xCFB, 4), (0xCFE, 4), (0xCFF, 2)])
def test_an_access_across_an_edge_of_config_data_is_none_to_it(
    rig: Rig, port: int, size: int
) -> None:
    rig.out(abi.PORT_PCI_ADDRESS, IDE | 4, 4)
    before = rig.inp(abi.PORT_PCI_DATA, 4)
    rig.out(port, (1 << 8 * size) - 1, size)
    assert rig.inp(port, size) == (1 << 8 * size) - 1
    assert rig.inp(abi.PORT_PCI_DATA, 4) == before
    assert rig.inp(abi.PORT_PCI_ADDRESS, 4) == IDE | 4


def test_a_device_that_is_not_there_hides_no_bar() -> None:
    rig = Rig(ide_in_memory=True).start()
    rig.write(abi.ECAM + (abi.IDE_SLOT << 15) + 0x20, abi.HPET)
    rig.write(abi.ECAM + (abi.IDE_SLOT << 15) + 4, 6, 2)
    rig.write(abi.HPET + 4, 0x1000)
    assert rig.read(abi.HPET + 4) == 0x1000


def test_a_pci_device_with_an_option_is_there_where_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The IDE as if it had one."""
    row = next(row for row, place in enumerate(DEVICES) if place.field == "ide")
    ide = Place("ide", "piix3-ide", pci=DEVICES[row].pci, option=Option("--ide-disk", "an IDE"))
    monkeypatch.setattr(bus, "DEVICES", (*DEVICES[:row], ide, *DEVICES[row + 1 :]))
    rig = Rig().start()
    vendor = abi.ECAM + (abi.IDE_SLOT << 15)
    rig.write(vendor + 0x10, 0xD001)
    assert rig.read(vendor) == 0xFFFF_FFFF
    rig.shared.config.options = 1 << row
    assert rig.read(vendor) == 0x7010_8086
    assert rig.read(vendor + 0x10) == abi.PORT_IDE | 1


def test_the_hpet_is_there_where_asked_for() -> None:
    rig = Rig(devices=["hpet"]).start()
    assert rig.read(abi.HPET, 4) == abi.HPET_IDENTITY
    rig.write(abi.HPET + 0x10, 1, 4)
    before = rig.read(abi.HPET + 0xF0, 8)
    assert rig.read(abi.HPET + 0xF0, 8) > before
    assert rig.read(abi.HPET + abi.HPET_SIZE, 4) == 0xFFFF_FFFF


def test_a_wide_access_to_byte_registers_is_one_byte_after_the_other(rig: Rig) -> None:
    rig.out(UART + 3, 0x5A_00_00_1B, 4)  # line control … line status; modem status is read only
    assert rig.inp(UART + 3) == 0x1B
    rig.out(UART + 6, 0xA500, 2)
    assert rig.inp(UART + 7) == 0xA5
    assert rig.inp(UART + 6, 4) == 0xFFFF_A5B0


def test_a_string_instruction_is_as_many_accesses(rig: Rig) -> None:
    rig.port(UART, 1, b"hello\n", write=True)
    assert rig.output == [b"hello\n"]
    assert rig.port(UART + 5, 1, bytes(3), write=False) == b"\x60\x60\x60"


def test_without_a_console_there_is_no_uart() -> None:
    rig = Rig(console=False).start()
    assert rig.inp(UART + 5) == 0xFF


def test_the_configuration_address_takes_32_bits_only(rig: Rig) -> None:
    rig.out(abi.PORT_PCI_ADDRESS, 0xFFFF_FFFF, 4)
    assert rig.inp(abi.PORT_PCI_ADDRESS, 4) == 0x80FF_FFFC
    rig.out(abi.PORT_PCI_ADDRESS, 0, 1)
    rig.out(abi.PORT_PCI_ADDRESS, 0, 2)
    assert rig.inp(abi.PORT_PCI_ADDRESS, 4) == 0x80FF_FFFC
    assert rig.inp(abi.PORT_PCI_ADDRESS, 2) == 0xFFFF


def test_mechanism_1_reads_the_bytes_asked_for(rig: Rig) -> None:
    rig.out(abi.PORT_PCI_ADDRESS, BRIDGE, 4)
    assert rig.inp(abi.PORT_PCI_DATA, 4) == 0x0D57_8086
    assert rig.inp(abi.PORT_PCI_DATA + 2, 2) == 0x0D57
    assert rig.inp(abi.PORT_PCI_DATA + 3, 1) == 0x0D


def test_without_the_enable_bit_the_data_port_is_nobodys(rig: Rig) -> None:
    rig.out(abi.PORT_PCI_ADDRESS, 0, 4)
    assert rig.inp(abi.PORT_PCI_DATA, 4) == 0xFFFF_FFFF


def test_only_two_functions_answer(rig: Rig) -> None:
    found = []
    for function in range(1 << 16):
        if function < 0x100 or function & 0xFF == 0:
            rig.out(abi.PORT_PCI_ADDRESS, 1 << 31 | function << 8, 4)
            if rig.inp(abi.PORT_PCI_DATA, 4) != 0xFFFF_FFFF:
                found.append(function)
    assert found == [0, abi.IDE_SLOT << 3]


def test_ecam_and_mechanism_1_show_the_same(rig: Rig) -> None:
    for function in (0, abi.IDE_SLOT << 3):
        for register in range(0, 256, 4):
            rig.out(abi.PORT_PCI_ADDRESS, 1 << 31 | function << 8 | register, 4)
            address = abi.ECAM + (function << 12) + register
            assert rig.read(address) == rig.inp(abi.PORT_PCI_DATA, 4)


def test_extended_configuration_space_is_empty(rig: Rig) -> None:
    for function in (0, abi.IDE_SLOT << 3, 0x123):
        rig.write(abi.ECAM + (function << 12) + 0x100, 0)
        assert rig.read(abi.ECAM + (function << 12) + 0x100) == 0xFFFF_FFFF


def test_an_odd_ecam_access_is_made_of_bytes(rig: Rig) -> None:
    expected = rig.read(abi.ECAM, 8)
    assert expected & 0xFFFF_FFFF == 0x0D57_8086
    assert rig.read(abi.ECAM + 1, 6) == expected >> 8 & 0xFFFF_FFFF_FFFF
    assert rig.read(abi.ECAM + 3, 2) == expected >> 24 & 0xFFFF


def test_the_ide_ports_follow_bars_and_command_register(rig: Rig) -> None:
    status = abi.PORT_IDE + 7
    assert rig.inp(status) == 0xFF
    rig.out(abi.PORT_PCI_ADDRESS, IDE | 4, 4)
    rig.out(abi.PORT_PCI_DATA, 5, 2)
    assert rig.inp(status) == 0x50
    rig.out(abi.PORT_PCI_ADDRESS, IDE | 0x10, 4)
    rig.out(abi.PORT_PCI_DATA, 0xD000, 4)
    assert (rig.inp(status), rig.inp(0xD007)) == (0xFF, 0x50)


def test_the_io_apic_takes_whole_registers_only(rig: Rig) -> None:
    rig.write(abi.IOAPIC, 1)
    assert rig.read(abi.IOAPIC + 0x10) == 0x0017_0020
    assert rig.read(abi.IOAPIC + 0x12, 2) == 0x17
    rig.write(abi.IOAPIC, 0x10)
    rig.write(abi.IOAPIC + 0x10, 0, 1)
    rig.write(abi.IOAPIC + 0x10, 0, 8)
    assert rig.read(abi.IOAPIC + 0x10) == 1 << 16


def test_any_access_anywhere_is_answered(rig: Rig) -> None:
    """Ports and addresses around every device, all sizes, all values."""
    random.seed(1)
    ports = [UART, 0x600, 0xCF8, 0xCFC, abi.PORT_IDE, abi.PORT_IDE_BUS_MASTER, 0xFFF8]
    for _ in range(3000):
        if random.random() < 0.7:
            port = min(0xFFFF, random.choice(ports) + random.randrange(-2, 18))
            size = random.choice((1, 2, 4))
            if random.random() < 0.5 and not 0x600 - 3 <= port <= 0x604:
                rig.out(port, random.randrange(1 << 8 * size), size)
            else:
                assert rig.inp(port, size) < 1 << 8 * size
        else:
            base = random.choice([abi.ECAM, abi.ECAM + 0x8000, abi.IOAPIC, 0xE000_0000 - 4])
            size = random.randrange(1, 9)
            if random.random() < 0.5:
                rig.write(base + random.randrange(0x108), random.randrange(1 << 8 * size), size)
            else:
                assert rig.read(base + random.randrange(0x108), size) < 1 << 8 * size
