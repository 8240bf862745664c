"""Posted writes: a write of the guest that becomes an interrupt of the worker and no exit.

Which writes those are a device's place says (`Place.posts`). The guest's next access that exits may
overtake such a write, so an access that has to come after it waits here for a fence, which comes to
the worker behind every posted write. A device says whether one may be under way.
"""

from vestige.abi import FENCE_SIGNAL, Config, Cpu, Shared, TrapKind
from vestige.devices import DEVICES
from vestige.lang.intrinsics import address_of, load_acquire32, pause, store_release32
from vestige.lang.types import u8, u16, u64
from vestige.monitor import outside
from vestige.monitor.core.decode import CONFIG_DATA, find_memory, find_port, offset_of, row_of
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.statistics import count_trap
from vestige.monitor.core.trap import Kind, Trap
from vestige.monitor.core.turn import unlock
from vestige.place import CONFIG_MEMORY, CONFIG_PORTS, Place
from vestige.shapes import Posted


def posting(config: Config) -> bool:
    """Whether there may be posted writes at all."""
    may = False
    for place in DEVICES:
        if place.posts:
            may = place.posting(config)
    return may


def begin_posts(machine: Machine, config: Config) -> None:
    """The worker is there: it takes posted writes from now on."""
    for place in DEVICES:
        if place.posts and place.posting(config):
            device: Posted = getattr(machine, place.field)
            device.begin_posts()


def follows_posts(machine: Machine, config: Config, trap: Trap) -> bool:
    """Whether this access must not overtake a posted write.

    Those are writes to configuration space while one may be under way, which can end the decoding,
    and those of which the device itself says so.
    """
    if trap.write == 0:
        return False
    for row, place in enumerate(DEVICES):
        if place.posts:
            device: Posted = getattr(machine, place.field)
            if device.expects_posts():
                for i in range(8):
                    address = u64(trap.address + i)
                    if i < trap.size and ends_posts(
                        machine, config, row, place, trap.kind, address
                    ):
                        return True
    return False


def ends_posts(
    machine: Machine, config: Config, row: u8, place: Place, kind: u8, address: u64
) -> bool:
    """Whether a write to this byte must not overtake a posted one to the device of `row`."""
    device: Posted = getattr(machine, place.field)
    if kind == Kind.MEMORY:
        where = find_memory(machine, config, address)
        if row_of(where) == CONFIG_MEMORY:
            return True
    elif kind == Kind.PORT:
        where = find_port(machine, u16(address))
        if row_of(where) == CONFIG_PORTS:
            return offset_of(where) >= CONFIG_DATA
    else:
        return False
    return row_of(where) == row and device.ends_posts(offset_of(where))


def await_posts(machine: Machine, shared: Shared) -> None:
    """Return when every write posted before this call has been done.

    The lock is held on entry and on return; the worker has it in between. One fence at a time,
    or the worker could take one CPU's interrupt for another's.
    """
    fence = machine.fence
    while fence.asked:
        unlock(machine, shared)
        pause()
        machine.lock.acquire()
    fence.asked = 1
    shared.statistics.fences += 1
    unlock(machine, shared)
    outside.send_fence(shared.config.cpus)
    while load_acquire32(address_of(fence)):
        pause()
    machine.lock.acquire()


def take_signals(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """The worker, the lock held: do the posted writes that have come, then let a fence pass."""
    for place in DEVICES:
        for number, post in enumerate(place.posts):
            if cpu.signals[number]:
                cpu.signals[number] = 0
                kind = TrapKind.MEMORY | TrapKind.WRITE | TrapKind.POSTED
                count_trap(shared.statistics, post.address, kind)
                device: Posted = getattr(machine, place.field)
                device.post(number)
    if cpu.signals[FENCE_SIGNAL]:
        cpu.signals[FENCE_SIGNAL] = 0
        store_release32(address_of(machine.fence), 0)
