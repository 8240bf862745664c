"""The end of every event: settle, then do outside what the models asked for.

Calls to the host made while the lock is held: ROUTE, PIN and LOG, and no others. All are rare (a
pin's message changed; the first I/O to 2 MiB of RAM; a guest's kernel crashed, a disk's file fails
as it did not before), and are steps
which nobody may come between: a doorbell must not ring with another message, an entry must not
be seen by the kernel before its buffer exists, a line must not be overwritten. A KICK may take
long, so it is made without the lock.
"""

from vestige.abi import (
    MAX_VIRTIO,
    PINS,
    VIRTIO_GSI,
    VIRTIO_VECTORS,
    Call,
    Cpu,
    Power,
    Shared,
)
from vestige.lang.intrinsics import load_acquire32, pause
from vestige.lang.types import u8, u16, u32, u64
from vestige.monitor import outside
from vestige.monitor.core.clock import MILLISECOND
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.settle import settle
from vestige.monitor.core.shadow import show_registers
from vestige.monitor.devices.acpi_registers.spec import Power as Wish
from vestige.monitor.devices.pvpanic.spec import Event
from vestige.monitor.line import NEVER

TIMER_TOLERANCE = 10 * MILLISECOND  # that a timer of seconds may expire too early
KICK_AGAIN = 1 * MILLISECOND  # after a KICK that moved nothing: the host had no memory, or time
FLUSH_LIMIT = 2000 * MILLISECOND  # how long output may take when the machine ends
CRASHED = b"the guest's kernel panicked, and its crash kernel takes over"


def time(machine: Machine, shared: Shared) -> u64:
    """What time it is; the lock is held."""
    return machine.clock.now(outside.counter(), shared.config.tsc_khz)


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
        looking = not machine.at_work and machine.virtio.ask(shared.config.ram)


def step(cpu: Cpu, machine: Machine, shared: Shared) -> bool:
    """Settle once, and do outside what came of it but for the KICK; whether that is due."""
    settle(machine, shared.config, shared.statistics, time(machine, shared), cpu.index)
    show_registers(machine.ide, shared.config)
    send_interrupts(cpu, machine, shared)
    if machine.failures.news:
        machine.failures.show(shared.statistics)
        cpu.argument[0] = 0
        outside.call(cpu, Call.LOG)
    if not shared.config.ring.present:
        return False
    pin_chunks(cpu, machine, shared)
    kick = machine.driver.queue.publish(shared.config.ring)
    if not kick:
        machine.kick_due = NEVER
    return kick


def enter_ring(cpu: Cpu, machine: Machine, shared: Shared) -> bool:
    """KICK. Whether it took anything; if not, a later one is arranged where one is needed."""
    ring = shared.config.ring
    head = load_acquire32(ring.sq_head)
    machine.driver.queue.begin_kick(ring)
    handed = machine.driver.take_handed()
    unlock(machine, shared)
    cpu.argument[0] = shared.config.domain
    cpu.argument[1] = handed
    outside.call(cpu, Call.KICK)
    machine.lock.acquire()
    machine.driver.queue.end_kick(ring)
    moved = load_acquire32(ring.sq_head) != head
    if ring.polled:  # the thread was woken, and takes the entries when it gets to run
        machine.kick_due = NEVER
        return False
    machine.kick_due = NEVER if moved else u64(time(machine, shared) + KICK_AGAIN)
    return moved


