"""Where the host enters the monitor: one function for the paired CPUs, one for the workers."""

from vestige.abi import SHARED, STATE, TIMER_SIGNAL, Call, Cpu, Shared
from vestige.lang.types import u32, u64
from vestige.monitor import outside
from vestige.monitor.core.conclude import (
    conclude,
    end_machine,
    leave,
    stand_in,
    tell_crash,
    time,
    unlock,
    unlock_in_time,
    wake_worker,
)
from vestige.monitor.core.controllers import start_controllers
from vestige.monitor.core.dispatch import handle, is_quiet
from vestige.monitor.core.domains import function_at, function_of_port, machine_of, shared_of
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.posted import await_starts, follows_starts, take_signals
from vestige.monitor.core.queued_writes import drain
from vestige.monitor.core.replicas import move_on, serve_shared
from vestige.monitor.core.trap import Kind, Trap
from vestige.monitor.devices.virtio.devices import NOWHERE
from vestige.monitor.line import NEVER


def vcpu_main(cpu: Cpu) -> None:
    """A monitor vCPU paired with a guest vCPU: answers its traps, for ever.

    CPU 0 is entered once before its guest runs, alone, to power the machine on.
    """
    machine = Machine.at(STATE)
    shared = Shared.at(SHARED)
    if cpu.index == 0:
        power_on(machine, shared)
        outside.call(cpu, Call.DONE)
    while True:
        serve(cpu, machine, shared)
        outside.call(cpu, Call.DONE)


def power_on(machine: Machine, shared: Shared) -> None:
    """All domains; `machine` and `shared` are the first's."""
    machine.reset(shared.config)
    start_controllers(machine, shared)
    for domain in range(1, shared.config.domains):
        machine_of(machine, domain).reset(shared_of(shared, domain).config)


def serve(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """Answer one trap; `machine` and `shared` are the first domain's."""
    trap = machine.traps[cpu.index]
    outside.fetch(cpu, trap)
    number = function_at(machine, shared.config, trap)
    if number == NOWHERE:
        serve_here(cpu, machine, shared, trap)
    else:
        serve_away(cpu, machine, shared, trap, number, 0)


def serve_here(cpu: Cpu, machine: Machine, shared: Shared, trap: Trap) -> None:
    """Answer a trap in the first domain, or find that it leads to another."""
    machine.lock.acquire()
    if follows_starts(machine, trap):
        await_starts(machine, shared)
    now = time(machine, shared)
    moving = drain(machine, shared, now)
    if not moving and is_quiet(machine, trap):
        handle(machine, shared, trap, now)
        unlock(machine, shared)
        return
    number = function_of_port(machine, shared.config, trap)
    address = machine.pci.address
    if number == NOWHERE:
        handle(machine, shared, trap, now)
    conclude(cpu, machine, shared)
    stand_in(cpu, machine, shared)
    tell_crash(cpu, machine, shared)
    if machine.is_over() and not machine.stopping:
        machine.stopping = 1
        end_machine(cpu, machine, shared)
        return
    unlock_in_time(machine, shared)
    if number != NOWHERE:
        serve_away(cpu, machine, shared, trap, number, address)


def serve_away(
    cpu: Cpu, machine: Machine, shared: Shared, trap: Trap, number: u32, address: u32
) -> None:
    """Answer a trap at virtio function `number`, which is not the first domain's alone.

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


def worker_main(cpu: Cpu) -> None:
    """A worker: completions, timers and posted starts, for ever. Workers alone sleep.

    It is entered once before any guest runs, alone, to let interrupts in: what comes from then on
    wakes it, so there is nothing to look for before it first sleeps.
    """
    domain = u32(cpu.index - Shared.at(SHARED).config.cpus)
    machine = machine_of(Machine.at(STATE), domain)
    shared = shared_of(Shared.at(SHARED), domain)
    outside.start_interrupts(cpu, shared.config)
    if shared.config.ide_in_memory:
        machine.lock.acquire()
        machine.ide.take_posted_starts()
        machine.lock.release()
    outside.call(cpu, Call.DONE)
    while True:
        outside.sleep()
        work(cpu, machine, shared)


def work(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """Take turns until there is nothing to do. Only then may virtio drivers have to notify."""
    while take_turn(cpu, machine, shared):
        pass


def take_turn(cpu: Cpu, machine: Machine, shared: Shared) -> bool:
    """Do what has become due, and set the timer for what is due next; whether more has come.

    A timer that is set for earlier is left alone, as setting it costs an exit: most deadlines
    are those of commands, which are answered long before. Nothing is done where another CPU
    keeps the lock: it then does some of that, or wakes this one again.
    """
    if not machine.lock.take_or_leave():
        return False
    machine.at_work = 1
    shared.statistics.worker_wakeups = u64(shared.statistics.worker_wakeups + 1)
    now = time(machine, shared)
    drain(machine, shared, now)
    take_signals(cpu, machine, shared)
    machine.expire(now)
    conclude(cpu, machine, shared)
    now = time(machine, shared)
    deadline = outside.reachable(machine.next_deadline(), now)
    if cpu.signals[TIMER_SIGNAL]:
        cpu.signals[TIMER_SIGNAL] = 0
        machine.timer = NEVER
    sooner = deadline < machine.timer
    if sooner:
        machine.timer = deadline
    machine.armed = machine.timer
    machine.told = 0
    machine.at_work = 0
    more = machine.virtio.ask(shared.config.ram)
    news = machine.wires.take_news()
    machine.lock.release()
    if sooner:
        outside.set_timer(deadline, now)
    if news:
        wake_worker(shared, 0)
    return more
