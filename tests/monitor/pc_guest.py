"""A guest that makes any accesses to all that a PC alone has. Typed Python.

Where these are follows from the table of devices.
"""

from tests.host.guest_payload import Report
from tests.monitor.guest import DONE, SLEEP_ENABLE, random
from vestige.abi import PORT_PCI_ADDRESS, PORT_PCI_DATA, PORT_UART, Board
from vestige.devices import DEVICES
from vestige.lang.intrinsics import (
    load8,
    load32,
    port_in8,
    port_in16,
    port_in32,
    port_out8,
    port_out16,
    port_out32,
    store8,
    store32,
)
from vestige.lang.types import u8, u16, u32, u64
from vestige.monitor.devices.i8042.place import PORT_COMMAND, PORT_SYSTEM_CONTROL
from vestige.monitor.devices.i8042.spec import Command
from vestige.monitor.devices.piix3_isa.spec import PORT_RESET_CONTROL
from vestige.monitor.devices.piix4_pm.spec import PORT_PM, PORTS

PLACES = tuple(place for place in DEVICES if place.board == Board.PC)
POWER = tuple(range(PORT_PM, PORT_PM + PORTS))  # no place claims them: PMBA does
ALL_PORTS = POWER + tuple(
    port for place in PLACES for ports in place.ports for port in range(ports.first, ports.end)
)
FUNCTIONS = tuple(
    1 << 31 | place.pci.first(Board.PC).index << 8 for place in PLACES if place.pci is not None
)
ADDRESSES = tuple(place.memory.address for place in PLACES if place.memory is not None)
MEMORY_MASKS = tuple(place.memory.size - 1 for place in PLACES if place.memory is not None)
PM_BASE = 1 << 31 | 1 << 11 | 3 << 8 | 0x40
PM_ENABLE = 1 << 31 | 1 << 11 | 3 << 8 | 0x80
SLEEP = PORT_PM + 5  # PM1 control's upper half
ENDING = (PORT_COMMAND, PORT_SYSTEM_CONTROL, SLEEP, PORT_RESET_CONTROL)
RESETS = 1 << 2  # PORT_RESET_CONTROL


def hammer(report: Report) -> None:
    """Any accesses, `values[0]` of them, from the seed in `command`.

    `values[2]`: 1: but for those that end the machine.
    """
    state = report.command
    for _ in range(report.values[0]):
        state = random(state)
        number = u32(state >> 32)
        value = u32(state)
        match number & 7:
            case 0:
                memory(number >> 3, value)
            case 1:
                configuration(number >> 3, value)
            case _:
                ports(number >> 3, value, report.values[2] != 0)
        report.values[1] = u64(report.values[1] + 1)
    power_off()


def memory(number: u32, value: u32) -> None:
    """One access to a range that a place claims."""
    which = (number >> 2) % len(ADDRESSES)
    address = u64(ADDRESSES[which] + (value & MEMORY_MASKS[which] & ~3))
    match number & 3:
        case 0:
            store8(address, u8(number >> 8))
        case 1:
            store32(address, number)
        case 2:
            load8(address)
        case _:
            load32(address)


def configuration(number: u32, value: u32) -> None:
    """One access to a register of a function."""
    register = u32(number >> 8 & 0xFC)
    port_out32(PORT_PCI_ADDRESS, FUNCTIONS[(number >> 2) % len(FUNCTIONS)] | register)
    match number & 3:
        case 0:
            port_in32(PORT_PCI_DATA)
        case 1:
            port_out8(PORT_PCI_DATA, u8(value))
        case _:
            port_out32(PORT_PCI_DATA, value)


def ports(number: u32, value: u32, spares: bool) -> None:
    """One access to a port and those behind it."""
    port = u16(ALL_PORTS[(number >> 3) % len(ALL_PORTS)])
    match number & 7:
        case 0:
            port_in8(port)
        case 1:
            port_in16(port)
        case 2:
            port_in32(port)
        case 3:
            if not (spares and may_end(port, 2)):
                port_out16(port, u16(value))
        case 4:
            if not (spares and may_end(port, 4)):
                port_out32(port, value)
        case _:
            port_out8(port, harmless(port, u8(value)) if spares else u8(value))


def may_end(port: u16, size: u16) -> bool:
    """Whether the machine can be ended at one of so many ports."""
    found = False
    for each in ENDING:
        if port <= each < port + size:
            found = True
    return found


def harmless(port: u16, value: u8) -> u8:
    """A byte for a port, made one that doesn't end the machine."""
    if port == PORT_COMMAND and (value >= Command.PULSE or value == Command.WRITE_OUTPUT_PORT):
        return Command.READ_OUTPUT_PORT
    if port == PORT_SYSTEM_CONTROL:
        return u8(value & 0xFE)
    if port == PORT_RESET_CONTROL:
        return u8(value & ~RESETS)
    if port == SLEEP:
        return u8(value & ~SLEEP_ENABLE)
    return value


def power_off() -> None:
    """Print that all went well, by the other devices, and end the machine by power management."""
    for index in range(len(DONE)):
        port_out8(PORT_UART, DONE[index])
    while True:
        port_out32(PORT_PCI_ADDRESS, PM_BASE)
        port_out32(PORT_PCI_DATA, PORT_PM | 1)
        port_out32(PORT_PCI_ADDRESS, PM_ENABLE)
        port_out32(PORT_PCI_DATA, 1)
        port_out8(SLEEP, SLEEP_ENABLE)
