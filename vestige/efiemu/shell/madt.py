"""Which processors the machine has. Source: ACPI 6.5, 5.2.12, the MADT."""

from vestige.efiemu.shell.common import CPUS
from vestige.efiemu.shell.controller import own_number
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.tables import LENGTH, MADT, find_table
from vestige.efiemu.shell.texts import Text
from vestige.efiemu.shell.uefi import SystemTable
from vestige.lang.intrinsics import load8, load32
from vestige.lang.types import u32, u64

FIRST, MOST = 44, 4096  # offset of the first entry; entries
LOCAL_APIC, X2APIC = 0, 9  # types of entries, 5.2.12.2 and 5.2.12.12
SHORTEST = 2  # bytes of an entry
ENABLED = 1 << 0  # of its flags
LARGEST = 254  # number of a local APIC that there is no x2APIC for


def find_processors(shell: Shell, system: SystemTable) -> u32:
    """Those that are enabled, this one first: Text.NOTHING, or why there are too many."""
    shell.number, shell.processors = 0, 1
    shell.identities[0] = own_number(shell)
    table = find_table(system, MADT)
    if table == 0:
        return Text.NOTHING
    length = load32(u64(table + LENGTH))
    offset: u32 = FIRST
    for _ in range(MOST):
        if offset + SHORTEST > length:
            return Text.NOTHING
        entry = u64(table + offset)
        kind, size = load8(entry), load8(u64(entry + 1))
        if size < SHORTEST:
            return Text.NOTHING
        enough = True
        if kind == LOCAL_APIC and load32(u64(entry + 4)) & ENABLED:
            enough = add(shell, load8(u64(entry + 3)))
        elif kind == X2APIC and load32(u64(entry + 8)) & ENABLED:
            enough = add(shell, load32(u64(entry + 4)))
        if not enough:
            return Text.PROCESSORS
        offset = u32(offset + size)
    return Text.NOTHING


def add(shell: Shell, identity: u32) -> bool:
    """One more, unless it is there; False: there is no room for it."""
    count = min(shell.processors, CPUS)
    for number in range(count):
        if shell.identities[number] == identity:
            return True
    if count == CPUS or identity > LARGEST:
        return False
    shell.identities[count], shell.processors = identity, count + 1
    return True
