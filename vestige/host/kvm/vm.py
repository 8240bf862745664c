"""One KVM virtual machine and its virtual CPUs; the guest's and the monitor's are both this.

Both use KVM's split irqchip: local APICs in the kernel, no PIC, IOAPIC or PIT there.
"""

import mmap
import os
from _collections_abc import Sequence

from vestige import abi
from vestige.errors import GuestError
from vestige.host.kvm import api as kvm
from vestige.host.kvm.memory import mapping_address
from vestige.machine.cpu_features import Entry

# Intel processors that can't run real mode need four pages nobody uses, below 4 GiB.
IDENTITY_MAP = 0xFFFB_C000
TASK_STATE = 0xFFFB_D000

CPUID_FEATURES = 1
CPUID_TOPOLOGY = (0xB, 0x1F)
X2APIC = 1 << 21  # leaf 1 ECX
TSC_DEADLINE = 1 << 24
HYPERVISOR = 1 << 31
CPUID_KVM_FEATURES = 0x4000_0001  # Linux, Documentation/virt/kvm/x86/cpuid.rst
PARAVIRTUAL_EOI = 1 << 6  # its EAX: KVM_FEATURE_PV_EOI


class VirtualCpu:
    """One vCPU: its descriptor, its kvm_run page, its registers."""

    def __init__(self, descriptor: int, index: int, run_size: int) -> None:
        """Take over `descriptor`; `index` is also the local APIC's ID."""
        self.descriptor = descriptor
        self.index = index
        self.mapping = mmap.mmap(descriptor, run_size, mmap.MAP_SHARED)
        self.run_address = mapping_address(self.mapping)
        self.run_size = run_size

    def registers(self) -> kvm.Registers:
        """The general registers; waits while the vCPU runs."""
        registers = kvm.Registers()
        kvm.call(self.descriptor, kvm.Request.GET_REGS, registers)
        return registers

    def set_registers(self, registers: kvm.Registers) -> None:
        """Set the general registers."""
        kvm.call(self.descriptor, kvm.Request.SET_REGS, registers)

    def system_registers(self) -> kvm.SystemRegisters:
        """Segments, descriptor tables, control registers."""
        registers = kvm.SystemRegisters()
        kvm.call(self.descriptor, kvm.Request.GET_SREGS, registers)
        return registers

    def set_system_registers(self, registers: kvm.SystemRegisters) -> None:
        """Set segments, descriptor tables, control registers."""
        kvm.call(self.descriptor, kvm.Request.SET_SREGS, registers)

    def set_cpuid(self, table: kvm.Cpuid) -> None:
        """What CPUID shows on this vCPU."""
        kvm.call(self.descriptor, kvm.Request.SET_CPUID2, table)

    def set_msr(self, number: int, value: int) -> bool:
        """Set one model-specific register; False where this KVM doesn't have it."""
        registers = kvm.ModelSpecificRegisters(count=1)
        registers.entries[0] = kvm.ModelSpecificRegister(number=number, value=value)
        return kvm.call(self.descriptor, kvm.Request.SET_MSRS, registers) == 1

    def make_runnable(self) -> None:
        """Start without INIT and SIPI, as the boot processor does."""
        state = kvm.MultiprocessorState(state=kvm.RUNNABLE)
        kvm.call(self.descriptor, kvm.Request.SET_MP_STATE, state)

    def tsc_khz(self) -> int:
        """The frequency of this vCPU's time-stamp counter."""
        return kvm.call(self.descriptor, kvm.Request.GET_TSC_KHZ)

    def interrupt(self) -> None:
        """Make the next (or, with a signal to its thread, the present) KVM_RUN return."""
        self.mapping[kvm.IMMEDIATE_EXIT] = 1

    def close(self) -> None:
        """Close the vCPU; its thread must have left it."""
        self.mapping.close()
        os.close(self.descriptor)


