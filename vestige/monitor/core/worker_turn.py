"""A worker's turn: it sleeps until there is something to do that no trap does."""

from vestige.abi import SHARED, STATE, TIMER_SIGNAL, Call, Cpu, Shared
from vestige.lang.types import u32
from vestige.monitor import outside
from vestige.monitor.core.alarm import may_leave
from vestige.monitor.core.conclude import conclude
from vestige.monitor.core.domains import machine_of, shared_of
from vestige.monitor.core.ending import must_end
from vestige.monitor.core.external import must_look
from vestige.monitor.core.freezing import is_at_rest
from vestige.monitor.core.interrupts import wake_worker
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.posted import begin_posts, take_signals
from vestige.monitor.core.queued_writes import drain
from vestige.monitor.core.turn import time
from vestige.monitor.line import NEVER


def worker_main(cpu: Cpu) -> None:
    """A worker: completions, timers and posted starts, for ever. Workers alone sleep.

    It is entered once before any guest runs, alone, to let interrupts in: what comes from then on
    wakes it, so there is nothing to look for before it first sleeps.

    Where the host is about to freeze the machine, a worker says when its domain is at rest.
    """
    domain = u32(cpu.index - Shared.at(SHARED).config.cpus)
    machine = machine_of(Machine.at(STATE), domain)
    shared = shared_of(Shared.at(SHARED), domain)
    outside.start_interrupts(cpu, shared.config)
    machine.lock.acquire()
    begin_posts(machine, shared.config)
    machine.lock.release()
    outside.call(cpu, Call.DONE)
    while True:
        outside.sleep()
        work(cpu, machine, shared)
        if shared.config.freezes and is_at_rest(cpu, machine, shared.config):
            outside.call(cpu, Call.DONE)


def work(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """Take turns until there is nothing to do. Only then may virtio drivers have to notify."""
    while take_turn(cpu, machine, shared):
        pass


def take_turn(cpu: Cpu, machine: Machine, shared: Shared) -> bool:
    """Do what has become due, and set the timer for what is due next; whether more has come.

    A timer that is set for earlier is left alone, as setting it costs an exit: most deadlines
    are those of commands, which are answered long before. It is left to the boot CPU where that is
    called for what has expired. Nothing is done where another CPU keeps the lock: it then does some
    of that, or wakes this one again.
    """
    if not machine.lock.take_or_leave():
        return False
    machine.at_work = 1
    shared.statistics.worker_wakeups += 1
    now = time(machine, shared)
    moved = drain(machine, shared, now)
    take_signals(cpu, machine, shared)
    machine.expire(now)
    conclude(cpu, machine, shared)
    if moved and must_end(cpu, machine, shared):
        return False
    now = time(machine, shared)
    deadline = outside.reachable(machine.next_deadline(), now)
    expired = cpu.signals[TIMER_SIGNAL] != 0
    if expired:
        cpu.signals[TIMER_SIGNAL] = 0
        machine.timer = NEVER
    calls = machine.old and must_look(machine)
    sooner = deadline < machine.timer
    leaves = sooner and expired and calls and may_leave(machine, shared.config, deadline, now)
    if sooner:
        machine.timer = deadline
        machine.boot_keeps = leaves
    machine.armed = machine.timer
    machine.told = 0
    machine.at_work = 0
    more = machine.virtio.ask()
    news = machine.wires.take_news()
    machine.lock.release()
    if sooner and not leaves:
        outside.set_timer(deadline, now)
    if calls:
        outside.attend(cpu, shared.config)
    if news:
        wake_worker(shared, 0)
    return more
