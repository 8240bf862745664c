"""The IDE that the guest finds where its NVMe controller was: at the ports of 1997.

PCI IDE Controller Specification 1.0, 2: in compatibility mode, with IRQ 14. Its bus master is where
the guest puts it, and before that where no other device of the machine's is.
"""

from vestige.abi import IOAPIC, PORT_PCI_DATA
from vestige.efiemu.shell import accesses, block
from vestige.efiemu.shell.controller import DEVICES, FUNCTIONS, NOBODY, read_config
from vestige.efiemu.shell.state import Shell
from vestige.lang.intrinsics import load8, store8
from vestige.lang.types import u8, u16, u32, u64
from vestige.monitor.devices.ioapic.spec import Index
from vestige.monitor.devices.ioapic.spec import Register as IoApic
from vestige.monitor.devices.pci.spec import BAR_IO, BAR_IO_ADDRESS, Command, Register
from vestige.monitor.devices.piix3_ide.pci_spec import BUS_MASTER_SIZE, Bar

PRIMARY, PRIMARY_CONTROL, SECONDARY, SECONDARY_CONTROL = 0x1F0, 0x3F6, 0x170, 0x376
COMMAND_BLOCK, COMMAND = 8, 7  # ports; the last of them
STATUS, STATUS_AND_TABLE = 2, 6  # of a bus master
BOTH_COMPATIBLE = 0x80  # programming interface: a bus master, both channels in their old places
BUS_MASTER = Register.BAR0 + 4 * Bar.BUS_MASTER
PLACES = (0xEF00, 0xDF00, 0xCF00, 0xBF00, 0xAF00, 0x9F00)  # for it
DISTANCE = 0x100  # ports, from any other device's
NO_DRIVE = 0x7F7F_7F7F  # the bus, with bit 7 pulled down; OVMF waits for more than a minute else
PIN = 14
VECTOR = 0x40  # of the monitor's I/O APIC, which nobody looks at
BARS = 6
WORD = 4  # bytes


def set_up(shell: Shell) -> None:
    """Put it there, before the guest looks. Its interrupt is open: an edge, as IRQs are."""
    accesses.write_ide_config(shell, Register.PROGRAMMING_INTERFACE, 1, BOTH_COMPATIBLE)
    accesses.write_ide_config(shell, u8(BUS_MASTER), 4, free_place(shell))
    enabled = Command.IO | Command.BUS_MASTER
    accesses.write_ide_config(shell, Register.COMMAND, 2, enabled)
    accesses.write_memory(shell, IOAPIC + IoApic.SELECT, 4, Index.REDIRECTION + 2 * PIN)
    accesses.write_memory(shell, IOAPIC + IoApic.WINDOW, 4, VECTOR)
    find_bus_master(shell)


def free_place(shell: Shell) -> u32:
    """16 ports for the bus master."""
    for place in PLACES:
        if is_free(place):
            return place
    return 0


def is_free(place: u16) -> bool:
    """Whether no function has a BAR near there."""
    for device in range(DEVICES):
        for number in range(FUNCTIONS):
            function = u32(device * FUNCTIONS + number)
            if read_config(function, Register.VENDOR) & 0xFFFF != NOBODY:
                if is_near(function, place):
                    return False
            elif number == 0:
                break  # no other either: 3.2.2.3.4
    return True


def is_near(function: u32, place: u16) -> bool:
    """Whether a function has a BAR there."""
    for bar in range(BARS):
        found = read_config(function, u8(Register.BAR0 + 4 * bar))
        port = found & BAR_IO_ADDRESS
        if found & BAR_IO and place < port + DISTANCE and port < place + DISTANCE:
            return True
    return False


def is_ide(shell: Shell, port: u16) -> bool:
    """Whether a port is one of those that the monitor answers."""
    if PRIMARY <= port < PRIMARY + COMMAND_BLOCK or port == PRIMARY_CONTROL:
        return True
    first = block.common(shell).bus_master
    return first != 0 and first <= port < first + BUS_MASTER_SIZE


def waits(shell: Shell, port: u16, size: u8) -> bool:
    """Whether writing it does nothing by itself: a task file, a bus master's status and table."""
    end = port + size
    if port > PRIMARY and end <= PRIMARY + COMMAND:
        return True
    first = block.common(shell).bus_master
    return first != 0 and first + STATUS <= port and end <= first + STATUS + STATUS_AND_TABLE


def is_second_channel(port: u16) -> bool:
    """Whether a port is one of the channel's that has no drive. The monitor has it disabled."""
    return SECONDARY <= port < SECONDARY + COMMAND_BLOCK or port == SECONDARY_CONTROL


def find_bus_master(shell: Shell) -> None:
    """Intercept it where it is now."""
    common = block.common(shell)
    common.lock.acquire()
    before = common.bus_master
    if before != 0:
        for number in range(BUS_MASTER_SIZE):
            intercept(shell, u16(before + number), on=False)
    place = accesses.read_ide_config(shell, u8(BUS_MASTER), 4) & 0xFFFF_FFF0
    command = accesses.read_ide_config(shell, Register.COMMAND, 2)
    common.bus_master = 0
    if command & Command.IO and 0 < place <= 0xFFF0:
        common.bus_master = u16(place)
        for number in range(BUS_MASTER_SIZE):
            intercept(shell, u16(place + number), on=True)
    intercept_all(shell)
    common.lock.release()


def intercept_all(shell: Shell) -> None:
    """The ports that are always its, and those of configuration space's data."""
    for number in range(COMMAND_BLOCK):
        intercept(shell, u16(PRIMARY + number), on=True)
        intercept(shell, u16(SECONDARY + number), on=True)
    for number in range(WORD):
        intercept(shell, u16(PORT_PCI_DATA + number), on=True)
    intercept(shell, PRIMARY_CONTROL, on=True)
    intercept(shell, SECONDARY_CONTROL, on=True)


def intercept(shell: Shell, port: u16, on: bool) -> None:
    """Whether accesses of a port exit. APM volume 2, 15.10.1."""
    place = u64(shell.block + block.PORTS + port // 8)
    bit = 1 << port % 8
    if on:
        store8(place, u8(load8(place) | bit))
    else:
        store8(place, u8(load8(place) & ~bit))
