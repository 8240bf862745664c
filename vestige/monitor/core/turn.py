"""What every turn does: look at the time, give the lock back and wake whom that leaves waiting."""

from vestige.abi import Shared
from vestige.lang.types import u64
from vestige.monitor import outside
from vestige.monitor.core.interrupts import wake_worker
from vestige.monitor.core.machine import Machine


def time(machine: Machine, shared: Shared) -> u64:
    """What time it is; the lock is held."""
    return machine.clock.now(outside.counter(), shared.config.tsc_khz)


def unlock(machine: Machine, shared: Shared) -> None:
    """Release the lock, and wake the worker if it came in vain meanwhile.

    After the release: on the worker's processor this one may not run until the worker sleeps.
    """
    if machine.lock.release():
        wake_worker(shared, shared.config.domain)


def unlock_in_time(machine: Machine, shared: Shared) -> None:
    """The same, and wake the worker if its timer is set for later than the next deadline.

    `armed` is lowered while the lock is held, so that only the first who finds it too late wakes.
    The worker sets its timer after it gave the lock back: if it does so between our look and our
    interrupt, the interrupt waits and ends its sleep at once.
    """
    deadline = machine.next_deadline()
    if deadline < machine.armed:
        machine.armed = deadline
        machine.told = 1
        machine.lock.release()
        wake_worker(shared, shared.config.domain)
    else:
        unlock(machine, shared)
