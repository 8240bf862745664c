"""Where the guest's devices are: drives on IDE channels, virtio functions on the PCI bus.

Places alone: what a device is and does is the monitor's. The wiring of a virtio function is the
same for all of them, by the numbers in abi/.
"""

import os
from _collections_abc import Sequence

from vestige import abi
from vestige.host import steps
from vestige.host.backends.floppies import FLOPPIES
from vestige.host.kvm.vm import VirtualMachine
from vestige.host.loop.notices import Notices
from vestige.host.options import FLOPPY, VIRTIO, DiskOption

DRIVE_PLACE = 2  # of the IDE's four


def place_disks(config: abi.Config, disks: Sequence[DiskOption], cpus: int) -> None:
    """Tell the monitor which bus each disk is on, and where there; list the virtio functions.

    A virtio disk has a queue for each CPU. What an image is it says itself. A drive for discs is
    where a PC has it, the second channel's device 0; disks have the other places, in turn.
    """
    functions = controllers = 0
    optical = any(option.is_optical for option in disks)
    places = iter([place for place in range(4) if not (optical and place == DRIVE_PLACE)])
    for number, option in enumerate(disks):
        disk = config.disks[number]
        if option.controller is not None:
            disk.present, disk.read_only = 1, option.read_only
            disk.kind, disk.nvme = abi.DiskKind.NVME, controllers
            controllers += 1
        if option.bus == VIRTIO:
            disk.bus = abi.Bus.VIRTIO
            function = config.virtio[functions]
            function.kind, function.index = abi.VirtioKind.BLOCK, number
            function.queues = min(cpus, abi.VIRTIO_QUEUES)
            functions += 1
        elif option.bus == FLOPPY:
            disk.bus = abi.Bus.FLOPPY
        else:
            disk.bus = abi.Bus.IDE
            place = DRIVE_PLACE if option.is_optical else next(places)
            disk.channel, disk.unit = divmod(place, 2)


def place_floppies(config: abi.Config, floppies: Sequence[DiskOption]) -> None:
    """Tell which drive of a PC each floppy disk is in, and what drives these are.

    A drive is of the kind that its disk needs, an empty one the usual.
    """
    disks = iter([disk for disk in config.disks if disk.present and disk.bus == abi.Bus.FLOPPY])
    for unit, option in enumerate(floppies):
        kind = abi.FloppyDrive.OF_1440K
        if option.path:
            disk = next(disks)
            disk.unit = unit
            kind = FLOPPIES[disk.sectors]
        config.floppies[unit] = kind


def place_network(config: abi.Config) -> None:
    """Behind those, the virtio network interface: queues to receive and to send by, and control."""
    _add(config, abi.VirtioKind.NET, 2 * config.net.pairs + 1)


def place_consoles(config: abi.Config) -> None:
    """Behind those, the virtio console with the ports there are, if any."""
    count = max((n + 1 for n, port in enumerate(config.ports) if port.present), default=0)
    if count:
        _add(config, abi.VirtioKind.CONSOLE, 2 * count + 2)


def place_entropy(config: abi.Config) -> None:
    """Behind those, the virtio entropy device."""
    _add(config, abi.VirtioKind.ENTROPY, 1)


def place_tablet(config: abi.Config) -> None:
    """Behind those, the virtio input device: events, and what the driver has to say."""
    _add(config, abi.VirtioKind.INPUT, 2)


def _add(config: abi.Config, kind: abi.VirtioKind, queues: int) -> None:
    """A function at the next place there is; there are places for all that can be asked for."""
    function = next(one for one in config.virtio if one.kind == abi.VirtioKind.NONE)
    function.kind, function.queues = kind, queues


class VirtioWiring:
    """Notifications of the queues that a domain serves wake its worker without an exit.

    Threat: a guest that notifies without end makes its own worker work.
    """

    def __init__(self, config: abi.Config, guest: VirtualMachine, monitor: VirtualMachine) -> None:
        """Wire all functions that a domain's `config` lists, at the addresses where their BARs
        begin.
        """
        self._eventfd = steps.eventfd()
        self._guest = guest
        self._disks: list[int] = []  # the addresses of their queues
        monitor.connect_interrupt(abi.Irq.VIRTIO + config.domain, self._eventfd)
        for number, function in enumerate(config.virtio):
            if function.kind == abi.VirtioKind.NONE:
                continue
            notify = abi.VIRTIO_BARS + number * abi.VIRTIO_BAR_SIZE + abi.VIRTIO_NOTIFY
            for queue in range(function.share, function.queues, function.shares):
                place = notify + queue * abi.VIRTIO_NOTIFY_STRIDE
                guest.connect_store(place, abi.VIRTIO_NOTIFY_SIZE, self._eventfd)
                if function.kind == abi.VirtioKind.BLOCK:
                    self._disks.append(place)

    def notices(self, completions: int) -> Notices:
        """Those of a machine with one CPU; its ring counts completions at that address."""
        count = len(self._disks)
        notices = Notices(guest=self._guest.descriptor, count=count, completions=completions)
        for store, place in zip(notices.stores, self._disks, strict=False):
            store.address, store.length = place, abi.VIRTIO_NOTIFY_SIZE
            store.descriptor = self._eventfd
        return notices

    def close(self) -> None:
        """Close the eventfd; the VMs must be closed first."""
        os.close(self._eventfd)
