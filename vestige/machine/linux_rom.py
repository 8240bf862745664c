"""A kernel that a BIOS starts: what fw_cfg has of it, and the option ROM that loads it from there.

The BIOS finds the ROM among fw_cfg's files and boots it first. It reads the kernel's parts by
fw_cfg's DMA to their places, and enters the kernel by the 16-bit boot protocol, so that the kernel
finds what the BIOS tells: its memory map, its tables. Where the parts go is part of the ROM, which
is made for one run. Sources: Linux, Documentation/arch/x86/boot.rst, "Memory Layout" and "Running
the Kernel"; QEMU, docs/specs/fw_cfg.rst; Plug and Play BIOS Specification 1.0A, 3.2 (the ROM's
expansion header).
"""

import struct

from vestige.abi import KIB, LOW_RAM_LIMIT, PORT_FW_CFG_DMA, FirmwareKey
from vestige.bounds import MIB
from vestige.errors import UsageError
from vestige.machine import bzimage
from vestige.machine.files import InputFile, Piece
from vestige.machine.kernel import check_memory, command_line, no_room
from vestige.machine.memory_map import COMMAND_LINE, KERNEL_FLOOR, PAGE

NAME = "genroms/vestige-kernel.bin"  # SeaBIOS runs what is below genroms/
DEVICE = f"/rom@{NAME}"  # in the boot order
# Where the kernel's real-mode code goes; its heap and stack end at the command line.
SETUP = 0x10000
SETUP_LIMIT = 32 * KIB
STACK = COMMAND_LINE - SETUP - 16
BIOS_DATA = 1 * MIB  # at the end of low RAM, left to the BIOS: SeaBIOS has 256 KiB there

# Of each part: its own key in fw_cfg, those of its address and of its size.
PartKeys = tuple[FirmwareKey, FirmwareKey, FirmwareKey]
SETUP_KEYS = FirmwareKey.SETUP_DATA, FirmwareKey.SETUP_ADDRESS, FirmwareKey.SETUP_SIZE
COMMAND_LINE_KEYS = (
    FirmwareKey.COMMAND_LINE_DATA,
    FirmwareKey.COMMAND_LINE_ADDRESS,
    FirmwareKey.COMMAND_LINE_SIZE,
)
KERNEL_KEYS = FirmwareKey.KERNEL_DATA, FirmwareKey.KERNEL_ADDRESS, FirmwareKey.KERNEL_SIZE
INITRD_KEYS = FirmwareKey.INITRD_DATA, FirmwareKey.INITRD_ADDRESS, FirmwareKey.INITRD_SIZE

# The ROM
UNIT = 512
PNP_AT, CODE_AT = 0x20, 0x40
ACCESS = struct.Struct(">IIQ")  # control word, length, address: fw_cfg's DMA
READ, SELECT, ERROR = 1 << 1, 1 << 3, 1 << 0
ACCESS_AT = 0x600  # in RAM, free from the BIOS's data area to the boot sector
PRODUCT = b"Kernel of vestige run\0"
FAILED = b"The kernel can't be read by fw_cfg.\r\n\0"


def items(
    memory: int, kernel: InputFile, initrd: InputFile | None, append: str
) -> tuple[dict[str, bytes], dict[int, bytes | Piece]]:
    """fw_cfg's files by their names, and its items by their keys.

    Raises UsageError for what is no bzImage, and for what has no room in `memory` bytes.
    """
    path = kernel.path
    start = bytearray(min(kernel.size, PAGE))
    kernel.read_at(0, memoryview(start))
    first = bytes(start)
    if not bzimage.is_bzimage(first):
        raise UsageError(f"{path}: no bzImage, which a firmware starts; give one, or no --firmware")
    header = bzimage.checked(path, kernel.size, first)
    if header.code_start > SETUP_LIMIT:
        raise UsageError(
            f"{path}: {header.code_start} bytes of real-mode code, {SETUP_LIMIT} is the most that a"
            " firmware can start; leave --firmware out"
        )
    low_size = min(memory, LOW_RAM_LIMIT) - BIOS_DATA
    end = max(header.load_address + header.init_size, KERNEL_FLOOR + header.code_size)
    check_memory(path, end, low_size)
    line = command_line(append, header.command_line_maximum)
    size = 0 if initrd is None else initrd.size
    limit = min(low_size, header.initrd_limit)
    address = (limit - size) // PAGE * PAGE
    if initrd is not None and address < end:
        raise no_room(initrd.path, size, max(limit - end, 0))
    setup = bytearray(header.code_start)
    kernel.read_at(0, memoryview(setup))
    for offset, form, *values in (
        (bzimage.VIDEO_MODE, "<H", bzimage.VIDEO_NORMAL),
        (bzimage.LOADER_TYPE, "<B", bzimage.LOADER_UNDEFINED),
        (bzimage.LOAD_FLAGS, "<B", setup[bzimage.LOAD_FLAGS] | bzimage.CAN_USE_HEAP),
        (bzimage.CODE_32, "<I", KERNEL_FLOOR),
        (bzimage.INITRD, "<II", address if size else 0, size),
        (bzimage.HEAP_END, "<H", STACK - UNIT),
        (bzimage.COMMAND_LINE_POINTER, "<I", COMMAND_LINE),
    ):
        struct.pack_into(form, setup, offset, *values)
    code = Piece(kernel, header.code_start, header.code_size)
    parts: list[tuple[PartKeys, int, bytes | Piece]] = [
        (SETUP_KEYS, SETUP, bytes(setup)),
        (COMMAND_LINE_KEYS, COMMAND_LINE, line),
        (KERNEL_KEYS, KERNEL_FLOOR, code),
    ]
    if initrd is not None:
        parts.append((INITRD_KEYS, address, Piece(initrd, 0, size)))
    found: dict[int, bytes | Piece] = {}
    for (of_data, of_address, of_size), at, data in parts:
        found[of_data] = data
        found[of_address], found[of_size] = struct.pack("<I", at), struct.pack("<I", len(data))
    return {NAME: rom([(keys[0], at, len(data)) for keys, at, data in parts])}, found


