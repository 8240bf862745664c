"""The NVMe controller, in PCI's configuration space. Source: PCI Local Bus 3.0, 3.2.2.3 and 6.

It is read by ports 0xCF8 and 0xCFC, which every machine has that this is for.
"""

from vestige.abi import LOCAL_APIC, PORT_PCI_ADDRESS, PORT_PCI_DATA
from vestige.efiemu.shell.block import CANONICAL, GIBIBYTE, REGISTERS_SIZE, hide
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.texts import Text
from vestige.lang.intrinsics import (
    address_of,
    cpuid,
    load32,
    port_in32,
    port_out32,
    store32,
    store64,
)
from vestige.lang.types import u8, u32, u64
from vestige.monitor.devices.pci.spec import (
    BAR_IO,
    BAR_MEMORY_ADDRESS,
    CAPABILITY_MSIX,
    STATUS_CAPABILITIES,
    Address,
    Command,
    Register,
)
from vestige.monitor.drivers.nvme.spec import Configuration
from vestige.monitor.drivers.nvme.spec import Register as Nvme

NOBODY = 0xFFFF
NVME = 0x010802
IDE, NATIVE = 0x0101, 1 << 0  # with the first channel where its BARs say, and not at 0x1F0
SEVERAL_FUNCTIONS = 1 << 23  # of the word with HEADER_TYPE
MOST_CAPABILITIES = 48  # in 192 bytes
DEVICES, FUNCTIONS = 256 * 32, 8
NOWHERE = 0xFFFF_FFFF
LOW = 0xFFFF_FFFF
BARS = 6
BAR_64_BITS = 2 << 1  # of a BAR's type, 6.2.5.1
ROM_ENABLE = 1 << 0
# A row of the table of interrupts, 6.8.2.7 to 6.8.2.9, and the word with its control register.
DATA, CONTROL, MASKED = 8, 12, 1 << 0
ENABLE, MASK_ALL = 1 << 31, 1 << 30
DESTINATION, NMI_MODE = 12, 0b100 << 8
MSIX_BAR = 7  # which BAR a table is in, 6.8.2.4


def read_config(function: u32, offset: u8) -> u32:
    """The word of 32 bits that a register is in; `function` is bus, device and function."""
    port_out32(PORT_PCI_ADDRESS, Address.ENABLE | (function & 0xFFFF) << 8 | offset & 0xFC)
    return port_in32(PORT_PCI_DATA)


def write_config(function: u32, offset: u8, value: u32) -> None:
    """Set that word."""
    port_out32(PORT_PCI_ADDRESS, Address.ENABLE | (function & 0xFFFF) << 8 | offset & 0xFC)
    port_out32(PORT_PCI_DATA, value)


def find_controller(shell: Shell) -> u32:
    """Find the one to take: why there is none, or Text.NOTHING."""
    shell.controllers, shell.controller, shell.old_ide = 0, NOWHERE, NOWHERE
    for device in range(DEVICES):
        look_at_device(shell, u32(device * FUNCTIONS))
    if shell.controllers == 0:
        return Text.NO_NVME
    if shell.wanted != NOWHERE:
        shell.controller = shell.wanted
        if kind_of(shell.wanted) != NVME:
            return Text.NOT_THERE
    elif shell.controllers > 1:
        return Text.SEVERAL
    shell.identity = read_config(shell.controller, Register.VENDOR)
    shell.bar = read_bar(shell.controller, 0)
    return find_msix(shell)


def look_at_device(shell: Shell, first: u32) -> None:
    """Count the NVMe controllers of a device, by its first function, and find an IDE of 1997."""
    for number in range(functions_of(first)):
        function = u32(first + number)
        kind = kind_of(function)
        if kind == NVME:
            shell.controllers += 1
            shell.controller = function
        elif kind >> 8 == IDE and not kind & NATIVE:
            shell.old_ide = function


def kind_of(function: u32) -> u32:
    """Its class, subclass and programming interface. PCI Local Bus 3.0, 6.2.1."""
    return read_config(function, Register.REVISION) >> 8


def functions_of(first: u32) -> u8:
    """How many a device may have, by its first one; 0: there is no device."""
    if read_config(first, Register.VENDOR) & 0xFFFF == NOBODY:
        return 0
    return FUNCTIONS if read_config(first, Register.HEADER_TYPE) & SEVERAL_FUNCTIONS else 1


def read_bar(function: u32, number: u8) -> u64:
    """Where a BAR is, 0: nowhere. PCI Local Bus 3.0, 6.2.5.1."""
    offset = u8(Register.BAR0 + 4 * (number & 7))
    low = read_config(function, offset)
    place: u64 = low & BAR_MEMORY_ADDRESS
    if low & BAR_IO:
        return 0
    if low & BAR_64_BITS:
        place |= read_config(function, u8(offset + 4)) << 32
    return place


