"""The firmware's handles of PCI functions, and its drivers on them. Source: UEFI 2.10, 7.3, 14.4.

The protocol tells where a function is by segment, bus, device and function.
"""

from vestige.efiemu.shell import uefi
from vestige.efiemu.shell.state import Shell
from vestige.lang.intrinsics import address_of, load64
from vestige.lang.types import u32, u64

RECURSIVELY = 1


def find_handle(shell: Shell, function: u32) -> u64:
    """That of a PCI function; 0: the firmware has none."""
    if not locate(shell, uefi.PCI_IO[0], uefi.PCI_IO[1]):
        return 0
    count, table = shell.answer[0], shell.answer[1]
    found: u64 = 0
    for number in range(count):
        handle = load64(u64(table + 8 * number))
        if is_function(shell, handle, function):
            found = handle
    uefi.call(shell.boot, uefi.FREE_POOL, table)
    return found


def locate(shell: Shell, low: u64, high: u64) -> bool:
    """Find all handles with a protocol: how many, and where they are, in Shell.answer.

    False: there is none. The table is the caller's to free.
    """
    shell.guid.low, shell.guid.high = low, high
    answer = address_of(shell.answer)
    status = uefi.call(
        shell.boot, uefi.LOCATE_HANDLES, uefi.BY_PROTOCOL, address_of(shell.guid), 0, answer,
        u64(answer + 8),
    )  # fmt: skip
    return status == uefi.SUCCESS


def protocol_of(shell: Shell, handle: u64, low: u64, high: u64) -> u64:
    """Where a handle has a protocol; 0: it has none."""
    shell.guid.low, shell.guid.high = low, high
    answer, guid = address_of(shell.answer), address_of(shell.guid)
    if uefi.call(shell.boot, uefi.HANDLE_PROTOCOL, handle, guid, answer) != uefi.SUCCESS:
        return 0
    return shell.answer[0]


def is_function(shell: Shell, handle: u64, function: u32) -> bool:
    """Whether a handle is this function's, of segment 0."""
    protocol = protocol_of(shell, handle, uefi.PCI_IO[0], uefi.PCI_IO[1])
    if protocol == 0:
        return False
    answer = address_of(shell.answer)
    status = uefi.call(
        protocol, uefi.GET_LOCATION, protocol, answer, u64(answer + 8), u64(answer + 16),
        u64(answer + 24),
    )  # fmt: skip
    if status != uefi.SUCCESS or shell.answer[0] != 0:
        return False
    bus, device = u32(shell.answer[1]), u32(shell.answer[2])
    place = u32(bus << 8 | device << 3) | u32(shell.answer[3])
    return place == function


def disconnect(shell: Shell, handle: u64) -> bool:
    """Take the firmware's drivers from it, if there is a handle; False: one keeps it."""
    return handle == 0 or uefi.call(shell.boot, uefi.DISCONNECT, handle) == uefi.SUCCESS


def connect(shell: Shell, handle: u64) -> None:
    """Let the firmware find a driver for it, and for what is found behind it."""
    if handle != 0:
        uefi.call(shell.boot, uefi.CONNECT, handle, 0, 0, RECURSIVELY)
