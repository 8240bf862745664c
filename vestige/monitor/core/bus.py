"""An access to whoever is there: ports, memory, configuration space. Nobody answers all ones.

A device of byte-wide registers sees a wider access as ISA makes it: one byte after the other, at
rising ports. In memory a place says how accesses come to its model.
"""

from vestige.abi import Config
from vestige.devices import DEVICES
from vestige.lang.types import u8, u16, u32, u64
from vestige.monitor.core.decode import (
    CONFIG_DATA,
    find_function,
    find_memory,
    find_port,
    is_config_data,
    offset_of,
    row_of,
)
from vestige.monitor.core.machine import Machine
from vestige.monitor.devices.pci.spec import CONFIG_SIZE
from vestige.monitor.sized import ONES, byte_of
from vestige.place import CONFIG_MEMORY, CONFIG_PORTS, NOBODY, ROW_SHIFT, Access, is_present
from vestige.shapes import Device, PciDevice, WideRegisters
from vestige.tables import ACCESSES

CONFIG_ADDRESS = CONFIG_PORTS << ROW_SHIFT  # where mechanism 1's first port is


# ---- ports ------------------------------------------------------------------------------------


def read_port(machine: Machine, config: Config, port: u16, size: u8, now: u64) -> u32:
    """IN of 1, 2 or 4 bytes."""
    return read_port_at(machine, config, find_port(machine, port), port, size, now)


def read_port_at(
    machine: Machine, config: Config, where: u32, port: u16, size: u8, now: u64
) -> u32:
    """The same, of a port that has been found."""
    if takes_whole(machine, where, size):
        return u32(read_at(machine, config, where, size, now))
    value = u32(0)
    for i in range(4):
        if i < size:
            where = find_part(machine, u16(port + i))
            value |= u32(read_at(machine, config, where, 1, now) << 8 * i)
    return value


def write_port(machine: Machine, config: Config, port: u16, size: u8, value: u32, now: u64) -> None:
    """OUT of 1, 2 or 4 bytes."""
    write_port_at(machine, config, find_port(machine, port), port, size, value, now)


def write_port_at(
    machine: Machine, config: Config, where: u32, port: u16, size: u8, value: u32, now: u64
) -> None:
    """The same, of a port that has been found."""
    if takes_whole(machine, where, size):
        write_at(machine, config, where, size, value, now)
        return
    for i in range(4):
        if i < size:
            where = find_part(machine, u16(port + i))
            write_at(machine, config, where, 1, byte_of(value, i), now)


def find_part(machine: Machine, port: u16) -> u32:
    """Where one byte of a wider access is. PCI's ports take no part of one that isn't theirs."""
    where = find_port(machine, port)
    return NOBODY << ROW_SHIFT if row_of(where) == CONFIG_PORTS else where


def takes_whole(machine: Machine, where: u32, size: u8) -> bool:
    """Whether an access is one to who is there, and not one byte after the other.

    To memory it is where a place says that its model decides.
    """
    if size == 1:
        return True
    for row, place in enumerate(DEVICES):
        if place.wide and row == row_of(where):
            device: WideRegisters = getattr(machine, place.field)
            return device.takes_whole(offset_of(where), size)
    return (where == CONFIG_ADDRESS and size == 4) or is_config_data(where, size)


# ---- memory -------------------------------------------------------------------------------------


def read_memory(machine: Machine, config: Config, address: u64, size: u8, now: u64) -> u64:
    """A read of 1 to 8 bytes outside RAM. One that is not a register's own is made of bytes."""
    for row, place in enumerate(DEVICES):
        if place.memory is None or place.memory.is_window:
            continue
        if place.memory.address <= address < place.memory.end:
            where = row << ROW_SHIFT | u32(address - place.memory.base)
            own = is_own(machine, place.memory.access, where, size)
            if own and is_present(place, row, config):
                device: Device = getattr(machine, place.field)
                return device.read(u32(address - place.memory.base), size, now)
    where = find_memory(machine, config, address)
    if is_own(machine, ACCESSES[row_of(where)], where, size):
        return read_memory_at(machine, config, where, size, now)
    value = u64(0)
    for i in range(8):
        if i < size:
            where = find_memory(machine, config, u64(address + i))
            value |= u64(read_memory_at(machine, config, where, 1, now) << 8 * i)
    return value


def read_memory_at(machine: Machine, config: Config, where: u32, size: u8, now: u64) -> u64:
    """A read of memory, by who is there."""
    if row_of(where) == CONFIG_MEMORY:
        offset = offset_of(where)
        return read_config(machine, config, offset >> 12, offset & 0xFFF, size)
    return read_at(machine, config, where, size, now)


