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
MULTIBOOT_MAGIC = 0x1BAD_B002


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
    relocatable: int = 1,
    load_flags: int = 1,
    setup_sectors: int = 1,
) -> bytearray:
    """A bzImage whose protected-mode code is BZIMAGE_CODE."""
    setup = bytearray(512 * ((setup_sectors or 4) + 1))
    setup[0x1F1] = setup_sectors
    struct.pack_into("<I", setup, 0x1F4, len(BZIMAGE_CODE) // 16)
    struct.pack_into("<HBB4sH", setup, 0x1FE, 0xAA55, 0xEB, 0x6A, b"HdrS", version)
    setup[0x211] = load_flags
    struct.pack_into("<I", setup, 0x22C, initrd_maximum)
    struct.pack_into("<IBBH", setup, 0x230, alignment, relocatable, 21, load_flags_64)
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


def segment_32(
    kind: int, offset: int, size: int, physical: int, *, virtual: int = 0, memory_size: int = 0
) -> bytes:
    """One program header of a 32-bit file."""
    return struct.pack(
        "<8I", kind, offset, virtual or physical, physical, size, memory_size or size, 7, 4096
    )


def multiboot_header(flags: int = 3, *addresses: int, magic: int = MULTIBOOT_MAGIC) -> bytes:
    """A Multiboot header; `addresses` are of header, load start and end, bss end, entry."""
    start = struct.pack("<III", magic, flags, -(magic + flags) & 0xFFFF_FFFF)
    return start + struct.pack(f"<{len(addresses)}I", *addresses)


def elf_32(
    *,
    header: bytes = multiboot_header(),
    pvh_entry: int | None = None,
    entry: int = MIB + 0x40,
    address: int = MIB,
    virtual: int = 0,
    memory_size: int = 3 * MIB + 5,
    second: int | None = None,
    machine: int = 3,
) -> bytes:
    """A 32-bit kernel of 0x100 bytes at `address`, its Multiboot header first; maybe with a PVH
    note, and a `second` segment of the same bytes there.
    """
    code = header.ljust(0x40, b"\0") + b"\xf4" * 0xC0
    note = struct.pack("<III4sI", 4, 4, NOTE_TYPE_PHYS32_ENTRY, b"Xen\0", pvh_entry or 0)
    start = 52 + 3 * 32
    segments = segment_32(
        PT_LOAD, start, len(code), address, virtual=virtual, memory_size=memory_size
    )
    segments += segment_32(
        PT_NOTE if pvh_entry is not None else 0, start + len(code), len(note), address
    )
    segments += segment_32(PT_LOAD if second is not None else 0, start, len(code), second or 0)
    identity = b"\x7fELF\x01\x01\x01" + bytes(9)
    return (
        identity
        + struct.pack("<HHIIIIIHHHHHH", 2, machine, 1, entry, 52, 0, 0, 52, 32, 3, 0, 0, 0)
        + segments
        + code
        + note
    )


FLAT_START = MIB
FLAT_OFFSET = 0x80  # of the header in the file


def flat(
    *,
    at: int = FLAT_START + FLAT_OFFSET,
    start: int = FLAT_START,
    end: int = 0,
    bss_end: int = 0,
    entry: int = FLAT_START + 0x100,
    flags: int = 0x10003,
) -> bytes:
    """A Multiboot kernel in no format, 0x400 bytes, that says by its header where it is to be."""
    header = multiboot_header(flags, at, start, end, bss_end, entry)
    return bytes(FLAT_OFFSET) + header.ljust(0x80, b"\0") + bytes(range(256)) * 3


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
