"""Guest RAM and private memory: where they begin, what they cost, who has them."""

import os
from pathlib import Path

import pytest

from vestige.abi import MIB
from vestige.errors import UsageError
from vestige.host.kvm.memory import LARGE_PAGE, GuestMemory, PrivateMemory, Region

LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def test_a_region_begins_where_a_large_page_may() -> None:
    first, second = Region(MIB), Region(MIB)
    assert first.address % LARGE_PAGE == second.address % LARGE_PAGE == 0
    first.close()
    second.close()


def test_a_region_is_its_size_of_zeroes() -> None:
    region = Region(3 * MIB)
    assert len(region.view) == 3 * MIB
    assert bytes(region.view[:4096]) == bytes(region.view[-4096:]) == bytes(4096)
    region.close()


@pytest.mark.skipif(not LARGE_PAGES.exists(), reason="this kernel has no large pages")
def test_guest_ram_from_its_second_large_page_on_prefers_them() -> None:
    memory = GuestMemory(64 * MIB)
    flags = [flags_at(memory.region.address + offset) for offset in (0, LARGE_PAGE, 62 * MIB)]
    memory.close()
    assert ["hg" in each for each in flags] == [False, True, True]
    assert ["nh" in each for each in flags] == [True, False, False]


@pytest.mark.skipif(not LARGE_PAGES.exists(), reason="this kernel has no large pages")
def test_other_memory_has_small_pages_even_where_large_ones_are_the_rule() -> None:
    memory = PrivateMemory()
    assert "nh" in flags_at(memory.region.address)
    memory.close()


def test_a_forked_process_does_not_have_the_memory() -> None:
    region = Region(MIB)
    assert "dc" in flags_at(region.address)
    region.close()


def test_memory_that_can_not_be_had_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"^\d+ MiB of memory: Cannot allocate memory; "):
        Region(1 << 47)


def flags_at(address: int) -> list[str]:
    """VmFlags of the mapping at `address`, proc(5)."""
    inside = False
    for line in Path(f"/proc/{os.getpid()}/smaps").read_text().splitlines():
        name, *words = line.split()
        if "-" in name and not name.endswith(":"):
            start, end = (int(each, 16) for each in name.split("-"))
            inside = start <= address < end
        elif inside and name == "VmFlags:":
            return words
    raise AssertionError(f"nothing is mapped at {address:#x}")
