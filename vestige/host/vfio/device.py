"""An NVMe controller opened through VFIO, and the address space it and its like may reach.

The order of opening and closing is the kernel's: group into container, IOMMU type, device;
Linux, Documentation/driver-api/vfio.rst.
"""

import ctypes
import errno
import mmap
import os
import resource
from contextlib import suppress

from vestige.errors import UsageError
from vestige.host.kvm.memory import mapping_address
from vestige.host.vfio import api as vfio
from vestige.host.vfio import bar, sysfs

BAR0 = 0
COMMAND = 4  # PCI Local Bus 3.0, 6.2.2
COMMAND_MEMORY, COMMAND_MASTER, COMMAND_INTX_OFF = 1 << 1, 1 << 2, 1 << 10
CAN_RESET = 1 << 0  # DeviceInfo.flags


class Container:
    """One IOMMU address space, empty at first. The controllers of a run share it."""

    def __init__(self, nodes: str) -> None:
        """Open it; `nodes` is the directory of VFIO's devices. Raises UsageError."""
        self.nodes = nodes
        node = f"{nodes}/vfio"
        try:
            self.descriptor = os.open(node, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise sysfs.not_opened("VFIO", node, error) from error
        self._is_typed = False

    def add(self, address: str, group: int) -> None:
        """Let the devices of `group` into this address space."""
        vfio.call(group, vfio.Request.GROUP_SET_CONTAINER, vfio.Descriptor(number=self.descriptor))
        if self._is_typed:
            return
        if vfio.call(self.descriptor, vfio.Request.CHECK_EXTENSION, vfio.TYPE1_V2) != 1:
            raise UsageError(f"{address}: this kernel's VFIO has no Type 1 IOMMU; modprobe it")
        vfio.call(self.descriptor, vfio.Request.SET_IOMMU, vfio.TYPE1_V2)
        self._is_typed = True

    def map(self, device_address: int, size: int, host_address: int) -> None:
        """Let the devices reach `size` bytes of this process; they are pinned from now on.

        Raises UsageError: too little lockable memory, or an address the IOMMU doesn't have.
        """
        mapping = vfio.DmaMap(
            flags=vfio.Dma.READ | vfio.Dma.WRITE,
            host_address=host_address,
            device_address=device_address,
            length=size,
        )
        try:
            vfio.call(self.descriptor, vfio.Request.IOMMU_MAP_DMA, vfio.sized(mapping))
        except OSError as error:
            raise UsageError(_not_mapped(device_address, size, error)) from None

    def close(self) -> None:
        """End all mappings."""
        os.close(self.descriptor)


def _not_mapped(device_address: int, size: int, error: OSError) -> str:
    what = f"{size >> 20} MiB at {device_address:#x} can't be given to the NVMe controller"
    if error.errno != errno.ENOMEM:
        return f"{what}: {error.strerror}; does the IOMMU reserve that? (reserved_regions in sysfs)"
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    locked = "all memory" if limit == resource.RLIM_INFINITY else f"{limit >> 10} KiB"
    return (
        f"{what}: {error.strerror}; a controller needs all of the guest's RAM in place, and this"
        f" user may lock {locked}: raise that (ulimit -l), or give less --memory"
    )


class Controller:
    """One controller: its BAR 0 mapped, ready to master the bus. Only `close` un-does that."""

    def __init__(self, address: str, group: str, container: Container, limit: int) -> None:
        """Open the controller at `address`, of IOMMU group `group`.

        At most `limit` bytes of BAR 0 are mapped. Raises UsageError: in use, no permission, or
        its registers can't be told from its MSI-X table.
        """
        self.address = address
        self._open: list[int] = []
        self._bar: mmap.mmap | None = None
        try:
            self._start(group, container, limit)
        except OSError as error:
            self.close()
            raise UsageError(
                f"{address}: {error.filename}: {error.strerror}; `vestige doctor` looks closer"
            ) from error
        except BaseException:
            self.close()
            raise

    def _start(self, group: str, container: Container, limit: int) -> None:
        self.group = self._open_group(f"{container.nodes}/{group}")
        container.add(self.address, self.group)
        name = vfio.Name()
        for index, byte in enumerate(self.address.encode("ascii")):
            name.text[index] = byte
        self.descriptor = vfio.call(self.group, vfio.Request.GROUP_GET_DEVICE_FD, name)
        self._open.append(self.descriptor)
        config = self._region(vfio.CONFIG_REGION)
        self._config = config.offset
        try:
            self._map_bar(os.pread(self.descriptor, bar.CONFIG_SIZE, config.offset), limit)
        except UsageError as error:
            raise UsageError(f"{self.address}: {error}") from None
        # The kernel reset the controller as it was opened: it masters nothing yet.
        self._command(COMMAND_MEMORY | COMMAND_MASTER | COMMAND_INTX_OFF)

    def _open_group(self, node: str) -> int:
        try:
            group = os.open(node, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise sysfs.not_opened(self.address, node, error) from error
        self._open.append(group)
        status = vfio.sized(vfio.GroupStatus())
        vfio.call(group, vfio.Request.GROUP_GET_STATUS, status)
        if not status.flags & vfio.Status.VIABLE:
            raise UsageError(
                f"{self.address}: its IOMMU group ({node}) is not viable; `vestige doctor` says"
                " what else is in it"
            )
        return group

    def _region(self, index: int) -> vfio.RegionInfo:
        region = vfio.sized(vfio.RegionInfo(index=index))
        vfio.call(self.descriptor, vfio.Request.DEVICE_GET_REGION_INFO, region)
        return region

    def _map_bar(self, config: bytes, limit: int) -> None:
        region = self._region(BAR0)
        msix = bar.msix_of(config)
        if msix is None:
            raise UsageError("it has no MSI-X; use another controller")
        if not region.flags & vfio.Region.MMAP:
            raise UsageError("the kernel lets nobody map its BAR 0; use another controller")
        self.bar_size = bar.mappable(region.length, msix, areas_of(region), limit)
        access = mmap.PROT_READ | mmap.PROT_WRITE
        self._bar = mmap.mmap(
            self.descriptor, self.bar_size, mmap.MAP_SHARED, access, offset=region.offset
        )
        self.bar_address = mapping_address(self._bar)

    def _command(self, bits: int) -> None:
        place = self._config + COMMAND
        command = int.from_bytes(os.pread(self.descriptor, 2, place), "little")
        os.pwrite(self.descriptor, (command | bits).to_bytes(2, "little"), place)

    def connect_interrupt(self, eventfd: int) -> None:
        """MSI-X vector 0 writes `eventfd` from now on; the other vectors stay off."""
        irq = vfio.IrqSet(
            flags=vfio.Irq.DATA_EVENTFD | vfio.Irq.ACTION_TRIGGER,
            index=vfio.MSIX,
            count=1,
            eventfd=eventfd,
        )
        vfio.call(self.descriptor, vfio.Request.DEVICE_SET_IRQS, vfio.sized(irq))

    def reset(self) -> None:
        """Stop all it does, where it can be reset; the kernel says so if not."""
        info = vfio.sized(vfio.DeviceInfo())
        vfio.call(self.descriptor, vfio.Request.DEVICE_GET_INFO, info)
        if info.flags & CAN_RESET:
            vfio.call(self.descriptor, vfio.Request.DEVICE_RESET)

    def close(self) -> None:
        """Reset it and give it back to vfio-pci, which takes the bus from it."""
        if self._bar is not None:
            with suppress(OSError):  # it may have been pulled out; the kernel tries again
                self.reset()
            self._bar.close()
            self._bar = None
        while self._open:
            os.close(self._open.pop())


def areas_of(region: vfio.RegionInfo) -> list[tuple[int, int]] | None:
    """The (offset, bytes) of a region that can be mapped; None: all of it."""
    place, end = region.capabilities, min(region.size, ctypes.sizeof(region))
    seen: set[int] = set()
    if not region.flags & vfio.Region.CAPABILITIES:
        return None
    start = ctypes.addressof(region)
    while place not in seen and 0 < place <= end - ctypes.sizeof(vfio.SparseMmap):
        seen.add(place)
        header = vfio.CapabilityHeader.at(start + place)
        if header.number == vfio.Capability.SPARSE_MMAP:
            count = vfio.SparseMmap.at(start + place).count
            first, step = place + ctypes.sizeof(vfio.SparseMmap), ctypes.sizeof(vfio.Area)
            places = range(first, min(first + count * step, end - step + 1), step)
            areas = [vfio.Area.at(start + offset) for offset in places]
            return [(area.offset, area.length) for area in areas]
        place = header.next
    return None
