"""After every event: what the models put out moves on to where it goes, until nothing moves.

Nothing here calls the host; what remains to be done out there is left in `IoApic.requests`,
`Msix.requests`, `Driver.pins` and the entries not yet published. NVMe controllers are driven from
here, by loads and stores.
"""

from vestige.abi import MAX_VIRTIO, PINS, Config, Statistics, VirtioKind
from vestige.devices import DEVICES
from vestige.lang.types import u8, u32, u64
from vestige.monitor.core.domains import machine_of
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.requests import answered
from vestige.monitor.core.virtio import move_virtio
from vestige.monitor.devices.ioapic.model import IoApic
from vestige.monitor.line import Line
from vestige.place import is_present

CHANNELS = 2  # of the IDE function


def settle(machine: Machine, config: Config, statistics: Statistics, now: u64, cpu: u64) -> None:
    """Take completions in, move requests, characters and interrupts; `cpu` is who does it."""
    if config.ring.present:
        machine.driver.reap(config.ring, statistics)
        machine.driver.resubmit(config.ring)
    machine.nvme.reap(statistics, now)
    for channel in range(CHANNELS):
        move_channel(machine, config, channel, now, cpu)
    move_virtio(machine, config, statistics, now, cpu)
    machine.nvme.publish(now)
    if config.console.present:
        machine.console.move(
            machine.uart, config.console, machine.driver, config.ring, machine.failures, now
        )
    move_interrupts(machine, config)


def move_channel(machine: Machine, config: Config, channel: u8, now: u64, cpu: u64) -> None:
    """One IDE channel's request: begin it, go on, answer it; the answer may ask for the next."""
    request = machine.ide.channels[channel].request
    while answered(machine, config, channel, request, now, cpu):
        machine.ide.request_done(channel, config.ram)


def move_interrupts(machine: Machine, config: Config) -> None:
    """Lines to pins. Each source's own edge counts, as two may share a pin declared edge.

    The pins are the first domain's; another's lines come to it over `wires`.
    """
    if config.domain:
        show_lines(machine)
        return
    ioapic = machine.ioapic
    asserted = lead_places(machine, config)
    for channel in range(CHANNELS):
        line = machine.ide.channels[channel].line
        asserted |= lead(line, ioapic, machine.ide.interrupt_pin(channel))
    if machine.virtio.present:
        for number in range(MAX_VIRTIO):
            function = machine.virtio.functions[number]
            if function.kind != VirtioKind.NONE:
                asserted |= lead(function.device.line, ioapic, function.interrupt_pin())
    for domain in range(1, config.domains):
        wires = machine_of(machine, domain).wires
        asserted |= wires.level()
        edges = wires.take_edges()
        for pin in range(PINS):
            if edges >> pin & 1:
                ioapic.edge(pin)
    ioapic.drive(asserted)


def lead_places(machine: Machine, config: Config) -> u32:
    """The lines of the devices with a fixed place to their pins; the asserted ones."""
    asserted: u32 = 0
    for row, place in enumerate(DEVICES):
        if is_present(place, row, config):
            device = getattr(machine, place.field)
            for wire in place.wires:
                asserted |= lead(getattr(device, wire.line), machine.ioapic, wire.pin)
            for routed in place.routed:
                for number in range(routed.count):
                    part = getattr(device, routed.parts)[number]
                    asserted |= lead(part.line, machine.ioapic, part.route())
    return asserted


def lead(line: Line, ioapic: IoApic, pin: u32) -> u32:
    """A line to its pin: tell of its edge; its level, as that pin's bit."""
    if line.take_edge():
        ioapic.edge(pin)
    return u32((line.level & 1) << (pin & 31))


def show_lines(machine: Machine) -> None:
    """The lines of the virtio functions, all that a domain but the first has, to the first."""
    asserted: u32 = 0
    rose: u32 = 0
    for number in range(MAX_VIRTIO):
        function = machine.virtio.functions[number]
        if function.kind != VirtioKind.NONE:
            pin = function.interrupt_pin()
            asserted |= u32((function.device.line.level & 1) << (pin & 31))
            if function.device.line.take_edge():
                rose |= u32(1 << (pin & 31))
    machine.wires.show(asserted, rose)
