"""All state of a domain: every device, what lies between them, what waits to be done."""

from vestige.abi import MAX_CPUS, MAX_DISKS, MAX_REGIONS, Board, Config, DiskKind, Power
from vestige.devices import DEVICES, VIRTIO_TYPES
from vestige.lang.intrinsics import address_of, cold
from vestige.lang.types import Struct, u8, u32, u64
from vestige.monitor.clock import Clock
from vestige.monitor.core.lock import Fence, Lock
from vestige.monitor.core.trap import Trap
from vestige.monitor.core.wires import Wires
from vestige.monitor.devices.acpi_registers.model import AcpiRegisters
from vestige.monitor.devices.fw_cfg.model import FwCfg
from vestige.monitor.devices.hpet.model import Hpet
from vestige.monitor.devices.i28f640j5.model import Flash
from vestige.monitor.devices.i8042.model import KeyboardController
from vestige.monitor.devices.i8237.model import Dma
from vestige.monitor.devices.i8254.model import Pit
from vestige.monitor.devices.i8259.model import Pic
from vestige.monitor.devices.i82077.model import Floppy
from vestige.monitor.devices.ioapic.model import IoApic
from vestige.monitor.devices.mc146818.model import Mc146818
from vestige.monitor.devices.pci.root import PciRoot
from vestige.monitor.devices.piix3_ide.function import Ide
from vestige.monitor.devices.piix3_isa.model import IsaBridge
from vestige.monitor.devices.piix4_pm.model import PowerManagement
from vestige.monitor.devices.pvpanic.model import Pvpanic
from vestige.monitor.devices.uart16550.link import ConsoleLink
from vestige.monitor.devices.uart16550.model import Uart
from vestige.monitor.devices.vga.model import Vga
from vestige.monitor.devices.virtio.devices import Virtio
from vestige.monitor.devices.virtio_console.link import PortLinks
from vestige.monitor.devices.virtio_net.link import NetworkLinks
from vestige.monitor.devices.virtio_rng.link import EntropyLink
from vestige.monitor.devices.vmgenid.model import VmGeneration
from vestige.monitor.drivers.nvme.driver import NvmeDriver
from vestige.monitor.drivers.ring.driver import RingDriver
from vestige.monitor.events import EventStream
from vestige.monitor.failures import FileFailures
from vestige.monitor.line import NEVER
from vestige.place import GOES_ON
from vestige.shapes import (
    Configured,
    Device,
    DiskController,
    Ending,
    Link,
    Noting,
    Timed,
    VirtioLink,
)


