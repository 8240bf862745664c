"""Posted starts: a write of the guest that becomes an interrupt of the worker and no exit.

The bytes of abi.POSTED_STARTS become interrupts of the worker. The guest's next access that exits
may overtake such a start, so an access that has to come after it waits here for a fence, which
comes to the worker behind every start. A guest gets to know those bytes from the offer its
channel's command register shows (every other start exits), so where no offer stands none can be
under way.
"""

from vestige.abi import (
    FENCE_SIGNAL,
    IDE_MEMORY_BUS_MASTER,
    PORT_PCI_DATA,
    Cpu,
    Shared,
    TrapKind,
)
from vestige.lang.intrinsics import address_of, load_acquire32, pause, store_release32
from vestige.lang.types import u16, u64
from vestige.monitor import outside
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.statistics import count_trap
from vestige.monitor.core.trap import Kind, Trap
from vestige.monitor.core.turn import unlock
from vestige.monitor.devices.ioapic.place import REGISTERS
from vestige.monitor.devices.piix3_ide.function import Block
from vestige.monitor.devices.virtio.devices import NOWHERE

STARTS = 4  # signals 0 to 3


def follows_starts(machine: Machine, trap: Trap) -> bool:
    """Whether this access must not overtake a posted start.

    Those are writes to bus master, control blocks and configuration space while a start is on
    offer: they end the offer, or the decoding.
    """
    if trap.write == 0 or not machine.ide.offers_start():
        return False
    if trap.kind == Kind.MEMORY:
        if REGISTERS.address <= trap.address < REGISTERS.end:
            return False
        return machine.virtio.at_address(trap.address) == NOWHERE
    if trap.kind != Kind.PORT:
        return False
    port = u16(trap.address)
    block, _, _ = machine.ide.locate(port)
    return block == Block.CONTROL or PORT_PCI_DATA <= port < PORT_PCI_DATA + 4


def await_starts(machine: Machine, shared: Shared) -> None:
    """Return when every start posted before this call has been done.

    The lock is held on entry and on return; the worker has it in between. One fence at a time,
    or the worker could take one CPU's interrupt for another's.
    """
    fence = machine.fence
    while fence.asked:
        unlock(machine, shared)
        pause()
        machine.lock.acquire()
    fence.asked = 1
    shared.statistics.fences = u64(shared.statistics.fences + 1)
    unlock(machine, shared)
    outside.send_fence(shared.config.cpus)
    while load_acquire32(address_of(fence)):
        pause()
    machine.lock.acquire()


def take_signals(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """The worker, the lock held: do the starts that have come, then let a fence pass."""
    for number in range(STARTS):
        if cpu.signals[number]:
            cpu.signals[number] = 0
            channel = number >> 1
            register = IDE_MEMORY_BUS_MASTER + 8 * channel
            kind = TrapKind.MEMORY | TrapKind.WRITE | TrapKind.POSTED
            count_trap(shared.statistics, register, kind)
            machine.ide.start_posted(channel, number & 1 != 0, shared.config.ram)
    if cpu.signals[FENCE_SIGNAL]:
        cpu.signals[FENCE_SIGNAL] = 0
        store_release32(address_of(machine.fence), 0)
