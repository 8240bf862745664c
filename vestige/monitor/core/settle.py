"""After every event: what the models put out moves on to where it goes, until nothing moves.

Nothing here calls the host; what remains to be done out there is left in the pin controllers,
`Msix.requests`, `RingDriver.pins` and the entries not yet published. NVMe controllers are driven
from here, by loads and stores.
"""

from vestige.abi import Board, Config, Statistics
from vestige.devices import DEVICES
from vestige.lang.intrinsics import cold
from vestige.lang.types import u8, u32, u64
from vestige.monitor.core.domains import machine_of
from vestige.monitor.core.events import move_events
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.requests import answered
from vestige.monitor.core.virtio import move_virtio
from vestige.monitor.line import Line
from vestige.place import Place, is_present
from vestige.shapes import (
    DmaController,
    DmaDevice,
    ExternalInterrupts,
    Link,
    PinController,
    Requester,
    Requesting,
    Steering,
)


def settle(machine: Machine, config: Config, statistics: Statistics, now: u64, cpu: u64) -> None:
    """Take completions in, move requests, characters and interrupts; `cpu` is who does it."""
    if config.ring.present:
        machine.ring_driver.reap(config.ring, statistics)
        machine.ring_driver.resubmit(config.ring)
    machine.nvme.reap(statistics, now)
    for place in DEVICES:
        if place.requests is not None and place.board is None:
            move_requests(machine, config, place, now, cpu)
    move_virtio(machine, config, statistics, now, cpu)
    machine.nvme.publish(now)
    if machine.events.present:
        move_events(machine, config, now)
    for row, place in enumerate(DEVICES):
        if place.link and is_present(place, row, config):
            link: Link = getattr(machine, place.link)
            model = getattr(machine, place.field)
            link.move(model, config, machine.ring_driver, now)
    if machine.old:
        move_old_requests(machine, config, now, cpu)
        move_old_interrupts(machine, config)
    else:
        move_interrupts(machine, config)


@cold
def move_old_requests(machine: Machine, config: Config, now: u64, cpu: u64) -> None:
    """Those of what a PC alone has, and its DMA: bytes that have moved may ask for the next."""
    for row, place in enumerate(DEVICES):
        if place.board is not None and place.requests is not None:
            if is_present(place, row, config):
                move_requests(machine, config, place, now, cpu)
                while move_data(machine, place):
                    move_requests(machine, config, place, now, cpu)


def move_data(machine: Machine, place: Place) -> bool:
    """Move by DMA what a device asks for; whether something has moved."""
    if place.dma is None:
        return False
    device: DmaDevice = getattr(machine, place.field)
    length = device.dma_length()
    for other in DEVICES:
        if other.carries:
            controller: DmaController = getattr(machine, other.field)
            controller.ask(place.dma, length > 0)
            if length > 0 and controller.is_open(place.dma):
                moved = controller.transfer(
                    place.dma, device.dma_address(), length, device.dma_to_memory()
                )
                device.dma_moved(moved, controller.take_end())
                return True
    return False


def move_requests(machine: Machine, config: Config, place: Place, now: u64, cpu: u64) -> None:
    """Each part's request: begin it, go on, answer it; the answer may ask for the next."""
    if place.requests is None:
        return
    device: Requesting = getattr(machine, place.field)
    for number in range(place.requests.count):
        part: Requester = getattr(device, place.requests.parts)[number]
        tag = u8(place.requests.first + number)
        while answered(machine, config, tag, part.request, now, cpu):
            device.request_done(number)


def move_interrupts(machine: Machine, config: Config) -> None:
    """Lines to pins. Each source's own edge counts, as two may share a pin declared edge.

    The pins are the first domain's; another's lines come to it over `wires`.
    """
    asserted, rose = take_lines(machine, config)
    if config.domain:
        machine.wires.show(asserted, rose)
        return
    asserted, rose = with_wires(machine, config, asserted, rose)
    give_lines(machine, asserted, rose)


@cold
def move_old_interrupts(machine: Machine, config: Config) -> None:
    """The same on a PC, in the first domain: its own lines too, and all to its PIC as well."""
    asserted, rose = take_lines(machine, config)
    old_asserted, old_rose = old_lines(machine)
    asserted, rose = with_wires(machine, config, asserted | old_asserted, rose | old_rose)
    for place in DEVICES:
        if place.steers:
            steering: Steering = getattr(machine, place.field)
            asserted = steering.steer(asserted)
            rose = steering.steer(rose)
    give_lines(machine, asserted, rose)
    for place in DEVICES:
        if place.injects:
            external: ExternalInterrupts = getattr(machine, place.field)
            external.take_lines(isa_of(asserted), isa_of(rose))


def with_wires(machine: Machine, config: Config, asserted: u32, rose: u32) -> tuple[u32, u32]:
    """The first domain's lines with what other domains' devices put out."""
    for domain in range(1, config.domains):
        wires = machine_of(machine, domain).wires
        asserted |= wires.level()
        rose |= wires.take_edges()
    return asserted, rose


def give_lines(machine: Machine, asserted: u32, rose: u32) -> None:
    """To the pins."""
    for place in DEVICES:
        if place.controls_pins:
            controller: PinController = getattr(machine, place.field)
            controller.take_lines(asserted, rose)


def isa_of(pins: u32) -> u32:
    """Pins of the I/O APIC as ISA's IRQs: IRQ 0 is at pin 2, and there is no IRQ 2."""
    return pins & 0xFFFA | (pins >> 2 & 1)


def old_lines(machine: Machine) -> tuple[u32, u32]:
    """As take_lines, of what a PC alone has."""
    asserted: u32 = 0
    rose: u32 = 0
    for place in DEVICES:
        if place.board == Board.PC:
            device = getattr(machine, place.field)
            for wire in place.wires:
                line: Line = getattr(device, wire.line)
                asserted |= line.level << wire.pin
                if line.take_edge():
                    rose |= 1 << wire.pin
    return asserted, rose


def take_lines(machine: Machine, config: Config) -> tuple[u32, u32]:
    """The pins that this domain's devices assert, and those that one has just asserted."""
    asserted: u32 = 0
    rose: u32 = 0
    for row, place in enumerate(DEVICES):
        if place.board == Board.PC or not (place.wires or place.routed):
            continue
        device = getattr(machine, place.field)
        if is_present(place, row, config) and (not place.in_use or getattr(device, place.in_use)):
            for wire in place.wires:
                line: Line = getattr(device, wire.line)
                asserted |= line.level << wire.pin
                if line.take_edge():
                    rose |= 1 << wire.pin
            for routed in place.routed:
                for number in range(routed.count):
                    if place.in_use and number >= getattr(device, place.in_use):
                        break
                    part = getattr(device, routed.parts)[number]
                    owner = getattr(part, routed.within) if routed.within else part
                    pin = part.route() & 31
                    asserted |= u32((owner.line.level & 1) << pin)
                    if owner.line.take_edge():
                        rose |= u32(1 << pin)
    return asserted, rose
