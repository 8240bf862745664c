"""Which device answers at which port and address. What nobody answers reads all ones.

A device with a fixed place is found by its row of `vestige/devices.py`. A device of byte-wide
registers sees a wider access as ISA makes it: one byte after the other, at rising ports. At ports
the IDE comes first, as a guest may place it anywhere.
"""

from vestige.abi import ECAM, ECAM_SIZE, IDE_SLOT, PORT_PCI_ADDRESS, PORT_PCI_DATA, Config
from vestige.devices import DEVICES, ROWS
from vestige.lang.types import u8, u16, u32, u64
from vestige.monitor.core.machine import Machine
from vestige.monitor.devices.pci.spec import CONFIG_SIZE
from vestige.monitor.devices.virtio.devices import NOWHERE
from vestige.place import NOBODY, Access, Device, is_present

ONES = (0, 0xFF, 0xFFFF, 0xFF_FFFF, 0xFFFF_FFFF)  # by size
HOST_BRIDGE = 0  # bus, device and function in one number
IDE = IDE_SLOT << 3


# ---- ports ------------------------------------------------------------------------------------


def read_port(machine: Machine, config: Config, port: u16, size: u8, now: u64) -> u32:
    """IN of 1, 2 or 4 bytes."""
    if machine.ide.claims(port):
        return machine.ide.read(port, size, config.ram)
    if size == 1 and row_of(port) != NOBODY:
        return read_port_byte(machine, config, port, now)
    if port == PORT_PCI_ADDRESS and size == 4:
        return machine.pci.address
    if is_pci_data(machine, port, size):
        register = u32(machine.pci.register() + (port & 3))
        return read_config(machine, machine.pci.function(), register, size)
    value = u32(0)
    for i in range(4):
        if i < size:
            value |= read_port_byte(machine, config, u16(port + i), now) << 8 * i
    return value


def write_port(machine: Machine, config: Config, port: u16, size: u8, value: u32, now: u64) -> None:
    """OUT of 1, 2 or 4 bytes."""
    if machine.ide.claims(port):
        machine.ide.write(port, size, value, config.ram)
    elif size == 1 and row_of(port) != NOBODY:
        write_port_byte(machine, config, port, value & 0xFF, now)
    elif port == PORT_PCI_ADDRESS and size == 4:
        machine.pci.write_address(value)
    elif is_pci_data(machine, port, size):
        register = u32(machine.pci.register() + (port & 3))
        write_config(machine, config, machine.pci.function(), register, size, value)
    else:
        for i in range(4):
            if i < size:
                byte = (value >> 8 * i) & 0xFF
                write_port_byte(machine, config, u16(port + i), byte, now)


def read_port_byte(machine: Machine, config: Config, port: u16, now: u64) -> u8:
    """One byte of a wider access, or a byte access."""
    row = row_of(port)
    for number, place in enumerate(DEVICES):
        if place.ports and number == row and is_present(place, number, config):
            device: Device = getattr(machine, place.field)
            return device.read(u8(port - place.ports[0].first), 1, now)
    return 0xFF


def write_port_byte(machine: Machine, config: Config, port: u16, value: u8, now: u64) -> None:
    """One byte of a wider access, or a byte access."""
    row = row_of(port)
    for number, place in enumerate(DEVICES):
        if place.ports and number == row and is_present(place, number, config):
            device: Device = getattr(machine, place.field)
            device.write(u8(port - place.ports[0].first), 1, value, now)


def row_of(port: u16) -> u8:
    """Which of DEVICES claims a port, or NOBODY."""
    return ROWS[port] if port < len(ROWS) else NOBODY


def is_pci_data(machine: Machine, port: u16, size: u8) -> bool:
    """Whether an access is one of CONFIG_DATA, inside the addressed register."""
    inside = port >= PORT_PCI_DATA and port + size <= PORT_PCI_DATA + 4
    return inside and machine.pci.enabled()


# ---- configuration space ------------------------------------------------------------------------


def read_config(machine: Machine, function: u32, register: u32, size: u8) -> u32:
    """Configuration read; `function` holds bus, device and function as CONFIG_ADDRESS does.

    Our functions are conventional ones: beyond 256 bytes they have nothing, as behind a bridge.
    """
    if register >= CONFIG_SIZE:
        return ONES[size]
    if function == HOST_BRIDGE:
        return machine.pci.host_bridge.config.read(register, size)
    if function == IDE:
        return machine.ide.read_config(u8(register), size)
    number = machine.virtio.at_slot(function)
    if number != NOWHERE:
        return machine.virtio.read_config(number, register, size)
    return ONES[size]


