"""An application of firmware that takes the memory that efiemu.efi needs, and gives it back.

Its first start takes all that is free in pieces as large as the shell's block, the second one gives
them back and takes what is free below 1 MiB, the third gives that back. What it has taken is known
by its type in the firmware's map. Each start says in one line how many pages it gave back and took.
UEFI 2.10, 7.2.
"""

from vestige.efiemu.shell import block, uefi
from vestige.efiemu.shell.console import end_line, put, put_hexadecimal
from vestige.efiemu.shell.pages import PAGE
from vestige.efiemu.shell.ram import Descriptor
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.uefi import SystemTable
from vestige.lang.intrinsics import address_of, panic
from vestige.lang.types import u32, u64

LOADER_DATA = 2
FAR, NEAR = 0x8000_0001, 0x8000_0002  # EFI_MEMORY_TYPE, of those for an operating system's loader
PIECE = (block.SIZE + block.ALIGNMENT) // PAGE  # as the shell asks for it
MAP_PAGES = 16
NAME = b"hoarding: "


def efi_main(handle: u64, table: u64, state: u64, constants: u64) -> u64:
    shell, system = Shell.at(state), SystemTable.at(table)
    shell.boot, shell.output = system.boot, system.output
    far, near = give_back(shell, FAR), give_back(shell, NEAR)
    taken: u64 = 0
    if far > 0:
        taken = take(shell, NEAR, block.LOWEST_MEBIBYTE, block.LOW_SIZE // PAGE)
    elif near == 0:
        taken = take(shell, FAR, block.EVERYTHING - 1, PIECE)
    for letter in NAME:
        put(shell, letter)
    put_hexadecimal(shell, u64(far + near), 8)
    put(shell, 0x20)
    put_hexadecimal(shell, taken, 8)
    end_line(shell)
    return uefi.SUCCESS


def take(shell: Shell, kind: u32, last: u64, pages: u64) -> u64:
    """Take pieces of so many pages up to the address `last`, until there are none; the pages."""
    taken: u64 = 0
    shell.answer[0] = last
    while _allocate(shell, kind, pages):
        taken = u64(taken + pages)
        shell.answer[0] = last
    return taken


def give_back(shell: Shell, kind: u32) -> u64:
    """Free all that is of this type; so many pages."""
    shell.answer[0] = block.EVERYTHING - 1
    if not _allocate(shell, LOADER_DATA, MAP_PAGES):
        panic(1)
    place, answer = shell.answer[0], address_of(shell.answer)
    shell.answer[0] = MAP_PAGES * PAGE
    _must(
        uefi.call(
            shell.boot, uefi.GET_MEMORY_MAP, answer, place, u64(answer + 8), u64(answer + 16),
            u64(answer + 24),
        )
    )  # fmt: skip
    count, step = u32(shell.answer[0] // max(shell.answer[2], 1)), shell.answer[2]
    freed: u64 = 0
    for number in range(count):
        found = Descriptor.at(u64(place + step * number))
        if found.type == kind:
            _must(uefi.call(shell.boot, uefi.FREE_PAGES, found.start, found.pages))
            freed = u64(freed + found.pages)
    _must(uefi.call(shell.boot, uefi.FREE_PAGES, place, MAP_PAGES))
    return freed


def _allocate(shell: Shell, kind: u32, pages: u64) -> bool:
    """Where it is, is in `answer`, which has the last address that it may have."""
    status = uefi.call(
        shell.boot, uefi.ALLOCATE_PAGES, uefi.MOST_ADDRESS, kind, pages, address_of(shell.answer)
    )
    return status == uefi.SUCCESS


def _must(status: u64) -> None:
    if status != uefi.SUCCESS:
        panic(2)
