"""After every event: what the models put out moves on to where it goes, until nothing moves.

Nothing here calls the host or touches hardware; what remains to be done out there is left in
`IoApic.requests`, `Driver.pins` and the entries not yet published.
"""

from vestige.abi import PIN_UART, Config, Statistics
from vestige.lang.types import u8, u32, u64
from vestige.monitor.block import State
from vestige.monitor.core.machine import Machine

CHANNELS = 2  # of the IDE function


def settle(machine: Machine, config: Config, statistics: Statistics, now: u64) -> None:
    """Take completions in, move requests, characters and interrupts."""
    if config.ring.present:
        machine.driver.reap(config.ring, statistics)
        machine.driver.resubmit(config.ring)
        for channel in range(CHANNELS):
            move_request(machine, config, channel)
    if config.console.present:
        machine.console.move(machine.uart, config.console, machine.driver, config.ring, now)
    move_interrupts(machine)


def move_request(machine: Machine, config: Config, channel: u8) -> None:
    """One IDE channel's request: answer it, begin the next (the answer may ask more), go on."""
    request = machine.ide.channels[channel].request
    if request.state == State.BUSY and machine.driver.finished(channel, request):
        request.complete(machine.driver.error_of(channel))
        machine.ide.request_done(channel, config.ram)
    if request.state == State.QUEUED:
        request.state = State.BUSY
        machine.driver.start(channel, request)
    if request.state == State.BUSY:
        file = config.disks[request.drive].file
        machine.driver.advance(channel, request, file, config.ram, config.ring)


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
