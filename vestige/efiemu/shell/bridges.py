"""The bridges that lead to the controller. PCI-to-PCI Bridge Architecture 1.2, 3.2.4 and 3.2.5.

An IDE is at ports that no window of a bridge's leads to, so that behind one an operating system has
no way to it: Linux leaves it alone. The guest is shown bridges that pass on what nobody else has
(subtractive decoding), as the one to ISA was; what it writes to them, they take themselves.

A root bus other than 0 has no way to these ports either: a machine's ACPI gives them to bus 0. The
IDE is there, too, then: the firmware has its driver where the controller was.
"""

from vestige.efiemu.shell.controller import (
    DEVICES,
    FUNCTIONS,
    NOWHERE,
    functions_of,
    read_config,
)
from vestige.efiemu.shell.state import BRIDGES, Shell
from vestige.lang.types import u8, u32, u64
from vestige.monitor.devices.pci.spec import Register

HEADER, BRIDGE = 0x7F, 1  # of HEADER_TYPE, and its value
BUSES = 0x18  # four bytes: this side's bus, the other side's, the last one behind that, a timer
DEVICES_OF_BUS = 32
BARS_SIZE = 24  # bytes
SUBTRACTIVE = 1  # programming interface of a bridge


def find_bridges(shell: Shell) -> None:
    """All of them, from the controller's root bus on; and a second place, if that is not bus 0."""
    shell.bridges, shell.second = 0, NOWHERE
    if shell.controller >> 8 == 0:
        return
    for device in range(DEVICES):
        first = u32(device * FUNCTIONS)
        for number in range(functions_of(first)):
            look_at(shell, u32(first + number))
    if not from_bus_0(shell):
        shell.second = free_device()


def from_bus_0(shell: Shell) -> bool:
    """Whether one of them is on bus 0."""
    found = False
    for number in range(min(shell.bridges, BRIDGES)):
        if shell.bridge[number] >> 8 == 0:
            found = True
    return found


def free_device() -> u32:
    """A place on bus 0 where nobody is; NOWHERE: there is none."""
    for device in range(DEVICES_OF_BUS - 1, 0, -1):
        if functions_of(u32(device * FUNCTIONS)) == 0:
            return u32(device * FUNCTIONS)
    return NOWHERE


def look_at(shell: Shell, function: u32) -> None:
    """Note a function if it is one. Those that aren't there read as ones."""
    if read_config(function, Register.HEADER_TYPE) >> 16 & HEADER != BRIDGE:
        return
    buses = read_config(function, BUSES)
    below, last = buses >> 8 & 0xFF, buses >> 16 & 0xFF
    count = min(shell.bridges, BRIDGES)
    if below <= shell.controller >> 8 <= last and below > function >> 8 and count < BRIDGES:
        shell.bridge[count], shell.bridges = function, count + 1


def is_bridge(shell: Shell, function: u32) -> bool:
    """Whether a function is one of them."""
    found = False
    for number in range(min(shell.bridges, BRIDGES)):
        if shell.bridge[number] == function:
            found = True
    return found


def is_ides(shell: Shell, function: u32) -> bool:
    """Whether the IDE is there, in either of its places."""
    return function == shell.controller or function == shell.second  # noqa: PLR1714 - compiled


def keeps(shell: Shell, function: u32, offset: u8) -> bool:
    """Whether the IDE takes no write there: of two places, only that on bus 0 moves its BARs."""
    in_bars = Register.BAR0 <= offset < Register.BAR0 + BARS_SIZE
    return in_bars and function == shell.controller and shell.second != NOWHERE


def shown(offset: u32, size: u8, value: u64) -> u64:
    """What the guest reads of `size` bytes of its configuration space, which are `value`."""
    place = u32(Register.PROGRAMMING_INTERFACE - offset)
    if place >= size:
        return value
    shift = 8 * place & 63
    return value & ~u64(0xFF << shift) | u64(SUBTRACTIVE << shift)
