"""Files a guest can't start from: one clear line each, word for word."""

import os
import re
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.machine import images
from tests.machine.images import (
    BZIMAGE_CODE,
    INIT_SIZE,
    LOAD_ADDRESS,
    MIB,
    bzimage,
    elf,
    elf_32,
    flat,
    load,
    multiboot_header,
    ram,
)
from vestige.abi import GIB
from vestige.errors import UsageError
from vestige.machine.config import MachineConfig
from vestige.machine.kernel import LINUX_32, LINUX_64, MULTIBOOT, PVH

CONFIG = MachineConfig(memory=64 * MIB)
GIVE = "give an x86 kernel"
NOBODY = 65534


def refusal(kernel: str, *, memory: int = 64 * MIB, **options: str) -> str:
    """The message for a start that must be refused, without the kernel's path."""
    with pytest.raises(UsageError) as error:
        load(ram(memory), MachineConfig(memory=memory), kernel, **options)
    message = str(error.value)
    assert "\n" not in message
    return message.removeprefix(f"{kernel}: ")


def damaged(tmp_path: Path, data: bytes | bytearray, changes: dict[int, bytes]) -> str:
    """A file of `data` with some bytes changed."""
    image = bytearray(data)
    for offset, piece in changes.items():
        image[offset : offset + len(piece)] = piece
    return images.write(tmp_path, image)


def test_a_missing_kernel(tmp_path: Path) -> None:
    assert refusal(str(tmp_path / "none")) == f"no such file or directory; {GIVE}"


def test_a_directory(tmp_path: Path) -> None:
    assert refusal(str(tmp_path)) == f"a directory; {GIVE}"


@pytest.mark.parametrize(
    ("start", "program"), [(b"\x1f\x8b\x08", "zcat"), (b"\x28\xb5\x2f\xfd", "zstdcat")]
)
def test_a_packed_kernel_is_named_with_what_unpacks_it(
    tmp_path: Path, start: bytes, program: str
) -> None:
    kernel = images.write(tmp_path, start + bytes(100))
    assert refusal(kernel) == f"packed; {GIVE}: --kernel <({program} {kernel})"


def test_a_device(tmp_path: Path) -> None:
    assert refusal("/dev/zero") == f"neither a regular file nor a pipe; {GIVE}"


def test_a_path_with_a_nul(tmp_path: Path) -> None:
    assert re.fullmatch(f"(open: )?embedded null .*; {GIVE}", refusal("a\0b"))  # Python's words


def test_an_unreadable_kernel(tmp_path: Path) -> None:
    path = images.write(tmp_path, bzimage())
    Path(path).chmod(0)
    user = os.geteuid()
    os.seteuid(user or NOBODY)  # root may read everything
    try:
        assert refusal(path) == f"permission denied; {GIVE}"
    finally:
        os.seteuid(user)


def test_an_empty_kernel(tmp_path: Path) -> None:
    assert refusal(images.write(tmp_path, b"")) == f"an empty file; {GIVE}"


@pytest.mark.parametrize("data", [b"#!/bin/sh\n", b"x", bytes(100_000)])
def test_a_file_that_is_no_kernel(data: bytes, tmp_path: Path) -> None:
    assert refusal(images.write(tmp_path, data)) == (
        f'not a bzImage (no "HdrS" at 0x202) nor an ELF file; {GIVE}'
    )


def test_an_arm64_image(tmp_path: Path) -> None:
    data = bytearray(4096)
    data[:2], data[56:60] = b"MZ", b"ARM\x64"
    assert refusal(images.write(tmp_path, data)) == f'an arm64 Image ("ARM\\x64" at 56); {GIVE}'


def test_a_bzimage_cut_within_its_code(tmp_path: Path) -> None:
    image = bzimage()
    assert refusal(images.write(tmp_path, image[:-16])) == (
        f"a truncated bzImage: {len(image) - 16} bytes of {len(image)}; copy it again"
    )


def test_the_last_paragraph_of_a_bzimage_need_not_be_full(tmp_path: Path) -> None:
    """As memtest86+'s isn't."""
    memory = ram(64 * MIB)
    load(memory, CONFIG, images.write(tmp_path, bzimage()[:-15]))
    code = BZIMAGE_CODE[:-15]
    assert memory[LOAD_ADDRESS : LOAD_ADDRESS + len(code)] == code


