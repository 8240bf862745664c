"""Multiboot kernels: where they are put, and what they are told."""

import struct
from pathlib import Path

import pytest

from tests.machine import images
from tests.machine.images import (
    FLAT_START,
    MIB,
    MULTIBOOT_MAGIC,
    elf_32,
    flat,
    load,
    multiboot_header,
    ram,
)
from tests.machine.test_boot import limit_and_flags
from vestige.bounds import GIB
from vestige.machine import multiboot
from vestige.machine.config import MachineConfig
from vestige.machine.kernel import PVH
from vestige.machine.memory_map import MemoryMap

SMALL = MachineConfig(memory=64 * MIB)
CODE = 0x34 + 3 * 32  # of an elf_32 in its file


def text(memory: memoryview, address: int) -> bytes:
    return bytes(memory[address : address + 200]).partition(b"\0")[0]


def information(memory: memoryview, address: int) -> tuple[int, ...]:
    return struct.unpack_from("<22I", memory, address)


def test_an_elf_file_s_segments_are_put_where_they_say(tmp_path: Path) -> None:
    memory = ram(SMALL.memory)
    kernel = elf_32(second=0x9000)
    state = load(memory, SMALL, images.write(tmp_path, kernel))
    assert memory[MIB : MIB + 0x100] == kernel[CODE : CODE + 0x100]
    assert memory[0x9000:0x9100] == kernel[CODE : CODE + 0x100]
    assert state.rip == MIB + 0x40


def test_the_machine_state_is_multiboot_s(tmp_path: Path) -> None:
    memory = ram(SMALL.memory)
    state = load(memory, SMALL, images.write(tmp_path, elf_32()))
    assert state.rax == 0x2BADB002
    assert information(memory, state.rbx)[0] == 0x24D
    assert (state.cr0, state.cr3, state.cr4, state.efer) == (0x11, 0, 0, 0)
    assert state.rflags == 2  # interrupts off
    assert limit_and_flags(memory, state.gdt_base, state.code.selector) == (0xFFFFF, 0x9B, 0xC)
    assert limit_and_flags(memory, state.gdt_base, state.data.selector) == (0xFFFFF, 0x93, 0xC)


def test_an_entry_point_given_as_virtual_address_becomes_physical(tmp_path: Path) -> None:
    kernel = images.write(tmp_path, elf_32(virtual=0xC010_0000, entry=0xC010_0050))
    assert load(ram(SMALL.memory), SMALL, kernel).rip == MIB + 0x50


