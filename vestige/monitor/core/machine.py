"""All state of a domain: every device, what lies between them, what waits to be done."""

from vestige.abi import MAX_DISKS, MAX_NET_PAIRS, Bus, Config, DiskKind, NetBackend
from vestige.devices import DEVICES
from vestige.lang.intrinsics import address_of
from vestige.lang.types import Struct, u8, u32, u64
from vestige.monitor.core.clock import Clock
from vestige.monitor.core.console import ConsoleLink
from vestige.monitor.core.failures import FileFailures
from vestige.monitor.core.lock import Fence, Lock
from vestige.monitor.core.network import NetworkLink
from vestige.monitor.core.ports import PortLinks
from vestige.monitor.core.shadow import clear_shadow
from vestige.monitor.core.trap import Trap
from vestige.monitor.core.wires import Wires
from vestige.monitor.devices.acpi_registers.model import AcpiRegisters
from vestige.monitor.devices.acpi_registers.spec import Power
from vestige.monitor.devices.hpet.model import Hpet
from vestige.monitor.devices.ioapic.model import IoApic
from vestige.monitor.devices.pci.root import PciRoot
from vestige.monitor.devices.piix3_ide.function import Ide
from vestige.monitor.devices.pvpanic.model import Pvpanic
from vestige.monitor.devices.pvpanic.spec import Event
from vestige.monitor.devices.uart16550.model import Uart
from vestige.monitor.devices.virtio.devices import Virtio
from vestige.monitor.drivers.nvme.driver import NvmeDriver
from vestige.monitor.drivers.ring.driver import Driver
from vestige.monitor.line import NEVER
from vestige.place import Device, Timed


class Machine(Struct):
    """Lives at abi.STATE, zeroed by the host. All but `traps` is guarded by `lock`.

    Those of other domains (core/domains.py) follow.
    """

    lock: Lock
    fence: Fence
    wires: Wires
    sharing: Lock  # core/replicas.py; the first domain's
    clock: Clock
    pci: PciRoot
    ioapic: IoApic
    hpet: Hpet
    uart: Uart
    acpi: AcpiRegisters
    pvpanic: Pvpanic
    ide: Ide
    console: ConsoleLink
    ports: PortLinks
    driver: Driver
    failures: FileFailures
    nvme: NvmeDriver
    timer: u64  # what the worker's timer is set to; NEVER: it isn't, or its interrupt has come
    armed: u64  # the same, or what the worker is being told to set it to
    told: u32  # 1: it is being told to; until it has
    at_work: u32  # 1: the worker is in its turn, and asks for notifications at the end of it
    kick_due: u64  # when to enter the ring again that took nothing; NEVER: no need
    stopping: u32  # 1: a CPU has begun to end the machine
    crash_told: u32  # 1: the user has been told that a crash kernel takes over
    traps: Trap[32]  # MAX_CPUS; each is its CPU's own, in the first domain
    # From here on the ring has as much as the machine needs: abi.STATE_PLAIN.
    virtio: Virtio
    networks: NetworkLink[4]  # MAX_NET_PAIRS; what is behind the first may not be the ring's

    def reset(self, config: Config) -> None:
        """Power on, but for the disks behind NVMe controllers: core/controllers.py."""
        self.timer = NEVER
        self.armed = NEVER
        self.told = 0
        self.kick_due = NEVER
        for place in DEVICES:
            device: Device = getattr(self, place.field)
            device.reset()
        self.pci.reset()
        self.ide.reset(True)
        if config.ide_in_memory:
            self.ide.place_in_memory()
        clear_shadow(config)
        self.console.connect(config)
        self.ports.connect(config)
        if config.ring.present:
            self.driver.reset(config.ring, address_of(self))
            if config.net.backend != NetBackend.NONE:
                for i in range(MAX_NET_PAIRS):
                    self.networks[i].attach(i, config.net.files[i])
            self.virtio.reset(config)
            for i in range(MAX_DISKS):
                if config.disks[i].present and config.disks[i].kind == DiskKind.RING:
                    self.attach(config, i)

    def attach(self, config: Config, disk: u8) -> None:
        """Put a disk whose size and names are known where the guest finds it."""
        if config.disks[disk].bus == Bus.VIRTIO:
            self.virtio.attach_disk(config, disk)
        else:
            self.ide.attach(disk, config.disks[disk])

    def is_over(self) -> bool:
        """Whether the guest has ended its machine, or its kernel has panicked for good."""
        return self.acpi.power != Power.ON or self.panicked()

    def panicked(self) -> bool:
        """Whether the guest's kernel has panicked, with no crash kernel to take over."""
        return self.pvpanic.events & Event.PANICKED != 0

    def expire(self, now: u64) -> None:
        """Time has passed."""
        for place in DEVICES:
            if place.timed:
                device: Timed = getattr(self, place.field)
                device.expire(now)

    def next_deadline(self) -> u64:
        """When something has to happen though nobody asks: the nearest of all."""
        due = min(self.console.next_deadline(), self.nvme.next_deadline(), self.kick_due)
        for place in DEVICES:
            if place.timed:
                device: Timed = getattr(self, place.field)
                due = min(due, device.next_deadline())
        if self.virtio.present:
            due = min(due, self.ports.next_deadline())
            for i in range(MAX_NET_PAIRS):
                due = min(due, self.networks[i].next_deadline())
        return due
