"""VFIO's system calls, typed: requests, structures, and one function to make them.

From Linux 6.1's include/uapi/linux/vfio.h; the meaning of each is in the kernel's
Documentation/driver-api/vfio.rst. A device belongs to a group, the smallest set of devices the
IOMMU can tell apart; groups share a container, which is one IOMMU address space.
"""

import ctypes
import os
from enum import IntEnum, IntFlag
from typing import TypeVar

from vestige.lang.intrinsics import address_of, syscall
from vestige.lang.types import Struct, u8, u16, u32, u64

SYS_IOCTL = 16
EINTR = 4
TYPE1_V2 = 3  # the IOMMU's interface on x86, whose mappings can't be split
CONFIG_REGION = 7  # of a PCI device; 0 to 5 are its BARs
MSIX = 2  # index of a PCI device's MSI-X interrupts


class Request(IntEnum):
    """ioctl numbers: of the container, of a group, of a device, of the IOMMU."""

    CHECK_EXTENSION = 0x3B65
    SET_IOMMU = 0x3B66

    GROUP_GET_STATUS = 0x3B67
    GROUP_SET_CONTAINER = 0x3B68
    GROUP_GET_DEVICE_FD = 0x3B6A

    DEVICE_GET_INFO = 0x3B6B
    DEVICE_GET_REGION_INFO = 0x3B6C
    DEVICE_SET_IRQS = 0x3B6E
    DEVICE_RESET = 0x3B6F

    IOMMU_MAP_DMA = 0x3B71


class Status(IntFlag):
    """GroupStatus.flags."""

    VIABLE = 1 << 0


class Region(IntFlag):
    """RegionInfo.flags."""

    READ = 1 << 0
    WRITE = 1 << 1
    MMAP = 1 << 2
    CAPABILITIES = 1 << 3


class Capability(IntEnum):
    """What a region's chain of capabilities may hold."""

    SPARSE_MMAP = 1  # only these areas can be mapped
    MSIX_MAPPABLE = 3  # the MSI-X table's pages can be mapped too


class Dma(IntFlag):
    """DmaMap.flags: what the device may do there."""

    READ = 1 << 0
    WRITE = 1 << 1


class Irq(IntFlag):
    """IrqSet.flags."""

    DATA_EVENTFD = 1 << 2
    ACTION_TRIGGER = 1 << 5


class Descriptor(Struct):
    """An int that is passed by its address: a file descriptor."""

    number: u32


class Name(Struct):
    """A device's name, ended by a zero."""

    text: u8[64]


class GroupStatus(Struct):
    """struct vfio_group_status."""

    size: u32
    flags: u32


class DeviceInfo(Struct):
    """struct vfio_device_info, without capabilities."""

    size: u32
    flags: u32  # bit 0: DEVICE_RESET works
    regions: u32
    interrupts: u32


class RegionInfo(Struct):
    """struct vfio_region_info with room for its capabilities."""

    size: u32
    flags: u32
    index: u32
    capabilities: u32  # offset of the first from the start of this, 0: none
    length: u64
    offset: u64  # in the device's descriptor
    rest: u8[4064]


class CapabilityHeader(Struct):
    """struct vfio_info_cap_header."""

    number: u16
    version: u16
    next: u32  # as RegionInfo.capabilities


class SparseMmap(Struct):
    """struct vfio_region_info_cap_sparse_mmap; its Areas follow."""

    header: CapabilityHeader
    count: u32
    reserved: u32


class Area(Struct):
    """struct vfio_region_sparse_mmap_area."""

    offset: u64
    length: u64


class IrqSet(Struct):
    """struct vfio_irq_set with room for one eventfd."""

    size: u32
    flags: u32
    index: u32
    start: u32
    count: u32
    eventfd: u32


class DmaMap(Struct):
    """struct vfio_iommu_type1_dma_map."""

    size: u32
    flags: u32
    host_address: u64
    device_address: u64
    length: u64


Sized = TypeVar("Sized", GroupStatus, DeviceInfo, RegionInfo, IrqSet, DmaMap)


def sized(argument: Sized) -> Sized:
    """`argument`, with its size filled in: VFIO's structures begin with that."""
    argument.size = ctypes.sizeof(argument)
    return argument


def call(descriptor: int, request: Request, argument: int | Struct = 0) -> int:
    """One ioctl, again as long as a signal interrupts it.

    Raises OSError whose `filename` is the request's name.
    """
    value = argument if isinstance(argument, int) else address_of(argument)
    answer = -EINTR
    while answer == -EINTR:
        answer = syscall(SYS_IOCTL, descriptor, request, value, 0, 0, 0)
    if answer < 0:
        raise OSError(-answer, os.strerror(-answer), f"VFIO_{request.name}")
    return answer