def rom(parts: list[tuple[int, int, int]]) -> bytes:
    """The option ROM that reads these (key, address, size) and enters the setup code at SETUP."""
    code = _code(len(parts))
    table = CODE_AT + len(code)
    text = table + len(parts) * ACCESS.size
    product = text + len(FAILED)
    code = _code(len(parts), table, text)
    # 0xCB: retf, there is nothing to initialise
    head = struct.pack("<HBBHB", 0xAA55, 0, 0xCB, 0, 0)
    head = head.ljust(0x1A, b"\0") + struct.pack("<H", PNP_AT)
    data = head.ljust(PNP_AT, b"\0") + _expansion_header(product)
    data = data.ljust(CODE_AT, b"\0") + code
    for key, address, size in parts:
        data += ACCESS.pack(key << 16 | SELECT | READ, size, address)
    data += FAILED + PRODUCT
    image = bytearray(data.ljust(-(-(len(data) + 1) // UNIT) * UNIT, b"\0"))
    image[2] = len(image) // UNIT
    image[-1] = -sum(image) & 0xFF
    return bytes(image)


def _expansion_header(product: int) -> bytes:
    """A Plug and Play header with a bootstrap entry vector: the BIOS boots the ROM as a device."""
    values = (b"$PnP", 1, 2, 0, 0, 0, 0, 0, product, bytes(3), 0, 0, 0, CODE_AT, 0, 0)
    header = bytearray(struct.pack("<4sBBHBBIHH3sBHHHHH", *values))
    header[9] = -sum(header) & 0xFF
    return bytes(header)


def _code(count: int, table: int = 0, text: int = 0) -> bytes:
    """What the BIOS calls in real mode; `table` has `count` ACCESSes, `text` is for a failure."""
    swapped = int.from_bytes(ACCESS_AT.to_bytes(4, "little"), "big")
    failure = int.from_bytes(ERROR.to_bytes(4, "little"), "big")
    enter = (
        b"\xfa"  # cli
        + b"\xb8" + _16(SETUP >> 4)  # mov ax, SETUP >> 4
        + b"\x8e\xd8\x8e\xc0\x8e\xe0\x8e\xe8\x8e\xd0"  # mov ds, es, fs, gs, ss from ax
        + b"\xbc" + _16(STACK)  # mov sp, STACK
        + b"\xea" + _16(0) + _16((SETUP >> 4) + (UNIT >> 4))  # jmp to the second sector
    )  # fmt: skip
    one = (
        b"\xbf" + _16(ACCESS_AT)  # next: mov di, ACCESS_AT
        + b"\x51\xb9\x08\x00\xf3\xa5\x59"  # push cx; mov cx, 8; rep movsw; pop cx
        + b"\x66\x31\xc0"  # xor eax, eax
        + b"\xba" + _16(PORT_FW_CFG_DMA)  # mov dx, the upper half's port
        + b"\x66\xef"  # out dx, eax
        + b"\x66\xb8" + _32(swapped)  # mov eax, ACCESS_AT as big-endian
        + b"\x83\xc2\x04"  # add dx, 4
        + b"\x66\xef"  # out dx, eax
    )  # fmt: skip
    wait = (
        b"\x26\x66\xa1" + _16(ACCESS_AT)  # wait: mov eax, es:[the control word]
        + b"\x66\x3d" + _32(failure)  # cmp eax, ERROR as big-endian
        + b"\x74" + _8(7 + len(enter))  # je failed
        + b"\x66\x85\xc0"  # test eax, eax
    )  # fmt: skip
    wait += b"\x75" + _8(-len(wait) - 2)  # jnz wait
    again = b"\xe2" + _8(-len(one) - len(wait) - 2)  # loop next
    failed = (
        b"\xbe" + _16(text)  # failed: mov si, text
        + b"\xac\x84\xc0\x74\x09"  # more: lodsb; test al, al; jz end
        + b"\xb4\x0e\xbb\x07\x00\xcd\x10"  # mov ah, 14; mov bx, 7; int 0x10
        + b"\xeb\xf2"  # jmp more
        + b"\xcd\x18"  # end: int 0x18, the BIOS goes on with the next device
    )  # fmt: skip
    start = (
        b"\x31\xc0\x8e\xc0\xfc\x0e\x1f"  # xor ax, ax; mov es, ax; cld; push cs; pop ds
        + b"\xbe" + _16(table)  # mov si, table
        + b"\xb9" + _16(count)  # mov cx, count
    )  # fmt: skip
    return start + one + wait + again + enter + failed


def _8(distance: int) -> bytes:
    return struct.pack("<b", distance)


def _16(value: int) -> bytes:
    return struct.pack("<H", value)


def _32(value: int) -> bytes:
    return struct.pack("<I", value)
