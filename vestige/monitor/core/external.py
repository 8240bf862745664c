"""External interrupts: what a PIC asks of the boot CPU, which takes them between two instructions.

The boot CPU looks at the end of each of its turns, and takes one if it can, or exits again once it
can. Whoever else makes a PIC ask ends its guest's run for that.
"""

from vestige.abi import NO_VECTOR, Board, Call, Config, Cpu, Shared
from vestige.devices import DEVICES
from vestige.lang.types import u8
from vestige.monitor import outside
from vestige.monitor.core.machine import Machine
from vestige.place import is_present
from vestige.shapes import ExternalInterrupts


def asks(machine: Machine, config: Config) -> bool:
    """Whether there is an interrupt for the boot CPU."""
    for row, place in enumerate(DEVICES):
        if place.injects and is_present(place, row, config):
            external: ExternalInterrupts = getattr(machine, place.field)
            return external.intr()
    return False


def acknowledge(machine: Machine) -> u8:
    """Take it: its vector."""
    for place in DEVICES:
        if place.injects:
            external: ExternalInterrupts = getattr(machine, place.field)
            return external.acknowledge()
    return 0


def call_boot(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """Have the boot CPU look, unless it will anyway. The lock is held."""
    if shared.config.board == Board.PC and machine.boot_inside:
        if asks(machine, shared.config):
            machine.boot_inside = 0
            outside.call(cpu, Call.ATTEND)


def begin_turn(cpu: Cpu, machine: Machine) -> None:
    """The boot CPU's turn begins, at whose end it looks. The lock is held."""
    if cpu.index == 0:
        machine.boot_inside = 0


def interrupt_turn(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """The lock is given back before the turn's end, where nobody looks: so it is looked now."""
    if cpu.index == 0:
        machine.boot_inside = 1
        call_boot(cpu, machine, shared)


def end_turn(cpu: Cpu, machine: Machine, config: Config) -> u8:
    """With which call a turn ends; its arguments are set. The lock is held.

    A CPU that could take no interrupt exits when it can: until then nobody need call it.
    """
    if config.board != Board.PC or cpu.index != 0:
        return Call.DONE
    machine.boot_inside = 1
    if not asks(machine, config):
        return Call.DONE
    cpu.argument[0] = NO_VECTOR
    if cpu.exit.ready:
        cpu.argument[0] = acknowledge(machine)
    more = asks(machine, config)
    cpu.argument[1] = more
    if more:
        machine.boot_inside = 0
    return Call.INJECT
