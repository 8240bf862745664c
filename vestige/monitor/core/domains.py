"""Domains: each has a Machine, a Shared, a lock, a worker and a ring of its own.

Domain 0, the first, is the whole machine but for virtio functions that live in another. In
another one everything else of its Machine is as after power-on and answers to nobody. No CPU holds
two domains' locks at a time. What one has to say to another are the lines of its functions, which
lead to the first one's I/O APIC.

A function with many queues may be shared by several domains: each has a replica of it and serves
some of the queues. Every access of the guest is carried out on all of them, one access after the
other (core/replicas.py), so what the guest sets is the same in all.
"""

from vestige.abi import (
    ECAM,
    ECAM_SIZE,
    MAX_VIRTIO,
    SHARED_STRIDE,
    STATE_SIZE,
    VIRTIO_BAR_SIZE,
    VIRTIO_BARS,
    VIRTIO_SLOT,
    Config,
    Shared,
)
from vestige.lang.intrinsics import address_of
from vestige.lang.types import u16, u32, u64
from vestige.monitor.core.bus import is_fixed, is_pci_data
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.trap import Kind, Trap
from vestige.monitor.devices.virtio.devices import NOWHERE, SLOT_SHIFT


def machine_of(first: Machine, domain: u32) -> Machine:
    """A domain's Machine."""
    return Machine.at(u64(address_of(first) + domain * STATE_SIZE))


def shared_of(first: Shared, domain: u32) -> Shared:
    """A domain's Shared."""
    return Shared.at(u64(address_of(first) + domain * SHARED_STRIDE))


def function_at(first: Machine, config: Config, trap: Trap) -> u32:
    """Which virtio function that is not the first domain's alone an access to memory is for.

    NOWHERE: none, and the access is for the first domain, or seems to be. No lock is held: a BAR
    that another CPU moves at this moment may be found at either place.
    """
    address = trap.address
    if config.domains == 1 or trap.kind != Kind.MEMORY:
        return NOWHERE
    if ECAM <= address < ECAM + ECAM_SIZE:
        return away(config, number_of(u32(address - ECAM) >> 12))
    if is_fixed(config, address):
        return NOWHERE
    if VIRTIO_BARS <= address < VIRTIO_BARS + MAX_VIRTIO * VIRTIO_BAR_SIZE:
        likely = u32(address - VIRTIO_BARS) // VIRTIO_BAR_SIZE
        if claims(first, config, likely, address):
            return away(config, likely)
    for number in range(MAX_VIRTIO):
        if claims(first, config, number, address):
            return away(config, number)
    return NOWHERE


def claims(first: Machine, config: Config, number: u32, address: u64) -> bool:
    """Whether the BAR of virtio function `number` is there."""
    home = machine_of(first, config.homes[number])
    return home.virtio.functions[number].claims(address)


def function_of_port(first: Machine, config: Config, trap: Trap) -> u32:
    """The same for an access to a port: CONFIG_DATA may lead to any. The lock is held."""
    if config.domains == 1 or trap.kind != Kind.PORT:
        return NOWHERE
    if not is_pci_data(first, u16(trap.address), trap.size):
        return NOWHERE
    return away(config, number_of(first.pci.function()))


def number_of(function: u32) -> u32:
    """The number of the virtio function that bus, device and function name, or NOWHERE."""
    slot = function >> SLOT_SHIFT
    if function & 7 or not VIRTIO_SLOT <= slot < VIRTIO_SLOT + MAX_VIRTIO:
        return NOWHERE
    return u32(slot - VIRTIO_SLOT)


def away(config: Config, number: u32) -> u32:
    """`number`, or NOWHERE if that function is the first domain's alone."""
    if number != NOWHERE and config.homes[number] == 0 and config.shares[number] == 1:
        return NOWHERE
    return number