def test_a_bzimage_cut_within_its_header(tmp_path: Path) -> None:
    assert refusal(images.write(tmp_path, bzimage()[:0x250])) == (
        "a truncated bzImage: its header ends at byte 592; copy it again"
    )


def test_a_32_bit_bzimage(tmp_path: Path) -> None:
    kernel = images.write(tmp_path, bzimage(load_flags_64=0))
    assert refusal(kernel, protocol=LINUX_64) == f"a 32-bit bzImage (no XLF_KERNEL_64); {GIVE}"


def test_a_zimage(tmp_path: Path) -> None:
    assert refusal(images.write(tmp_path, bzimage(load_flags=0))) == (
        "a zImage, for memory below 1 MiB; give a bzImage"
    )


def test_a_boot_protocol_too_old(tmp_path: Path) -> None:
    assert refusal(images.write(tmp_path, bzimage(version=0x202))) == (
        "boot protocol 2.02, 2.03 or later expected (Linux 2.4.18); give a newer x86 kernel"
    )


@pytest.mark.parametrize("init_size", [49 * MIB, 0xFFFF_FFFF])
def test_a_bzimage_larger_than_memory(init_size: int, tmp_path: Path) -> None:
    needed = -(-(LOAD_ADDRESS + init_size) // MIB)
    assert refusal(images.write(tmp_path, bzimage(init_size=init_size))) == (
        f"needs memory up to {needed} MiB to start, the machine has 64 MiB there; "
        "give it more memory"
    )


def test_a_load_address_beyond_all_memory(tmp_path: Path) -> None:
    assert refusal(images.write(tmp_path, bzimage(preferred=1 << 63, init_size=0))).startswith(
        "needs memory up to 8796093022209 MiB"
    )


def test_memory_above_the_hole_does_not_help_a_kernel(tmp_path: Path) -> None:
    kernel = images.write(tmp_path, bzimage(init_size=3 * GIB))
    assert "the machine has 3072 MiB there" in refusal(kernel, memory=8 * GIB)


@pytest.mark.parametrize("protocol", [PVH, MULTIBOOT])
def test_another_entry_of_a_bzimage(protocol: str, tmp_path: Path) -> None:
    kernel = images.write(tmp_path, bzimage())
    assert refusal(kernel, protocol=protocol) == (
        f"a bzImage has no {protocol} entry; give its vmlinux"
    )


@pytest.mark.parametrize("protocol", [LINUX_32, LINUX_64])
def test_linuxs_entries_of_a_32_bit_elf_file(protocol: str, tmp_path: Path) -> None:
    kernel = images.write(tmp_path, elf_32())
    assert refusal(kernel, protocol=protocol) == f"an ELF file has no {protocol} entry; {GIVE}"


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (elf_32(header=b""), f"a 32-bit ELF file with no Multiboot header; {GIVE}"),
        (
            elf_32(header=multiboot_header(0x87)),
            "a Multiboot kernel that needs more than memory and modules (flags 0x84, of which 0x4"
            " is a video mode); give one that does without",
        ),
        (
            elf_32(address=0x1000, memory_size=0x1000, entry=0x1040),
            "a segment at 0x1000 to 0x2000: below 1 MiB a Multiboot kernel has 0x2000 to 0x70000;"
            " give one linked elsewhere",
        ),
        (
            elf_32(address=0x60000, memory_size=0x10001, entry=0x60040),
            "a segment at 0x60000 to 0x70001: below 1 MiB a Multiboot kernel has 0x2000 to 0x70000;"
            " give one linked elsewhere",
        ),
        (
            elf_32(address=0xA0000, entry=0xA0040),
            "a segment at 0xa0000, where a PC has no RAM; give a kernel linked elsewhere",
        ),
        (
            elf_32(memory_size=64 * MIB),
            "needs memory up to 65 MiB to start, the machine has 64 MiB there; give it more memory",
        ),
        (elf_32(entry=0x40), f"entry point 0x40 is in no segment; {GIVE}"),
        (
            elf_32(second=2 * MIB),
            "a damaged ELF file: two segments at 0x200000; copy it again",
        ),
        (elf_32()[:200], "a truncated ELF file: its segments end at byte 404, the file at 200;"),
        (elf_32()[:51], "a truncated ELF file: its header ends at byte 51; copy it again"),
        (elf_32(machine=62), f"an ELF file for machine 62; {GIVE}"),
        (
            bytes(64) + multiboot_header() + bytes(64),
            "a Multiboot header without addresses, in no ELF file; give the ELF file",
        ),
        (flat()[: 0x80 + 31], "a truncated Multiboot header at 0x80; copy the file again"),
        (
            flat(at=MIB, start=2 * MIB),
            "a damaged Multiboot header: it is at 0x100000 in memory, the kernel begins at"
            " 0x200000; copy it again",
        ),
        (
            flat(start=MIB - 0x1000),
            "a damaged Multiboot header: it is at 0x100080 in memory, the kernel begins at 0xff000;"
            " copy it again",
        ),
        (
            flat(end=MIB + 0x401),
            "a truncated Multiboot kernel: its code ends at byte 1025, the file at 1024; copy it"
            " again",
        ),
        (
            flat(end=MIB - 1),
            "a damaged Multiboot header: code from 0x100000 to 0xfffff; copy it again",
        ),
        (
            flat(bss_end=MIB + 0x3FF),
            "a damaged Multiboot header: memory to 0x1003ff, code to 0x100400; copy it again",
        ),
        (
            flat(entry=MIB + 0x400),
            "a damaged Multiboot header: the entry point 0x100400 is outside of the code; copy it"
            " again",
        ),
        (
            flat(bss_end=0xFFFF_FFFF),
            "needs memory up to 4096 MiB to start, the machine has 64 MiB there; give it more"
            " memory",
        ),
        (
            flat(at=0x1080, start=0x1000, entry=0x1100),
            "a segment at 0x1000 to 0x1400: below 1 MiB a Multiboot kernel has 0x2000 to 0x70000;"
            " give one linked elsewhere",
        ),
    ],
)
def test_multiboot_kernels_that_are_none(kernel: bytes, message: str, tmp_path: Path) -> None:
    assert refusal(images.write(tmp_path, kernel)).startswith(message)


