"""Loads a Linux bzImage for its 64-bit or its 32-bit entry.

Source: Linux, Documentation/arch/x86/boot.rst: "The Real-Mode Kernel Header" (the offsets
below are from the start of the file), "64-bit Boot Protocol" and "32-bit Boot Protocol".
"""

import struct

from vestige.errors import UsageError
from vestige.machine.files import InputFile
from vestige.machine.kernel import AUTO, EXPECTED, LINUX_32, LINUX_64, Kernel, check_memory
from vestige.machine.memory_map import KERNEL_FLOOR
from vestige.machine.ram import Ram

SECTOR = 512
PARAGRAPH = 16  # unit of syssize
DEFAULT_SETUP_SECTORS = 4  # what 0 in setup_sects means
ENTRY_32 = 0  # the entries, from the start of the protected-mode code
ENTRY_64 = 0x200

SETUP_SECTORS = 0x1F1  # u8
SYSTEM_SIZE = 0x1F4  # u32
JUMP = 0x200  # its operand, the next byte, says where the header ends
VIDEO_MODE = 0x1FA  # u16
SIGNATURE = 0x202
VERSION = 0x206  # u16
LOADER_TYPE = 0x210  # u8
LOAD_FLAGS = 0x211  # u8
CODE_32 = 0x214  # u32
INITRD = 0x218  # u32 address, u32 size
HEAP_END = 0x224  # u16
COMMAND_LINE_POINTER = 0x228  # u32
INITRD_ADDRESS_MAXIMUM = 0x22C  # u32, from 2.03
KERNEL_ALIGNMENT = 0x230  # u32, from 2.05
RELOCATABLE = 0x234  # u8, from 2.05
LOAD_FLAGS_64 = 0x236  # u16, xloadflags, from 2.12
COMMAND_LINE_SIZE = 0x238  # u32, from 2.06
PREFERRED_ADDRESS = 0x258  # u64, from 2.10
INIT_SIZE = 0x260  # u32, from 2.10
FIELDS_END = 0x264
HEADER_LIMIT = 0x290  # where boot_params has its next field

MAGIC = b"HdrS"
OLDEST = 0x203  # the first with initrd_addr_max: Linux 2.4.18
WITH_RELOCATION = 0x205
WITH_COMMAND_LINE_SIZE = 0x206
WITH_INIT_SIZE = 0x20A
WITH_64_BIT = 0x20C
LOADED_HIGH, CAN_USE_HEAP = 1 << 0, 1 << 7
XLF_KERNEL_64 = 1 << 0
XLF_CAN_BE_LOADED_ABOVE_4G = 1 << 1

VIDEO_NORMAL, LOADER_UNDEFINED = 0xFFFF, 0xFF  # what this loader writes there

OLD_COMMAND_LINE_SIZE = 255  # before 2.06
UNPACKED = 3  # times the code's size: what a kernel is taken to need that doesn't say


