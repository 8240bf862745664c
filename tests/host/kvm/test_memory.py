"""Guest RAM and private memory: where they begin, what they cost, who has them."""

import ctypes
import os
import struct
from pathlib import Path

import pytest

from vestige import abi
from vestige.abi import MIB
from vestige.errors import UsageError
from vestige.host.kvm.memory import FIRST_PLACE, LARGE_PAGE, GuestMemory, PrivateMemory, Region
from vestige.monitor.drivers.ring.spec import MAX_BUFFERS

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


def test_a_files_memory_can_be_read_page_by_page(tmp_path: Path) -> None:
    region = Region(MIB)
    with (tmp_path / "file").open("w+b") as file:
        file.truncate(MIB)
        region.share(0, MIB, file.fileno())
        before = flags_at(region.address)
        region.read_page_by_page()
        assert ("rr" in before, "rr" in flags_at(region.address)) == (False, True)
    region.close()


def places() -> tuple[int, int]:
    """Guest RAM's distance from the C library, and the private memory's from guest RAM."""
    memory, private = GuestMemory(MIB), PrivateMemory()
    library = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p).value or 0
    found = memory.region.address - library, private.region.address - memory.region.address
    memory.close()
    private.close()
    return found


def test_where_memory_is_says_where_nothing_else_is() -> None:
    from_library, from_ram = zip(*[places() for _ in range(20)], strict=True)
    assert len(set(from_library)) == len(set(from_ram)) == 20


def test_forks_of_one_process_have_their_memory_at_different_places() -> None:
    found = []
    for _ in range(4):
        read, write = os.pipe()
        if (child := os.fork()) == 0:
            os.write(write, struct.pack("<qq", *places()))
            os._exit(0)
        os.waitpid(child, 0)
        found.append(struct.unpack("<qq", os.read(read, 16)))
        os.close(read)
        os.close(write)
    from_library, from_ram = zip(*found, strict=True)
    assert len(set(from_library)) == len(set(from_ram)) == 4


def test_a_place_that_is_taken_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Region(MIB)
    first.view[0] = 0x5A
    numbers = [(first.address - FIRST_PLACE) // LARGE_PAGE] * 3 + [12345]
    monkeypatch.setattr(os, "urandom", lambda size: numbers.pop(0).to_bytes(size, "little"))
    second = Region(MIB)
    assert second.address == FIRST_PLACE + 12345 * LARGE_PAGE
    assert first.view[0] == 0x5A
    first.close()
    second.close()


def test_memory_that_was_given_back_is_not_mapped() -> None:
    region = Region(MIB)
    region.close()
    with pytest.raises(AssertionError, match="nothing is mapped"):
        flags_at(region.address)


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


@pytest.mark.parametrize(
    ("mebibytes", "size"),
    [(64, 64 << 10), (1022, 64 << 10), (1024, 128 << 10), (30 << 10, 2 * MIB)],
)
def test_chunks_of_memory_that_is_copied_are_as_small_as_the_table_allows(
    mebibytes: int, size: int
) -> None:
    memory = GuestMemory(mebibytes * MIB)
    assert memory.chunk_size == abi.CHUNK
    file = os.memfd_create("ram")
    os.ftruncate(file, memory.size)
    memory.region.take(file)
    assert memory.chunk_size == size
    last = memory.size // size - 1
    assert abi.FIRST_CHUNK_BUFFER + last < MAX_BUFFERS
    assert memory.chunk(last) == (memory.region.address + memory.size - size, size)
    assert memory.chunk(last + 1) is None
    memory.region.fill(file, [])
    assert memory.chunk_size == abi.CHUNK
    memory.close()
    os.close(file)
