"""What follows every event: settle, and do outside what the models asked for, until nothing moves.

Calls to the host made while the lock is held: ROUTE, PIN, LOG, MAP and, by a CPU, ATTEND, and no
others. They are rare (a pin's message changed; the first I/O to 2 MiB of RAM; a guest's kernel
crashed, a disk's file fails as it did not before; a BAR was moved; another CPU than the boot CPU
made a PIC ask), and the first four are steps that nobody may come between: a doorbell must not ring
with another message, an entry must not be seen by the kernel before its buffer exists, a line must
not be overwritten, a region must be where its BAR says. A
KICK may take long, so it is made without the lock. So is the worker's ATTEND, or its ring of the
boot CPU's bell, at each tick of an old timer: the boot CPU that it wakes may have the worker's
processor at once, and wants the lock.
"""

from vestige.abi import Call, Cpu, Shared
from vestige.devices import DEVICES
from vestige.lang.intrinsics import cold
from vestige.lang.types import u64
from vestige.monitor import outside
from vestige.monitor.clock import MILLISECOND
from vestige.monitor.core.answers import show
from vestige.monitor.core.external import call_boot
from vestige.monitor.core.interrupts import send_interrupts
from vestige.monitor.core.kick import enter_ring, pin_chunks
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.posted import posting
from vestige.monitor.core.regions import place_regions
from vestige.monitor.core.settle import settle
from vestige.monitor.core.turn import time, unlock_in_time
from vestige.monitor.line import NEVER
from vestige.place import is_present
from vestige.shapes import Display

TIMER_TOLERANCE = 10 * MILLISECOND  # that a timer of seconds may expire too early


def conclude(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """Settle until nothing moves. The lock is held on entry and on return, not in between.

    After every KICK comes a step: the completions it brought wake nobody but us. Virtio drivers
    are asked for notifications when all is done, by the worker if it is in its turn, at the end
    of that: what they make available until then costs them none.
    """
    looking = True
    while looking:
        kick = step(cpu, machine, shared)
        while kick:
            moved = enter_ring(cpu, machine, shared)
            kick = step(cpu, machine, shared) and moved
        looking = not machine.at_work and machine.virtio.ask()


def step(cpu: Cpu, machine: Machine, shared: Shared) -> bool:
    """Settle once, and do outside what came of it but for the KICK; whether that is due."""
    settle(machine, shared.config, shared.statistics, time(machine, shared), cpu.index)
    show(machine, shared)
    send_interrupts(cpu, machine, shared)
    if machine.old:
        if not machine.at_work:  # the worker calls it at the end of its turn
            call_boot(cpu, machine, shared.config)
        place_regions(cpu, machine, shared.config)
        show_screen(machine, shared)
    if machine.failures.news:
        machine.failures.show(shared.statistics)
        cpu.argument[0] = 0
        outside.call(cpu, Call.LOG)
    if not shared.config.ring.present:
        return False
    pin_chunks(cpu, machine, shared)
    kick = machine.ring_driver.queue.publish(shared.config.ring)
    if not kick:
        machine.kick_due = NEVER
    return kick


@cold
def show_screen(machine: Machine, shared: Shared) -> None:
    """Say what a viewer needs to know of the guest's screen."""
    for row, place in enumerate(DEVICES):
        if place.displays and is_present(place, row, shared.config):
            display: Display = getattr(machine, place.field)
            display.show_screen(shared.screen)


def leave(cpu: Cpu, machine: Machine, shared: Shared) -> bool:
    """Conclude a CPU's access to a domain whose lock is held, and give it back.

    Whether its lines have changed, which the I/O APIC sees in the first domain.
    """
    conclude(cpu, machine, shared)
    stand_in(cpu, machine, shared)
    news = machine.wires.take_news()
    unlock_in_time(machine, shared)
    return news


def stand_in(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """Take in what the worker came for while this CPU held the lock, as it still does.

    That spares the worker to come again. Not where it may have come for something of its own:
    its timer, which may have expired or has to be set, or its signals.
    """
    if machine.lock.left == 0:
        return
    now = time(machine, shared)
    spent = machine.armed != NEVER and machine.armed <= u64(now + TIMER_TOLERANCE)
    own = machine.told != 0 or spent or posting(shared.config)
    if not own and machine.lock.take_turn():
        conclude(cpu, machine, shared)
