"""A kernel that a BIOS starts: the option ROM, and what fw_cfg has of the kernel."""

import os
import shutil
import struct
import subprocess
from contextlib import ExitStack
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest

from tests.machine import images
from tests.machine.images import BZIMAGE_CODE, INIT_SIZE, LOAD_ADDRESS, MIB, bzimage, elf_32
from vestige.bounds import GIB
from vestige.errors import UsageError
from vestige.machine import linux_rom
from vestige.machine.files import Piece, open_input

PARTS = [(0x18, 0x10000, 0x400), (0x15, 0x20000, 6), (0x11, 0x100000, 0x123456)]
GIVE_MEMORY = "give it more memory"


def items(
    kernel: str, *, initrd: str | None = None, append: str = "", memory: int = 64 * MIB
) -> tuple[dict[str, bytes], dict[int, bytes]]:
    """Files by their names, items by their keys, with what they have of files read."""
    with ExitStack() as stack:
        file = stack.enter_context(open_input(kernel, "a kernel"))
        disk = None if initrd is None else stack.enter_context(open_input(initrd, "an initrd"))
        files, found = linux_rom.items(memory, file, disk, append)
        return files, {key: content(data) for key, data in found.items()}


def content(data: bytes | Piece) -> bytes:
    if isinstance(data, bytes):
        return data
    target = bytearray(data.size)
    data.read(memoryview(target))
    return bytes(target)


def refusal(kernel: str, **options: str) -> str:
    with pytest.raises(UsageError) as refused:
        items(kernel, **options)  # type: ignore[arg-type] # all are text
    return str(refused.value).removeprefix(f"{kernel}: ")


def numbers(found: dict[int, bytes], *keys: int) -> list[int]:
    return [int.from_bytes(found[key], "little") for key in keys]


def test_the_rom_is_whole_and_says_so() -> None:
    rom = linux_rom.rom(PARTS)
    assert rom[:2] == b"\x55\xaa"
    assert len(rom) == rom[2] * 512
    assert sum(rom) % 256 == 0


def test_the_rom_is_a_device_to_boot_from() -> None:
    """Plug and Play BIOS Specification 1.0A, 3.2."""
    rom = linux_rom.rom(PARTS)
    at = int.from_bytes(rom[0x1A:0x1C], "little")
    header = rom[at : at + 32]
    assert (header[:4], header[4], header[5]) == (b"$PnP", 1, 2)
    assert sum(header) % 256 == 0
    _, product, _, _, connection, _, bootstrap = struct.unpack_from("<HH3sBHHH", header, 14)
    assert rom[product:].partition(b"\0")[0] == b"Kernel of vestige run"
    assert (connection, bootstrap) == (0, 0x40)


def test_what_the_rom_does() -> None:
    if shutil.which("objdump") is None:
        pytest.skip("needs objdump")
    rom = linux_rom.rom(PARTS)
    listing = disassembled(rom[0x40 : rom.index(linux_rom.ACCESS.pack(0x18000A, 0x400, 0x10000))])
    table = 0x40 + listing[-1][0] + 2
    code = [words for _, words in listing]
    assert code == [
        *("xor %ax,%ax", "mov %ax,%es", "cld", "push %cs", "pop %ds"),
        *(f"mov ${table:#x},%si", "mov $0x3,%cx"),
        *("mov $0x600,%di", "push %cx", "mov $0x8,%cx", "rep movsw %ds:(%si),%es:(%di)", "pop %cx"),
        *("xor %eax,%eax", "mov $0x514,%dx", "out %eax,(%dx)"),
        *("mov $0x60000,%eax", "add $0x4,%dx", "out %eax,(%dx)"),
        *("mov %es:0x600,%eax", "cmp $0x1000000,%eax", "je 0x54", "test %eax,%eax", "jne 0x2a"),
        *("loop 0xd", "cli", "mov $0x1000,%ax", "mov %ax,%ds", "mov %ax,%es", "mov %ax,%fs"),
        *("mov %ax,%gs", "mov %ax,%ss", "mov $0xfff0,%sp", "ljmp $0x1020,$0x0"),
        *(f"mov ${table + 48:#x},%si", "lods %ds:(%si),%al", "test %al,%al", "je 0x65"),
        *("mov $0xe,%ah", "mov $0x7,%bx", "int $0x10", "jmp 0x57", "int $0x18"),
    ]
    starts = dict(listing)
    assert starts[0x0D].startswith("mov $0x600")  # where the jumps go
    assert starts[0x2A].startswith("mov %es:0x600")
    assert starts[0x54].startswith("mov $")
    assert starts[0x57].startswith("lods")
    assert starts[0x65] == "int $0x18"
    read = [linux_rom.ACCESS.unpack_from(rom, table + 16 * index) for index in range(3)]
    assert read == [(key << 16 | 0xA, size, address) for key, address, size in PARTS]
    assert rom[table + 48 :].startswith(linux_rom.FAILED)


