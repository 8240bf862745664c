"""Guests of a few instructions, for measuring starts; and how Vestige and QEMU start a guest.

Each writes SIGNAL to port 0x3F8, a UART to both, and then sleeps.
Imports nothing that takes long: it is used inside a software host too.
"""

import struct
import sys
from collections.abc import Sequence
from pathlib import Path

SIGNAL = b"\n"  # ends a line: where none ends, Vestige waits 10 ms for more of it

# mov edx, 0x3F8; mov al, SIGNAL; out dx, al; cli; again: hlt; jmp again
KERNEL = bytes.fromhex("ba f8030000 b0 0a ee fa f4 eb fd")
# The same, as the processor starts: in 16-bit code.
FIRMWARE = bytes.fromhex("ba f803 b0 0a ee fa f4 eb fd")
# Fills a word of each of so many pages from FILLED on, then counts at COUNTER and says so for ever:
# mov edi, FILLED; mov ecx, pages; next: mov dword [edi], -1; add edi, 4096; sub ecx, 1; jnz next;
# mov edi, COUNTER; mov edx, 0x3F8; mov al, SIGNAL; more: inc dword [edi]; out dx, al; jmp more
FILLED, COUNTER = 4 << 20, 2 << 20
FILLING = "bf {filled} b9 {pages} c707 ffffffff 81c7 00100000 83e901 75ef"
COUNTING = "bf {counter} ba f8030000 b0 0a ff07 ee ebfb"
# In place of that jmp: out dx, al; again: hlt; jmp again. Interrupts are off from the start.
STOPPING = bytes.fromhex("ee f4 ebfd")
KERNEL_ADDRESS = 1 << 20
FIRMWARE_SIZE = 256 << 10  # as most firmware of a PC has
RESET_VECTOR = FIRMWARE_SIZE - 16

VESTIGE = (str(Path(sys.executable).with_name("vestige")), "run", "--accel", "kvm")
MIB = 1 << 20


def qemu(program: Sequence[str], memory: int) -> tuple[str, ...]:
    """QEMU's microvm with `memory` bytes of RAM, and of its legacy the UART that is written to.

    `program` begins its command line.
    """
    return (
        *(*program, "-no-user-config", "-nodefaults", "-display", "none", "-machine"),
        "microvm,accel=kvm,pic=off,pit=off,isa-serial=on,pcie=off,usb=off"
        ",x-option-roms=off,auto-kernel-cmdline=off,acpi=on,rtc=off",
        *("-m", f"{memory // MIB}M", "-serial", "stdio"),
    )


def write_kernel(path: Path) -> None:
    """A kernel to QEMU and Vestige."""
    path.write_bytes(elf(KERNEL, KERNEL_ADDRESS, pvh=True))


def write_counting_kernel(path: Path, pages: int) -> None:
    """One for Vestige that fills so many pages, at least one, and then counts and says so."""
    path.write_bytes(elf(_counting(pages), KERNEL_ADDRESS, pvh=True))


def stop_counting(ram: Path) -> None:
    """Have a guest of one page that was frozen into this file write to its port once more, and
    sleep.
    """
    with ram.open("r+b") as file:
        file.seek(KERNEL_ADDRESS + len(_counting(1)) - 2)
        file.write(STOPPING)


def _counting(pages: int) -> bytes:
    filling = FILLING.format(filled=_number(FILLED), pages=_number(pages))
    return bytes.fromhex(filling + COUNTING.format(counter=_number(COUNTER)))


def _number(value: int) -> str:
    """As an instruction has it."""
    return value.to_bytes(4, "little").hex()


def write_firmware(path: Path) -> None:
    """The same in a firmware's place: a processor's very first instructions after a reset."""
    image = bytearray(FIRMWARE_SIZE)
    image[RESET_VECTOR : RESET_VECTOR + len(FIRMWARE)] = FIRMWARE
    path.write_bytes(image)


def elf(code: bytes, address: int, *, pvh: bool = False) -> bytes:
    """A program of `code` at `address`; with `pvh`, a kernel to QEMU and Vestige."""
    headers, offset = 64, 4096
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen", address)  # XEN_ELFNOTE_PHYS32_ENTRY
    note_offset = headers + 2 * 56
    data = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01", 2, 62, 1, address, headers, 0, 0, headers, 56, 1 + pvh, 0, 0, 0,
    )  # fmt: skip
    size = len(code)
    data += struct.pack("<IIQQQQQQ", 1, 5, offset, address, address, size, size, offset)
    data += struct.pack("<IIQQQQQQ", 4, 4, note_offset, 0, 0, len(note), len(note), 4)
    return (data + note).ljust(offset, b"\0") + code
