"""From a trap to the bus: every access counted, string instructions taken apart."""

from vestige.abi import Config, Shared, Statistics, TrapKind
from vestige.devices import DEVICES
from vestige.lang.intrinsics import load64, store64
from vestige.lang.types import u16, u64
from vestige.monitor.core.bus import (
    read_memory,
    read_port,
    read_port_at,
    write_memory,
    write_port,
    write_port_at,
)
from vestige.monitor.core.decode import find_port, is_config_data, offset_of, row_of
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.statistics import count_memory, count_trap
from vestige.monitor.core.trap import Kind, Trap
from vestige.monitor.devices.pci.spec import HEADER_SIZE
from vestige.monitor.sized import load_sized, store_sized
from vestige.shapes import PinController, StringRegisters


def locate(machine: Machine, trap: Trap) -> None:
    """Find who is at a port; of memory the bus looks itself. The lock is held."""
    if trap.kind == Kind.PORT:
        trap.where = find_port(machine, u16(trap.address))


def is_quiet(machine: Machine, shared: Shared, trap: Trap) -> bool:
    """Whether nothing can move because of this trap, and its guest waits for nothing.

    Only CONFIG_DATA is looked at, which firmware reads often: a byte's reads are core/quiet.py's.
    """
    if trap.kind != Kind.PORT or trap.write or trap.count != 1:
        return False
    return is_config_data(trap.where, trap.size) and reads_header(machine, shared.config)


def reads_header(machine: Machine, config: Config) -> bool:
    """Whether CONFIG_DATA is a register that all functions have, or nobody: reading moves nothing.

    Where functions live in several domains, it may lead to another one.
    """
    pci = machine.pci
    return config.domains == 1 and pci.enabled() and pci.register() < HEADER_SIZE


def handle(machine: Machine, shared: Shared, trap: Trap, now: u64) -> None:
    """Count one trap and carry it out; a read's answer is at `trap.data` afterwards."""
    count(shared.statistics, trap)
    perform(machine, shared, trap, now)


def count(statistics: Statistics, trap: Trap) -> None:
    """Count it, whatever it does."""
    write = TrapKind.WRITE if trap.write else 0
    if trap.kind == Kind.PORT:
        count_trap(statistics, trap.address, TrapKind.PORT | write)
    elif trap.kind == Kind.MEMORY:
        count_memory(statistics, trap.address, TrapKind.MEMORY | write)
    elif trap.kind == Kind.END_OF_INTERRUPT:
        count_trap(statistics, trap.vector, TrapKind.EOI)


def perform(machine: Machine, shared: Shared, trap: Trap, now: u64) -> None:
    """Carry it out."""
    if trap.kind == Kind.PORT:
        handle_port(machine, shared, trap, now)
    elif trap.kind == Kind.MEMORY:
        config = shared.config
        if trap.write:
            write_memory(machine, config, trap.address, trap.size, load64(trap.data), now)
        else:
            store64(trap.data, read_memory(machine, config, trap.address, trap.size, now))
    elif trap.kind == Kind.END_OF_INTERRUPT:
        for place in DEVICES:
            if place.controls_pins:
                controller: PinController = getattr(machine, place.field)
                controller.end_of_interrupt(trap.vector)
    elif trap.kind == Kind.SHUTDOWN:
        machine.faulted = 1


def handle_port(machine: Machine, shared: Shared, trap: Trap, now: u64) -> None:
    """IN or OUT of a port that has been located, once or as often as a string instruction says."""
    port = u16(trap.address)
    size = trap.size
    config = shared.config
    data = trap.data
    if trap.count == 1:
        if trap.write:
            value = load_sized(data, size)
            write_port_at(machine, config, trap.where, port, size, value, now)
        else:
            value = read_port_at(machine, config, trap.where, port, size, now)
            store_sized(data, size, value)
    elif not handle_string(machine, trap):
        for _ in range(trap.count):
            if trap.write:
                write_port(machine, config, port, size, load_sized(data, size), now)
            else:
                store_sized(data, size, read_port(machine, config, port, size, now))
            data = u64(data + size)


def handle_string(machine: Machine, trap: Trap) -> bool:
    """A string instruction to a register that takes all of it; whether it is one."""
    if trap.size == 1:
        return False
    for row, place in enumerate(DEVICES):
        if place.strings and row == row_of(trap.where):
            device: StringRegisters = getattr(machine, place.field)
            offset = offset_of(trap.where)
            if device.takes_string(offset, trap.size):
                if trap.write:
                    device.write_string(offset, trap.size, trap.count, trap.data)
                else:
                    device.read_string(offset, trap.size, trap.count, trap.data)
                return True
    return False
