"""Configuration space in memory. PCI Express Base 5.0, 7.2.2; PCI Firmware 3.2, 4.1.2: ACPI's MCFG.

The guest sees there what it sees by ports: the pages of the functions that the shell answers for,
and of bridges that it shows otherwise, are taken out of its memory, so that each access of them
exits.
"""

from vestige.efiemu.shell import accesses, bridges, ports
from vestige.efiemu.shell.block import EVERYTHING, common
from vestige.efiemu.shell.controller import NOWHERE
from vestige.efiemu.shell.pages import PAGE
from vestige.efiemu.shell.state import BRIDGES, Shell
from vestige.efiemu.shell.tables import LENGTH, MCFG, find_table
from vestige.efiemu.shell.uefi import SystemTable
from vestige.lang.intrinsics import load8, load16, load32, load64
from vestige.lang.types import u8, u32, u64
from vestige.monitor.sized import ONES, load_sized, store_sized

# Offsets: in MCFG, of its first row; in a row, of the segment and of its buses.
ROWS, ROW_SIZE, SEGMENT, FIRST_BUS, LAST_BUS = 44, 16, 8, 10, 11
MOST_ROWS = 64
FUNCTION = 12  # bits of an address below a function's number
WHOLE = 1 << 28  # bytes, for 256 buses
CONVENTIONAL = 256  # bytes of a function that is none of PCI Express
WORD = 4


def find_ecam(shell: Shell, system: SystemTable) -> None:
    """Where it is for the buses of segment 0, if it is anywhere."""
    shell.ecam = 0
    table = find_table(system, MCFG)
    if table == 0:
        return
    length = load32(u64(table + LENGTH))
    for number in range(MOST_ROWS):
        offset = ROWS + ROW_SIZE * number
        if offset + ROW_SIZE > length:
            return
        row = u64(table + offset)
        place = load64(row)
        if load16(u64(row + SEGMENT)) == 0 and place < EVERYTHING - WHOLE:
            shell.ecam = place
            shell.first_bus = load8(u64(row + FIRST_BUS))
            shell.last_bus = load8(u64(row + LAST_BUS))
            return


def page_of(shell: Shell, function: u32) -> u64:
    """The physical address of a function's page; 0: it has none."""
    bus = function >> 8
    if shell.ecam == 0 or function == NOWHERE or not shell.first_bus <= bus <= shell.last_bus:
        return 0
    return u64(shell.ecam + (function << FUNCTION))


def function_of(shell: Shell, address: u64) -> u32:
    """Whose page an address is in; NOWHERE: it is in none."""
    offset = u64(address - shell.ecam)
    if shell.ecam == 0 or offset >= WHOLE:
        return NOWHERE
    function = u32(offset >> FUNCTION)
    return function if shell.first_bus <= function >> 8 <= shell.last_bus else NOWHERE


def take_pages(shell: Shell) -> None:
    """Take all of them out of the guest's memory."""
    take_page(shell, page_of(shell, shell.controller))
    take_page(shell, page_of(shell, shell.second))
    take_page(shell, page_of(shell, shell.old_ide))
    for number in range(min(shell.bridges, BRIDGES)):
        take_page(shell, page_of(shell, shell.bridge[number]))


def take_page(shell: Shell, page: u64) -> None:
    """One, if there is one."""
    if page != 0:
        common(shell).tables.replace(shell.guest_root, page, 0, 0)


def is_taken(shell: Shell, address: u64) -> bool:
    """Whether the shell answers there."""
    function = function_of(shell, address)
    if function == NOWHERE:
        return False
    if bridges.is_ides(shell, function) or function == shell.old_ide:
        return True
    return bridges.is_bridge(shell, function)


def read(shell: Shell, address: u64, size: u8) -> u64:
    """A load of 1, 2, 4 or 8 bytes; one of 8 is two of 4, as it may be."""
    if size <= WORD:
        return read_part(shell, address, size)
    low = read_part(shell, address, WORD)
    return low | read_part(shell, u64(address + WORD), WORD) << 32


def write(shell: Shell, address: u64, size: u8, value: u64) -> None:
    """A store, the same."""
    if size <= WORD:
        write_part(shell, address, size, u32(value))
    else:
        write_part(shell, address, WORD, u32(value))
        write_part(shell, u64(address + WORD), WORD, u32(value >> 32))


def read_part(shell: Shell, address: u64, size: u8) -> u32:
    """At most 4 bytes."""
    if answers(shell, address, size):
        return accesses.read_ide_config(shell, u8(address % CONVENTIONAL), size)
    if bridges.is_bridge(shell, function_of(shell, address)):
        return u32(bridges.shown(u32(address % PAGE), size, load_sized(address, size)))
    return u32(ONES[size])


def write_part(shell: Shell, address: u64, size: u8, value: u32) -> None:
    """The same."""
    if answers(shell, address, size):
        offset = u8(address % CONVENTIONAL)
        if not bridges.keeps(shell, function_of(shell, address), offset):
            ports.write_config(shell, offset, size, value)
    elif bridges.is_bridge(shell, function_of(shell, address)):
        store_sized(address, size, value)


def answers(shell: Shell, address: u64, size: u8) -> bool:
    """Whether the IDE does: nobody is where the old one was, and behind a function's 256 bytes."""
    function, offset = function_of(shell, address), address % PAGE
    if function == NOWHERE or not bridges.is_ides(shell, function) or offset >= CONVENTIONAL:
        return False
    return offset % WORD + size <= WORD
