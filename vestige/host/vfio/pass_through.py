"""NVMe controllers handed to the monitor: what they may reach, and what reaches them.

Threats: the monitor programs a controller as it likes, so a subverted one makes it read and
write whatever the IOMMU maps: the guest's own RAM, STATE and the queues, at the addresses the
monitor knows them by; not the monitor's code, tables and stacks, not this process. Of BAR 0 the
monitor sees whole pages without MSI-X structures, so it can't forge interrupts. It can write
what it likes to the drive itself, firmware included: a controller is handed over as a whole.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack, closing

from vestige import abi
from vestige.host.kvm import api as kvm
from vestige.host.kvm import monitor_tables
from vestige.host.kvm.memory import Region
from vestige.host.kvm.twin import Twin
from vestige.host.vfio import api as vfio
from vestige.host.vfio import sysfs
from vestige.host.vfio.device import Container, Controller
from vestige.host.vfio.sysfs import KernelPaths
from vestige.lang.intrinsics import address_of


class PassThrough:
    """The controllers of one run, opened, mapped, and wired to the worker.

    `pages` are (address, size, attributes) for the monitor's page tables.
    """

    def __init__(
        self, twin: Twin, addresses: Sequence[str], paths: KernelPaths | None = None
    ) -> None:
        """Take the controllers at these addresses, domain:bus:device.function.

        Raises UsageError saying why one can't be had, with all of them given back.
        """
        self.pages: list[tuple[int, int, int]] = []
        paths = paths or KernelPaths()
        groups = [sysfs.check(address, paths) for address in addresses]
        with ExitStack() as stack:
            container = stack.enter_context(closing(Container(paths.nodes)))
            controllers = [
                stack.enter_context(closing(Controller(address, group, container, abi.BAR_STRIDE)))
                for address, group in zip(addresses, groups, strict=True)
            ]
            _map_shared(twin, container)
            groups_told = stack.enter_context(closing(_Groups(twin)))
            for index, controller in enumerate(controllers):
                groups_told.add(controller.group)
                self._show(twin, container, controller, index, stack)
            self._stack = stack.pop_all()

    def _show(
        self,
        twin: Twin,
        container: Container,
        controller: Controller,
        index: int,
        stack: ExitStack,
    ) -> None:
        """Give controller `index` its queues and its interrupt, and the monitor its registers."""
        queues = stack.enter_context(closing(Region(abi.NVME_QUEUES_SIZE)))
        shown = twin.private.shared().config.nvme[index]
        shown.present = 1
        shown.vectors = 1
        shown.bar, shown.bar_size = abi.BARS + index * abi.BAR_STRIDE, controller.bar_size
        shown.queues = abi.NVME_QUEUES + index * abi.NVME_QUEUES_SIZE
        container.map(shown.queues, queues.size, queues.address)
        twin.monitor.map(shown.queues, queues.size, queues.address)
        twin.monitor.map(shown.bar, controller.bar_size, controller.bar_address)
        self.pages.append((shown.queues, queues.size, monitor_tables.DATA))
        self.pages.append((shown.bar, controller.bar_size, monitor_tables.REGISTERS))
        eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        stack.callback(os.close, eventfd)
        twin.monitor.connect_interrupt(abi.Irq.NVME + index, eventfd)
        controller.connect_interrupt(eventfd)

    def close(self) -> None:
        """Reset the controllers and give them back; no thread may be in a vCPU."""
        self._stack.close()


def _map_shared(twin: Twin, container: Container) -> None:
    """Guest RAM at its own addresses, and the models' buffers in STATE."""
    for address, size, host_address in twin.memory.parts():
        container.map(address, size, host_address)
    container.map(abi.STATE, abi.STATE_SIZE, twin.private.host_address(abi.STATE))


class _Groups:
    """KVM's VFIO device: it tells KVM which devices' DMA the monitor VM has to do with."""

    def __init__(self, twin: Twin) -> None:
        device = kvm.CreateDevice(kind=kvm.DEVICE_VFIO)
        kvm.call(twin.monitor.descriptor, kvm.Request.CREATE_DEVICE, device)
        self._descriptor = device.descriptor

    def add(self, group: int) -> None:
        """Tell KVM of an open group."""
        number = vfio.Descriptor(number=group)
        attribute = kvm.DeviceAttribute(
            group=kvm.VFIO_GROUP,
            attribute=kvm.VFIO_GROUP_ADD,
            address=address_of(number),
        )
        kvm.call(self._descriptor, kvm.Request.SET_DEVICE_ATTR, attribute)

    def close(self) -> None:
        os.close(self._descriptor)
