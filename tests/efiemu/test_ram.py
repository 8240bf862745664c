"""The memory map of the firmware, as the shell takes it."""

import ctypes
from collections.abc import Iterator

import pytest

from tests.efiemu.firmware import Firmware
from tests.efiemu.memory import physical
from vestige.efiemu.shell import block
from vestige.efiemu.shell.ram import end_of_ram, find_ram
from vestige.efiemu.shell.state import Shell
from vestige.lang.intrinsics import running_on

LOADER_CODE, FREE, ACPI, RESERVED, REGISTERS, RUNTIME = 1, 7, 9, 0, 11, 6
MIB = 256  # pages
GIB = 1 << 30
Rows = list[tuple[int, int, int]]


@pytest.fixture(scope="module")
def place() -> Iterator[int]:
    with physical(block.SIZE) as place:
        yield place


def found(place: int, rows: Rows) -> tuple[bool, list[tuple[int, int]], Shell]:
    firmware = Firmware()
    firmware.memory = rows
    shell = Shell(block=place, boot=firmware.boot)
    with running_on(firmware):
        done = find_ram(shell)
    assert ctypes.string_at(place + block.MONITOR_STATE, 1 << 20) == bytes(1 << 20)
    ranges = [
        (shell.memory.ranges[number].first, shell.memory.ranges[number].end)
        for number in range(shell.memory.count)
    ]
    return done, ranges, shell


def test_ram_by_its_addresses_whatever_the_order(place: int) -> None:
    rows = [
        (FREE, 4 * GIB, 1024 * MIB), (ACPI, 0x7FB0_0000, MIB), (LOADER_CODE, 0, 160),
        (RESERVED, 0xA_0000, 96), (FREE, 0x10_0000, 15 * MIB), (RUNTIME, 0x100_0000, 16 * MIB),
        (REGISTERS, 0xFEC0_0000, 1), (FREE, 0x7F00_0000, 0),
    ]  # fmt: skip
    done, ranges, shell = found(place, rows)
    assert done
    assert ranges == [
        (0, 0xA_0000), (0x10_0000, 0x200_0000), (0x7FB0_0000, 0x7FC0_0000), (4 * GIB, 5 * GIB),
    ]  # fmt: skip
    assert end_of_ram(shell, 4 * GIB) == 0x7FC0_0000
    assert end_of_ram(shell, 4 * GIB + 0x1000) == 4 * GIB + 0x1000
    assert end_of_ram(shell, 0x10_0000) == 0xA_0000


def test_what_the_host_does_not_map_is_none_of_it(place: int) -> None:
    rows = [(FREE, 1100 * GIB, 1024 * MIB), (FREE, 0, 16), (FREE, 1023 * GIB, 2048 * MIB)]
    done, ranges, _ = found(place, rows)
    assert done
    assert ranges == [(0, 0x1_0000), (1023 * GIB, 1024 * GIB)]


def test_the_block_is_none_of_it(place: int) -> None:
    rows = [(FREE, place - 0x1000, block.SIZE // 4096 + 2)]
    done, ranges, _ = found(place, rows)
    assert done
    end = place + block.SIZE
    assert ranges == [(place - 0x1000, place), (end, end + 0x1000)]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [(RESERVED, 0, 16)],
        [(FREE, 2 * number << 12, 1) for number in range(60)],
        [(FREE, number << 12, 1) for number in range(30_000)],
    ],
)
def test_a_map_that_can_not_be_used(place: int, rows: Rows) -> None:
    assert not found(place, rows)[0]
