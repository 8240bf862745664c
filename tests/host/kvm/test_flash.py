"""Where the guest may find its firmware's flash memory: decided here, whatever its monitor asks."""

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from vestige import abi
from vestige.host.kvm.flash import Flash

ADDRESS = 0xFFC0_0000
SIZE = 0x8_4000


class Machine:
    """What Flash calls of a VM, and what it has mapped: by slots."""

    def __init__(self) -> None:
        self.slots: dict[int, tuple[int, int, bool]] = {}

    def new_slot(self) -> int:
        return 7

    def map_slot(self, slot: int, address: int, size: int, _host: int, *, read_only: bool) -> None:
        assert slot not in self.slots
        self.slots[slot] = address, size, read_only

    def unmap(self, slot: int) -> None:
        del self.slots[slot]


@pytest.fixture
def file() -> Iterator[int]:
    made = os.memfd_create("flash")
    os.ftruncate(made, SIZE)
    yield made
    os.close(made)


def flash_of(guest: Any, file: int, *, read_only: bool = True) -> Flash:
    return Flash(guest, file, SIZE, ADDRESS, read_only=read_only)


def test_it_is_at_its_place_to_be_read_or_nowhere(file: int) -> None:
    guest = Machine()
    with closing(flash_of(guest, file)) as flash:
        assert guest.slots == {}
        for _ in range(2):
            assert flash.map(ADDRESS)
            assert guest.slots == {7: (ADDRESS, SIZE, True)}
        for address in (0xC000_0000, ADDRESS + 0x1000, ADDRESS - 0x1000, 1, 1 << 63):
            assert not flash.map(address)
        assert guest.slots == {7: (ADDRESS, SIZE, True)}
        for _ in range(2):
            assert flash.map(0)
            assert guest.slots == {}


def test_its_memory_is_the_file(file: int) -> None:
    with closing(flash_of(Machine(), file)) as flash:
        flash.memory.view[5] = 0xA5
        assert os.pread(file, 7, 0) == b"\0\0\0\0\0\xa5\0"
        assert flash.range == (abi.FLASH_ARRAY, SIZE)


def test_what_can_t_be_read_only_is_never_mapped(file: int) -> None:
    guest = Machine()
    with closing(flash_of(guest, file, read_only=False)) as flash:
        assert not flash.map(ADDRESS)
        assert flash.map(0)
        assert guest.slots == {}