def write_config(
    machine: Machine, config: Config, function: u32, register: u32, size: u8, value: u32
) -> None:
    """Configuration write."""
    if register < CONFIG_SIZE:
        if function == HOST_BRIDGE:
            machine.pci.host_bridge.config.write(register, size, value)
        elif function == IDE:
            machine.ide.write_config(u8(register), size, value, config.ram)
        else:
            number = machine.virtio.at_slot(function)
            if number != NOWHERE:
                machine.virtio.write_config(number, register, size, value, config.ram)


# ---- memory -------------------------------------------------------------------------------------


def is_fixed(config: Config, address: u64) -> bool:
    """Whether a device answers there whose place in memory is fixed."""
    for row, place in enumerate(DEVICES):
        if place.memory is not None and is_present(place, row, config):
            if place.memory.address <= address < place.memory.end:
                return True
    return False


def read_memory(machine: Machine, config: Config, address: u64, size: u8, now: u64) -> u64:
    """A read of 1 to 8 bytes outside RAM. One that is not a register's own is made of bytes."""
    for row, place in enumerate(DEVICES):
        if place.memory is not None and place.memory.access == Access.WHOLE:
            if is_present(place, row, config) and (
                place.memory.address <= address < place.memory.end
            ):
                device: Device = getattr(machine, place.field)
                return device.read(u32(address - place.memory.address), size, now)
    if natural(address, size):
        return read_register(machine, config, address, size, now)
    value = u64(0)
    for i in range(8):
        if i < size:
            value |= u64(read_register(machine, config, u64(address + i), 1, now) << 8 * i)
    return value


def write_memory(
    machine: Machine, config: Config, address: u64, size: u8, value: u64, now: u64
) -> None:
    """A write of 1 to 8 bytes outside RAM."""
    for row, place in enumerate(DEVICES):
        if place.memory is not None and place.memory.access == Access.WHOLE:
            if is_present(place, row, config) and (
                place.memory.address <= address < place.memory.end
            ):
                device: Device = getattr(machine, place.field)
                device.write(u32(address - place.memory.address), size, value, now)
                return
    if natural(address, size):
        write_register(machine, config, address, size, u32(value), now)
        return
    for i in range(8):
        if i < size:
            byte = (value >> 8 * i) & 0xFF
            write_register(machine, config, u64(address + i), 1, byte, now)


def natural(address: u64, size: u8) -> bool:
    """Whether an access is 1, 2 or 4 bytes inside one aligned 32-bit register."""
    return size != 3 and (address & 3) + size <= 4


def read_register(machine: Machine, config: Config, address: u64, size: u8, now: u64) -> u32:
    """A natural read."""
    if ECAM <= address < ECAM + ECAM_SIZE:
        offset = u32(address - ECAM)
        return read_config(machine, offset >> 12, offset & 0xFFF, size)
    for row, place in enumerate(DEVICES):
        if place.memory is not None and place.memory.access == Access.NATURAL:
            if is_present(place, row, config) and (
                place.memory.address <= address < place.memory.end
            ):
                device: Device = getattr(machine, place.field)
                return u32(device.read(u32(address - place.memory.address), size, now))
    number = machine.virtio.at_address(address)
    if number != NOWHERE:
        return machine.virtio.read_memory(number, address, size)
    return machine.ide.read_memory(address, size)


def write_register(
    machine: Machine, config: Config, address: u64, size: u8, value: u32, now: u64
) -> None:
    """A natural write."""
    if ECAM <= address < ECAM + ECAM_SIZE:
        offset = u32(address - ECAM)
        write_config(machine, config, offset >> 12, offset & 0xFFF, size, value)
        return
    for row, place in enumerate(DEVICES):
        if place.memory is not None and place.memory.access == Access.NATURAL:
            if is_present(place, row, config) and (
                place.memory.address <= address < place.memory.end
            ):
                device: Device = getattr(machine, place.field)
                device.write(u32(address - place.memory.address), size, value, now)
                return
    number = machine.virtio.at_address(address)
    if number != NOWHERE:
        machine.virtio.write_memory(number, address, size, value, config.ram)
    else:
        machine.ide.write_memory(address, size, value, config.ram)
