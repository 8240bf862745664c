"""bzImages that start by their 32-bit entry, of every age of the boot protocol."""

import struct
from pathlib import Path

import pytest

from tests.machine import images
from tests.machine.images import BZIMAGE_CODE, LOAD_ADDRESS, MIB, bzimage, load, ram
from tests.machine.test_boot import limit_and_flags, u32
from vestige.bounds import GIB
from vestige.errors import UsageError
from vestige.machine.config import MachineConfig
from vestige.machine.kernel import LINUX_32
from vestige.machine.memory_map import COMMAND_LINE, MemoryMap

SMALL = MachineConfig(memory=64 * MIB)


def test_a_kernel_without_a_64_bit_entry_starts_by_the_32_bit_one(tmp_path: Path) -> None:
    memory = ram(SMALL.memory)
    kernel = images.write(tmp_path, bzimage(load_flags_64=0))
    state = load(memory, SMALL, kernel, append="quiet")
    assert state.rip == LOAD_ADDRESS
    assert memory[LOAD_ADDRESS : LOAD_ADDRESS + len(BZIMAGE_CODE)] == BZIMAGE_CODE
    assert (state.cr0, state.cr3, state.cr4, state.efer) == (0x11, 0, 0, 0)  # PE, ET: no paging
    assert (state.rbx, state.rax, state.rflags) == (0, 0, 2)
    assert (state.code.selector, state.data.selector) == (0x10, 0x18)  # __BOOT_CS, __BOOT_DS
    assert limit_and_flags(memory, state.gdt_base, 0x10) == (0xFFFFF, 0x9B, 0xC)
    assert limit_and_flags(memory, state.gdt_base, 0x18) == (0xFFFFF, 0x93, 0xC)
    page = bytes(memory[state.rsi : state.rsi + 4096])
    assert page[0x202:0x206] == b"HdrS"
    assert u32(page, 0x228) == COMMAND_LINE
    assert bytes(memory[COMMAND_LINE : COMMAND_LINE + 6]) == b"quiet\0"
    table = page[0x2D0 : 0x2D0 + 20 * page[0x1E8]]
    assert list(struct.iter_unpack("<QQI", table)) == MemoryMap(SMALL.memory).e820()


def test_the_32_bit_entry_of_a_64_bit_kernel_can_be_asked_for(tmp_path: Path) -> None:
    kernel = images.write(tmp_path, bzimage())
    state = load(ram(SMALL.memory), SMALL, kernel, protocol=LINUX_32)
    assert (state.rip, state.efer) == (LOAD_ADDRESS, 0)


@pytest.mark.parametrize(
    ("version", "relocatable", "preferred", "alignment", "address"),
    [
        (0x203, 1, 16 * MIB, 16 * MIB, MIB),  # no field of these is there yet
        (0x205, 0, 16 * MIB, 4 * MIB, MIB),
        (0x205, 1, 16 * MIB, 4 * MIB, 4 * MIB),
        (0x20A, 0, 5 * MIB, 4 * MIB, 5 * MIB),
        (0x20A, 1, 5 * MIB, 4 * MIB, 8 * MIB),
        (0x20C, 0, MIB, 0x1000, MIB),  # as memtest86+
    ],
)
def test_it_is_loaded_where_its_protocol_s_version_says(
    version: int, relocatable: int, preferred: int, alignment: int, address: int, tmp_path: Path
) -> None:
    image = bzimage(
        version=version,
        relocatable=relocatable,
        preferred=preferred,
        alignment=alignment,
        load_flags_64=0,
    )
    state = load(ram(SMALL.memory), SMALL, images.write(tmp_path, image))
    assert state.rip == address


@pytest.mark.parametrize("version", [0x203, 0x209, 0x20B])
def test_an_old_kernel_has_a_32_bit_entry_whatever_is_where_the_flag_came_later(
    version: int, tmp_path: Path
) -> None:
    kernel = images.write(tmp_path, bzimage(version=version, load_flags_64=0xFFFF))
    assert load(ram(SMALL.memory), SMALL, kernel).efer == 0


def test_an_old_kernel_takes_255_bytes_of_command_line(tmp_path: Path) -> None:
    kernel = images.write(tmp_path, bzimage(version=0x205))
    load(ram(SMALL.memory), SMALL, kernel, append="x" * 255)
    with pytest.raises(UsageError, match="has 256 bytes, this kernel takes 255"):
        load(ram(SMALL.memory), SMALL, kernel, append="x" * 256)


def test_its_initrd_stays_below_4_gib(tmp_path: Path) -> None:
    """XLF_CAN_BE_LOADED_ABOVE_4G speaks of the 64-bit entry."""
    config = MachineConfig(memory=4 * GIB)
    kernel = images.write(tmp_path, bzimage(load_flags_64=2, initrd_maximum=LOAD_ADDRESS))
    initrd = images.write(tmp_path, b"x" * 5000, "initrd")
    with pytest.raises(UsageError, match="has 0 bytes free for it"):
        load(ram(config.memory), config, kernel, initrd=initrd)


def test_a_kernel_that_names_no_size_is_given_three_times_its_own(tmp_path: Path) -> None:
    memory = ram(SMALL.memory)
    limit = MIB + 3 * len(BZIMAGE_CODE) + 8191
    image = bzimage(version=0x205, relocatable=0, initrd_maximum=limit - 1)
    initrd = images.write(tmp_path, b"x" * 4096, "initrd")
    state = load(memory, SMALL, images.write(tmp_path, image), initrd=initrd)
    assert u32(memory, state.rsi + 0x218) == MIB + 0x1000
    initrd = images.write(tmp_path, b"x" * 8192, "initrd")
    with pytest.raises(UsageError, match="bytes free for it"):
        load(memory, SMALL, images.write(tmp_path, image), initrd=initrd)
