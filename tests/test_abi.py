"""The monitor's private memory: every area is where no other is, however many CPUs there are."""

import ctypes
from itertools import pairwise
from typing import Any

from vestige import abi
from vestige.host.kvm.memory import PRIVATE, PRIVATE_SIZE
from vestige.lang import vcpu
from vestige.lang.intrinsics import address_of
from vestige.monitor.core.machine import Machine


def test_a_cpu_begins_as_compiled_code_needs_it() -> None:
    needed: Any = vcpu.Vcpu
    there: Any = abi.Cpu
    for name, _ in needed._fields_:
        assert getattr(there, name).offset == getattr(needed, name).offset
        assert getattr(there, name).size == getattr(needed, name).size
    assert len(abi.Cpu().signals) >= abi.SIGNALS


def test_no_area_reaches_into_the_next() -> None:
    areas = [
        (abi.SHARED, abi.MAX_DOMAINS * abi.SHARED_STRIDE),
        (abi.SHADOW, abi.IDE_MEMORY_PAGES * abi.IDE_MEMORY_PAGE),
        (abi.STATE, abi.MAX_DOMAINS * abi.STATE_SIZE),
        (abi.STACKS, (abi.MAX_CPUS + abi.MAX_DOMAINS) * abi.STACK_SIZE),
        (abi.TABLES, 2 * abi.MIB),
        (abi.RUN_PAGES, abi.MAX_CPUS * abi.RUN_STRIDE),
        (abi.RING, 2 * abi.MIB),
        (abi.RING_ENTRIES, 2 * abi.MIB),
        (abi.BARS, abi.MAX_NVME * abi.BAR_STRIDE),
        (abi.NVME_QUEUES, abi.MAX_NVME * abi.NVME_QUEUES_SIZE),
        (abi.FIRMWARE_ITEMS, abi.FIRMWARE_ITEMS_SIZE),
        (abi.IOAPIC, 0),
    ]
    for (start, size), (following, _) in pairwise(areas):
        assert start + size <= following
    assert abi.TABLES + 2 * abi.MIB <= PRIVATE + PRIVATE_SIZE <= abi.RUN_PAGES


def test_the_state_of_all_cpus_has_room() -> None:
    assert ctypes.sizeof(Machine) <= abi.STATE_SIZE
    assert ctypes.sizeof(abi.Shared) <= abi.SHARED_STRIDE
    assert abi.MAX_DOMAINS * abi.RING_STRIDE <= 2 * abi.MIB
    assert len(abi.Config().homes) == abi.MAX_VIRTIO
    machine = Machine()
    assert address_of(machine.virtio) - address_of(machine) <= abi.STATE_PLAIN
    assert address_of(machine.networks) - address_of(machine) <= abi.STATE_VIRTIO
    assert address_of(machine.networks.links[1]) - address_of(machine) <= abi.STATE_FIRST
    assert len(Machine().networks.links) == abi.MAX_NET_PAIRS
    assert len(Machine().traps) == abi.MAX_CPUS
