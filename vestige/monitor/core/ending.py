"""The end of the machine, as the guest wished or said, and what the user is told before."""

from vestige.abi import Call, Cpu, Shared
from vestige.devices import DEVICES, VIRTIO_TYPES
from vestige.lang.intrinsics import pause
from vestige.lang.types import u64
from vestige.monitor import outside
from vestige.monitor.clock import MILLISECOND
from vestige.monitor.core.conclude import conclude
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.turn import time, unlock
from vestige.shapes import Link, Noticed, VirtioLink

FLUSH_LIMIT = 2000 * MILLISECOND  # how long output may take when the machine ends


def tell_notices(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """Tell the user what a device has to say. The lock is held."""
    for place in DEVICES:
        if place.notice:
            device: Noticed = getattr(machine, place.field)
            if device.take_notice():
                for i in range(len(place.notice)):
                    shared.log[i] = place.notice[i]
                cpu.argument[0] = len(place.notice)
                outside.call(cpu, Call.LOG)


def end_machine(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """The end, as the guest wished or said. First its last output goes out, if that can be.

    The lock is held, and given back here; other CPUs go on until the host stops them.
    """
    flush(machine)
    limit = u64(time(machine, shared) + FLUSH_LIMIT)
    conclude(cpu, machine, shared)
    while not written(machine) and time(machine, shared) < limit:
        unlock(machine, shared)
        pause()
        machine.lock.acquire()
        conclude(cpu, machine, shared)
    cpu.argument[0] = machine.ending()
    unlock(machine, shared)
    outside.call(cpu, Call.POWER)


def flush(machine: Machine) -> None:
    """From now on what the guest sends to its consoles is written at once."""
    for place in DEVICES:
        if place.link:
            link: Link = getattr(machine, place.link)
            link.flush()
    for row in VIRTIO_TYPES:
        if row.link:
            between: VirtioLink = getattr(machine, row.link)
            between.flush()


def written(machine: Machine) -> bool:
    """Whether all that the guest has sent to its consoles is written, or can't be."""
    for place in DEVICES:
        if place.link:
            link: Link = getattr(machine, place.link)
            if not link.idle(getattr(machine, place.field), machine.ring_driver):
                return False
    for row in VIRTIO_TYPES:
        if row.link:
            between: VirtioLink = getattr(machine, row.link)
            for number in range(row.count):
                model = getattr(machine.virtio, row.field)[number]
                if not between.idle(model, machine.ring_driver):
                    return False
    return True