def disassembled(code: bytes) -> list[tuple[int, str]]:
    """Each instruction's offset and words."""
    with NamedTemporaryFile() as file:
        file.write(code)
        file.flush()
        words = ["objdump", "-D", "-b", "binary", "-m", "i8086", "--no-show-raw-insn", file.name]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    lines = [line.partition(":\t") for line in done.stdout.splitlines() if ":\t" in line]
    return [(int(at, 16), " ".join(words.split())) for at, _, words in lines]


def test_fw_cfg_has_the_kernel_s_parts_and_where_they_go(tmp_path: Path) -> None:
    image = bzimage(setup_sectors=3)
    initrd = images.write(tmp_path, b"initrd" * 1000, "initrd")
    files, found = items(images.write(tmp_path, image), initrd=initrd, append="a b")
    assert linux_rom.DEVICE == "/rom@genroms/vestige-kernel.bin"
    assert set(files) == {"genroms/vestige-kernel.bin"}
    assert found[0x11] == BZIMAGE_CODE
    assert found[0x12] == b"initrd" * 1000
    assert found[0x15] == b"a b\0"
    assert numbers(found, 0x07, 0x08) == [0x100000, len(BZIMAGE_CODE)]
    assert numbers(found, 0x13, 0x14) == [0x20000, 4]
    assert numbers(found, 0x16, 0x17) == [0x10000, 4 * 512]
    address, size = numbers(found, 0x0A, 0x0B)
    assert (address, size) == (63 * MIB - 8192, 6000)
    setup = found[0x18]
    assert len(setup) == 4 * 512
    changed = [index for index in range(len(setup)) if setup[index] != image[index]]
    allowed = [*range(0x1FA, 0x1FC), 0x210, 0x211, *range(0x214, 0x220), *range(0x224, 0x226)]
    assert set(changed) <= {*allowed, *range(0x228, 0x22C)}
    assert setup[0x1FA:0x1FC] == b"\xff\xff"
    assert (setup[0x210], setup[0x211]) == (0xFF, 0x81)  # type_of_loader; LOADED_HIGH, CAN_USE_HEAP
    assert struct.unpack_from("<III", setup, 0x214) == (0x100000, address, size)
    assert struct.unpack_from("<H", setup, 0x224) == (0xFDF0,)  # heap_end_ptr, below the stack
    assert struct.unpack_from("<I", setup, 0x228) == (0x20000,)


def test_without_an_initrd_there_is_none(tmp_path: Path) -> None:
    _, found = items(images.write(tmp_path, bzimage()))
    assert not {0x0A, 0x0B, 0x12} & found.keys()
    assert found[0x18][0x218:0x220] == bytes(8)


def test_an_initrd_stays_below_the_kernel_s_limit_and_4_gib(tmp_path: Path) -> None:
    initrd = images.write(tmp_path, b"x" * 10, "initrd")
    kernel = images.write(tmp_path, bzimage(initrd_maximum=40 * MIB - 1))
    assert numbers(items(kernel, initrd=initrd)[1], 0x0A) == [40 * MIB - 4096]
    kernel = images.write(tmp_path, bzimage(initrd_maximum=0xFFFF_FFFF))
    _, found = items(kernel, initrd=initrd, memory=8 * GIB)
    assert numbers(found, 0x0A) == [3 * GIB - MIB - 4096]


def test_what_a_firmware_can_t_start(tmp_path: Path) -> None:
    assert refusal(images.write(tmp_path, elf_32())) == (
        "no bzImage, which a firmware starts; give one, or no --firmware"
    )
    assert refusal(images.write(tmp_path, b"x")).startswith("no bzImage")
    assert refusal(images.write(tmp_path, bzimage(setup_sectors=64))) == (
        "33280 bytes of real-mode code, 32768 is the most that a firmware can start; leave"
        " --firmware out"
    )
    assert refusal(images.write(tmp_path, bzimage()[:-16])).startswith("a truncated bzImage")
    assert refusal(images.write(tmp_path, bzimage(version=0x202))).startswith("boot protocol 2.02")
    assert refusal(images.write(tmp_path, bzimage(init_size=47 * MIB + 1))) == (
        f"needs memory up to 64 MiB to start, the machine has 63 MiB there; {GIVE_MEMORY}"
    )


def test_an_initrd_too_large(tmp_path: Path) -> None:
    initrd = images.write(tmp_path, b"", "initrd")
    room = 63 * MIB - LOAD_ADDRESS - INIT_SIZE
    os.truncate(initrd, room + 1)
    assert refusal(images.write(tmp_path, bzimage()), initrd=initrd) == (
        f"{initrd}: an initrd of {room + 1} bytes, the machine's memory has {room} bytes free for"
        f" it beside the kernel; {GIVE_MEMORY}"
    )


def test_a_command_line_too_long(tmp_path: Path) -> None:
    kernel = images.write(tmp_path, bzimage(command_line_size=255))
    assert refusal(kernel, append="x" * 256) == (
        "the kernel command line has 256 bytes, this kernel takes 255; shorten it"
    )
