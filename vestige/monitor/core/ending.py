"""The end of the machine, as the guest wished or said, and what the user is told before.

And what is no end: a reset of a PC's processors after which its firmware goes on where it was told
to, by the shutdown code (IBM Personal Computer AT Technical Reference, 1984, "Real Mode" and "Test
1"). So programs of the 80286 come back from protected mode.
"""

from vestige.abi import INIT_GSI, LOCAL_APIC, Call, Config, Cpu, Power, Shared
from vestige.devices import DEVICES, VIRTIO_TYPES
from vestige.lang.intrinsics import cold, pause
from vestige.lang.types import u32, u64
from vestige.monitor import outside
from vestige.monitor.clock import MILLISECOND
from vestige.monitor.core.conclude import conclude
from vestige.monitor.core.interrupts import send
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.turn import time, unlock
from vestige.place import GOES_ON, PROCESSORS_RESET
from vestige.shapes import Link, Noticed, ProcessorReset, Resuming, VirtioLink

FLUSH_LIMIT = 2000 * MILLISECOND  # how long output may take when the machine ends
# A message to a local APIC, Intel SDM volume 3, 11.11.1 and 11.11.2.
DESTINATION_SHIFT = 12  # of the APIC ID in its address
INIT = 0b101 << 8  # its delivery mode


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


def must_end(cpu: Cpu, machine: Machine, shared: Shared) -> bool:
    """Do what the guest wished, if it wished anything; as `ends`."""
    return machine.ending() != GOES_ON and not machine.stopping and ends(cpu, machine, shared)


@cold
def ends(cpu: Cpu, machine: Machine, shared: Shared) -> bool:
    """Do what the guest wished: whether that is the end, and the lock given back. It is held."""
    if goes_on(machine, shared.config):
        reset_processors(cpu, machine, shared)
        return False
    machine.stopping = 1
    end_machine(cpu, machine, shared)
    return True


def goes_on(machine: Machine, config: Config) -> bool:
    """Whether what the guest wished resets its processors alone. Only a firmware is there then."""
    if config.firmware_items == 0 or machine.ending() != PROCESSORS_RESET:
        return False
    for place in DEVICES:
        if place.resumes:
            firmware: Resuming = getattr(machine, place.field)
            return firmware.resumes()
    return False


def reset_processors(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """INIT of all, the boot CPU last, with RAM and all devices as they are. The lock is held."""
    for place in DEVICES:
        if place.resets_processors:
            chip: ProcessorReset = getattr(machine, place.field)
            chip.processors_reset()
    machine.boot_reset = 1
    cpus = shared.config.cpus
    for number in range(cpus):
        destination = u32(cpus - 1 - number) << DESTINATION_SHIFT
        send(cpu, shared, INIT_GSI, LOCAL_APIC | destination, INIT)


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
    ending = machine.ending()
    cpu.argument[0] = Power.RESET if ending == PROCESSORS_RESET else ending
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
