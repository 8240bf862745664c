"""After every event: what the models put out moves on to where it goes, until nothing moves.

Nothing here calls the host; what remains to be done out there is left in `IoApic.requests`,
`Driver.pins` and the entries not yet published. NVMe controllers are driven from here, by
loads and stores.
"""

from vestige.abi import PIN_UART, Config, DiskKind, Statistics
from vestige.lang.types import u8, u32, u64
from vestige.monitor.block import BlockRequest, State
from vestige.monitor.core.machine import Machine

CHANNELS = 2  # of the IDE function


def settle(machine: Machine, config: Config, statistics: Statistics, now: u64, cpu: u64) -> None:
    """Take completions in, move requests, characters and interrupts; `cpu` is who does it."""
    if config.ring.present:
        machine.driver.reap(config.ring, statistics)
        machine.driver.resubmit(config.ring)
    machine.nvme.reap(statistics, now)
    for channel in range(CHANNELS):
        move_request(machine, config, channel, now, cpu)
    machine.nvme.publish(now)
    if config.console.present:
        machine.console.move(machine.uart, config.console, machine.driver, config.ring, now)
    move_interrupts(machine)


def move_request(machine: Machine, config: Config, channel: u8, now: u64, cpu: u64) -> None:
    """One IDE channel's request: begin it, go on, answer it; the answer may ask for the next."""
    request = machine.ide.channels[channel].request
    moving = True
    while moving:
        if request.state == State.QUEUED:
            request.state = State.BUSY
            start(machine, config, channel, request, cpu)
        moving = request.state == State.BUSY and advance(machine, config, channel, request, now)
        if moving:
            machine.ide.request_done(channel, config.ram)


def start(machine: Machine, config: Config, channel: u8, request: BlockRequest, cpu: u64) -> None:
    """Hand the request to its disk's driver."""
    disk = config.disks[request.drive]
    if disk.kind == DiskKind.NVME:
        machine.nvme.start(channel, request, disk.nvme, u32(cpu))
    else:
        machine.driver.start(channel, request)


def advance(machine: Machine, config: Config, channel: u8, request: BlockRequest, now: u64) -> bool:
    """Let the driver go on with it; whether it is answered now."""
    disk = config.disks[request.drive]
    if disk.kind == DiskKind.NVME:
        machine.nvme.advance(channel, now)
        finished = machine.nvme.finished(channel)
        error = machine.nvme.error_of(channel)
    else:
        machine.driver.advance(channel, request, disk.file, config.ram, config.ring)
        finished = machine.driver.finished(channel, request)
        error = machine.driver.error_of(channel)
    if finished:
        request.complete(error)
    return finished


def move_interrupts(machine: Machine) -> None:
    """Lines to pins. Each source's own edge counts, as two may share a pin declared edge."""
    asserted = u32(machine.uart.line.level << PIN_UART)
    if machine.uart.line.take_edge():
        machine.ioapic.edge(PIN_UART)
    for channel in range(CHANNELS):
        pin = machine.ide.interrupt_pin(channel)
        line = machine.ide.channels[channel].line
        asserted |= u32((line.level & 1) << (pin & 31))
        if line.take_edge():
            machine.ioapic.edge(pin)
    machine.ioapic.drive(asserted)
