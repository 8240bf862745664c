"""The RAM that the firmware tells of. Source: UEFI 2.10, 7.2."""

from vestige.efiemu.shell import block, uefi
from vestige.efiemu.shell.pages import PAGE
from vestige.efiemu.shell.state import Shell
from vestige.lang.intrinsics import address_of, fill
from vestige.lang.types import Struct, u32, u64

ROOM = 1 << 20  # bytes for the map
# EFI_MEMORY_TYPE: of the loader's and the boot services' code and data, of the runtime services',
# free, ACPI's.
RAM = (1, 2, 3, 4, 5, 6, 7, 9, 10)
LAST = (1 << 64) - 1


class Descriptor(Struct):
    """EFI_MEMORY_DESCRIPTOR."""

    type: u32
    start: u64
    virtual: u64
    pages: u64
    attributes: u64


def find_ram(shell: Shell) -> bool:
    """All of it; False: the firmware doesn't tell, or of too many parts.

    The map goes where the monitor's memory will be.
    """
    place = u64(shell.block + block.MONITOR_STATE)
    answer = address_of(shell.answer)
    shell.answer[0] = ROOM
    status = uefi.call(
        shell.boot, uefi.GET_MEMORY_MAP, answer, place, u64(answer + 8), u64(answer + 16),
        u64(answer + 24),
    )  # fmt: skip
    size, step = shell.answer[0], shell.answer[2]
    done = False
    if status == uefi.SUCCESS and step > 0 and size <= ROOM:
        done = take_map(shell, place, u32(size // step), step)
    fill(place, 0, ROOM)
    end = u64(shell.block + block.SIZE)
    return done and shell.memory.count > 0 and shell.memory.leave_out(shell.block, end)


def take_map(shell: Shell, place: u64, count: u32, step: u64) -> bool:
    """Its parts by their addresses, which a firmware need not list so."""
    shell.memory.count = 0
    begin: u64 = 0
    while True:
        first: u64 = LAST
        end: u64 = 0
        for number in range(count):
            found = Descriptor.at(u64(place + step * number))
            start = found.start
            if found.type in RAM and found.pages > 0 and begin <= start < first:
                first, end = start, u64(start + found.pages * PAGE)
        if first == LAST:
            return True
        if not shell.memory.add(first, min(end, block.EVERYTHING)):  # which the host maps
            return False
        begin = end


def end_of_ram(shell: Shell, limit: u64) -> u64:
    """Where the last part that begins below `limit` ends; at most there."""
    end: u64 = 0
    for number in range(shell.memory.count):
        part = shell.memory.ranges[number]
        if part.first < limit:
            end = max(end, min(part.end, limit))
    return end
