"""The linker/loader script, carried out by an interpreter of QEMU's bios-linker-loader commands."""

import struct
from itertools import product
from pathlib import Path

import pytest

from tests.machine.iasl import check_table
from tests.machine.test_acpi import WITH_HPET
from vestige import abi
from vestige.abi import Board
from vestige.devices import STANDARD
from vestige.machine import acpi
from vestige.machine.acpi.layout import ALIGNMENT
from vestige.machine.acpi.loader import POINTER, SCRIPT, TABLES, Command, Zone, files
from vestige.machine.config import MachineConfig

BIOS_AREA = {
    POINTER: abi.ACPI_TABLES,
    TABLES: abi.ACPI_TABLES + ALIGNMENT,
}  # where build() has them
ELSEWHERE = {POINTER: 0xF_0010, TABLES: 0x7FFD_0040}
EACH_MACHINE = pytest.mark.parametrize(
    "config",
    [
        MachineConfig(board=board, devices=devices, cpus=cpus)
        for board, devices, cpus in product(Board, (STANDARD, WITH_HPET), (1, 32))
    ],
    ids=lambda config: f"{config.board.name}-{config.cpus}-{len(config.devices)}",
)
Fields = tuple[int, ...]


def commands(script: bytes) -> list[tuple[Command, list[str], Fields]]:
    """Each command: what, the files that it names, its numbers."""
    found = []
    for start in range(0, len(script), 128):
        one = script[start : start + 128]
        command = Command(int.from_bytes(one[:4], "little"))
        names, form = {
            Command.ALLOCATE: (1, "<IB"),
            Command.ADD_POINTER: (2, "<IB"),
            Command.ADD_CHECKSUM: (1, "<III"),
        }[command]
        end = 4 + 56 * names
        named = [one[4 + 56 * n : 60 + 56 * n].rstrip(b"\0").decode() for n in range(names)]
        assert not any(one[end + struct.calcsize(form) :])
        found.append((command, named, struct.unpack_from(form, one, end)))
    return found


def carried_out(given: dict[str, bytes], places: dict[str, int]) -> dict[str, bytearray]:
    """The files as a firmware leaves them that allocates them at `places`."""
    allocated: dict[str, bytearray] = {}
    for command, (name, *other), numbers in commands(given[SCRIPT]):
        if command == Command.ALLOCATE:
            assert places[name] % numbers[0] == 0
            allocated[name] = bytearray(given[name])
            continue
        data = allocated[name]
        if command == Command.ADD_POINTER:
            offset, size = numbers
            old = int.from_bytes(data[offset : offset + size], "little")
            assert other[0] in allocated
            data[offset : offset + size] = (old + places[other[0]]).to_bytes(size, "little")
        else:
            offset, start, length = numbers
            assert data[offset] == 0  # edk2 stores the sum of all, SeaBIOS takes it away
            data[offset] = -sum(data[start : start + length]) & 0xFF
    return allocated


@EACH_MACHINE
def test_carried_out_at_the_same_addresses_it_gives_the_same_tables(config: MachineConfig) -> None:
    found = carried_out(files(config), BIOS_AREA)
    area = found[POINTER].ljust(ALIGNMENT, b"\0") + found[TABLES]
    assert bytes(area) == acpi.build(config)


def tables(found: dict[str, bytearray], places: dict[str, int]) -> dict[str, bytes]:
    """The tables that the RSDP leads to, by signature."""

    def at(address: int) -> bytes:
        start = address - places[TABLES]
        assert start >= 0
        (length,) = struct.unpack_from("<I", found[TABLES], start + 4)
        return bytes(found[TABLES][start : start + length])

    rsdt, xsdt = struct.unpack_from("<I4xQ", found[POINTER], 16)
    addresses = [entry for (entry,) in struct.iter_unpack("<Q", at(xsdt)[36:])]
    assert [entry for (entry,) in struct.iter_unpack("<I", at(rsdt)[36:])] == addresses
    reached = [at(rsdt), at(xsdt), *map(at, addresses)]
    fadt = next(table for table in reached if table[:4] == b"FACP")
    reached.append(at(struct.unpack_from("<Q", fadt, 140)[0]))
    if any(fadt[36:40]):
        reached.append(at(struct.unpack_from("<I", fadt, 36)[0]))
    return {table[:4].decode(): table for table in reached}


@EACH_MACHINE
def test_anywhere_else_the_tables_find_each_other_and_add_up(config: MachineConfig) -> None:
    found = carried_out(files(config), ELSEWHERE)
    assert sum(found[POINTER][:20]) & 0xFF == sum(found[POINTER]) & 0xFF == 0
    reached = tables(found, ELSEWHERE)
    assert {"RSDT", "XSDT", "FACP", "APIC", "DSDT"} <= set(reached)
    assert ("MCFG" in reached) == (config.board != Board.PC)
    assert ("FACS" in reached) == (config.board == Board.PC or "HPET" in reached)
    assert all(sum(table) & 0xFF == 0 for name, table in reached.items() if name != "FACS")


def test_iasl_takes_the_tables_of_a_pc(tmp_path: Path) -> None:
    config = MachineConfig(board=Board.PC)
    for name, table in tables(carried_out(files(config), ELSEWHERE), ELSEWHERE).items():
        check_table(tmp_path, name, table)


def test_the_script_of_a_pc_allocates_then_points_then_adds_up() -> None:
    given = files(MachineConfig(board=Board.PC))
    kinds = [command for command, _, _ in commands(given[SCRIPT])]
    sections = [Command.ALLOCATE] * 2 + [Command.ADD_POINTER] * 9 + [Command.ADD_CHECKSUM] * 5
    assert kinds == sections
    zones = {named[0]: numbers for command, named, numbers in commands(given[SCRIPT])[:2]}
    assert zones == {POINTER: (16, Zone.FSEG), TABLES: (64, Zone.HIGH)}
