"""An application of firmware that starts seven other processors by x2APIC, and says what they find.

Each executes CPUID in real mode and halts. APM volume 2, 16.9 to 16.13.
"""

from vestige.efiemu.shell import uefi
from vestige.efiemu.shell.console import end_line, put, put_hexadecimal
from vestige.efiemu.shell.interrupt import APIC_BASE, ASSERT, X2APIC, X2APIC_COMMAND
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.uefi import SystemTable
from vestige.lang.intrinsics import (
    address_of,
    load8,
    load32,
    pause,
    read_msr,
    store8,
    write_msr,
)
from vestige.lang.types import u64

LOWEST_MEBIBYTE, LOADER_DATA = 0xF_FFFF, 2
INIT, STARTUP, ALL_BUT_SELF = 5 << 8, 6 << 8, 3 << 18
# mov ax, cs; mov ds, ax; mov eax, 0x80000001; cpuid with a prefix; mov [0x84], ecx;
# lock inc byte [0x80]; 1: hlt; jmp 1b
CODE = bytes.fromhex("8cc8 8ed8 66b801000080 660fa2 66890e8400 f0fe068000 f4 ebfd")
ARRIVED, FOUND = 0x80, 0x84
OTHERS = 7  # processors
TRIES = 100_000_000
NAME = b"x2apic: "


def efi_main(handle: u64, table: u64, state: u64, constants: u64) -> u64:
    shell, system = Shell.at(state), SystemTable.at(table)
    shell.boot, shell.output = system.boot, system.output
    shell.answer[0] = LOWEST_MEBIBYTE
    uefi.call(
        shell.boot, uefi.ALLOCATE_PAGES, uefi.MOST_ADDRESS, LOADER_DATA, 1,
        address_of(shell.answer),
    )  # fmt: skip
    page = shell.answer[0]
    for number in range(len(CODE)):
        store8(u64(page + number), CODE[number])
    store8(u64(page + ARRIVED), 0)
    write_msr(APIC_BASE, read_msr(APIC_BASE) | X2APIC)
    write_msr(X2APIC_COMMAND, ALL_BUT_SELF | ASSERT | INIT)
    write_msr(X2APIC_COMMAND, ALL_BUT_SELF | ASSERT | STARTUP | page >> 12)
    for _ in range(TRIES):
        if load8(u64(page + ARRIVED)) >= OTHERS:
            break
        pause()
    for letter in NAME:
        put(shell, letter)
    put_hexadecimal(shell, load8(u64(page + ARRIVED)), 2)
    put(shell, 0x20)
    put_hexadecimal(shell, load32(u64(page + FOUND)), 8)
    end_line(shell)
    return uefi.SUCCESS
