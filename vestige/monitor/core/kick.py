"""Entering the ring: what is published is given to the kernel, by PIN and KICK."""

from vestige.abi import Call, Cpu, Shared
from vestige.lang.intrinsics import load_acquire32
from vestige.lang.types import u64
from vestige.monitor import outside
from vestige.monitor.clock import MILLISECOND
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.turn import time, unlock
from vestige.monitor.line import NEVER

KICK_AGAIN = 1 * MILLISECOND  # after a KICK that moved nothing: the host had no memory, or time


def pin_chunks(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """Register the chunks that the entries about to be published use for the first time."""
    ring_driver = machine.ring_driver
    for i in range(ring_driver.pin_count):
        chunk = ring_driver.pins[i]
        cpu.argument[0] = chunk
        cpu.argument[1] = shared.config.domain
        outside.call(cpu, Call.PIN)
        if cpu.argument[0] != 0:
            ring_driver.forget(chunk)
    ring_driver.pin_count = 0


def enter_ring(cpu: Cpu, machine: Machine, shared: Shared) -> bool:
    """KICK. Whether it took anything; if not, a later one is arranged where one is needed."""
    ring = shared.config.ring
    head = load_acquire32(ring.sq_head)
    machine.ring_driver.queue.begin_kick(ring)
    handed = machine.ring_driver.take_handed()
    under_way = machine.ring_driver.under_way
    moved = machine.ring_driver.take_moved()
    unlock(machine, shared)
    cpu.argument[0] = shared.config.domain
    cpu.argument[1] = handed
    cpu.argument[2] = under_way
    # With a polling thread, a worker that waits for its turn would wait for that.
    cpu.argument[3] = 0 if ring.polled else moved
    outside.call(cpu, Call.KICK)
    machine.lock.acquire()
    machine.ring_driver.queue.end_kick(ring)
    moved = load_acquire32(ring.sq_head) != head
    if ring.polled:  # the thread was woken, and takes the entries when it gets to run
        machine.kick_due = NEVER
        return False
    machine.kick_due = NEVER if moved else u64(time(machine, shared) + KICK_AGAIN)
    return moved