def test_it_is_told_of_memory_command_line_and_loader(tmp_path: Path) -> None:
    size = 5 * GIB
    memory = ram(size)
    kernel = images.write(tmp_path, elf_32(), "kernel.elf")
    state = load(memory, MachineConfig(memory=size), kernel, append="a b")
    info = information(memory, state.rbx)
    assert info[1:3] == (640, (3 * GIB - MIB) // 1024)  # KiB below and above 1 MiB
    assert text(memory, info[4]) == b"kernel.elf a b"
    assert info[5] == 0  # no module
    assert text(memory, info[16]) == b"Vestige"
    length, at = info[11:13]
    entries = list(struct.iter_unpack("<IQQI", memory[at : at + length]))
    assert [entry[1:] for entry in entries] == MemoryMap(size).e820()
    assert {entry[0] for entry in entries} == {20}
    told = (3, 7, 8, 9, 10, 13, 14, 15, 17, 18, 19, 20, 21)
    assert not any(info[index] for index in told)  # of whose flags none is set


def test_without_words_the_command_line_is_the_name_alone(tmp_path: Path) -> None:
    memory = ram(SMALL.memory)
    state = load(memory, SMALL, images.write(tmp_path, elf_32(), "xen"))
    assert text(memory, information(memory, state.rbx)[4]) == b"xen"


@pytest.mark.parametrize("size", [1, 4096, 100_000])
def test_the_initrd_is_a_module_right_behind_the_kernel(size: int, tmp_path: Path) -> None:
    memory = ram(SMALL.memory)
    data = bytes(range(1, 251)) * (size // 250 + 1)
    initrd = images.write(tmp_path, data[:size], "initrd")
    state = load(memory, SMALL, images.write(tmp_path, elf_32()), initrd=initrd)
    info = information(memory, state.rbx)
    assert info[5] == 1
    start, end, words, _ = struct.unpack_from("<4I", memory, info[6])
    assert start == 4 * MIB + 0x1000
    assert bytes(memory[start:end]) == data[:size]
    assert text(memory, words) == b""


def test_a_kernel_below_1_mib_has_its_module_above(tmp_path: Path) -> None:
    memory = ram(SMALL.memory)
    kernel = images.write(tmp_path, elf_32(address=0x9000, memory_size=0x5000, entry=0x9040))
    initrd = images.write(tmp_path, b"x" * 10, "initrd")
    state = load(memory, SMALL, kernel, initrd=initrd)
    assert struct.unpack_from("<I", memory, information(memory, state.rbx)[6]) == (MIB,)


@pytest.mark.parametrize(
    ("end", "bss_end", "last"),
    [(0, 0, 0x400), (FLAT_START + 0x200, 0, 0x200), (0, FLAT_START + 0x8000, 0x400)],
)
def test_a_header_with_addresses_says_where_the_file_goes(
    end: int, bss_end: int, last: int, tmp_path: Path
) -> None:
    memory = ram(SMALL.memory)
    kernel = flat(end=end, bss_end=bss_end)
    initrd = images.write(tmp_path, b"x", "initrd")
    state = load(memory, SMALL, images.write(tmp_path, kernel), initrd=initrd)
    assert memory[FLAT_START : FLAT_START + last] == kernel[:last]
    assert not any(memory[FLAT_START + last : FLAT_START + 0x600])
    assert state.rip == FLAT_START + 0x100
    module = struct.unpack_from("<I", memory, information(memory, state.rbx)[6])
    assert module == (-(-max(FLAT_START + last, bss_end) // 4096) * 4096,)


def test_what_is_before_the_kernel_in_a_flat_file_is_left_out(tmp_path: Path) -> None:
    memory = ram(SMALL.memory)
    load(memory, SMALL, images.write(tmp_path, flat(start=FLAT_START + 0x40)))
    assert not any(memory[FLAT_START : FLAT_START + 0x40])
    assert memory[FLAT_START + 0x100] == flat()[0x100]


def test_addresses_count_in_an_elf_file_too(tmp_path: Path) -> None:
    """As GRUB and QEMU have it."""
    memory = ram(SMALL.memory)
    at = 2 * MIB + CODE
    header = multiboot_header(0x10003, at, 2 * MIB, 0, 0, 2 * MIB + 0x80)
    kernel = elf_32(header=header)
    state = load(memory, SMALL, images.write(tmp_path, kernel))
    assert memory[2 * MIB : 2 * MIB + len(kernel)] == kernel
    assert (state.rip, state.rax) == (2 * MIB + 0x80, 0x2BADB002)


def test_a_32_bit_elf_file_starts_by_multiboot_rather_than_by_pvh(tmp_path: Path) -> None:
    kernel = images.write(tmp_path, elf_32(pvh_entry=MIB + 0x60))
    assert load(ram(SMALL.memory), SMALL, kernel).rax == 0x2BADB002
    state = load(ram(SMALL.memory), SMALL, kernel, protocol=PVH)
    assert (state.rip, state.rax) == (MIB + 0x60, 0)


def test_a_32_bit_elf_file_with_a_pvh_note_alone_starts_by_it(tmp_path: Path) -> None:
    memory = ram(SMALL.memory)
    kernel = images.write(tmp_path, elf_32(header=b"", pvh_entry=MIB + 0x60))
    state = load(memory, SMALL, kernel)
    assert state.rip == MIB + 0x60
    assert struct.unpack_from("<I", memory, state.rbx) == (0x336EC578,)


@pytest.mark.parametrize("offset", [0, 4, 4096, 8192 - 12])
def test_the_header_is_anywhere_in_the_first_8_kib(offset: int) -> None:
    near = struct.pack("<III", MULTIBOOT_MAGIC, 3, 3)  # without its checksum
    start = (near * (offset // 12)).ljust(offset, b"\0") + multiboot_header(1)
    found = multiboot.find("kernel", start.ljust(8192, b"\0"))
    assert found is not None
    assert (found.offset, found.flags) == (offset, 1)


@pytest.mark.parametrize("offset", [1, 2, 3, 8192 - 8])
def test_elsewhere_there_is_none(offset: int) -> None:
    start = bytes(offset) + multiboot_header()
    assert multiboot.find("kernel", start.ljust(8192, b"\0")[:8192]) is None
