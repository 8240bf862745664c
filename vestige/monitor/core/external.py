"""External interrupts: what a PIC asks of the boot CPU, which takes them between two instructions.

All of it is a PC's, where `Machine.old` is set. The boot CPU looks at the end of each of its turns,
and takes one if it can, or exits again once it can. Whoever else makes a PIC ask ends its guest's
run for that.

Commands to a PIC are queued, without a trap, but where one may make it ask: while a request waits
for an interrupt in service to end, the queue is closed. The boot CPU does that, and is called for
it too.
"""

from vestige.abi import NO_VECTOR, Call, Config, Cpu
from vestige.devices import DEVICES
from vestige.lang.intrinsics import cold
from vestige.lang.types import u8, u64
from vestige.monitor import outside
from vestige.monitor.core.machine import Machine
from vestige.shapes import ExternalInterrupts


def asks(machine: Machine) -> bool:
    """Whether there is an interrupt for the boot CPU."""
    for place in DEVICES:
        if place.injects:
            external: ExternalInterrupts = getattr(machine, place.field)
            return external.intr()
    return False


def waits(machine: Machine) -> bool:
    """Whether there will be one, once the guest has told a PIC something."""
    for place in DEVICES:
        if place.injects:
            external: ExternalInterrupts = getattr(machine, place.field)
            return external.waits()
    return False


def acknowledge(machine: Machine) -> u8:
    """Take it: its vector."""
    for place in DEVICES:
        if place.injects:
            external: ExternalInterrupts = getattr(machine, place.field)
            return external.acknowledge()
    return 0


@cold
def must_look(machine: Machine) -> bool:
    """Whether the boot CPU is to be called, since it does not look anyway. The lock is held."""
    if not machine.boot_inside:
        return False
    if not asks(machine) and (machine.closed or not waits(machine)):
        return False
    machine.boot_inside = 0
    return True


def call_boot(cpu: Cpu, machine: Machine, config: Config) -> None:
    """Have the boot CPU look, unless it will anyway. The lock is held."""
    if must_look(machine):
        outside.attend(cpu, config)


def begin_turn(cpu: Cpu, machine: Machine) -> None:
    """The boot CPU's turn begins, at whose end it looks. The lock is held."""
    if cpu.index == 0:
        machine.boot_inside = 0


def interrupt_turn(cpu: Cpu, machine: Machine, config: Config) -> None:
    """The lock is given back before the turn's end, where nobody looks: so it is looked now."""
    if cpu.index == 0:
        machine.boot_inside = 1
        call_boot(cpu, machine, config)


def end_turn(cpu: Cpu, machine: Machine, config: Config, alarm: u64) -> u8:
    """With which call a turn ends; its arguments are set. The lock is held.

    `alarm`: in how many ns the boot CPU's guest is to exit all the same; 0: there is none.

    A CPU that could take no interrupt exits when it can: until then nobody need call it. One that
    was reset could take one before, and takes none at its first instruction.
    """
    if cpu.index != 0:
        return Call.DONE
    ready = cpu.exit.ready != 0 and machine.boot_reset == 0
    machine.boot_reset = 0
    machine.boot_inside = 1
    wanted = asks(machine)
    vector = acknowledge(machine) if wanted and ready else NO_VECTOR
    more = wanted and asks(machine)
    if more:
        machine.boot_inside = 0
    else:
        queue_or_not(cpu, machine, config)
    if not wanted and alarm == 0:
        return Call.DONE
    cpu.argument[0], cpu.argument[1], cpu.argument[2] = vector, more, alarm
    return Call.INJECT


def queue_or_not(cpu: Cpu, machine: Machine, config: Config) -> None:
    """Let writes be queued where no request waits for one; the queue was empty as the turn began.

    Where another CPU has queued one since, the boot CPU has another turn.
    """
    closed = waits(machine)
    if closed == (machine.closed != 0):
        return
    if outside.let_queue(config, not closed):
        machine.closed = closed
    else:
        machine.boot_inside = 0
        outside.attend(cpu, config)