def find_msix(shell: Shell) -> u32:
    """Find its table and how it is switched on: why not, or Text.NOTHING. 6.7 and 6.8.2.

    The monitor has whole pages of the registers, and no table of interrupts in them.
    """
    function = shell.controller
    offset = find_capability(function, CAPABILITY_MSIX)
    if offset == 0:
        return Text.NO_MSIX
    place = read_config(function, u8(offset + 4 & 0xFC))
    pending = read_config(function, u8(offset + 8 & 0xFC))
    if is_among_registers(place) or is_among_registers(pending):
        return Text.SHARED_PAGE
    bar = read_bar(function, place & MSIX_BAR)
    if bar == 0 or shell.bar == 0 or max(bar, shell.bar) >= CANONICAL - GIBIBYTE:
        return Text.NO_BAR
    shell.msix = offset
    shell.vectors = u64(bar + (place & LOW & ~MSIX_BAR))
    return Text.NOTHING


def is_among_registers(place: u32) -> bool:
    """Whether the monitor's part of BAR 0 would have this table, too."""
    return place & MSIX_BAR == 0 and place & ~MSIX_BAR < REGISTERS_SIZE


def find_capability(function: u32, kind: u8) -> u8:
    """Where it is in configuration space; 0: there is none."""
    if not read_config(function, Register.STATUS) >> 16 & STATUS_CAPABILITIES:
        return 0
    offset = u8(read_config(function, Register.CAPABILITIES) & 0xFC)
    for _ in range(MOST_CAPABILITIES):
        if offset == 0:
            return 0
        word = read_config(function, offset)
        if word & 0xFF == kind:
            return offset
        offset = u8(word >> 8 & 0xFC)
    return 0


def hide_memory(shell: Shell) -> None:
    """Hide all that it has in memory from the guest. Nobody uses it meanwhile."""
    function = shell.controller
    command = read_config(function, Register.COMMAND) & 0xFFFF
    write_config(function, Register.COMMAND, command & ~Command.MEMORY)
    above = False  # a BAR is the upper half of the one before it
    for number in range(BARS):
        low = read_config(function, Register.BAR0 + 4 * number)
        place = read_bar(function, number)
        if place != 0 and not above:
            hide(shell, place, size_of_bar(function, number))
        above = low & (BAR_IO | BAR_64_BITS) == BAR_64_BITS and not above
    write_config(function, Register.COMMAND, command)


def size_of_bar(function: u32, number: u8) -> u64:
    """Bytes of a BAR in memory, which is switched off. 6.2.5.1."""
    offset = u8(Register.BAR0 + 4 * (number & 7))
    low, high = read_config(function, offset), read_config(function, u8(offset + 4))
    write_config(function, offset, LOW)
    mask: u64 = read_config(function, offset) & BAR_MEMORY_ADDRESS | LOW << 32
    if low & BAR_64_BITS:
        write_config(function, u8(offset + 4), LOW)
        mask = mask & LOW | read_config(function, u8(offset + 4)) << 32
        write_config(function, u8(offset + 4), high)
    write_config(function, offset, low)
    return u64(0 - mask)


def switch_on(shell: Shell) -> None:
    """Let it answer and reach memory, and nothing else. 6.2.2 and 6.2.5.2."""
    function = shell.controller
    rom = read_config(function, Register.EXPANSION_ROM)
    write_config(function, Register.EXPANSION_ROM, rom & (LOW ^ ROM_ENABLE))
    command = read_config(function, Register.COMMAND) & 0xFFFF & ~Command.IO
    wanted = Command.MEMORY | Command.BUS_MASTER | Command.INTERRUPT_DISABLE
    write_config(function, Register.COMMAND, command | wanted)


def prepare_vectors(shell: Shell) -> None:
    """Switch MSI-X on, its first vector masked, before there are queues. 6.8.2.3 and 6.8.2.6."""
    offset = shell.msix
    control = read_config(shell.controller, offset)
    store32(u64(shell.vectors + CONTROL), MASKED)
    write_config(shell.controller, offset, control & (LOW ^ MASK_ALL) | ENABLE)


def send_nmis(shell: Shell) -> None:
    """Let the controller interrupt this processor by NMI. APM volume 2, 16.11."""
    place = shell.vectors
    store64(place, LOCAL_APIC | own_number(shell) << DESTINATION)
    store32(u64(place + DATA), NMI_MODE)
    store32(u64(place + CONTROL), 0)


def own_number(shell: Shell) -> u8:
    """This processor's local APIC. CPUID Fn0000_0001, EBX."""
    cpuid(1, 0, address_of(shell.leaf))
    return shell.leaf.ebx >> 24


def stop(shell: Shell) -> None:
    """Let it reach memory no more, whatever it was at, nor interrupt. CC.EN: NVMe 1.4, 3.1.5."""
    place = u64(shell.bar + Nvme.CC)
    store32(place, load32(place) & ~int(Configuration.ENABLE))
    control = read_config(shell.controller, shell.msix)
    write_config(shell.controller, shell.msix, control & (LOW ^ ENABLE))