class VirtualMachine:
    """One VM: memory slots, vCPUs, interrupts by eventfd."""

    def __init__(self, system: kvm.System, pins: int) -> None:
        """An empty VM with `pins` GSIs whose level interrupts report their EOI."""
        self._system = system
        self._slots = 0
        self.cpus: list[VirtualCpu] = []
        self.descriptor = kvm.call(system.descriptor, kvm.Request.CREATE_VM)
        kvm.call(self.descriptor, kvm.Request.SET_TSS_ADDR, TASK_STATE)
        enable = kvm.EnableCapability(capability=kvm.Capability.SPLIT_IRQCHIP)
        enable.arguments[0] = pins
        kvm.call(self.descriptor, kvm.Request.ENABLE_CAP, enable)

    def map(self, address: int, size: int, host_address: int, *, read_only: bool = False) -> None:
        """Show `size` bytes of this process at guest-physical `address`.

        Where they are `read_only`, a write is as one to an address where nothing is.
        """
        region = kvm.MemoryRegion(
            slot=self._slots, guest_address=address, size=size, host_address=host_address
        )
        region.flags = kvm.MEMORY_READ_ONLY if read_only else 0
        kvm.call(self.descriptor, kvm.Request.SET_USER_MEMORY_REGION, region)
        self._slots += 1

    def add_cpu(self) -> VirtualCpu:
        """One more vCPU; vCPU n has local APIC ID n."""
        index = len(self.cpus)
        descriptor = kvm.call(self.descriptor, kvm.Request.CREATE_VCPU, index)
        cpu = VirtualCpu(descriptor, index, self._system.run_size)
        self.cpus.append(cpu)
        return cpu

    def connect_interrupt(self, gsi: int, eventfd: int) -> None:
        """A write to `eventfd` raises `gsi`, in the kernel."""
        kvm.call(self.descriptor, kvm.Request.IRQFD, kvm.Irqfd(descriptor=eventfd, gsi=gsi))

    def connect_port(self, port: int, eventfd: int) -> None:
        """A one-byte OUT to `port` writes `eventfd` and doesn't exit."""
        doorbell = kvm.Ioeventfd(
            address=port, length=1, descriptor=eventfd, flags=kvm.IOEVENTFD_PIO
        )
        kvm.call(self.descriptor, kvm.Request.IOEVENTFD, doorbell)

    def connect_store(
        self, address: int, size: int, eventfd: int, value: int | None = None
    ) -> None:
        """A store of `size` bytes to `address` writes `eventfd` and doesn't exit.

        With a `value` only a store of that does.
        """
        stored = kvm.Ioeventfd(address=address, length=size, descriptor=eventfd)
        if value is not None:
            stored.match, stored.flags = value, kvm.IOEVENTFD_MATCH
        kvm.call(self.descriptor, kvm.Request.IOEVENTFD, stored)

    def coalesce_ports(self, first: int, count: int) -> None:
        """Writes within `count` ports from `first` are queued, and don't exit."""
        zone = kvm.CoalescedZone(address=first, size=count, port=1)
        kvm.call(self.descriptor, kvm.Request.REGISTER_COALESCED_MMIO, zone)

    def coalesce_memory(self, first: int, count: int) -> None:
        """Stores within `count` bytes from `first` are queued, and don't exit."""
        zone = kvm.CoalescedZone(address=first, size=count, port=0)
        kvm.call(self.descriptor, kvm.Request.REGISTER_COALESCED_MMIO, zone)

    def set_routes(self, messages: dict[int, tuple[int, int]]) -> None:
        """All routes: GSI → (address, data) of its MSI; a GSI that isn't there is dead."""
        routing = kvm.Routing(count=len(messages))
        for entry, (gsi, (address, data)) in zip(routing.entries, messages.items(), strict=False):
            entry.gsi = gsi
            entry.kind = kvm.ROUTE_MSI
            entry.address_low, entry.address_high = address & 0xFFFF_FFFF, address >> 32
            entry.data = data
        kvm.call(self.descriptor, kvm.Request.SET_GSI_ROUTING, routing)

    def close(self) -> None:
        """Close the vCPUs and the VM."""
        for cpu in self.cpus:
            cpu.close()
        os.close(self.descriptor)


def coalesced_page(system: kvm.System) -> int:
    """The page of a vCPU's mapping where coalesced port writes queue; 0: this KVM has none."""
    if not system.has(kvm.Capability.COALESCED_PIO):
        return 0
    page = system.has(kvm.Capability.COALESCED_MMIO)
    return page if (page + 1) * mmap.PAGESIZE <= system.run_size else 0


def monitor_cpuid(supported: Sequence[Entry], index: int, has_deadline: bool) -> kvm.Cpuid:
    """CPUID of monitor vCPU `index`: all KVM has, x2APIC, and the APIC's deadline timer."""
    entries = list(supported)
    more = X2APIC | HYPERVISOR | (TSC_DEADLINE if has_deadline else 0)
    for number, (function, leaf, flags, eax, ebx, ecx, edx) in enumerate(supported):
        if function == CPUID_FEATURES:
            own = (ebx & 0xFF_FFFF) | index << 24
            entries[number] = function, leaf, flags, eax, own, ecx | more, edx
        elif function in CPUID_TOPOLOGY:
            entries[number] = function, leaf, flags, eax, ebx, ecx, index
    return kvm.cpuid_table(entries)


def has_paravirtual_eoi(supported: Sequence[Entry]) -> bool:
    """Whether KVM ends interrupts by itself for who asks. It gives what it has, asked or not."""
    eax = [entry[3] for entry in supported if entry[0] == CPUID_KVM_FEATURES]
    return any(each & PARAVIRTUAL_EOI for each in eax)


def check_run_size(system: kvm.System) -> None:
    """Raise GuestError if a kvm_run mapping doesn't fit its place in the monitor VM."""
    if system.run_size > abi.RUN_STRIDE:
        raise GuestError(f"KVM's vCPU mapping has {system.run_size} bytes, over {abi.RUN_STRIDE}")