class Header:
    """The setup header of a bzImage, each field as the protocol's version has it."""

    __slots__ = ("_data", "_size", "version")

    def __init__(self, data: bytes, size: int) -> None:
        """`data` is the start of a file of `size` bytes, FIELDS_END of them at least."""
        self._data, self._size = data, size
        self.version = self._u16(VERSION)

    @property
    def code_start(self) -> int:
        """Where the protected-mode code is in the file."""
        return ((self._data[SETUP_SECTORS] or DEFAULT_SETUP_SECTORS) + 1) * SECTOR

    @property
    def code_size(self) -> int:
        """Bytes of it. The header counts paragraphs, of which memtest86+ does not fill the last."""
        size = self._u32(SYSTEM_SIZE) * PARAGRAPH
        missing = self.code_start + size - self._size
        return size - missing if 0 < missing < min(PARAGRAPH, size) else size

    @property
    def has_64_bit_entry(self) -> bool:
        """Whether it has one."""
        return self.version >= WITH_64_BIT and bool(self._u16(LOAD_FLAGS_64) & XLF_KERNEL_64)

    @property
    def is_loaded_high(self) -> bool:
        """Whether the code is for 1 MiB and above, which makes it a bzImage."""
        return bool(self._data[LOAD_FLAGS] & LOADED_HIGH)

    @property
    def load_address(self) -> int:
        """pref_address, aligned: a kernel put lower moves itself there, so lower saves nothing.

        One that can't be moved is linked for pref_address, or before 2.10 for 1 MiB.
        """
        preferred = 0
        if self.version >= WITH_INIT_SIZE:
            (preferred,) = struct.unpack_from("<Q", self._data, PREFERRED_ADDRESS)
        lowest = max(int(preferred), KERNEL_FLOOR)
        if self.version < WITH_RELOCATION or not self._data[RELOCATABLE]:
            return lowest
        alignment = max(self._u32(KERNEL_ALIGNMENT), 1)
        return -(-lowest // alignment) * alignment

    @property
    def init_size(self) -> int:
        """Bytes of memory that it needs from there on until it has read the memory map."""
        if self.version < WITH_INIT_SIZE:
            return self.code_size * UNPACKED
        return max(self._u32(INIT_SIZE), self.code_size)

    @property
    def command_line_maximum(self) -> int:
        """Bytes, without the NUL."""
        if self.version < WITH_COMMAND_LINE_SIZE:
            return OLD_COMMAND_LINE_SIZE
        return self._u32(COMMAND_LINE_SIZE)

    @property
    def initrd_limit(self) -> int:
        """Where an initrd ends at the highest."""
        return self._u32(INITRD_ADDRESS_MAXIMUM) + 1

    @property
    def takes_initrd_anywhere(self) -> bool:
        """Whether an initrd may be above 4 GiB, for a kernel that starts by its 64-bit entry."""
        return bool(self._u16(LOAD_FLAGS_64) & XLF_CAN_BE_LOADED_ABOVE_4G)

    @property
    def for_boot_params(self) -> bytes:
        """What goes to offset 0x1F1 of boot_params."""
        end = min(SIGNATURE + self._data[JUMP + 1], HEADER_LIMIT)
        return self._data[SETUP_SECTORS:end]

    def _u16(self, offset: int) -> int:
        return int.from_bytes(self._data[offset : offset + 2], "little")

    def _u32(self, offset: int) -> int:
        return int.from_bytes(self._data[offset : offset + 4], "little")


def is_bzimage(header: bytes) -> bool:
    """Whether a file that starts with `header` carries the boot protocol's signature."""
    return header[SIGNATURE : SIGNATURE + 4] == MAGIC


def checked(path: str, size: int, start: bytes) -> Header:
    """The header of the file of `size` bytes that begins with `start`, a page or all of it.

    Raises UsageError if the file is truncated, too old, or a zImage.
    """
    if len(start) < FIELDS_END:
        raise UsageError(
            f"{path}: a truncated bzImage: its header ends at byte {len(start)}; copy it again"
        )
    header = Header(start, size)
    version = header.version
    if version < OLDEST:
        raise UsageError(
            f"{path}: boot protocol {version >> 8}.{version & 0xFF:02}, 2.03 or later expected "
            f"(Linux 2.4.18); give a newer x86 kernel"
        )
    if not header.is_loaded_high:
        raise UsageError(f"{path}: a zImage, for memory below 1 MiB; give a bzImage")
    end = header.code_start + header.code_size
    if end > size:
        raise UsageError(f"{path}: a truncated bzImage: {size} bytes of {end}; copy it again")
    return header


def load(file: InputFile, path: str, size: int, start: bytes, ram: Ram, protocol: str) -> Kernel:
    """Put the protected-mode code of a bzImage where it wants to be.

    `protocol` AUTO takes the 64-bit entry where there is one, else the 32-bit entry. Raises
    UsageError as `checked` does, and for what has no such entry or needs more RAM than there is.
    """
    header = checked(path, size, start)
    if protocol == AUTO:
        protocol = LINUX_64 if header.has_64_bit_entry else LINUX_32
    if protocol not in (LINUX_64, LINUX_32):
        raise UsageError(f"{path}: a bzImage has no {protocol} entry; give its vmlinux")
    if protocol == LINUX_64 and not header.has_64_bit_entry:
        raise UsageError(f"{path}: a 32-bit bzImage (no XLF_KERNEL_64); give {EXPECTED}")
    address = header.load_address
    end = address + header.init_size
    check_memory(path, end, ram.memory_map.low_size)
    file.read_at(header.code_start, ram.at(address, header.code_size))
    return Kernel(
        protocol=protocol,
        entry=address + (ENTRY_64 if protocol == LINUX_64 else ENTRY_32),
        end=end,
        setup_header=header.for_boot_params,
        command_line_maximum=header.command_line_maximum,
        initrd_limit=header.initrd_limit,
        initrd_anywhere=protocol == LINUX_64 and header.takes_initrd_anywhere,
    )