class Machine(Struct):
    """Lives at abi.STATE, zeroed by the host. Those of other domains (core/domains.py) follow.

    `lock` guards it. Without this lock are: `sharing`, a lock itself; `fence.asked`, read by the
    CPU that waits for the worker to clear it; `wires`, out of which the first domain takes pins
    under its own lock; where BARs are, for the look of core/decode.py; `traps`, each its CPU's own.
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
    second_uart: Uart
    acpi: AcpiRegisters
    pvpanic: Pvpanic
    isa_bridge: IsaBridge
    ide: Ide
    pic: Pic
    pit: Pit
    rtc: Mc146818
    keyboard_controller: KeyboardController
    dma: Dma
    floppy: Floppy
    fw_cfg: FwCfg
    vga: Vga
    power_management: PowerManagement
    flash: Flash
    generation_id: VmGeneration
    console: ConsoleLink
    events: EventStream
    ports: PortLinks
    entropy: EntropyLink
    ring_driver: RingDriver
    failures: FileFailures
    nvme: NvmeDriver
    timer: u64  # what the worker's timer is set to; NEVER: it isn't, or its interrupt has come
    armed: u64  # the same, or what the worker is being told to set it to
    told: u32  # 1: it is being told to; until it has
    boot_keeps: u32  # 1: nobody told the worker: `timer` is what the boot CPU's alarm is set to
    alarm_due: u64  # when the last one ordered comes, at the latest
    at_work: u32  # 1: the worker is in its turn, and asks for notifications at the end of it
    kick_due: u64  # when to enter the ring again that took nothing; NEVER: no need
    old: u32  # 1: it is a PC, whose PIC interrupts the boot CPU
    shows: u32  # 1: it has a disk of a device that shows registers: core/answers.py
    boot_inside: u32  # 1: the boot CPU may not know that an external interrupt waits
    closed: u32  # 1: no write is queued, as a request of its PIC's waits for one
    boot_reset: u32  # 1: the boot CPU was reset since it last exited, or in the turn it is in
    placed: u32[MAX_REGIONS]  # where the guest wants each region; 0: nowhere
    flash_mapped: u32  # the same of the flash memory
    window: u32  # what the guest finds at abi.WINDOW
    gate: u32  # abi.GATE_OPEN or GATE_CLOSED, as the host was told
    stopping: u32  # 1: a CPU has begun to end the machine
    faulted: u32  # 1: a processor of the guest's has shut down
    traps: Trap[MAX_CPUS]  # each is its CPU's own, in the first domain
    # From here on the ring has as much as the machine needs: abi.STATE_PLAIN.
    virtio: Virtio
    networks: NetworkLinks

    def reset(self, config: Config) -> None:
        """Power on, but for the disks behind NVMe controllers: core/controllers.py."""
        self.old = config.board == Board.PC and config.domain == 0
        self.begin()
        for place in DEVICES:
            if place.board != Board.PC or config.board == Board.PC:
                device: Device = getattr(self, place.field)
                device.reset()
                if place.configured:
                    configured: Configured = getattr(self, place.field)
                    configured.configure(config)
        self.connect(config)
        self.shows = 0
        for place in DEVICES:
            if place.shows:
                for i in range(MAX_DISKS):
                    if config.disks[i].present and config.disks[i].bus == place.disks:
                        self.shows = 1
        if config.ring.present:
            self.ring_driver.reset(config.ring, address_of(self))
            for i in range(MAX_DISKS):
                if config.disks[i].present and config.disks[i].kind == DiskKind.RING:
                    self.attach(config, i)

    def go_on(self, config: Config) -> None:
        """Do so after a freeze, with timers, rings and files that are new: core/freezing.py."""
        self.closed = 0
        self.begin()
        if config.ring.present:
            self.ring_driver.renew(config.ring)
        self.connect(config)
        for row in VIRTIO_TYPES:
            if row.link:
                between: VirtioLink = getattr(self, row.link)
                for number in range(row.count):
                    between.renew(getattr(self.virtio, row.field)[number], config)
        if config.domain == 0:
            for place in DEVICES:
                if place.goes_on:
                    noting: Noting = getattr(self, place.field)
                    noting.go_on(config)

    def begin(self) -> None:
        """No timer is set, nobody was told of anything, and the ring is empty."""
        self.timer = NEVER
        self.armed = NEVER
        self.told = 0
        self.boot_keeps = 0
        self.alarm_due = 0
        self.kick_due = NEVER
        self.boot_inside = 1

    def connect(self, config: Config) -> None:
        """Have the files of `config` for what is no disk."""
        for place in DEVICES:
            if place.link and (place.board != Board.PC or config.board == Board.PC):
                link: Link = getattr(self, place.link)
                link.connect(config)
        for row in VIRTIO_TYPES:
            if row.link:
                between: VirtioLink = getattr(self, row.link)
                between.connect(config)
        self.events.connect(config)

    def attach(self, config: Config, disk: u8) -> None:
        """Put a disk whose size and names are known where the guest finds it."""
        for place in DEVICES:
            if place.disks is not None and config.disks[disk].bus == place.disks:
                controller: DiskController = getattr(self, place.field)
                controller.attach_disk(config, disk)

    def ending(self) -> u8:
        """How the guest has ended its machine, as shapes.Ending has it. A panic counts most."""
        ending: u8 = GOES_ON
        for place in DEVICES:
            if place.ends and place.board != Board.PC:
                device: Ending = getattr(self, place.field)
                wish = device.ending()
                if wish != GOES_ON and ending != Power.PANICKED:
                    ending = wish
        if self.old and ending != Power.PANICKED:
            ending = self.old_ending(ending)
        if self.faulted and ending == GOES_ON:
            return Power.TRIPLE_FAULT
        return ending

    @cold
    def old_ending(self, ending: u8) -> u8:
        """The same by what a PC alone has, or `ending`."""
        for place in DEVICES:
            if place.ends and place.board == Board.PC:
                device: Ending = getattr(self, place.field)
                wish = device.ending()
                if wish != GOES_ON:
                    ending = wish
        return ending

    def expire(self, now: u64) -> None:
        """Time has passed."""
        for place in DEVICES:
            if place.timed and place.board != Board.PC:
                device: Timed = getattr(self, place.field)
                device.expire(now)
        if self.old:
            self.expire_old(now)

    @cold
    def expire_old(self, now: u64) -> None:
        """The same of what a PC alone has."""
        for place in DEVICES:
            if place.timed and place.board == Board.PC:
                chip: Timed = getattr(self, place.field)
                chip.expire(now)

    def next_deadline(self) -> u64:
        """When something has to happen though nobody asks: the nearest of all."""
        due = min(self.nvme.next_deadline(), self.kick_due)
        for place in DEVICES:
            if place.timed and place.board != Board.PC:
                device: Timed = getattr(self, place.field)
                due = min(due, device.next_deadline())
            if place.link:
                link: Link = getattr(self, place.link)
                due = min(due, link.next_deadline())
        if self.events.present:
            due = min(due, self.events.next_deadline())
        if self.virtio.count:
            for row in VIRTIO_TYPES:
                if row.link:
                    between: VirtioLink = getattr(self, row.link)
                    due = min(due, between.next_deadline())
        return self.next_old_deadline(due) if self.old else due

    @cold
    def next_old_deadline(self, due: u64) -> u64:
        """The nearest of `due` and those of what a PC alone has."""
        for place in DEVICES:
            if place.timed and place.board == Board.PC:
                chip: Timed = getattr(self, place.field)
                due = min(due, chip.next_deadline())
        return due
