"""The end of the machine, as the guest wished or said, and of a kernel that has another."""

from vestige.abi import Call, Cpu, Power, Shared
from vestige.lang.intrinsics import pause
from vestige.lang.types import u8, u64
from vestige.monitor import outside
from vestige.monitor.core.clock import MILLISECOND
from vestige.monitor.core.conclude import conclude
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.turn import time, unlock
from vestige.monitor.devices.acpi_registers.spec import Power as Wish
from vestige.monitor.devices.pvpanic.spec import Event

FLUSH_LIMIT = 2000 * MILLISECOND  # how long output may take when the machine ends
CRASHED = b"the guest's kernel panicked, and its crash kernel takes over"


def tell_crash(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """Tell the user, once, of a panic that a crash kernel takes care of. The lock is held."""
    if machine.pvpanic.events & Event.CRASH_LOADED and not machine.crash_told:
        machine.crash_told = 1
        for i in range(len(CRASHED)):
            shared.log[i] = CRASHED[i]
        cpu.argument[0] = len(CRASHED)
        outside.call(cpu, Call.LOG)


def end_machine(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """The end, as the guest wished or said. First its last output goes out, if that can be.

    The lock is held, and given back here; other CPUs go on until the host stops them.
    """
    machine.console.hurry = 1
    machine.ports.hurry = 1
    limit = u64(time(machine, shared) + FLUSH_LIMIT)
    conclude(cpu, machine, shared)
    while not written(machine) and time(machine, shared) < limit:
        unlock(machine, shared)
        pause()
        machine.lock.acquire()
        conclude(cpu, machine, shared)
    cpu.argument[0] = ending(machine)
    unlock(machine, shared)
    outside.call(cpu, Call.POWER)


def written(machine: Machine) -> bool:
    """Whether all that the guest has sent to its consoles is written, or can't be."""
    uart = machine.console.idle(machine.uart, machine.driver)
    return uart and machine.ports.idle(machine.virtio.console)


def ending(machine: Machine) -> u8:
    """Which Power the host is told."""
    if machine.panicked():
        return Power.PANICKED
    return Power.OFF if machine.acpi.power == Wish.OFF else Power.RESET
