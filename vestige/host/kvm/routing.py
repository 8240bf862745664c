"""Interrupts between the two VMs and from the ring, all of it inside the kernel.

A doorbell is one eventfd: written by the monitor's OUT to PORT_DOORBELL + n (an ioeventfd of
the monitor VM), read by the guest VM as interrupt n (an irqfd). Threats: a subverted monitor
can interrupt its own guest as often as it likes, with any message its own guest's local APICs
take; an MSI can't leave the VM it is routed in.
"""

import os
from _collections_abc import Mapping
from _thread import allocate_lock  # what threading, slower to import, calls Lock

from vestige import abi
from vestige.host import limits, steps
from vestige.host.kvm.vm import VirtualMachine
from vestige.host.loop.runloop import Bells
from vestige.rows import POSTS

MSI_DESTINATION = 12  # bit of the APIC ID in an MSI's address, Intel SDM vol. 3, 11.11.1


class Doorbells:
    """The doorbells and the routes behind them.

    The monitor has a GSI's message routed before it first rings for it, and that wires the GSI: of
    the pins and vectors there may be few are ever used.
    """

    def __init__(self, guest: VirtualMachine, monitor: VirtualMachine) -> None:
        """None is wired yet."""
        self._guest = guest
        self._monitor = monitor
        self._routes: dict[int, tuple[int, int]] = {}
        self._lock = allocate_lock()  # any vCPU's thread may route
        self.bells = Bells()

    def route(self, gsi: int, address: int, data: int) -> None:
        """From now on `gsi` is the message (address, data); address 0 is none."""
        with self._lock:
            if not self.bells.eventfds[gsi]:
                self._wire(gsi)
            if address:
                self._routes[gsi] = (address, data)
            else:
                self._routes.pop(gsi, None)
            self._guest.set_routes(self._routes)

    def restore(self, messages: Mapping[int, tuple[int, int]]) -> None:
        """Route all of these, of a machine that has none yet."""
        for gsi in messages:
            self._wire(gsi)
        self._routes.update(messages)
        self._guest.set_routes(self._routes)

    def _wire(self, gsi: int) -> None:
        try:
            eventfd = steps.eventfd()
        except OSError as error:
            raise limits.refusal("a doorbell", error.errno or 0) from None
        self.bells.eventfds[gsi] = eventfd
        self._guest.connect_interrupt(gsi, eventfd)
        self._monitor.connect_port(abi.PORT_DOORBELL + gsi, eventfd)

    def close(self) -> None:
        """Close the eventfds; the VMs must be closed first."""
        for eventfd in self.bells.eventfds:
            if eventfd:
                os.close(eventfd)


class PostedStarts:
    """The guest's writes that interrupt the worker instead of exiting: vestige.devices.POSTS.

    Threat: a guest that writes them without end makes its own worker work.
    """

    def __init__(self, guest: VirtualMachine, monitor: VirtualMachine) -> None:
        """Wire all of them."""
        self._eventfds = []
        for number, post in enumerate(POSTS):
            eventfd = steps.eventfd()
            self._eventfds.append(eventfd)
            monitor.connect_interrupt(abi.Irq.START + number, eventfd)
            guest.connect_store(post.address, 1, eventfd, post.value)

    def close(self) -> None:
        """Close the eventfds; the VMs must be closed first."""
        for eventfd in self._eventfds:
            os.close(eventfd)


def route_to_workers(monitor: VirtualMachine, first: int, domains: int) -> None:
    """From now on each abi.Irq wakes a worker: a domain's own its own, all others the first.

    Monitor vCPU `first` is that one. Posted starts have vectors of their own.
    """
    address = abi.LOCAL_APIC | first << MSI_DESTINATION
    routes = dict.fromkeys(range(abi.Irq.COUNT), (address, int(abi.WORKER_VECTOR)))
    for number in range(len(POSTS)):
        routes[abi.Irq.START + number] = address, abi.START_VECTOR + number
    for domain in range(1, domains):
        address = abi.LOCAL_APIC | first + domain << MSI_DESTINATION
        routes[abi.Irq.RING + domain] = address, abi.WORKER_VECTOR
        routes[abi.Irq.VIRTIO + domain] = address, abi.WORKER_VECTOR
    monitor.set_routes(routes)
