"""Loads a Linux bzImage for its 64-bit entry.

Source: Linux, Documentation/arch/x86/boot.rst: "The Real-Mode Kernel Header" (the offsets
below are from the start of the file) and "64-bit Boot Protocol".
"""

import struct

from vestige.abi import MIB
from vestige.errors import UsageError
from vestige.machine.files import InputFile
from vestige.machine.kernel import EXPECTED, LINUX_64, Kernel
from vestige.machine.memory_map import KERNEL_FLOOR
from vestige.machine.ram import Ram

SECTOR = 512
PARAGRAPH = 16  # unit of syssize
DEFAULT_SETUP_SECTORS = 4  # what 0 in setup_sects means
ENTRY_64 = 0x200  # the 64-bit entry, from the start of the protected-mode code

SETUP_SECTORS = 0x1F1  # u8
SYSTEM_SIZE = 0x1F4  # u32
JUMP = 0x200  # its operand, the next byte, says where the header ends
SIGNATURE = 0x202
VERSION = 0x206  # u16
INITRD_ADDRESS_MAXIMUM = 0x22C  # u32
KERNEL_ALIGNMENT = 0x230  # u32
LOAD_FLAGS_64 = 0x236  # u16, xloadflags
COMMAND_LINE_SIZE = 0x238  # u32
PREFERRED_ADDRESS = 0x258  # u64
INIT_SIZE = 0x260  # u32
FIELDS_END = 0x264
HEADER_LIMIT = 0x290  # where boot_params has its next field

MAGIC = b"HdrS"
FIRST_VERSION_WITH_64_BIT = 0x20C
XLF_KERNEL_64 = 1 << 0
XLF_CAN_BE_LOADED_ABOVE_4G = 1 << 1


def is_bzimage(header: bytes) -> bool:
    """Whether a file that starts with `header` carries the boot protocol's signature."""
    return header[SIGNATURE : SIGNATURE + 4] == MAGIC


def load(file: InputFile, path: str, size: int, header: bytes, ram: Ram) -> Kernel:
    """Put the protected-mode code of a bzImage at its preferred address.

    `header` is the file's start, a page or all of it. Raises UsageError if the file is
    truncated, too old, for a 32-bit CPU, or needs more RAM than there is.
    """
    _check(header, path)
    setup = ((header[SETUP_SECTORS] or DEFAULT_SETUP_SECTORS) + 1) * SECTOR
    code_size = _u32(header, SYSTEM_SIZE) * PARAGRAPH
    if setup + code_size > size:
        raise UsageError(
            f"{path}: a truncated bzImage: {size} bytes of {setup + code_size}; copy it again"
        )
    start = _load_address(header)
    end = start + max(_u32(header, INIT_SIZE), code_size)
    if end > ram.memory_map.low_size:
        raise UsageError(
            f"{path}: needs memory up to {-(-end // MIB)} MiB to start, the machine has "
            f"{ram.memory_map.low_size // MIB} MiB there; give it more memory"
        )
    file.read_at(setup, ram.at(start, code_size))
    return Kernel(
        protocol=LINUX_64,
        entry=start + ENTRY_64,
        end=end,
        setup_header=header[SETUP_SECTORS : min(SIGNATURE + header[JUMP + 1], HEADER_LIMIT)],
        command_line_maximum=_u32(header, COMMAND_LINE_SIZE),
        initrd_limit=_u32(header, INITRD_ADDRESS_MAXIMUM) + 1,
        initrd_anywhere=bool(_u16(header, LOAD_FLAGS_64) & XLF_CAN_BE_LOADED_ABOVE_4G),
    )


def _check(header: bytes, path: str) -> None:
    if len(header) < FIELDS_END:
        raise UsageError(
            f"{path}: a truncated bzImage: its header ends at byte {len(header)}; copy it again"
        )
    version = _u16(header, VERSION)
    if version < FIRST_VERSION_WITH_64_BIT:
        raise UsageError(
            f"{path}: boot protocol {version >> 8}.{version & 0xFF:02}, 2.12 or later expected "
            f"(Linux 3.8); give a newer x86-64 kernel"
        )
    if not _u16(header, LOAD_FLAGS_64) & XLF_KERNEL_64:
        raise UsageError(f"{path}: a 32-bit bzImage (no XLF_KERNEL_64); give {EXPECTED}")


def _load_address(header: bytes) -> int:
    """pref_address, aligned: a kernel put lower moves itself there, so lower saves nothing."""
    (preferred,) = struct.unpack_from("<Q", header, PREFERRED_ADDRESS)
    alignment = max(_u32(header, KERNEL_ALIGNMENT), 1)
    lowest = max(int(preferred), KERNEL_FLOOR)
    return -(-lowest // alignment) * alignment


def _u16(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 2], "little")


def _u32(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")
