"""What boot.load leaves in RAM and in the boot CPU's registers; real kernels at the end."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from tests.machine import images
from tests.machine.images import BZIMAGE_CODE, INIT_SIZE, LOAD_ADDRESS, MIB, bzimage, elf, load, ram
from vestige import abi
from vestige.machine import acpi
from vestige.machine.config import MachineConfig
from vestige.machine.kernel import AUTO, LINUX_64
from vestige.machine.memory_map import COMMAND_LINE, MemoryMap
from vestige.machine.ram import Ram

GIB = abi.GIB
SMALL = MachineConfig(memory=64 * MIB)


def u32(memory: memoryview | bytes, offset: int) -> int:
    return int.from_bytes(memory[offset : offset + 4], "little")


def u64(memory: memoryview | bytes, offset: int) -> int:
    return int.from_bytes(memory[offset : offset + 8], "little")


def walk(memory: memoryview, root: int, virtual: int) -> int | None:
    """The physical address 4-level paging gives `virtual`: Intel SDM vol. 3, 4.5."""
    table = root
    for level in (3, 2, 1, 0):
        entry = u64(memory, table + 8 * (virtual >> 12 + 9 * level & 511))
        if not entry & 1:
            return None
        table = entry & 0x000F_FFFF_FFFF_F000
        if level in (1, 2) and entry & 0x80:
            size = 1 << 12 + 9 * level
            return table & -size | virtual & size - 1
    return table | virtual & 0xFFF


def limit_and_flags(memory: memoryview, gdt: int, selector: int) -> tuple[int, int, int]:
    """(limit field, access byte, flags nibble) of a descriptor."""
    entry = u64(memory, gdt + selector)
    limit = entry & 0xFFFF | (entry >> 48 & 0xF) << 16
    return limit, entry >> 40 & 0xFF, entry >> 52 & 0xF


def test_a_bzimage_lies_at_its_preferred_address_and_starts_at_its_64_bit_entry(
    tmp_path: Path,
) -> None:
    memory = ram(SMALL.memory)
    state = load(memory, SMALL, images.write(tmp_path, bzimage()))
    assert memory[LOAD_ADDRESS : LOAD_ADDRESS + len(BZIMAGE_CODE)] == BZIMAGE_CODE
    assert state.rip == LOAD_ADDRESS + 0x200


@pytest.mark.parametrize("setup_sectors", [0, 1, 39])
def test_the_code_starts_after_the_setup_sectors(setup_sectors: int, tmp_path: Path) -> None:
    memory = ram(SMALL.memory)
    kernel = images.write(tmp_path, bzimage(setup_sectors=setup_sectors))
    load(memory, SMALL, kernel)
    assert memory[LOAD_ADDRESS : LOAD_ADDRESS + len(BZIMAGE_CODE)] == BZIMAGE_CODE


@pytest.mark.parametrize(
    ("preferred", "alignment", "address"),
    [(0, 2 * MIB, 2 * MIB), (0, 0, MIB), (5 * MIB, 2 * MIB, 6 * MIB)],
)
def test_the_load_address_is_aligned_and_above_1_mib(
    preferred: int, alignment: int, address: int, tmp_path: Path
) -> None:
    kernel = images.write(tmp_path, bzimage(preferred=preferred, alignment=alignment))
    state = load(ram(SMALL.memory), SMALL, kernel)
    assert state.rip == address + 0x200


def test_boot_params_hold_the_kernel_s_header_and_what_the_loader_must_say(
    tmp_path: Path,
) -> None:
    memory = ram(SMALL.memory)
    state = load(memory, SMALL, images.write(tmp_path, bzimage()), append="quiet")
    page = bytes(memory[state.rsi : state.rsi + 4096])
    assert page[0x202:0x206] == b"HdrS"
    assert u32(page, 0x238) == 2047  # cmdline_size, the kernel's own
    assert page[0x210] == 0xFF  # type_of_loader
    assert page[0x1FA:0x1FC] == b"\xff\xff"  # vid_mode
    assert u64(page, 0x070) == abi.ACPI_TABLES  # acpi_rsdp_addr
    assert u32(page, 0x228) == COMMAND_LINE
    assert bytes(memory[COMMAND_LINE : COMMAND_LINE + 6]) == b"quiet\0"
    assert (u32(page, 0x218), u32(page, 0x21C)) == (0, 0)  # no initrd


def test_boot_params_are_zero_outside_of_what_is_set(tmp_path: Path) -> None:
    memory = ram(SMALL.memory)
    state = load(memory, SMALL, images.write(tmp_path, bzimage()))
    page = bytes(memory[state.rsi : state.rsi + 4096])
    assert not any(page[:0x70])  # screen_info: no display
    assert not any(page[0x78:0x1E8])
    assert not any(page[0x2D0 + 20 * page[0x1E8] :])


@pytest.mark.parametrize("size", [64 * MIB, 5 * GIB])
def test_boot_params_hold_the_memory_map(size: int, tmp_path: Path) -> None:
    memory = ram(size)
    config = MachineConfig(memory=size)
    state = load(memory, config, images.write(tmp_path, bzimage()))
    page = bytes(memory[state.rsi : state.rsi + 4096])
    table = page[0x2D0 : 0x2D0 + 20 * page[0x1E8]]
    assert list(struct.iter_unpack("<QQI", table)) == MemoryMap(size).e820()


def test_a_header_that_claims_to_be_long_does_not_spill_over(tmp_path: Path) -> None:
    image = bzimage()
    image[0x201] = 0xFF
    image[0x290:0x300] = b"\xee" * 0x70
    memory = ram(SMALL.memory)
    state = load(memory, SMALL, images.write(tmp_path, image))
    assert not any(memory[state.rsi + 0x290 : state.rsi + 0x2D0])


@pytest.mark.parametrize("kernel", [bytes(bzimage()), elf()], ids=["bzimage", "elf"])
def test_the_acpi_tables_are_in_place(kernel: bytes, tmp_path: Path) -> None:
    memory = ram(SMALL.memory)
    load(memory, SMALL, images.write(tmp_path, kernel))
    tables = acpi.build(SMALL)
    assert memory[abi.ACPI_TABLES : abi.ACPI_TABLES + len(tables)] == tables


def test_a_jump_to_the_bios_in_real_mode_resets(tmp_path: Path) -> None:
    if shutil.which("objdump") is None:
        pytest.skip("needs objdump")
    memory = ram(SMALL.memory)
    load(memory, SMALL, images.write(tmp_path, elf()))
    (tmp_path / "bios").write_bytes(memory[0xFFFF0:0xFFFF9])
    words = ["objdump", "-D", "-b", "binary", "-m", "i8086", "--no-show-raw-insn", "bios"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    listing = [line.split("\t", 1)[1].split() for line in done.stdout.splitlines() if "\t" in line]
    assert listing == [
        ["mov", f"${abi.PORT_RESET:#x},%dx"],
        ["mov", f"${abi.RESET_VALUE:#x},%al"],
        ["out", "%al,(%dx)"],
        ["hlt"],
        ["jmp", "0x6"],
    ]


def test_the_64_bit_entry_is_in_long_mode_with_4_gib_mapped_one_to_one(tmp_path: Path) -> None:
    memory = ram(SMALL.memory)
    state = load(memory, SMALL, images.write(tmp_path, bzimage()))
    assert state.cr0 & 0x8000_0001 == 0x8000_0001  # PG, PE
    assert state.cr4 == 1 << 5  # PAE
    assert state.efer == 1 << 8 | 1 << 10  # LME, LMA
    assert state.rflags == 2  # interrupts off
    for address in (0, 0x800, 0x8000, LOAD_ADDRESS + 1, 3 * GIB + 5, 4 * GIB - 1):
        assert walk(memory, state.cr3, address) == address
    assert walk(memory, state.cr3, 4 * GIB) is None


def test_the_64_bit_entry_s_segments_match_their_descriptors(tmp_path: Path) -> None:
    memory = ram(SMALL.memory)
    state = load(memory, SMALL, images.write(tmp_path, bzimage()))
    assert (state.code.selector, state.data.selector) == (0x10, 0x18)
    assert limit_and_flags(memory, state.gdt_base, 0x10) == (0xFFFFF, 0x9B, 0xA)  # L, G
    assert limit_and_flags(memory, state.gdt_base, 0x18) == (0xFFFFF, 0x93, 0xC)  # D, G
    assert limit_and_flags(memory, state.gdt_base, 0x20) == (0x67, 0x8B, 0)  # busy TSS
    assert state.gdt_limit == 0x20 + 16 - 1  # long mode's TSS descriptor is 16 bytes long


def test_an_elf_kernel_with_a_pvh_note_starts_by_it(tmp_path: Path) -> None:
    memory = ram(SMALL.memory)
    state = load(memory, SMALL, images.write(tmp_path, elf()))
    assert state.rip == LOAD_ADDRESS + 0x20
    assert state.cr0 == 0x11  # PE, ET: no paging
    assert (state.cr3, state.cr4, state.efer) == (0, 0, 0)
    assert limit_and_flags(memory, state.gdt_base, state.code.selector) == (0xFFFFF, 0x9B, 0xC)
    assert limit_and_flags(memory, state.gdt_base, state.data.selector) == (0xFFFFF, 0x93, 0xC)
    assert memory[LOAD_ADDRESS : LOAD_ADDRESS + 0x100] == b"\xf4" * 0x100


def test_notes_padded_to_8_bytes_are_read_too(tmp_path: Path) -> None:
    kernel = images.write(tmp_path, elf(notes_alignment=8))
    assert load(ram(SMALL.memory), SMALL, kernel).rip == LOAD_ADDRESS + 0x20


def test_pvh_start_info_says_where_everything_is(tmp_path: Path) -> None:
    size = 5 * GIB
    memory = ram(size)
    initrd = images.write(tmp_path, b"initrd" * 1000, "initrd")
    state = load(
        memory,
        MachineConfig(memory=size),
        images.write(tmp_path, elf()),
        initrd=initrd,
        append="a b",
    )
    info = struct.unpack_from("<IIIIQQQQII", memory, state.rbx)
    magic, version, _, modules, module_at, line_at, rsdp, ranges_at, ranges, _ = info
    assert (magic, version, modules, rsdp) == (0x336EC578, 1, 1, abi.ACPI_TABLES)
    assert bytes(memory[line_at : line_at + 4]) == b"a b\0"
    address, length, _, _ = struct.unpack_from("<QQQQ", memory, module_at)
    assert bytes(memory[address : address + length]) == b"initrd" * 1000
    assert address + length <= 3 * GIB
    table = memory[ranges_at : ranges_at + 24 * ranges]
    assert [entry[:3] for entry in struct.iter_unpack("<QQII", table)] == MemoryMap(size).e820()


def test_without_an_initrd_pvh_has_no_module(tmp_path: Path) -> None:
    memory = ram(SMALL.memory)
    state = load(memory, SMALL, images.write(tmp_path, elf()))
    assert u32(memory, state.rbx + 12) == 0


@pytest.mark.parametrize("protocol", [AUTO, LINUX_64])
def test_an_elf_kernel_without_a_note_starts_at_its_entry_point(
    protocol: str, tmp_path: Path
) -> None:
    memory = ram(SMALL.memory)
    kernel = images.write(tmp_path, elf(pvh_entry=None))
    state = load(memory, SMALL, kernel, protocol=protocol)
    assert state.rip == LOAD_ADDRESS
    assert state.efer
    page = bytes(memory[state.rsi : state.rsi + 4096])
    assert page[0x1FE:0x200] == b"\x55\xaa"
    assert page[0x202:0x208] == b"HdrS\x0c\x02"
    assert page[0x210] == 0xFF


def test_the_64_bit_entry_can_be_asked_for_where_there_is_a_note(tmp_path: Path) -> None:
    kernel = images.write(tmp_path, elf())
    state = load(ram(SMALL.memory), SMALL, kernel, protocol=LINUX_64)
    assert state.rip == LOAD_ADDRESS
    assert state.efer


def test_an_entry_point_given_as_virtual_address_becomes_physical(tmp_path: Path) -> None:
    kernel = images.write(tmp_path, elf(pvh_entry=None, entry=0xFFFF_FFFF_8100_0010))
    assert load(ram(SMALL.memory), SMALL, kernel).rip == LOAD_ADDRESS + 0x10


@pytest.mark.parametrize("kernel", [bytes(bzimage()), elf()], ids=["bzimage", "elf"])
def test_the_initrd_is_as_high_as_low_ram_goes_and_page_aligned(
    kernel: bytes, tmp_path: Path
) -> None:
    memory = ram(SMALL.memory)
    data = os.urandom(5000)
    load(
        memory,
        SMALL,
        images.write(tmp_path, kernel),
        initrd=images.write(tmp_path, data, "initrd"),
    )
    assert memory[64 * MIB - 8192 : 64 * MIB - 8192 + 5000] == data


def test_the_initrd_stays_below_the_kernel_s_limit(tmp_path: Path) -> None:
    memory = ram(SMALL.memory)
    kernel = images.write(tmp_path, bzimage(initrd_maximum=40 * MIB - 1))
    state = load(memory, SMALL, kernel, initrd=images.write(tmp_path, b"x" * 10, "initrd"))
    assert u32(memory, state.rsi + 0x218) == 40 * MIB - 4096
    assert u32(memory, state.rsi + 0x21C) == 10


def test_an_initrd_too_large_for_low_ram_goes_above_4_gib(tmp_path: Path) -> None:
    size = 4 * GIB
    memory = ram(size)
    kernel = images.write(tmp_path, bzimage(initrd_maximum=LOAD_ADDRESS + INIT_SIZE + 4095))
    data = os.urandom(10_000)
    state = load(
        memory,
        MachineConfig(memory=size),
        kernel,
        initrd=images.write(tmp_path, data, "initrd"),
    )
    address = u32(memory, state.rsi + 0x218) | u32(memory, state.rsi + 0x0C0) << 32
    assert address == 5 * GIB - 3 * 4096
    assert u32(memory, state.rsi + 0x21C) == 10_000
    assert u32(memory, state.rsi + 0x0C4) == 0
    offset = address - 4 * GIB + 3 * GIB
    assert memory[offset : offset + 10_000] == data


def test_an_initrd_that_just_fits_beside_the_kernel_is_taken(tmp_path: Path) -> None:
    memory = ram(SMALL.memory)
    room = 64 * MIB - LOAD_ADDRESS - INIT_SIZE
    initrd = tmp_path / "initrd"
    initrd.touch()
    os.truncate(initrd, room)
    state = load(memory, SMALL, images.write(tmp_path, bzimage()), initrd=str(initrd))
    assert u32(memory, state.rsi + 0x218) == LOAD_ADDRESS + INIT_SIZE


def test_every_cpu_is_given_write_back_memory(tmp_path: Path) -> None:
    state = load(ram(SMALL.memory), SMALL, images.write(tmp_path, bzimage()))
    assert state.msrs == ((0x2FF, 1 << 11 | 6),)  # MTRRs on, write-back by default


def test_a_command_line_of_any_bytes_arrives_unchanged(tmp_path: Path) -> None:
    memory = ram(SMALL.memory)
    append = os.fsdecode(b"name=\xff\xc3\xa9")
    load(memory, SMALL, images.write(tmp_path, bzimage()), append=append)
    assert bytes(memory[COMMAND_LINE : COMMAND_LINE + 9]) == b"name=\xff\xc3\xa9\0"


def test_ram_ends_where_its_parts_end() -> None:
    space = Ram(ram(4 * GIB), MemoryMap(4 * GIB))
    assert len(space.at(3 * GIB - 1, 1)) == 1
    assert len(space.at(5 * GIB - 1, 1)) == 1
    for address, length in ((3 * GIB - 1, 2), (3 * GIB, 1), (5 * GIB, 1), (-1, 1), (0, -1)):
        with pytest.raises(ValueError, match="is not RAM"):
            space.at(address, length)


def test_a_buffer_of_another_size_than_ram_is_refused() -> None:
    with pytest.raises(ValueError, match="67108864 writable bytes"):
        Ram(memoryview(bytearray(10)), MemoryMap(64 * MIB))