def write_memory(
    machine: Machine, config: Config, address: u64, size: u8, value: u64, now: u64
) -> None:
    """A write of 1 to 8 bytes outside RAM."""
    for row, place in enumerate(DEVICES):
        if place.memory is None or place.memory.is_window:
            continue
        if place.memory.address <= address < place.memory.end:
            where = row << ROW_SHIFT | u32(address - place.memory.base)
            own = is_own(machine, place.memory.access, where, size)
            if own and is_present(place, row, config):
                device: Device = getattr(machine, place.field)
                device.write(u32(address - place.memory.base), size, value, now)
                return
    where = find_memory(machine, config, address)
    if is_own(machine, ACCESSES[row_of(where)], where, size):
        write_memory_at(machine, config, where, size, value, now)
        return
    for i in range(8):
        if i < size:
            where = find_memory(machine, config, u64(address + i))
            write_memory_at(machine, config, where, 1, byte_of(value, i), now)


def write_memory_at(
    machine: Machine, config: Config, where: u32, size: u8, value: u64, now: u64
) -> None:
    """A write to memory, to who is there."""
    if row_of(where) == CONFIG_MEMORY:
        offset = offset_of(where)
        write_config(machine, config, offset >> 12, offset & 0xFFF, size, u32(value))
    else:
        write_at(machine, config, where, size, value, now)


def is_own(machine: Machine, access: u8, where: u32, size: u8) -> bool:
    """Whether an access to memory is one to who is there, and not one byte after the other."""
    match access:
        case Access.WHOLE:
            return True
        case Access.TAKEN:
            return takes_whole(machine, where, size)
        case _:
            return size != 3 and (where & 3) + size <= 4


# ---- who is there -----------------------------------------------------------------------------


def read_at(machine: Machine, config: Config, where: u32, size: u8, now: u64) -> u64:
    """A read, by who is there."""
    owner = row_of(where)
    offset = offset_of(where)
    for row, place in enumerate(DEVICES):
        if place.has_registers and row == owner:
            if not is_present(place, row, config):
                return ONES[size]
            device: Device = getattr(machine, place.field)
            if place.byte_wide:
                return device.read(u8(offset), 1, now)
            return device.read(offset, size, now)
    if owner == CONFIG_PORTS:
        if offset == 0 and size == 4:
            return machine.pci.address
        if offset >= CONFIG_DATA and machine.pci.enabled():
            register = u32(machine.pci.register() + (offset & 3))
            return read_config(machine, config, machine.pci.function(), register, size)
    return ONES[size]


def write_at(machine: Machine, config: Config, where: u32, size: u8, value: u64, now: u64) -> None:
    """A write, to who is there."""
    owner = row_of(where)
    offset = offset_of(where)
    for row, place in enumerate(DEVICES):
        if place.has_registers and row == owner:
            if is_present(place, row, config):
                device: Device = getattr(machine, place.field)
                if place.byte_wide:
                    device.write(u8(offset), 1, u8(value), now)
                else:
                    device.write(offset, size, value, now)
            return
    if owner == CONFIG_PORTS:
        if offset == 0 and size == 4:
            machine.pci.write_address(u32(value))
        elif offset >= CONFIG_DATA and machine.pci.enabled():
            register = u32(machine.pci.register() + (offset & 3))
            write_config(machine, config, machine.pci.function(), register, size, u32(value))


# ---- configuration space ------------------------------------------------------------------------


def read_config(machine: Machine, config: Config, function: u32, register: u32, size: u8) -> u32:
    """Configuration read; `function` holds bus, device and function as CONFIG_ADDRESS does.

    Our functions are conventional ones: beyond 256 bytes they have nothing, as behind a bridge.
    """
    if register < CONFIG_SIZE:
        where = find_function(config, function)
        for row, place in enumerate(DEVICES):
            if place.pci is not None and row == row_of(where):
                device: PciDevice = getattr(machine, place.field)
                number = offset_of(where) % place.pci.count
                if is_present(place, row, config) and device.has_function(number):
                    return device.read_config(number, register, size)
    return u32(ONES[size])


def write_config(
    machine: Machine, config: Config, function: u32, register: u32, size: u8, value: u32
) -> None:
    """Configuration write."""
    where = find_function(config, function)
    if register < CONFIG_SIZE:
        for row, place in enumerate(DEVICES):
            if place.pci is not None and row == row_of(where):
                device: PciDevice = getattr(machine, place.field)
                number = offset_of(where) % place.pci.count
                if is_present(place, row, config) and device.has_function(number):
                    device.write_config(number, register, size, value)
