"""A trap's turn: a monitor vCPU paired with a guest vCPU answers it."""

from vestige.abi import SHARED, STATE, Call, Cpu, Shared
from vestige.lang.types import u8, u16, u32
from vestige.monitor import outside
from vestige.monitor.core.alarm import look
from vestige.monitor.core.answers import show
from vestige.monitor.core.conclude import conclude, leave, show_screen, stand_in
from vestige.monitor.core.controllers import start_controllers
from vestige.monitor.core.decode import find_port, function_at, function_of_port
from vestige.monitor.core.dispatch import handle, is_quiet, locate
from vestige.monitor.core.domains import machine_of, shared_of
from vestige.monitor.core.ending import must_end, tell_notices
from vestige.monitor.core.external import begin_turn, end_turn, interrupt_turn
from vestige.monitor.core.freezing import go_on
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.posted import await_posts, follows_posts
from vestige.monitor.core.queued_writes import carry_out_all, drain
from vestige.monitor.core.quiet import NOT_QUIET, read_quietly
from vestige.monitor.core.replicas import move_on, serve_shared
from vestige.monitor.core.trap import Kind, Trap
from vestige.monitor.core.turn import time, unlock, unlock_in_time
from vestige.place import NOWHERE


def vcpu_main(cpu: Cpu) -> None:
    """A monitor vCPU paired with a guest vCPU: answers its traps, for ever.

    CPU 0 is entered once before its guest runs, alone, to power the machine on, or have one
    that was frozen go on.
    """
    machine = Machine.at(STATE)
    shared = Shared.at(SHARED)
    if cpu.index == 0:
        if shared.config.thaws:
            go_on(machine, shared)
        else:
            power_on(machine, shared)
        outside.call(cpu, Call.DONE)
    while True:
        outside.call(cpu, serve(cpu, machine, shared))


def power_on(machine: Machine, shared: Shared) -> None:
    """All domains; `machine` and `shared` are the first's."""
    shared.config.power_on = time(machine, shared)
    machine.reset(shared.config)
    if machine.old:
        show_screen(machine, shared)
    start_controllers(machine, shared)
    for domain in range(1, shared.config.domains):
        machine_of(machine, domain).reset(shared_of(shared, domain).config)


def serve(cpu: Cpu, machine: Machine, shared: Shared) -> u8:
    """Answer one trap; with which call to end. `machine` and `shared` are the first domain's.

    Most are reads of one byte at a port, which are quiet: no Trap is made of those.
    """
    where = NOWHERE
    port = outside.byte_read(cpu)
    if port != outside.NO_PORT:
        where = begin_read(cpu, machine, shared, u16(port))
        if where == NOWHERE:
            return end_quietly(cpu, machine, shared)
    trap = machine.traps[cpu.index]
    outside.fetch(cpu, trap)
    if where == NOWHERE:
        number = function_at(machine, shared.config, trap)
        if number != NOWHERE:
            serve_away(cpu, machine, shared, trap, number, 0)
            return Call.DONE
    return serve_here(cpu, machine, shared, trap, where)


def begin_read(cpu: Cpu, machine: Machine, shared: Shared, port: u16) -> u32:
    """Answer a read of one byte if it is quiet: NOWHERE; else where its port is.

    The lock is held from here on, and queued writes are done. No read waits for posted writes.
    """
    machine.lock.acquire()
    if machine.old:
        begin_turn(cpu, machine)
    waiting = outside.queued_writes(shared.config)
    moving = waiting != 0 and carry_out_all(machine, shared, waiting, time(machine, shared))
    where = find_port(machine, port)
    if not moving:
        value = read_quietly(machine, shared, where, port)
        if value != NOT_QUIET:
            if waiting != 0:
                show(machine, shared)
            outside.answer_byte(cpu, u8(value))
            return NOWHERE
    return where


def serve_here(cpu: Cpu, machine: Machine, shared: Shared, trap: Trap, where: u32) -> u8:
    """Answer a trap in the first domain, or find that it leads to another; as `serve`.

    `where`: what `begin_read` said of a read that is not quiet; of any other trap NOWHERE.
    """
    if where == NOWHERE:
        machine.lock.acquire()
        if machine.old:
            begin_turn(cpu, machine)
            if trap.kind == Kind.NOTHING:
                return look(cpu, machine, shared)
        if follows_posts(machine, shared.config, trap):
            await_posts(machine, shared)
    now = time(machine, shared)
    if where == NOWHERE:
        moving = drain(machine, shared, now)
        locate(machine, trap)
        if not moving and is_quiet(machine, shared, trap):
            handle(machine, shared, trap, now)
            show(machine, shared)
            return end_quietly(cpu, machine, shared)
    else:
        trap.where = where
    number = function_of_port(machine, shared.config, trap)
    address = machine.pci.address
    if number == NOWHERE:
        handle(machine, shared, trap, now)
    conclude(cpu, machine, shared)
    stand_in(cpu, machine, shared)
    tell_notices(cpu, machine, shared)
    if must_end(cpu, machine, shared):
        return Call.DONE
    if number == NOWHERE:
        reply: u8 = end_turn(cpu, machine, shared.config, 0) if machine.old else Call.DONE
        unlock_in_time(machine, shared)
        return reply
    if machine.old:
        interrupt_turn(cpu, machine, shared.config)
    unlock_in_time(machine, shared)
    serve_away(cpu, machine, shared, trap, number, address)
    return Call.DONE


def end_quietly(cpu: Cpu, machine: Machine, shared: Shared) -> u8:
    """End a turn in which nothing has moved."""
    reply: u8 = end_turn(cpu, machine, shared.config, 0) if machine.old else Call.DONE
    unlock(machine, shared)
    return reply


def serve_away(
    cpu: Cpu, machine: Machine, shared: Shared, trap: Trap, number: u32, address: u32
) -> None:
    """Answer a trap at function `number`, which is not the first domain's alone.

    No lock is held. `address`: what CONFIG_ADDRESS was when a port led here.
    """
    if shared.config.shares[number] > 1:
        serve_shared(cpu, machine, shared, trap, number, address)
    else:
        serve_there(cpu, machine, shared, trap, u32(shared.config.homes[number]), address)


def serve_there(
    cpu: Cpu, first: Machine, first_shared: Shared, trap: Trap, domain: u32, address: u32
) -> None:
    """Answer a trap in another domain than the first."""
    machine = machine_of(first, domain)
    shared = shared_of(first_shared, domain)
    machine.lock.acquire()
    if trap.kind == Kind.PORT:
        machine.pci.address = address
    handle(machine, shared, trap, time(machine, shared))
    if leave(cpu, machine, shared):  # the I/O APIC sees its lines before the guest goes on
        move_on(cpu, first, first_shared, 0)
