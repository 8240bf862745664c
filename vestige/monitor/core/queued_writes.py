"""Writes that made no trap: carried out in their order, before whatever comes next."""

from vestige.abi import Board, Shared, TrapKind
from vestige.devices import DEVICES
from vestige.lang.intrinsics import cold
from vestige.lang.types import u8, u16, u32, u64
from vestige.monitor import outside
from vestige.monitor.core.answers import withdraw
from vestige.monitor.core.bus import CONFIG_ADDRESS, write_memory, write_port_at
from vestige.monitor.core.decode import find_port, offset_of, row_of
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.statistics import count_memory, count_trap
from vestige.monitor.core.trap import Kind
from vestige.shapes import QueuedRegisters


def drain(machine: Machine, shared: Shared, now: u64) -> bool:
    """Carry them out; whether anything may move because of them.

    The lock is held: it makes us the only ones who take them. Writes that other CPUs queue
    meanwhile have no order to ours, so we look once how many there are.
    """
    waiting = outside.queued_writes(shared.config)
    return waiting != 0 and carry_out_all(machine, shared, waiting, now)


def carry_out_all(machine: Machine, shared: Shared, waiting: u32, now: u64) -> bool:
    """As `drain`, of so many that wait. Who ends a turn after it has answers shown again."""
    withdraw(shared)
    moving = False
    for _ in range(waiting):
        kind, address, size, value = outside.take_write(shared.config)
        if not carry_out(machine, shared, kind, address, size, value, now):
            moving = True
    return moving


def carry_out(
    machine: Machine, shared: Shared, kind: Kind, address: u64, size: u8, value: u64, now: u64
) -> bool:
    """One of them; whether it is quiet: nothing can move because of it."""
    statistics = shared.statistics
    statistics.coalesced_writes += 1
    counted = TrapKind.WRITE | TrapKind.COALESCED
    if kind == Kind.PORT:
        count_trap(statistics, address, TrapKind.PORT | counted)
        port = u16(address)
        where = find_port(machine, port)
        quiet = is_quiet(machine, where, size, value)
        write_port_at(machine, shared.config, where, port, size, u32(value), now)
        return quiet
    count_memory(statistics, address, TrapKind.MEMORY | counted)
    write_memory(machine, shared.config, address, size, value, now)
    return False


def is_quiet(machine: Machine, where: u32, size: u8, value: u64) -> bool:
    """The same of a write to a port before it is carried out: one of CONFIG_ADDRESS is."""
    for row, place in enumerate(DEVICES):
        if place.queued and place.board != Board.PC and row == row_of(where):
            device: QueuedRegisters = getattr(machine, place.field)
            return device.is_quiet_write(offset_of(where), size, value)
    return where == CONFIG_ADDRESS or is_quiet_on_pc(machine, where, size, value)


@cold
def is_quiet_on_pc(machine: Machine, where: u32, size: u8, value: u64) -> bool:
    """The same of what a PC alone has."""
    for row, place in enumerate(DEVICES):
        if place.queued and place.board == Board.PC and row == row_of(where):
            device: QueuedRegisters = getattr(machine, place.field)
            return device.is_quiet_write(offset_of(where), size, value)
    return False
