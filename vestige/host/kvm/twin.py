"""The two VMs over one RAM: the guest's, and the monitor's that maps more.

The guest VM maps RAM and nothing else (but pages to read, where the IDE is in memory, and the
regions of a machine that has them, where its monitor says), so whatever else the guest touches
exits. The monitor VM maps the same RAM at the same addresses,
its private memory, the guest vCPUs' kvm_run mappings behind their first page, and the ring. Guest
vCPU n is paired with monitor vCPU n; behind those are the workers, one for each domain.
"""

import mmap
from _collections_abc import Sequence

from vestige import abi
from vestige.host import steps
from vestige.host.backends.ring import Ring
from vestige.host.buses import VirtioWiring
from vestige.host.kvm import api as kvm
from vestige.host.kvm import monitor_tables, vm
from vestige.host.kvm.flash import Flash
from vestige.host.kvm.gate import Gate
from vestige.host.kvm.memory import PRIVATE, PRIVATE_SIZE, GuestMemory, PrivateMemory, Region
from vestige.host.kvm.monitor_code import MonitorCode
from vestige.host.kvm.regions import Regions
from vestige.host.kvm.routing import Doorbells, PostedStarts, route_to_workers
from vestige.host.loop.notices import Notices
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from vestige.host.firmware.fw_cfg import Items


class Blank:
    """Both VMs, as far as every machine has them: a pair of vCPUs, the monitor in its memory."""

    def __init__(self, system: kvm.System, code: MonitorCode) -> None:
        """Create them."""
        vm.check_run_size(system)
        self.system = system
        self.code = code
        self.private = PrivateMemory()
        self.guest = vm.VirtualMachine(system, abi.PINS)
        self.monitor = vm.VirtualMachine(system, 0)
        vm.confine(self.monitor, system)
        self.add_pair()
        self.private.write(abi.IMAGE, code.code)
        self.monitor.map(PRIVATE, PRIVATE_SIZE, self.private.region.address)

    def add_pair(self) -> None:
        """One more vCPU of each."""
        self.guest.add_cpu()
        self.monitor.add_cpu()


