"""The machine says that it was taken over, and how it is not to be: nothing here hides.

An ACPI table of its own tells the operating system of the block, the controller, and the variable
that is an off switch: where it is there, with whatever value, no machine is taken over. Sources:
UEFI 2.10, 8.2 (variables), 20.3 (ACPI tables); ACPI 6.5, 5.2.6 (headers).
"""

from ctypes import sizeof

from vestige.efiemu.shell import block, uefi
from vestige.efiemu.shell.announcement import Announcement
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.uefi import SystemTable
from vestige.lang.intrinsics import address_of, load8, store16
from vestige.lang.types import u8, u32, u64

OFF = b"EfiemuOff"
SIGNATURE = 0x4754_5356  # "VSTG"
OEM = b"VESTIG"
OEM_TABLE = b"EFIEMU  "
CREATOR = 0x4754_5356


def is_off(shell: Shell, system: SystemTable) -> bool:
    """Whether somebody has switched it off."""
    name, guid, answer = address_of(shell.path), address_of(shell.guid), address_of(shell.answer)
    for number in range(len(OFF)):
        store16(u64(name + 2 * number), OFF[number])
    store16(u64(name + 2 * len(OFF)), 0)
    shell.guid.low, shell.guid.high = uefi.OFF_SWITCH
    shell.answer[0] = 0
    status = uefi.call(system.runtime, uefi.GET_VARIABLE, name, guid, 0, answer, u64(answer + 8))
    return status in (uefi.SUCCESS, uefi.BUFFER_TOO_SMALL)


def announce(shell: Shell) -> None:
    """Give the firmware the table, which copies it; a firmware without ACPI has none."""
    answer, guid = address_of(shell.answer), address_of(shell.guid)
    shell.guid.low, shell.guid.high = uefi.ACPI_TABLES
    if uefi.call(shell.boot, uefi.LOCATE_PROTOCOL, guid, 0, answer) != uefi.SUCCESS:
        return
    protocol = shell.answer[0]
    table = shell.announcement
    fill_table(shell, table)
    uefi.call(
        protocol, uefi.INSTALL_TABLE, protocol, address_of(table), sizeof(Announcement), answer
    )


def fill_table(shell: Shell, table: Announcement) -> None:
    """All of it."""
    table.signature, table.length, table.revision = SIGNATURE, sizeof(Announcement), 1
    for number in range(len(OEM)):
        table.oem[number] = OEM[number]
    for number in range(len(OEM_TABLE)):
        table.oem_table[number] = OEM_TABLE[number]
    table.oem_revision, table.creator, table.creator_revision = 1, CREATOR, 1
    table.block, table.size, table.controller = shell.block, block.SIZE, shell.controller
    for number in range(8):
        table.off[number] = u8(uefi.OFF_SWITCH[0] >> 8 * number)
        table.off[8 + number] = u8(uefi.OFF_SWITCH[1] >> 8 * number)
    for number in range(len(OFF)):
        table.off_name[number] = OFF[number]
    table.checksum = 0
    total: u32 = 0
    for offset in range(sizeof(Announcement)):
        total = u32(total + load8(u64(address_of(table) + offset)))
    table.checksum = u8(0 - total)