def send_interrupts(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """Send the messages of the pins and vectors that asked for it."""
    requests = machine.ioapic.take_requests()
    if requests:
        for pin in range(PINS):
            if requests & 1 << pin:
                address = machine.ioapic.message_address(pin)
                send(cpu, shared, pin, address, machine.ioapic.message_data(pin))
    if not machine.virtio.present:
        return
    for number in range(MAX_VIRTIO):
        msix = machine.virtio.functions[number].device.msix
        requests = msix.take_requests()
        if requests:
            report = shared.statistics.virtio[number]
            function = shared.config.virtio[number].share * MAX_VIRTIO + number
            for vector in range(VIRTIO_VECTORS):
                if requests & 1 << vector:
                    gsi = u32(VIRTIO_GSI + function * VIRTIO_VECTORS + vector)
                    address = msix.message_address(vector)
                    send(cpu, shared, gsi, address, msix.message_data(vector))
                    report.interrupts = u64(report.interrupts + 1)


def send(cpu: Cpu, shared: Shared, gsi: u32, address: u64, data: u32) -> None:
    """Ring the doorbell of a GSI; before, give the host its message if that has changed.

    One with address 0 is none, as an MSI-X table holds it that the guest has not written.
    """
    if address == 0:
        return
    route = shared.routes[gsi]
    if route.address != address or route.data != data:
        route.address = address
        route.data = data
        cpu.argument[0] = gsi
        cpu.argument[1] = shared.config.domain
        outside.call(cpu, Call.ROUTE)
    outside.ring_doorbell(u16(gsi))
    shared.statistics.doorbells = u64(shared.statistics.doorbells + 1)


def pin_chunks(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """Register the chunks that the entries about to be published use for the first time."""
    driver = machine.driver
    for i in range(driver.pin_count):
        chunk = driver.pins[i]
        cpu.argument[0] = chunk
        cpu.argument[1] = shared.config.domain
        outside.call(cpu, Call.PIN)
        if cpu.argument[0] != 0:
            driver.forget(chunk)
    driver.pin_count = 0


def unlock(machine: Machine, shared: Shared) -> None:
    """Release the lock, and wake the worker if it came in vain meanwhile.

    After the release: on the worker's processor this one may not run until the worker sleeps.
    """
    if machine.lock.release():
        wake_worker(shared, shared.config.domain)


def unlock_in_time(machine: Machine, shared: Shared) -> None:
    """The same, and wake the worker if its timer is set for later than the next deadline.

    `armed` is lowered while the lock is held, so that only the first who finds it too late wakes.
    The worker sets its timer after it gave the lock back: if it does so between our look and our
    interrupt, the interrupt waits in its local APIC and ends its sleep at once.
    """
    deadline = machine.next_deadline()
    if deadline < machine.armed:
        machine.armed = deadline
        machine.told = 1
        machine.lock.release()
        wake_worker(shared, shared.config.domain)
    else:
        unlock(machine, shared)


def wake_worker(shared: Shared, domain: u32) -> None:
    """Interrupt a domain's worker."""
    outside.wake(u32(shared.config.cpus + domain))


def stand_in(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """Take in what the worker came for while this CPU held the lock, as it still does.

    That spares the worker to come again. Not where it may have come for something of its own:
    its timer, which may have expired or has to be set, or its signals.
    """
    if machine.lock.left == 0:
        return
    now = time(machine, shared)
    spent = machine.armed != NEVER and machine.armed <= u64(now + TIMER_TOLERANCE)
    own = machine.told != 0 or spent or shared.config.ide_in_memory != 0
    if not own and machine.lock.take_turn():
        conclude(cpu, machine, shared)


def leave(cpu: Cpu, machine: Machine, shared: Shared) -> bool:
    """Conclude a CPU's access to a domain whose lock is held, and give it back.

    Whether its lines have changed, which the I/O APIC sees in the first domain.
    """
    conclude(cpu, machine, shared)
    stand_in(cpu, machine, shared)
    news = machine.wires.take_news()
    unlock_in_time(machine, shared)
    return news


def tell_crash(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """Tell the user, once, of a panic that a crash kernel takes care of. The lock is held."""
    if machine.pvpanic.events & Event.CRASH_LOADED and not machine.crash_told:
        machine.crash_told = 1
        for i in range(len(CRASHED)):
            shared.log[i] = CRASHED[i]
        cpu.argument[0] = len(CRASHED)
        outside.call(cpu, Call.LOG)


def written(machine: Machine) -> bool:
    """Whether all that the guest has sent to its consoles is written, or can't be."""
    uart = machine.console.idle(machine.uart, machine.driver)
    return uart and machine.ports.idle(machine.virtio.console)


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


def ending(machine: Machine) -> u8:
    """Which Power the host is told."""
    if machine.panicked():
        return Power.PANICKED
    return Power.OFF if machine.acpi.power == Wish.OFF else Power.RESET
