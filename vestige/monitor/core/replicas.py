"""Virtio functions shared by several domains: every access is carried out on each replica.

A replica is a function like any other, which takes buffers from its own queues alone. What a guest
sets goes to all, and all start alike: so they stay alike in everything but what comes of their own
queues. That is the reset one of them still waits for, DEVICE_NEEDS_RESET, the ISR status, pending
vectors; of these the bits of all together are what a single function would say, and of everything
else, being the same, too. So a read is the replicas' answers ORed.

For all to see the guest's accesses in one order, one access is carried out everywhere before the
next begins anywhere: `Machine.sharing` of the first domain. It is taken before a domain's lock, and
never while one is held.
"""

from vestige.abi import Cpu, Shared
from vestige.lang.intrinsics import load64, store64
from vestige.lang.types import u32, u64
from vestige.monitor.core.conclude import leave
from vestige.monitor.core.dispatch import count, perform
from vestige.monitor.core.domains import machine_of, shared_of
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.trap import Kind, Trap
from vestige.monitor.core.turn import time, unlock
from vestige.monitor.sized import load_sized, store_sized


def serve_shared(
    cpu: Cpu, first: Machine, first_shared: Shared, trap: Trap, number: u32, address: u32
) -> None:
    """Answer a trap at shared function `number`; no lock is held.

    Afterwards each domain moves on what the access has set off, and the first comes last: it
    has the pins that the lines of all the others lead to.
    """
    config = first_shared.config
    home = u32(config.homes[number])
    shares = u32(config.shares[number])
    first.sharing.acquire()
    access_all(first, first_shared, trap, home, shares, address)
    first.sharing.release()
    for share in range(shares):
        move_on(cpu, first, first_shared, u32(home + shares - 1 - share))
    if home:
        move_on(cpu, first, first_shared, 0)


def access_all(
    first: Machine, first_shared: Shared, trap: Trap, home: u32, shares: u32, address: u32
) -> None:
    """Carry a trap out on all replicas; of a string instruction one access after the other."""
    accesses = trap.count
    trap.count = 1
    for access in range(accesses):
        answer = u64(0)
        for share in range(shares):
            new = access == 0 and share == 0
            answer |= access_one(first, first_shared, trap, u32(home + share), address, new)
        if not trap.write:
            store_answer(trap, answer)
        trap.data += trap.size


def access_one(
    first: Machine, first_shared: Shared, trap: Trap, domain: u32, address: u32, new: bool
) -> u64:
    """Carry it out on the replica of one domain; its answer. A trap is counted when it is `new`."""
    machine = machine_of(first, domain)
    shared = shared_of(first_shared, domain)
    machine.lock.acquire()
    if new:
        count(shared.statistics, trap)
    kept = machine.pci.address
    if trap.kind == Kind.PORT:
        machine.pci.address = address
    perform(machine, shared, trap, time(machine, shared))
    machine.pci.address = kept
    unlock(machine, shared)
    return answer_of(trap)


def answer_of(trap: Trap) -> u64:
    """What is at a trap's data."""
    if trap.kind == Kind.PORT:
        return load_sized(trap.data, trap.size)
    return load64(trap.data)


def store_answer(trap: Trap, answer: u64) -> None:
    """Put it there."""
    if trap.kind == Kind.PORT:
        store_sized(trap.data, trap.size, u32(answer))
    else:
        store64(trap.data, answer)


def move_on(cpu: Cpu, first: Machine, first_shared: Shared, domain: u32) -> None:
    """Do in a domain what has come up there. The first is about to see its lines anyway."""
    machine = machine_of(first, domain)
    shared = shared_of(first_shared, domain)
    machine.lock.acquire()
    leave(cpu, machine, shared)
