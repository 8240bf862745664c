"""Whether an NVMe controller can be handed over, as sysfs tells, and what to do where not.

Linux, Documentation/ABI/testing/sysfs-bus-pci and sysfs-kernel-iommu_groups. Nothing here
changes anything: to take a controller from its driver is the user's decision.
"""

import errno
import os
from typing import NamedTuple

from vestige.errors import UsageError

NVME_CLASS = "0x010802"  # mass storage, non-volatile memory, NVM Express: PCI ID list, class 01
DRIVER = "vfio-pci"
BRIDGE_CLASS = "0x06"
HARMLESS = (DRIVER, "pci-stub", "pcieport", None)  # drivers that leave a group viable


class KernelPaths(NamedTuple):
    """Where the kernel shows devices; tests have their own."""

    sysfs: str = "/sys"
    nodes: str = "/dev/vfio"
    mounts: str = "/proc/self/mounts"


class Problem(NamedTuple):
    """Why a controller can't be handed over, and the next step."""

    found: str
    cure: str


class Device:
    """One PCI device in sysfs."""

    def __init__(self, address: str, paths: KernelPaths) -> None:
        """`address` is domain:bus:device.function, as sysfs writes it."""
        self.address = address
        self.path = f"{paths.sysfs}/bus/pci/devices/{address}"

    @property
    def exists(self) -> bool:
        """Whether there is such a device."""
        return os.path.isdir(self.path)  # noqa: PTH112 - pathlib is slow to import

    @property
    def device_class(self) -> str:
        """Class, subclass and programming interface, like 0x010802; "" if it is gone."""
        try:
            with open(f"{self.path}/class", encoding="ascii") as file:  # noqa: PTH123
                return file.read().strip()
        except OSError:
            return ""

    @property
    def driver(self) -> str | None:
        """The name of the kernel's driver that has it; None: none."""
        return _target(f"{self.path}/driver")

    @property
    def group(self) -> str | None:
        """The number of its IOMMU group; None: no IOMMU stands before it."""
        return _target(f"{self.path}/iommu_group")

    @property
    def has_iommu(self) -> bool:
        """Whether an IOMMU confines it; VFIO can make groups that have none."""
        try:
            with open(f"{self.path}/iommu_group/name", encoding="ascii") as file:  # noqa: PTH123
                return file.read().strip() != "vfio-noiommu"
        except FileNotFoundError:
            return self.group is not None

    def neighbours(self, paths: KernelPaths) -> list["Device"]:
        """The other devices of its group."""
        names = _names(f"{self.path}/iommu_group/devices")
        return [Device(name, paths) for name in names if name != self.address]

    def mounted(self, paths: KernelPaths) -> str | None:
        """A mounted device of its namespaces and where, like "/dev/nvme0n1p2 on /home"."""
        instances = _names(f"{self.path}/nvme")
        disks = [
            f"/dev/{_disk(name)}"
            for instance in instances
            for name in _names(f"{self.path}/nvme/{instance}")
            if name.startswith("nvme")
        ]
        try:
            with open(paths.mounts, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                lines = [line.split() for line in file]
        except OSError:
            return None
        for device, place, *_ in lines:
            if any(device == disk or device.startswith(f"{disk}p") for disk in disks):
                return f"{device} on {place}"
        return None


def controllers(paths: KernelPaths | None = None) -> list[str]:
    """The addresses of all NVMe controllers of this machine."""
    paths = paths or KernelPaths()
    names = _names(f"{paths.sysfs}/bus/pci/devices")
    return [name for name in names if Device(name, paths).device_class == NVME_CLASS]


def problem(address: str, paths: KernelPaths | None = None) -> Problem | None:
    """Why the controller at `address` can't be handed over now; None: it can."""
    paths = paths or KernelPaths()
    device = Device(address, paths)
    if not device.exists:
        return _absent(address, paths)
    if device.device_class != NVME_CLASS:
        return Problem(
            f"not an NVMe controller: class {device.device_class}, not {NVME_CLASS}",
            _others(address, paths),
        )
    if device.group is None or not device.has_iommu:
        return Problem(
            "no IOMMU stands between it and this machine's memory",
            "switch VT-d or AMD-Vi on in the firmware, and boot Linux with intel_iommu=on"
            " (Intel; AMD needs no option)",
        )
    if device.driver != DRIVER:
        return _not_bound(device, paths)
    return _not_viable(device, paths) or _no_node(device, paths)


def check(address: str, paths: KernelPaths | None = None) -> str:
    """The group of the controller at `address`. Raises UsageError where it can't be had."""
    found = problem(address, paths)
    if found is not None:
        raise UsageError(f"{address}: {found.found}; {found.cure}")
    return Device(address, paths or KernelPaths()).group or ""


def _absent(address: str, paths: KernelPaths) -> Problem:
    return Problem("no such PCI device", _others(address, paths))


def _others(address: str, paths: KernelPaths) -> str:
    others = [name for name in controllers(paths) if name != address]
    if others:
        return f"this machine's NVMe controllers: {', '.join(others)}"
    return "this machine has no NVMe controller (`lspci -nn` lists its devices)"


def _not_bound(device: Device, paths: KernelPaths) -> Problem:
    mounted = device.mounted(paths)
    if mounted is not None:
        return Problem(
            f"in use by this machine: {mounted}",
            f"unmount it, and make sure that nothing on it is needed: {device.address} vanishes"
            " from this machine while a guest has it",
        )
    driver = device.driver
    return Problem(
        f"its driver is {driver}, not {DRIVER}" if driver else f"not bound to {DRIVER}",
        f"as root: {binding_commands(device.address, driver)}",
    )


def binding_commands(address: str, driver: str | None) -> str:
    """The shell commands that give the device at `address` to vfio-pci, on one line."""
    path = f"/sys/bus/pci/devices/{address}"
    commands = [f"modprobe {DRIVER}", f"echo {DRIVER} > {path}/driver_override"]
    if driver is not None:
        commands.append(f"echo {address} > {path}/driver/unbind")
    commands.append(f"echo {address} > /sys/bus/pci/drivers_probe")
    return " && ".join(commands)


def _not_viable(device: Device, paths: KernelPaths) -> Problem | None:
    """The group's other devices can reach what this one can: all of them must be given up."""
    others = [
        f"{other.address} ({other.driver})"
        for other in device.neighbours(paths)
        if other.driver not in HARMLESS and not other.device_class.startswith(BRIDGE_CLASS)
    ]
    if not others:
        return None
    return Problem(
        f"IOMMU group {device.group} is not viable: also in it and in use: {', '.join(others)}",
        f"give those to {DRIVER} too, or put the controller into another slot",
    )


def _no_node(device: Device, paths: KernelPaths) -> Problem | None:
    """Whether this user may open the group."""
    for node, cure in (
        (
            f"{paths.nodes}/{device.group}",
            f"as root: chown YOUR-USER {paths.nodes}/{device.group}",
        ),
        (f"{paths.nodes}/vfio", f"as root: chmod 666 {paths.nodes}/vfio"),
    ):
        if not os.path.exists(node):  # noqa: PTH110 - pathlib is slow to import
            return Problem(f"there is no {node}", f"as root: modprobe {DRIVER} vfio_iommu_type1")
        if not os.access(node, os.R_OK | os.W_OK):
            return Problem(f"no permission on {node}", cure)
    return None


def not_opened(address: str, node: str, error: OSError) -> UsageError:
    """What to say where opening `node` failed although `problem` found nothing."""
    if error.errno == errno.EBUSY:
        return UsageError(f"{address}: in use by another run; end that one first")
    if error.errno in (errno.EACCES, errno.EPERM):
        return UsageError(f"{address}: no permission on {node}; as root: chown YOUR-USER {node}")
    return UsageError(f"{address}: {node}: {error.strerror}; `vestige doctor` says what is missing")


def _target(link: str) -> str | None:
    """The last part of what a symbolic link points to; None: there is none."""
    try:
        return os.readlink(link).rpartition("/")[2]  # noqa: PTH115
    except OSError:
        return None


def _disk(namespace: str) -> str:
    """A namespace's block device. Where Linux allows for several paths to it, nvme0c1n1 is one of
    them, by controller 1, and what is mounted is nvme0n1.
    """
    subsystem, path, rest = namespace.partition("c")
    return f"{subsystem}n{rest.partition('n')[2]}" if path else namespace


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))  # noqa: PTH208 - pathlib is slow to import
    except OSError:
        return []