def test_a_64_bit_elf_file_asked_for_by_multiboot(tmp_path: Path) -> None:
    kernel = images.write(tmp_path, elf())
    assert refusal(kernel, protocol=MULTIBOOT) == (
        f"an ELF file with no Multiboot header that has addresses; {GIVE}"
    )


def test_a_module_larger_than_memory(tmp_path: Path) -> None:
    initrd = images.write(tmp_path, b"", "initrd")
    os.truncate(initrd, 60 * MIB - 0x1000 + 1)
    assert refusal(images.write(tmp_path, elf_32()), initrd=initrd) == (
        f"{initrd}: an initrd of {60 * MIB - 0xFFF} bytes, the machine's memory has"
        f" {60 * MIB - 0x1000} bytes free for it beside the kernel; give it more memory"
    )


def test_pvh_of_an_elf_file_without_its_note(tmp_path: Path) -> None:
    kernel = images.write(tmp_path, elf(pvh_entry=None))
    assert refusal(kernel, protocol=PVH) == (
        "an ELF file with no PVH note; give a kernel with CONFIG_PVH"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({4: b"\x01"}, "an ELF file for machine 62"),
        ({4: b"\x03"}, "an ELF file for machine 62"),
        ({5: b"\x02", 18: b"\0\x3e"}, "an ELF file for machine 62"),
        ({18: b"\xb7\0"}, "an ELF file for arm64"),
        ({18: b"\xf3\0"}, "an ELF file for RISC-V"),
        ({4: b"\x01", 18: b"\x28\0"}, "an ELF file for 32-bit ARM"),
        ({5: b"\x02", 18: b"\0\x15"}, "an ELF file for 64-bit PowerPC"),
        ({18: b"\x32\0"}, "an ELF file for machine 50"),
        ({16: b"\x01\0"}, "an ELF file of type 1, not executable"),
        ({56: b"\0\0"}, "an ELF file with nothing to load"),
        ({24: bytes(8)}, "entry point 0x0 is in no segment"),
    ],
)
def test_elf_files_for_something_else(
    changes: dict[int, bytes], message: str, tmp_path: Path
) -> None:
    kernel = damaged(tmp_path, elf(pvh_entry=None), changes)
    assert refusal(kernel) == f"{message}; {GIVE}"


