"""Who is at a port, at an address, in a slot: one search for each.

A search for a register answers `where` it is: a row of `vestige/devices.py`, or CONFIG_PORTS,
CONFIG_MEMORY, NOBODY, and an offset to that row's model, in one number. A device whose BARs the
guest places says itself where it is.

A function may live in another domain than the first, which then is where its BAR is looked up. In
other domains' Configs no function has a home, so there each is looked for in that domain itself.
"""

from vestige.abi import ECAM, ECAM_SIZE, WINDOW, WINDOW_SIZE, Board, Config
from vestige.devices import DEVICES
from vestige.lang.intrinsics import cold
from vestige.lang.types import u8, u16, u32, u64
from vestige.monitor.core.domains import machine_of
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.trap import Kind, Trap
from vestige.place import (
    CONFIG_MEMORY,
    CONFIG_PORTS,
    NOBODY,
    NOWHERE,
    ROW_SHIFT,
    Place,
    is_present,
)
from vestige.shapes import PciDevice
from vestige.tables import FUNCTION_ROWS, PC_FUNCTION_ROWS, PORT_ROWS

CONFIG_DATA = 4  # offset of mechanism 1's second port, PORT_PCI_DATA


def row_of(where: u32) -> u8:
    """Who is there."""
    return where >> ROW_SHIFT


def offset_of(where: u32) -> u32:
    """Which of its registers."""
    return where & (1 << ROW_SHIFT) - 1


def find_port(machine: Machine, port: u16) -> u32:
    """Where a port is. What the guest places comes first: that may be anywhere."""
    for row, place in enumerate(DEVICES):
        if place.pci is not None and place.pci.has_ports and place.board != Board.PC:
            device: PciDevice = getattr(machine, place.field)
            offset = device.port_offset(port)
            if offset != NOWHERE:
                return row << ROW_SHIFT | offset & (1 << ROW_SHIFT) - 1
    return find_old_port(machine, port) if machine.old else find_fixed_port(port)


@cold
def find_old_port(machine: Machine, port: u16) -> u32:
    """Where it is on a PC, if no device that others have, too, has been placed there."""
    for row, place in enumerate(DEVICES):
        if place.pci is not None and place.pci.has_ports and place.board == Board.PC:
            device: PciDevice = getattr(machine, place.field)
            offset = device.port_offset(port)
            if offset != NOWHERE:
                return row << ROW_SHIFT | offset & (1 << ROW_SHIFT) - 1
    return find_fixed_port(port)


def find_fixed_port(port: u16) -> u32:
    """Where it is if nobody has been placed there."""
    return PORT_ROWS[port] if port < len(PORT_ROWS) else NOBODY << ROW_SHIFT


def find_memory(machine: Machine, config: Config, address: u64) -> u32:
    """Where an address outside RAM is."""
    if ECAM <= address < ECAM + ECAM_SIZE and config.board != Board.PC:
        return CONFIG_MEMORY << ROW_SHIFT | u32(address - ECAM)
    for row, place in enumerate(DEVICES):
        if place.memory is None or place.memory.is_window:
            continue
        if place.memory.address <= address < place.memory.end:
            if is_present(place, row, config):
                return row << ROW_SHIFT | u32(address - place.memory.base)
    for row, place in enumerate(DEVICES):
        if place.pci is not None and place.pci.has_memory:
            offset = find_bar(machine, config, place, address)
            if offset != NOWHERE:
                return row << ROW_SHIFT | offset & (1 << ROW_SHIFT) - 1
    return find_window(config, address) if address < WINDOW + WINDOW_SIZE else NOBODY << ROW_SHIFT


@cold
def find_window(config: Config, address: u64) -> u32:
    """Where an address is that is RAM unless a device says otherwise. What a BAR is at is first."""
    for row, place in enumerate(DEVICES):
        if place.memory is not None and place.memory.is_window:
            if place.memory.address <= address < place.memory.end:
                if is_present(place, row, config):
                    return row << ROW_SHIFT | u32(address - place.memory.base)
    return NOBODY << ROW_SHIFT


def find_bar(machine: Machine, config: Config, place: Place, address: u64) -> u32:
    """The offset of an address in a device's BARs, or NOWHERE. Where they were is likely."""
    if place.pci is None:
        return NOWHERE
    if place.pci.count > 1:
        first = place.pci.bars[0].address
        size = place.pci.bars[0].size
        if first <= address < first + size * place.pci.count:
            likely = u32(address - first) // size
            offset = bar_offset(machine, config, place, likely, address)
            if offset != NOWHERE:
                return offset
    for number in range(place.pci.count):
        offset = bar_offset(machine, config, place, number, address)
        if offset != NOWHERE:
            return offset
    return NOWHERE


def bar_offset(machine: Machine, config: Config, place: Place, number: u32, address: u64) -> u32:
    """The offset of an address in a BAR of function `number`, or NOWHERE."""
    home = machine
    if place.pci is not None and place.pci.spread:
        home = machine_of(machine, config.homes[number])
    device: PciDevice = getattr(home, place.field)
    return device.memory_offset(number, address)


def find_function(config: Config, function: u32) -> u32:
    """Where the function is that bus, device and function name: its number is the offset."""
    if function >= len(FUNCTION_ROWS):
        return NOBODY << ROW_SHIFT
    if config.board == Board.PC:
        return PC_FUNCTION_ROWS[function]
    return FUNCTION_ROWS[function]


def is_config_data(where: u32, size: u8) -> bool:
    """Whether an access to a port is one of CONFIG_DATA, inside the addressed register."""
    offset = offset_of(where)
    inside = offset >= CONFIG_DATA and offset + size <= CONFIG_DATA + 4
    return row_of(where) == CONFIG_PORTS and inside


# ---- domains ------------------------------------------------------------------------------------


def function_at(first: Machine, config: Config, trap: Trap) -> u32:
    """Which function that is not the first domain's alone an access to memory is for.

    NOWHERE: none, and the access is for the first domain, or seems to be. No lock is held: a BAR
    that another CPU moves at this moment may be found at either place.
    """
    if config.domains == 1 or trap.kind != Kind.MEMORY:
        return NOWHERE
    where = find_memory(first, config, trap.address)
    if row_of(where) == CONFIG_MEMORY:
        return away(config, find_function(config, offset_of(where) >> 12))
    for row, place in enumerate(DEVICES):
        if place.pci is not None and place.pci.spread and row == row_of(where):
            number = offset_of(where) // place.pci.bars[0].size
            return away(config, row << ROW_SHIFT | number)
    return NOWHERE


def function_of_port(first: Machine, config: Config, trap: Trap) -> u32:
    """The same for an access to a port: CONFIG_DATA may lead to any. The lock is held."""
    if config.domains == 1 or trap.kind != Kind.PORT:
        return NOWHERE
    if not is_config_data(trap.where, trap.size) or not first.pci.enabled():
        return NOWHERE
    return away(config, find_function(config, first.pci.function()))


def away(config: Config, function: u32) -> u32:
    """The number of a function, or NOWHERE if it is the first domain's alone."""
    for row, place in enumerate(DEVICES):
        if place.pci is not None and place.pci.spread and row == row_of(function):
            number = offset_of(function) % place.pci.count
            if config.homes[number] or config.shares[number] > 1:
                return number
    return NOWHERE
