"""Interrupts: the guest's, by doorbells, and the workers'."""

from vestige.abi import MAX_VIRTIO, PINS, VIRTIO_GSI, VIRTIO_VECTORS, Call, Config, Cpu, Shared
from vestige.devices import DEVICES
from vestige.lang.types import u16, u32, u64
from vestige.monitor import outside
from vestige.monitor.core.machine import Machine
from vestige.shapes import PinController


def send_interrupts(cpu: Cpu, machine: Machine, shared: Shared) -> None:
    """Send the messages of the pins and vectors that asked for it."""
    for place in DEVICES:
        if place.controls_pins:
            controller: PinController = getattr(machine, place.field)
            requests = controller.take_requests()
            if requests:
                for pin in range(PINS):
                    if requests & 1 << pin:
                        address = controller.message_address(pin)
                        send(cpu, shared, pin, address, controller.message_data(pin))
    for number in range(min(machine.virtio.count, MAX_VIRTIO)):
        msix = machine.virtio.functions[number].device.msix
        requests = msix.take_requests()
        if requests:
            report = shared.statistics.virtio[number]
            function = shared.config.virtio[number].share * MAX_VIRTIO + number
            for vector in range(VIRTIO_VECTORS):
                if requests >> vector == 0:
                    break
                if requests >> vector & 1:
                    gsi = u32(VIRTIO_GSI + function * VIRTIO_VECTORS + vector)
                    address = msix.message_address(vector)
                    if route(cpu, shared, gsi, address, msix.message_data(vector)):
                        send_vector(cpu, shared.config, u16(gsi))
                    report.interrupts += 1


def send(cpu: Cpu, shared: Shared, gsi: u32, address: u64, data: u32) -> None:
    """Send a message now."""
    if route(cpu, shared, gsi, address, data):
        outside.ring_doorbell(u16(gsi))


def send_vector(cpu: Cpu, config: Config, gsi: u16) -> None:
    """Ring a vector's doorbell: a guest's only CPU as its trap ends, all others at once.

    The lock is given back by then, and another CPU might have given the GSI another message.
    """
    if config.cpus == 1 and cpu.index == 0:
        outside.hold_doorbell(cpu, gsi)
    else:
        outside.ring_doorbell(gsi)


def route(cpu: Cpu, shared: Shared, gsi: u32, address: u64, data: u32) -> bool:
    """Whether a GSI's doorbell is to be rung; before, give the host its message if that has
    changed.

    One with address 0 is none, as an MSI-X table holds it that the guest has not written.
    """
    if address == 0:
        return False
    known = shared.routes[gsi]
    if known.address != address or known.data != data:
        known.address = address
        known.data = data
        cpu.argument[0] = gsi
        cpu.argument[1] = shared.config.domain
        outside.call(cpu, Call.ROUTE)
    shared.statistics.doorbells += 1
    return True


def wake_worker(shared: Shared, domain: u32) -> None:
    """Interrupt a domain's worker."""
    outside.wake(u32(shared.config.cpus + domain))