@pytest.mark.parametrize(
    ("kernel", "entry"),
    [
        (elf(pvh_entry=None, code=bytes(0x100)), LOAD_ADDRESS),
        (elf(code=b"\xf4" * 0x20 + bytes(0xE0)), LOAD_ADDRESS + 0x20),
        (elf(pvh_entry=None, entry=LOAD_ADDRESS + 2 * MIB), LOAD_ADDRESS + 2 * MIB),
        (elf(pvh_entry=None, entry=LOAD_ADDRESS + 3 * MIB + 4), LOAD_ADDRESS + 3 * MIB + 4),
    ],
)
def test_an_elf_file_whose_code_was_taken_out(kernel: bytes, entry: int, tmp_path: Path) -> None:
    assert refusal(images.write(tmp_path, kernel)) == (
        f"no code at its entry point {entry:#x}; give the kernel itself, not what `objcopy"
        " --only-keep-debug` keeps of it"
    )


def test_an_elf_file_cut_within_its_header(tmp_path: Path) -> None:
    assert refusal(images.write(tmp_path, elf()[:63])) == (
        "a truncated ELF file: its header ends at byte 63; copy it again"
    )


def test_an_elf_file_cut_within_its_program_headers(tmp_path: Path) -> None:
    assert refusal(images.write(tmp_path, elf()[:100])) == (
        "a truncated ELF file: its program headers end at byte 176, the file at 100; copy it again"
    )


def test_an_elf_file_cut_within_a_segment(tmp_path: Path) -> None:
    assert refusal(images.write(tmp_path, elf()[:200])) == (
        "a truncated ELF file: its segments end at byte 432, the file at 200; copy it again"
    )


def test_an_elf_file_cut_within_its_notes(tmp_path: Path) -> None:
    data = elf()
    assert refusal(images.write(tmp_path, data[:-1])) == (
        f"a truncated ELF file: its notes end at byte {len(data)}, the file at {len(data) - 1}; "
        "copy it again"
    )


def test_program_headers_of_another_size(tmp_path: Path) -> None:
    assert refusal(damaged(tmp_path, elf(), {54: b"\x20\0"})) == (
        "a damaged ELF file: program headers of 32 bytes, 56 expected; copy it again"
    )


def test_a_segment_with_more_in_the_file_than_in_memory(tmp_path: Path) -> None:
    size_in_memory = 64 + 40
    assert refusal(damaged(tmp_path, elf(), {size_in_memory: struct.pack("<Q", 16)})) == (
        "a damaged ELF file: a segment of 256 bytes for 16 bytes of memory; copy it again"
    )


def test_a_segment_where_boot_data_lives(tmp_path: Path) -> None:
    address = 64 + 24
    assert refusal(damaged(tmp_path, elf(), {address: struct.pack("<Q", 0x8000)})) == (
        "a segment at 0x8000, below 1 MiB; give a kernel linked above it"
    )


