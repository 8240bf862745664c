"""Kernel files made by hand: small, correct, and then broken in one place by each test."""

import mmap
import struct
from contextlib import ExitStack
from pathlib import Path

from vestige.machine import boot
from vestige.machine.config import MachineConfig
from vestige.machine.cpu import CpuState
from vestige.machine.files import open_input
from vestige.machine.kernel import AUTO, EXPECTED
from vestige.machine.memory_map import MemoryMap

MIB = 1 << 20
BZIMAGE_CODE = bytes(range(256)) * 4
LOAD_ADDRESS = 16 * MIB
INIT_SIZE = 8 * MIB
NOTE_TYPE_PHYS32_ENTRY = 18
PT_LOAD, PT_NOTE = 1, 4


def ram(memory: int) -> memoryview:
    """Zeroed guest RAM; pages that nothing writes cost nothing."""
    layout = MemoryMap(memory)
    return memoryview(mmap.mmap(-1, layout.low_size + layout.high_size))


def bzimage(
    *,
    version: int = 0x20F,
    load_flags_64: int = 0x3,
    command_line_size: int = 2047,
    initrd_maximum: int = 0x7FFF_FFFF,
    preferred: int = LOAD_ADDRESS,
    init_size: int = INIT_SIZE,
    alignment: int = 2 * MIB,
    setup_sectors: int = 1,
) -> bytearray:
    """A bzImage whose protected-mode code is BZIMAGE_CODE."""
    setup = bytearray(512 * ((setup_sectors or 4) + 1))
    setup[0x1F1] = setup_sectors
    struct.pack_into("<I", setup, 0x1F4, len(BZIMAGE_CODE) // 16)
    struct.pack_into("<HBB4sH", setup, 0x1FE, 0xAA55, 0xEB, 0x6A, b"HdrS", version)
    setup[0x211] = 1
    struct.pack_into("<I", setup, 0x22C, initrd_maximum)
    struct.pack_into("<IBBH", setup, 0x230, alignment, 1, 21, load_flags_64)
    struct.pack_into("<I", setup, 0x238, command_line_size)
    struct.pack_into("<QI", setup, 0x258, preferred, init_size)
    return setup + BZIMAGE_CODE


def segment(
    kind: int,
    offset: int,
    size: int,
    physical: int,
    *,
    virtual: int = 0,
    memory_size: int = 0,
    alignment: int = 4096,
) -> bytes:
    """One program header."""
    return struct.pack(
        "<IIQQQQQQ", kind, 7, offset, virtual, physical, size, memory_size or size, alignment
    )


def elf_header(entry: int, count: int, *, machine: int = 62, kind: int = 2) -> bytes:
    """An ELF-64 header whose `count` program headers follow it."""
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    return identity + struct.pack(
        "<HHIQQQIHHHHHH", kind, machine, 1, entry, 64, 0, 0, 64, 56, count, 0, 0, 0
    )


def elf(
    *,
    pvh_entry: int | None = LOAD_ADDRESS + 0x20,
    entry: int = LOAD_ADDRESS,
    code: bytes = b"\xf4" * 0x100,
    notes_alignment: int = 4,
) -> bytes:
    """A kernel like vmlinux: code at 16 MiB (linked high), zeroes after it, maybe a PVH note."""
    other_note = struct.pack("<III4s4s", 4, 4, 6, b"Xen\0", b"abcd")
    other_note += bytes(-len(other_note) % notes_alignment)
    note = struct.pack("<III4sI", 4, 4, NOTE_TYPE_PHYS32_ENTRY, b"Xen\0", pvh_entry or 0)
    notes = other_note + (note if pvh_entry is not None else b"")
    start = 64 + 2 * 56
    load = segment(
        PT_LOAD,
        start,
        len(code),
        LOAD_ADDRESS,
        virtual=0xFFFF_FFFF_8100_0000,
        memory_size=3 * MIB + 5,
    )
    note_segment = segment(
        PT_NOTE,
        start + len(code),
        len(notes),
        LOAD_ADDRESS + 0x1000,
        alignment=notes_alignment,
    )
    return elf_header(entry, 2) + load + note_segment + code + notes


def write(directory: Path, data: bytes | bytearray, name: str = "kernel") -> str:
    """The path of a file with `data`."""
    path = directory / name
    path.write_bytes(data)
    return str(path)


def load(
    memory: memoryview,
    config: MachineConfig,
    kernel: str,
    *,
    initrd: str | None = None,
    append: str = "",
    protocol: str = AUTO,
) -> CpuState:
    """boot.load of the files at these paths."""
    with ExitStack() as stack:
        file = stack.enter_context(open_input(kernel, EXPECTED))
        disk = None if initrd is None else stack.enter_context(open_input(initrd, "an initrd"))
        return boot.load(memory, config, file, initrd=disk, append=append, protocol=protocol)
