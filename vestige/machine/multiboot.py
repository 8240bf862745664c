"""Kernels of the Multiboot Specification, version 0.6.96: their header, and what they are told."""

import struct

from vestige.abi import KIB
from vestige.errors import UsageError
from vestige.machine.files import InputFile
from vestige.machine.kernel import MULTIBOOT, Kernel, check_memory
from vestige.machine.memory_map import (
    COMMAND_LINE_LIMIT,
    KERNEL_FLOOR,
    LOW_RAM_END,
    MULTIBOOT_COMMAND_LINE,
    MULTIBOOT_FLOOR,
    MULTIBOOT_INFO,
    PAGE,
    MemoryMap,
)
from vestige.machine.ram import Ram

# 3.1 OS image format
ALIGNMENT = 4
MAGIC = 0x1BAD_B002
START = struct.Struct("<III")  # magic, flags, checksum
ADDRESSES = struct.Struct("<5I")  # of the header, of load start and end, of the bss's end, entry
MODULES_ALIGNED, MEMORY_INFORMATION, HAS_ADDRESSES = 1 << 0, 1 << 1, 1 << 16
REQUIREMENTS = 0xFFFF  # bits that a loader must understand, or refuse to load
KNOWN = MODULES_ALIGNED | MEMORY_INFORMATION  # both are so in any case

# 3.2 Machine state
ENTRY_MAGIC = 0x2BAD_B002  # in EAX

# 3.3 Boot information format
INFORMATION = struct.Struct("<22I")  # to the VBE fields, which are 0
GIVEN = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9  # memory, command line, modules, map, our name
MODULE = struct.Struct("<IIII")  # start, end, text, 0
MAP_ENTRY = struct.Struct("<IQQI")  # the size of the rest, address, length, type
LOADER_NAME = b"Vestige\0"


class Header:
    """A Multiboot header at `offset` of a file. `addresses` are its fields, where it has them."""

    __slots__ = ("addresses", "flags", "offset")

    def __init__(self, offset: int, flags: int, addresses: tuple[int, ...] | None) -> None:
        self.offset, self.flags, self.addresses = offset, flags, addresses


def find(path: str, start: bytes) -> Header | None:
    """The header of a file that begins with `start`: SEARCHED bytes, or all. None: it has none.

    Raises UsageError for one that asks for what there isn't.
    """
    for offset in range(0, len(start) - START.size + 1, ALIGNMENT):
        magic, flags, checksum = START.unpack_from(start, offset)
        if magic != MAGIC or (magic + flags + checksum) & 0xFFFF_FFFF:
            continue
        if unknown := flags & REQUIREMENTS & ~KNOWN:
            raise UsageError(
                f"{path}: a Multiboot kernel that needs more than memory and modules (flags"
                f" {unknown:#x}, of which 0x4 is a video mode); give one that does without"
            )
        addresses = None
        if flags & HAS_ADDRESSES:
            if offset + START.size + ADDRESSES.size > len(start):
                raise UsageError(
                    f"{path}: a truncated Multiboot header at {offset:#x}; copy the file again"
                )
            addresses = ADDRESSES.unpack_from(start, offset + START.size)
        return Header(offset, flags, addresses)
    return None


def load(file: InputFile, path: str, size: int, header: Header, ram: Ram) -> Kernel:
    """Put a kernel where the addresses of its header say. Raises UsageError if they can't be."""
    if header.addresses is None:
        raise ValueError("the header has no addresses")
    at, start, end, bss_end, entry = header.addresses
    offset = header.offset - (at - start)
    if not start <= at or offset < 0:
        raise UsageError(
            f"{path}: a damaged Multiboot header: it is at {at:#x} in memory, the kernel begins at"
            f" {start:#x}; copy it again"
        )
    if end and end < start:
        raise UsageError(
            f"{path}: a damaged Multiboot header: code from {start:#x} to {end:#x}; copy it again"
        )
    length = end - start if end else size - offset
    if offset + length > size:
        raise UsageError(
            f"{path}: a truncated Multiboot kernel: its code ends at byte {offset + length}, the"
            f" file at {size}; copy it again"
        )
    end = start + length
    if bss_end and bss_end < end:
        raise UsageError(
            f"{path}: a damaged Multiboot header: memory to {bss_end:#x}, code to {end:#x}; copy it"
            " again"
        )
    memory_end = max(end, bss_end)
    check_place(path, start, memory_end, ram.memory_map.low_size)
    if not start <= entry < end:
        raise UsageError(
            f"{path}: a damaged Multiboot header: the entry point {entry:#x} is outside of the"
            " code; copy it again"
        )
    file.read_at(offset, ram.at(start, length))
    return kernel(entry, memory_end, ram.memory_map.low_size)


def check_place(path: str, start: int, end: int, low_size: int) -> None:
    """Raise UsageError where [start, end) isn't RAM that a kernel may be in."""
    if start < LOW_RAM_END:
        if start < MULTIBOOT_FLOOR or end > MULTIBOOT_INFO:
            raise UsageError(
                f"{path}: a segment at {start:#x} to {end:#x}: below 1 MiB a Multiboot kernel has"
                f" {MULTIBOOT_FLOOR:#x} to {MULTIBOOT_INFO:#x}; give one linked elsewhere"
            )
    elif start < KERNEL_FLOOR:
        raise UsageError(
            f"{path}: a segment at {start:#x}, where a PC has no RAM; give a kernel linked"
            " elsewhere"
        )
    else:
        check_memory(path, end, low_size)


def kernel(entry: int, end: int, low_size: int) -> Kernel:
    """One that is loaded, up to `end`."""
    return Kernel(
        protocol=MULTIBOOT,
        entry=entry,
        end=max(-(-end // PAGE) * PAGE, KERNEL_FLOOR),
        setup_header=b"",
        command_line_maximum=COMMAND_LINE_LIMIT - 1,
        initrd_limit=low_size,
        initrd_anywhere=False,
    )


def information(layout: MemoryMap, initrd: tuple[int, int]) -> bytes:
    """What goes to MULTIBOOT_INFO. `initrd` (address, size) is the only module, if any."""
    address, size = initrd
    ranges = layout.e820()
    modules = MULTIBOOT_INFO + INFORMATION.size
    memory = modules + MODULE.size
    name = memory + len(ranges) * MAP_ENTRY.size
    no_text = name + len(LOADER_NAME) - 1
    fields = [0] * 22
    fields[0] = GIVEN
    fields[1], fields[2] = LOW_RAM_END // KIB, (layout.low_size - KERNEL_FLOOR) // KIB
    fields[4] = MULTIBOOT_COMMAND_LINE
    fields[5], fields[6] = (1 if size else 0), modules
    fields[11], fields[12] = len(ranges) * MAP_ENTRY.size, memory
    fields[16] = name
    data = INFORMATION.pack(*fields)
    data += MODULE.pack(address, address + size, no_text, 0)
    data += b"".join(MAP_ENTRY.pack(MAP_ENTRY.size - 4, *entry) for entry in ranges)
    data += LOADER_NAME
    if MULTIBOOT_INFO + len(data) > MULTIBOOT_COMMAND_LINE:
        raise ValueError(f"{len(data)} bytes of Multiboot information: there is no room")
    return data