class Twin:
    """Guest VM, monitor VM, doorbells, to be wired, loaded, and given the guest CPUs' state."""

    def __init__(self, blank: Blank, memory: GuestMemory, cpus: int, domains: int = 1) -> None:
        """Make of `blank` one with `cpus` pairs of vCPUs and a worker for each of `domains`."""
        self.system, self.code = blank.system, blank.code
        self.private, self.guest, self.monitor = blank.private, blank.guest, blank.monitor
        self.memory = memory
        self._rings: list[Ring] = []
        for _ in range(1, cpus):
            blank.add_pair()
        self.workers = [self.monitor.add_cpu() for _ in range(domains)]
        self.doorbells = Doorbells(self.guest, self.monitor)
        self._posted: PostedStarts | None = None
        self._virtio: list[VirtioWiring] = []
        self.notices: Notices | None = None  # where a machine has one CPU, and its ring KICKs
        self.queue = 0  # where queued writes are in a vCPU's mapping; 0: nowhere
        self.firmware: Region | None = None
        self.items: Region | None = None  # of fw_cfg
        self.regions: Regions | None = None
        self.flash: Flash | None = None
        self.gate: Gate | None = None
        self._maps: dict[int, Region] = {}  # of overlays, by their addresses

    def wire(self, *, moved: bool = False) -> None:
        """Show both VMs their memory, with the ring if one is connected; let workers be woken.

        `moved`: a firmware will move BARs, so a virtio driver's notification is an exit.
        """
        route_to_workers(self.monitor, self.workers[0].index, len(self.workers))
        for address, size, host_address in self.memory.parts():
            for first, length in self._unmoved(address, size):
                self.guest.map(first, length, host_address + first - address)
            self.monitor.map(address, size, host_address)
        for cpu in self.guest.cpus:
            page = mmap.PAGESIZE  # the first stays ours: see abi.GuestExit
            place, host_address = _run_page(cpu.index) + page, cpu.run_address + page
            self.monitor.map(place, cpu.run_size - page, host_address)
        for ring in self._rings:
            steps.do(_Shown(self.monitor, ring).show)
        if (shadow := self.private.shared().config.shadow) != 0:
            size = abi.IDE_MEMORY_PAGES * abi.IDE_MEMORY_PAGE
            pages = self.private.host_address(shadow)
            self.guest.map(abi.IDE_MEMORY, size, pages, read_only=True)
        for shared in self.shared():
            there = any(function.kind != abi.VirtioKind.NONE for function in shared.config.virtio)
            if there and not moved:
                wiring = VirtioWiring(shared.config, self.guest, self.monitor)
                self._virtio.append(wiring)
                if len(self.guest.cpus) == 1 and self._rings and not self._rings[0].polled:
                    self.notices = wiring.notices(self._rings[0].completions)

    def _unmoved(self, address: int, size: int) -> list[tuple[int, int]]:
        """The (address, bytes) of a part of RAM without what the monitor may have elsewhere."""
        parts = [(address, size)]
        if self.regions is not None:
            parts = without(parts, abi.WINDOW, abi.WINDOW_SIZE)
        if self.gate is not None:
            parts = without(parts, abi.WRAPPED, abi.WRAPPED_SIZE)
        return parts

    def shared(self) -> list[abi.Shared]:
        """What each domain shares with the host."""
        return [self.private.shared(domain) for domain in range(len(self.workers))]

    def name_of(self, index: int) -> str:
        """What monitor vCPU `index` is called when it is told of."""
        if index < len(self.guest.cpus):
            return f"CPU {index}"
        return "the worker" if len(self.workers) == 1 else f"worker {index - len(self.guest.cpus)}"

    def load(self, devices: Sequence[tuple[int, int, int]] = (), *, thawed: bool = False) -> None:
        """Make the monitor's page tables, and put its vCPUs at their entries.

        `devices` are (address, size, attributes) of further memory; `thawed`: the tables are there.
        """
        private, code, cpus = self.private, self.code, len(self.guest.cpus)
        if not thawed:
            self._build_tables(devices)
        supported = self.system.supported_cpuid()
        enforces = self.system.has(kvm.Capability.ENFORCE_PV_FEATURE_CPUID)
        for shared in self.shared():
            shared.config.paravirtual_eoi = vm.has_paravirtual_eoi(supported)
        for cpu in self.monitor.cpus:
            shown = private.cpu(cpu.index)
            shown.index = cpu.index
            shown.run = _run_page(cpu.index) if cpu.index < cpus else 0
            cpu.set_cpuid(vm.monitor_cpuid(supported, cpu.index))
            if enforces:
                cpu.enforce_paravirtual_cpuid()
            cpu.make_runnable()
            cpu.set_system_registers(monitor_tables.system_registers(cpu.index))
            entry = code.vcpu_main if cpu.index < cpus else code.worker_main
            cpu.set_registers(monitor_tables.entry_registers(entry, cpu.index))

    def _build_tables(self, devices: Sequence[tuple[int, int, int]]) -> None:
        private, code = self.private, self.code
        ram = [(address, size) for address, size, _ in self.memory.parts()]
        items = 0 if self.items is None else self.items.size
        monitor_tables.build(
            private,
            ram,
            len(code.code),
            code.memory_size,
            code.interrupts,
            len(self.monitor.cpus),
            devices,
            items,
            regions=() if self.regions is None else abi.REGIONS,
            flash=() if self.flash is None else (self.flash.range,),
            maps=[(address, each.size) for address, each in self._maps.items()],
        )

    def place_firmware(self, image: bytes, items: "Items") -> None:
        """Let the guest's CPUs begin in `image`, which ends at 4 GiB, with these of fw_cfg's items.

        Where KVM can't map memory to be read only, the guest can write it.
        """
        self.firmware = Region(len(image))
        self.firmware.view[:] = image
        self.items = Region(-(-items.size // abi.CHUNK) * abi.CHUNK)
        items.write(self.items.view[: items.size])
        self._map_firmware(self.firmware, self.items)
        for cpu in self.guest.cpus:  # a firmware that never looks at it is reset by it all the same
            cpu.make_reachable()

    def take_firmware(self, image: Region, items: Region) -> None:
        """The same of a machine that was frozen, of which these have both."""
        self.firmware, self.items = image, items
        self._map_firmware(image, items)

    def _map_firmware(self, firmware: Region, items: Region) -> None:
        read_only = bool(self.system.has(kvm.Capability.READONLY_MEM))
        address = abi.HIGH_RAM - firmware.size
        self.guest.map(address, firmware.size, firmware.address, read_only=read_only)
        self.monitor.map(abi.FIRMWARE_ITEMS, items.size, items.address, read_only=read_only)
        self.private.shared().config.firmware_items = abi.FIRMWARE_ITEMS

    def show(self, files: Sequence[int]) -> None:
        """Have what a viewer maps be these files' memory, of host/viewer/memory.py, but regions.

        Before anything is written there, or with files that are as it is there.
        """
        from vestige.host.viewer.memory import LOW, SCREEN  # noqa: PLC0415 - few runs have a viewer

        low, screen, *_ = files
        self.memory.region.share(LOW.place, LOW.size, low)
        self.private.region.share(abi.SHARED - PRIVATE + SCREEN.place, SCREEN.size, screen)

    def make_regions(self, files: Sequence[int] = ()) -> Sequence[memoryview]:
        """Before `wire`: let the monitor have abi.REGIONS, which are zeroes, and the window.

        They are at no address of the guest's. `files`: as Regions has them.
        """
        self.regions = Regions(self.guest, self.monitor, self.memory.region.address, files)
        config = self.private.shared().config
        for number, (address, _) in enumerate(abi.REGIONS):
            config.regions[number] = address
        return [each.view for each in self.regions.memory]

    def make_gate(self) -> None:
        """Before `wire`: let the monitor close the gate of bit 20."""
        self.gate = Gate(self.guest, self.memory.region.address)

    def place_flash(self, file: int, size: int, end: int, *, shared: bool = True) -> None:
        """Let the guest have `size` bytes of a file, whole pages, as flash memory up to `end`.

        What it writes is in the file where that is `shared`.
        """
        read_only = bool(self.system.has(kvm.Capability.READONLY_MEM))
        address = end - size
        self.flash = Flash(self.guest, file, size, address, read_only=read_only, shared=shared)
        self.monitor.map(abi.FLASH_ARRAY, size, self.flash.memory.address)
        told = self.private.shared().config.flash
        told.address, told.size, told.array = address, size, abi.FLASH_ARRAY

    def place_map(self, file: int, address: int, size: int) -> None:
        """Before `load`: let the monitor have so much of an overlay's file, its map, there.

        Around the map are sectors of which nobody may want to know: read along, they would take
        memory, and a later write of many of them would find each in a page of its own.
        """
        region = self._maps[address] = Region(size)
        with steps.Late():
            region.share(0, size, file, abi.OVERLAY_MAP_AT, "an overlay's map")
            region.read_page_by_page()
        self.monitor.map(address, size, region.address)

    def place_ide_in_memory(self) -> None:
        """Before `wire`: let the IDE be at abi.IDE_MEMORY, with pages to read and posted starts.

        Where KVM can't map memory to be read only, each read there exits and is forwarded.
        """
        config = self.private.shared().config
        config.ide_in_memory = 1
        if self.system.has(kvm.Capability.READONLY_MEM):
            config.shadow = abi.SHADOW
        self._posted = PostedStarts(self.guest, self.monitor)

    def coalesce(
        self, ports: Sequence[tuple[int, int]], memory: Sequence[tuple[int, int]] = ()
    ) -> None:
        """Queue writes to these (first, count), where KVM can, and tell the monitor."""
        page = vm.coalesced_page(self.system)
        if not page:
            return
        for first, count in ports:
            self.guest.coalesce_ports(first, count)
        for first, count in memory:
            self.guest.coalesce_memory(first, count)
        config = self.private.shared().config
        self.queue = page * mmap.PAGESIZE
        config.coalesced = abi.RUN_PAGES + self.queue
        room = mmap.PAGESIZE - abi.COALESCED_HEADER
        config.coalesced_entries = room // abi.COALESCED_SIZE

    def configure(self) -> None:
        """Tell the monitor what only the VMs know: CPUs, clock, RAM."""
        for shared in self.shared():
            config = shared.config
            config.cpus = len(self.guest.cpus)
            config.tsc_khz = self.workers[0].tsc_khz()
            config.ram.low, config.ram.low_size = 0, self.memory.low_size
            config.ram.high, config.ram.high_size = abi.HIGH_RAM, self.memory.high_size

    def connect(self, ring: Ring) -> None:
        """Tell the ring's domain of it, which `wire` will show the monitor."""
        self._rings.append(ring)
        ring.describe(self.private.shared(ring.domain).config.ring)

    def close(self) -> None:
        """Close everything; no thread may be in a vCPU. The guest's RAM stays its owner's."""
        self.guest.close()
        self.monitor.close()
        self.doorbells.close()
        if self._posted is not None:
            self._posted.close()
        for wiring in self._virtio:
            wiring.close()
        for region in (self.firmware, self.items, self.regions, self.flash, *self._maps.values()):
            if region is not None:
                region.close()
        self.private.close()


class _Shown:
    """A ring as the monitor finds it."""

    def __init__(self, monitor: vm.VirtualMachine, ring: Ring) -> None:
        self._monitor, self._ring = monitor, ring
        self._slots = [monitor.new_slot() for _ in ring.mappings()]

    def show(self) -> None:
        """Where it is in this process."""
        for slot, place in zip(self._slots, self._ring.mappings(), strict=True):
            self._monitor.map_slot(slot, *place)


def without(parts: list[tuple[int, int]], first: int, length: int) -> list[tuple[int, int]]:
    """The (address, bytes) of `parts` without a hole, which is inside one of them or in none."""
    found: list[tuple[int, int]] = []
    for address, size in parts:
        if address < first < address + size:
            end = first + length
            found += [(address, first - address), (end, address + size - end)]
        else:
            found.append((address, size))
    return found


def _run_page(index: int) -> int:
    return abi.RUN_PAGES + index * abi.RUN_STRIDE
