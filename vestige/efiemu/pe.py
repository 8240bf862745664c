"""PE32+ files: an application of UEFI firmware around a flat image.

Source: Microsoft PE/COFF specification, revision 11; UEFI 2.10, 2.1.1 (images). Three sections:
code, which nobody can write; zeroed memory, which nobody can execute; constants. Code is relative
to its own place, so there is nothing to relocate.
"""

import struct
from typing import NamedTuple

from vestige.efiemu.mark import MARK, MARK_AT

PAGE = 4096  # of sections in memory
_FILE_ALIGNMENT = 512
_HEADERS_AT = 0x40  # behind the DOS header
_AMD64, _PE32_PLUS, _EFI_APPLICATION = 0x8664, 0x20B, 10
_EXECUTABLE_IMAGE, _LARGE_ADDRESS_AWARE = 0x02, 0x20
_NX_COMPATIBLE, _MOVABLE, _HIGH_ENTROPY = 0x100, 0x40, 0x20
_CODE, _ZEROED, _CONSTANTS = 0x6000_0020, 0xC000_0080, 0x4000_0040
_DIRECTORIES = 16
DOS_HEADER = (
    b"MZ".ljust(MARK_AT, b"\0") + MARK.ljust(_HEADERS_AT - 4 - MARK_AT, b"\0")
    + struct.pack("<I", _HEADERS_AT)
)  # fmt: skip
_OPTIONAL_SIZE = 112 + 8 * _DIRECTORIES


class _Section(NamedTuple):
    name: bytes
    address: int  # from the beginning of the image
    size: int  # bytes in memory
    data: bytes
    flags: int


def application(code: bytes, entry: int, zeroed: int, constants: bytes) -> bytes:
    """The file. `code` is followed in memory by `zeroed` bytes, as a linked image has them.

    `entry` is an offset into `code`; `constants_at` says where the constants will be.
    """
    sections = [
        _Section(b".text", PAGE, len(code), code, _CODE),
        _Section(b".bss", PAGE + len(code), zeroed, b"", _ZEROED),
        _Section(
            b".rdata", PAGE + constants_at(code, zeroed), len(constants), constants, _CONSTANTS
        ),
    ]
    headers_size = _HEADERS_AT + 24 + _OPTIONAL_SIZE + 40 * len(sections)
    table, body, offset = b"", b"", _up(headers_size, _FILE_ALIGNMENT)
    first = offset
    for section in sections:
        data = section.data.ljust(_up(len(section.data), _FILE_ALIGNMENT), b"\0")
        table += struct.pack(
            "<8sIIIIIIHHI", section.name, section.size, section.address, len(data),
            offset if data else 0, 0, 0, 0, 0, section.flags,
        )  # fmt: skip
        body += data
        offset += len(data)
    end = sections[-1].address + _up(sections[-1].size, PAGE)
    kind = _EXECUTABLE_IMAGE | _LARGE_ADDRESS_AWARE
    file = struct.pack(
        "<4sHHIIIHH", b"PE\0\0", _AMD64, len(sections), 0, 0, 0, _OPTIONAL_SIZE, kind
    )
    optional = struct.pack(
        "<HBBIIIIIQIIHHHHHHIIIIHHQQQQII", _PE32_PLUS, 0, 0, len(code), len(constants), zeroed,
        PAGE + entry, PAGE, 0, PAGE, _FILE_ALIGNMENT, 0, 0, 0, 0, 0, 0, 0, end, first, 0,
        _EFI_APPLICATION, _NX_COMPATIBLE | _MOVABLE | _HIGH_ENTROPY, 0, 0, 0, 0, 0, _DIRECTORIES,
    )  # fmt: skip
    head = DOS_HEADER + file + optional + bytes(8 * _DIRECTORIES) + table
    return head.ljust(first, b"\0") + body


def constants_at(code: bytes, zeroed: int) -> int:
    """Where the constants are in memory, from the beginning of the code."""
    return _up(len(code) + zeroed, PAGE)


def _up(value: int, alignment: int) -> int:
    return (value + alignment - 1) // alignment * alignment
