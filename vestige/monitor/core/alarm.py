"""The boot CPU keeps the timer: its alarm, in place of the worker's timer.

A worker whose timer has made a PIC ask calls the boot CPU, and leaves the timer to it: so a timer
that interrupts by a PIC, tick by tick, is one thread's work. The boot CPU gives it back when no
interrupt comes of it, or the next one is far; the worker takes it where something is due earlier.

There is one alarm at a time (abi's INJECT): an order beside one that is under way is none. So the
boot CPU orders anew whenever its guest has exited for nothing else, as for an alarm, and is left a
timer only if an alarm that may be under way comes no later.
"""

from vestige.abi import Call, Config, Cpu, Shared
from vestige.lang.intrinsics import cold
from vestige.lang.types import u8, u64
from vestige.monitor.clock import MILLISECOND
from vestige.monitor.core.conclude import conclude
from vestige.monitor.core.ending import must_end
from vestige.monitor.core.external import asks, end_turn
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.queued_writes import drain
from vestige.monitor.core.turn import time, unlock, unlock_in_time
from vestige.monitor.line import NEVER

SOON = 100 * MILLISECOND  # that a deadline is away, at most


@cold
def may_leave(machine: Machine, config: Config, deadline: u64, now: u64) -> bool:
    """Whether the boot CPU, which is about to be called, can keep the timer. The lock is held."""
    due = max(machine.alarm_due, now)
    return config.attend_port != 0 and due <= deadline <= u64(now + SOON)


def look(cpu: Cpu, machine: Machine, shared: Shared) -> u8:
    """A CPU's turn for which its guest made no trap; with which call to end. The lock is held."""
    now = time(machine, shared)
    keeps = machine.boot_keeps != 0 and cpu.index == 0
    due = keeps and machine.timer <= now
    moved = drain(machine, shared, now)
    if due:
        machine.expire(now)
    if moved or due:
        conclude(cpu, machine, shared)
    if moved and must_end(cpu, machine, shared):
        return Call.DONE
    if keeps:
        return keep_time(cpu, machine, shared, due)
    reply: u8 = end_turn(cpu, machine, shared.config, 0)
    unlock_in_time(machine, shared)
    return reply


def keep_time(cpu: Cpu, machine: Machine, shared: Shared, due: bool) -> u8:
    """End the boot CPU's turn where it keeps the timer; `due`: that has expired."""
    now = time(machine, shared)
    if due:
        machine.timer = machine.armed = machine.next_deadline()
        if not asks(machine) or machine.timer > u64(now + SOON):
            return give_back(cpu, machine, shared)
    machine.alarm_due = max(machine.alarm_due, machine.timer)
    alarm = u64(max(machine.timer, u64(now + 1)) - now)
    reply: u8 = end_turn(cpu, machine, shared.config, alarm)
    unlock(machine, shared)
    return reply


@cold
def give_back(cpu: Cpu, machine: Machine, shared: Shared) -> u8:
    """The worker, which is woken, keeps the timer; as `keep_time`."""
    machine.boot_keeps = 0
    machine.timer = machine.armed = NEVER
    reply: u8 = end_turn(cpu, machine, shared.config, 0)
    unlock_in_time(machine, shared)
    return reply
