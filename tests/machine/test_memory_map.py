"""The memory map: RAM, the hole, the windows."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestige import abi
from vestige.bounds import MAXIMUM_MEMORY, MINIMUM_MEMORY
from vestige.errors import UsageError
from vestige.machine.config import MachineConfig
from vestige.machine.memory_map import (
    ACPI_TABLES_SIZE,
    BOOT_PARAMS,
    COMMAND_LINE,
    COMMAND_LINE_LIMIT,
    GDT,
    KERNEL_FLOOR,
    LOW_RAM_END,
    PAGE_TABLES,
    PVH_START_INFO,
    RAM_TYPE,
    RESERVED_TYPE,
    STACK_TOP,
    MemoryMap,
)

MIB, GIB = abi.MIB, abi.GIB
memories = st.integers(MINIMUM_MEMORY // abi.CHUNK, MAXIMUM_MEMORY // abi.CHUNK).map(
    lambda chunks: chunks * abi.CHUNK
)


@given(memories)
def test_ranges_ascend_and_never_overlap(memory: int) -> None:
    ranges = MemoryMap(memory).e820()
    for (start, length, _), (following, _, _) in pairwise(ranges):
        assert start + length <= following


@given(memories)
def test_all_ram_is_usable_but_what_hides_below_1_mib(memory: int) -> None:
    usable = sum(length for _, length, kind in MemoryMap(memory).e820() if kind == RAM_TYPE)
    assert usable == memory - (KERNEL_FLOOR - LOW_RAM_END)


@given(memories)
def test_usable_ranges_are_ram_that_exists(memory: int) -> None:
    layout = MemoryMap(memory)
    for start, length, kind in layout.e820():
        if kind == RAM_TYPE:
            low = start + length <= layout.low_size <= abi.LOW_RAM_LIMIT
            high = start >= abi.HIGH_RAM and start + length <= abi.HIGH_RAM + layout.high_size
            assert low or high


@given(memories)
def test_the_64_bit_window_is_aligned_to_its_size_above_all_ram(memory: int) -> None:
    layout = MemoryMap(memory)
    assert layout.window_64 % layout.window_64_size == 0
    assert layout.window_64 >= abi.HIGH_RAM + layout.high_size
    assert layout.window_64 + layout.window_64_size <= 1 << 36  # the narrowest CPUs


def test_acpi_tables_and_ecam_are_reserved() -> None:
    reserved = [entry for entry in MemoryMap(512 * MIB).e820() if entry[2] == RESERVED_TYPE]
    assert reserved == [
        (0xE0000, 0x20000, RESERVED_TYPE),
        (abi.ECAM, abi.ECAM_SIZE, RESERVED_TYPE),
    ]


@pytest.mark.parametrize(
    ("memory", "low", "high"),
    [
        (64 * MIB, 64 * MIB, 0),
        (3 * GIB, 3 * GIB, 0),
        (3 * GIB + 2 * MIB, 3 * GIB, 2 * MIB),
        (5 * GIB, 3 * GIB, 2 * GIB),
    ],
)
def test_ram_beyond_3_gib_continues_at_4_gib(memory: int, low: int, high: int) -> None:
    layout = MemoryMap(memory)
    assert (layout.low_size, layout.high_size) == (low, high)
    assert ((abi.HIGH_RAM, high, RAM_TYPE) in layout.e820()) == bool(high)


def test_boot_data_in_low_memory_does_not_overlap() -> None:
    largest_start_info = 0x400
    places = [
        (GDT, 0x1000),
        (PAGE_TABLES, 6 * 0x1000),
        (BOOT_PARAMS, 0x1000),
        (PVH_START_INFO, largest_start_info),
        (STACK_TOP - 0x1000, 0x1000),
        (COMMAND_LINE, COMMAND_LINE_LIMIT),
        (LOW_RAM_END, 0),
        (abi.ACPI_TABLES, ACPI_TABLES_SIZE),
        (KERNEL_FLOOR, 0),
    ]
    for (start, length), (following, _) in pairwise(places):
        assert start + length <= following


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        (62 * MIB, "memory of 65011712 bytes: a machine has 64 MiB to 30 GiB; give such a size"),
        (31 * GIB, "memory of 33285996544 bytes: a machine has 64 MiB to 30 GiB; give such a size"),
        (65 * MIB, "memory of 68157440 bytes: not a multiple of 2 MiB; give 66M"),
    ],
)
def test_memory_that_no_machine_has_is_refused(memory: int, message: str) -> None:
    with pytest.raises(UsageError) as error:
        MachineConfig(memory=memory)
    assert str(error.value) == message


@pytest.mark.parametrize("cpus", [-1, 0, 33])
def test_cpu_counts_that_no_machine_has_are_refused(cpus: int) -> None:
    with pytest.raises(UsageError) as error:
        MachineConfig(cpus=cpus)
    assert str(error.value) == f"{cpus} CPUs: a machine has 1 to 32; give such a number"
