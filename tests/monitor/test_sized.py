"""vestige.monitor.sized: values of so many bytes."""

import ctypes

import pytest

from vestige.monitor.sized import ONES, byte_of, load_sized, part_of, store_sized

REGISTER = 0x8877_6655_4433_2211


@pytest.mark.parametrize("size", range(9))
def test_ones_are_the_highest_value_of_a_size(size: int) -> None:
    assert ONES[size] == int.from_bytes(bytes([0xFF] * size), "little")


@pytest.mark.parametrize("first", range(8))
def test_parts_of_a_register_are_bytes_as_they_lie_in_memory(first: int) -> None:
    memory = REGISTER.to_bytes(8, "little")
    for size in range(9 - first):
        part = memory[first : first + size]
        assert part_of(REGISTER, first, size) == int.from_bytes(part, "little")
    assert byte_of(REGISTER, first) == memory[first]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_loads_and_stores_touch_as_many_bytes_as_they_say(size: int) -> None:
    memory = ctypes.create_string_buffer(REGISTER.to_bytes(8, "little"), 8)
    address = ctypes.addressof(memory)
    assert load_sized(address, size) == REGISTER & ONES[size]
    store_sized(address, size, 0xA4A3_A2A1)
    assert memory.raw == bytes([0xA1, 0xA2, 0xA3, 0xA4])[:size] + bytes(
        range(0x11 * (size + 1), 0x99, 0x11)
    )
