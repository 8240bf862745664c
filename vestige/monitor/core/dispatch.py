"""From a trap to the bus: every access counted, string instructions taken apart."""

from vestige.abi import Shared, Statistics, TrapKind
from vestige.lang.intrinsics import load64, store64
from vestige.lang.types import u16, u64
from vestige.monitor.core.bus import read_memory, read_port, write_memory, write_port
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.statistics import count_trap
from vestige.monitor.core.trap import Kind, Trap
from vestige.monitor.sized import load_sized, store_sized


def is_quiet(machine: Machine, trap: Trap) -> bool:
    """Whether nothing can move because of this trap, and its guest waits for nothing.

    Only what is frequent is looked at: of a disk command's traps the most are such reads.
    """
    return (
        trap.kind == Kind.PORT
        and not trap.write
        and trap.count == 1
        and trap.size == 1
        and machine.ide.is_quiet_read(u16(trap.address))
    )


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
        count_trap(statistics, trap.address, TrapKind.MEMORY | write)
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
        machine.ioapic.end_of_interrupt(trap.vector)


def handle_port(machine: Machine, shared: Shared, trap: Trap, now: u64) -> None:
    """IN or OUT, once or as often as a string instruction says. Disks take whole strings."""
    port = u16(trap.address)
    size = trap.size
    config = shared.config
    if trap.count > 1 and machine.ide.claims(port):
        if trap.write:
            machine.ide.write_string(port, size, trap.count, trap.data, config.ram)
        else:
            machine.ide.read_string(port, size, trap.count, trap.data, config.ram)
        return
    place = trap.data
    for _ in range(trap.count):
        if trap.write:
            write_port(machine, config, port, size, load_sized(place, size), now)
        else:
            store_sized(place, size, read_port(machine, config, port, size, now))
        place = u64(place + size)