@pytest.mark.parametrize("size", [48 * MIB + 1, (1 << 64) - 1])
def test_an_elf_kernel_larger_than_memory(size: int, tmp_path: Path) -> None:
    size_in_memory = 64 + 40
    needed = -(-(LOAD_ADDRESS + size) // MIB)
    assert refusal(damaged(tmp_path, elf(), {size_in_memory: struct.pack("<Q", size)})) == (
        f"needs memory up to {needed} MiB to start, the machine has 64 MiB there; "
        "give it more memory"
    )


def test_a_pvh_entry_outside_the_kernel(tmp_path: Path) -> None:
    assert refusal(images.write(tmp_path, elf(pvh_entry=0x1234))) == (
        f"entry point 0x1234 is in no segment; {GIVE}"
    )


@pytest.mark.parametrize("length", range(0, 0x180, 5))
def test_no_truncation_of_an_elf_file_is_accepted_or_fails_otherwise(
    length: int, tmp_path: Path
) -> None:
    assert refusal(images.write(tmp_path, elf()[:length]))


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(
        [
            *(bytes(bzimage()), bytes(bzimage(load_flags_64=0)), elf(), elf(pvh_entry=None)),
            *(elf_32(), elf_32(header=b"", pvh_entry=MIB + 0x40), flat()),
        ]
    ),
    st.lists(st.tuples(st.integers(0, 0x300), st.binary(min_size=1, max_size=8)), max_size=4),
    st.integers(1, 4000),
)
def test_any_damage_is_either_refused_in_one_line_or_harmless(
    data: bytes, pieces: list[tuple[int, bytes]], length: int
) -> None:
    image = bytearray(data)
    for offset, piece in pieces:
        image[offset : offset + len(piece)] = piece
    with tempfile.TemporaryDirectory() as directory:
        kernel = images.write(Path(directory), image[:length])
        message = f"{kernel}: started"
        try:
            load(ram(64 * MIB), CONFIG, kernel)
        except UsageError as error:
            message = str(error)
    assert message.startswith(f"{kernel}: ")
    assert "\n" not in message


def test_a_missing_initrd(tmp_path: Path) -> None:
    initrd = str(tmp_path / "none")
    assert refusal(images.write(tmp_path, bzimage()), initrd=initrd) == (
        f"{initrd}: no such file or directory; give an initrd"
    )


def test_an_empty_initrd(tmp_path: Path) -> None:
    initrd = images.write(tmp_path, b"", "initrd")
    assert refusal(images.write(tmp_path, bzimage()), initrd=initrd) == (
        f"{initrd}: an empty file; give an initrd"
    )


@pytest.mark.parametrize("kernel", [bytes(bzimage()), elf(pvh_entry=None)], ids=["bzimage", "elf"])
@pytest.mark.parametrize("size", [48 * MIB, 80 * MIB, 1 << 40])
def test_an_initrd_larger_than_memory(kernel: bytes, size: int, tmp_path: Path) -> None:
    initrd = images.write(tmp_path, b"", "initrd")
    os.truncate(initrd, size)
    kernel_end = INIT_SIZE if kernel[:4] != b"\x7fELF" else 3 * MIB + 4096
    free = 64 * MIB - LOAD_ADDRESS - kernel_end
    assert refusal(images.write(tmp_path, kernel), initrd=initrd) == (
        f"{initrd}: an initrd of {size} bytes, the machine's memory has {free} bytes free for it "
        "beside the kernel; give it more memory"
    )


def test_a_command_line_longer_than_the_kernel_takes(tmp_path: Path) -> None:
    kernel = images.write(tmp_path, bzimage(command_line_size=255))
    load(ram(64 * MIB), CONFIG, kernel, append="x" * 255)
    assert refusal(kernel, append="x" * 256) == (
        "the kernel command line has 256 bytes, this kernel takes 255; shorten it"
    )


def test_a_command_line_longer_than_its_place(tmp_path: Path) -> None:
    kernel = images.write(tmp_path, bzimage(command_line_size=0xFFFF_FFFF))
    assert refusal(kernel, append="x" * 65536) == (
        "the kernel command line has 65536 bytes, this kernel takes 65535; shorten it"
    )


def test_a_command_line_longer_than_an_elf_kernel_takes(tmp_path: Path) -> None:
    assert refusal(images.write(tmp_path, elf()), append="é" * 1024) == (
        "the kernel command line has 2048 bytes, this kernel takes 2047; shorten it"
    )


def test_a_command_line_with_a_nul(tmp_path: Path) -> None:
    assert refusal(images.write(tmp_path, bzimage()), append="a\0b") == (
        "the kernel command line has a NUL byte at 1; give text without one"
    )


def test_refused_files_leave_no_descriptor_open(tmp_path: Path) -> None:
    descriptors = "/proc/self/fd"
    before = len(os.listdir(descriptors))  # noqa: PTH208 - counted, not walked
    for data in (b"", b"x", bytes(bzimage())[:-16], elf()[:200], bytes(BZIMAGE_CODE)):
        refusal(images.write(tmp_path, data))
    refusal(str(tmp_path))
    assert len(os.listdir(descriptors)) == before  # noqa: PTH208
