"""Domains: each has a Machine, a Shared, a lock, a worker and a ring of its own.

Domain 0, the first, is the whole machine but for virtio functions that live in another. In
another one everything else of its Machine is as after power-on and answers to nobody. No CPU holds
two domains' locks at a time. What one has to say to another are the lines of its functions, which
lead to the first one's I/O APIC.

A function with many queues may be shared by several domains: each has a replica of it and serves
some of the queues. Every access of the guest is carried out on all of them, one access after the
other (core/replicas.py), so what the guest sets is the same in all.
"""

from vestige.abi import SHARED_STRIDE, STATE_SIZE, Shared
from vestige.lang.intrinsics import address_of
from vestige.lang.types import u32, u64
from vestige.monitor.core.machine import Machine


def machine_of(first: Machine, domain: u32) -> Machine:
    """A domain's Machine."""
    return Machine.at(u64(address_of(first) + domain * STATE_SIZE))


def shared_of(first: Shared, domain: u32) -> Shared:
    """A domain's Shared."""
    return Shared.at(u64(address_of(first) + domain * SHARED_STRIDE))
