"""One KVM virtual machine and its virtual CPUs; the guest's and the monitor's are both this.

Both use KVM's split irqchip: local APICs in the kernel, no PIC, IOAPIC or PIT there.
"""

import mmap
import os
from _collections_abc import Sequence

from vestige import abi
from vestige.errors import GuestError
from vestige.host import steps
from vestige.host.kvm import api as kvm
from vestige.host.kvm.memory import Mapping
from vestige.lang.intrinsics import address_of, syscall
from vestige.machine.cpu_features import Entry

# Intel processors that can't run real mode need four pages nobody uses, below 4 GiB: those below
# the largest flash memory. Where KVM would have the first by itself, a firmware's would be.
IDENTITY_MAP = abi.FLASH - 4 * mmap.PAGESIZE
TASK_STATE = IDENTITY_MAP + mmap.PAGESIZE

CPUID_FEATURES = 1
X2APIC = 1 << 21  # leaf 1 ECX
HYPERVISOR = 1 << 31
CPUID_KVM_FEATURES = 0x4000_0001  # Linux, Documentation/virt/kvm/x86/cpuid.rst
PARAVIRTUAL_EOI = 1 << 6  # its EAX: KVM_FEATURE_PV_EOI
# FPU, PSE, TSC, MSR, PAE, CX8, APIC, CMOV: what 64-bit code compiled for no SSE may use.
MONITOR_FEATURES = 1 << 0 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 9 | 1 << 15
ALL = 0xFFFF_FFFF

# What the monitor is shown of EAX, EBX, ECX, EDX: KVM refuses the bits of EFER, CR4 and XCR0 that
# belong to features it does not show, SVME and VMXE among them. Names and numbers of the processor
# stay, because KVM looks at them to tell one maker's rules from another's.
MONITOR_CPUID = {
    0: (ALL, ALL, ALL, ALL),  # highest leaf, maker
    CPUID_FEATURES: (ALL, 0, 0, MONITOR_FEATURES),  # and, of each vCPU its own, the APIC ID
    0x4000_0000: (ALL, ALL, ALL, ALL),  # highest leaf, "KVMKVMKVM"
    CPUID_KVM_FEATURES: (PARAVIRTUAL_EOI, 0, 0, 0),
    0x8000_0000: (ALL, 0, 0, 0),  # highest leaf
    0x8000_0001: (0, 0, 0, 1 << 29 | 1 << 20),  # long mode, execute-disable
    0x8000_0008: (0xFFFF, 0, 0, 0),  # widths of addresses
}
MONITOR_MSR = 0x4B56_4D04  # MSR_KVM_EOI_EN


class VirtualCpu:
    """One vCPU: its descriptor, its kvm_run page, its registers."""

    def __init__(self, descriptor: int, index: int, run_size: int) -> None:
        """Take over `descriptor`; `index` is also the local APIC's ID."""
        self.descriptor = descriptor
        self.index = index
        self._mapping = Mapping(descriptor, run_size)
        self.mapping, self.run_address = self._mapping.view, self._mapping.address
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

    def enforce_paravirtual_cpuid(self) -> None:
        """KVM's own registers and hypercalls that CPUID does not show are not there."""
        enable = kvm.EnableCapability(capability=kvm.Capability.ENFORCE_PV_FEATURE_CPUID)
        enable.arguments[0] = 1
        kvm.call(self.descriptor, kvm.Request.ENABLE_CAP, enable)

    def set_msr(self, number: int, value: int) -> bool:
        """Set one model-specific register; False where this KVM doesn't have it."""
        registers = kvm.ModelSpecificRegisters(count=1)
        registers.entries[0] = kvm.ModelSpecificRegister(number=number, value=value)
        return kvm.call(self.descriptor, kvm.Request.SET_MSRS, registers) == 1

    def make_runnable(self) -> None:
        """Start without INIT and SIPI, as the boot processor does."""
        state = kvm.MultiprocessorState(state=kvm.RUNNABLE)
        kvm.call(self.descriptor, kvm.Request.SET_MP_STATE, state)

    def make_reachable(self) -> None:
        """Let messages reach its local APIC, though its guest has not written to that.

        KVM looks for destinations in a table that it makes when a local APIC is set, or enabled by
        its guest (Linux 6.18, arch/x86/kvm/lapic.c, kvm_recalculate_apic_map).
        """
        state = kvm.LocalApic()
        kvm.call(self.descriptor, kvm.Request.GET_LAPIC, state)
        kvm.call(self.descriptor, kvm.Request.SET_LAPIC, state)

    def tsc_khz(self) -> int:
        """The frequency of this vCPU's time-stamp counter."""
        return kvm.call(self.descriptor, kvm.Request.GET_TSC_KHZ)

    def interrupt(self) -> None:
        """Make the next (or, with a signal to its thread, the present) KVM_RUN return."""
        self.mapping[kvm.IMMEDIATE_EXIT] = 1

    def let_in(self) -> None:
        """Take `interrupt` back, where no KVM_RUN has seen it."""
        self.mapping[kvm.IMMEDIATE_EXIT] = 0

    def tell_of_pause(self) -> None:
        """Have its guest's watchdogs forgive the time in which it did not run.

        KVM refuses that for a guest that does not use KVM's clock, which is as well.
        """
        syscall(kvm.SYS_IOCTL, self.descriptor, kvm.Request.KVMCLOCK_CTRL, 0, 0, 0, 0)

    def close(self) -> None:
        """Close the vCPU; its thread must have left it."""
        self._mapping.close()
        os.close(self.descriptor)


class VirtualMachine:
    """One VM: memory slots, vCPUs, interrupts by eventfd."""

    def __init__(self, system: kvm.System, pins: int) -> None:
        """An empty VM with `pins` GSIs whose level interrupts report their EOI."""
        self._system = system
        self._slots = 0
        self.mapped: list[kvm.MemoryRegion] = []  # what `map` has shown
        self.cpus: list[VirtualCpu] = []
        self.descriptor = kvm.make(system.descriptor, kvm.Request.CREATE_VM)
        place = kvm.Address(value=IDENTITY_MAP)
        kvm.call(self.descriptor, kvm.Request.SET_IDENTITY_MAP_ADDR, place)
        kvm.call(self.descriptor, kvm.Request.SET_TSS_ADDR, TASK_STATE)
        self.enable(kvm.Capability.SPLIT_IRQCHIP, pins)

    def enable(self, capability: kvm.Capability, argument: int) -> None:
        """Switch on what KVM only does when asked."""
        enable = kvm.EnableCapability(capability=capability)
        enable.arguments[0] = argument
        kvm.call(self.descriptor, kvm.Request.ENABLE_CAP, enable)

    def allow_one_msr(self, number: int) -> None:
        """RDMSR and WRMSR are refused, but for a WRMSR of `number` and for the x2APIC."""
        bitmap = kvm.MsrBitmap(bits=1)
        steps.keep(bitmap)
        allowed = kvm.MsrFilter(flags=kvm.FILTER_DENIES)
        allowed.ranges[0] = kvm.MsrRange(
            flags=kvm.FILTER_WRITES, count=1, base=number, bitmap=address_of(bitmap)
        )
        kvm.call(self.descriptor, kvm.Request.X86_SET_MSR_FILTER, allowed)

    def map(self, address: int, size: int, host_address: int, *, read_only: bool = False) -> None:
        """Show `size` bytes of this process at guest-physical `address`.

        Where they are `read_only`, a write is as one to an address where nothing is.
        """
        slot = self.new_slot()
        shown = self.map_slot(slot, address, size, host_address, read_only=read_only)
        self.mapped.append(shown)

    def new_slot(self) -> int:
        """The number of one more stretch of memory."""
        self._slots += 1
        return self._slots - 1

    def map_slot(
        self, slot: int, address: int, size: int, host_address: int, *, read_only: bool = False
    ) -> kvm.MemoryRegion:
        """Show memory by a slot that shows nothing; as KVM was told of it."""
        flags = kvm.MEMORY_READ_ONLY if read_only else 0
        region = kvm.MemoryRegion(
            slot=slot, flags=flags, guest_address=address, size=size, host_address=host_address
        )
        kvm.call(self.descriptor, kvm.Request.SET_USER_MEMORY_REGION, region)
        return region

    def unmap(self, slot: int) -> None:
        """Have it show nothing."""
        self.map_slot(slot, 0, 0, 0)

    def add_cpu(self) -> VirtualCpu:
        """One more vCPU; vCPU n has local APIC ID n."""
        index = len(self.cpus)
        descriptor = kvm.make(self.descriptor, kvm.Request.CREATE_VCPU, index)
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


def monitor_cpuid(supported: Sequence[Entry], index: int) -> kvm.Cpuid:
    """CPUID of monitor vCPU `index`: of what KVM has so much as MONITOR_CPUID allows."""
    entries = []
    for function, leaf, flags, *registers in supported:
        if function not in MONITOR_CPUID:
            continue
        allowed = zip(registers, MONITOR_CPUID[function], strict=True)
        eax, ebx, ecx, edx = [register & mask for register, mask in allowed]
        if function == CPUID_FEATURES:
            ebx, ecx = index << 24, ecx | X2APIC | HYPERVISOR
        entries.append((function, leaf, flags, eax, ebx, ecx, edx))
    return kvm.cpuid_table(entries)


def confine(machine: VirtualMachine, system: kvm.System) -> None:
    """Of a new VM, the monitor's: have KVM refuse what compiled code does not use, where KVM can.

    There are no performance counters (Linux 5.18 and newer), and RDMSR and WRMSR of all but
    MONITOR_MSR and the x2APIC, which no filter covers, are a general protection fault (5.10).
    """
    if system.has(kvm.Capability.PMU_CAPABILITY) & kvm.PMU_DISABLED:
        machine.enable(kvm.Capability.PMU_CAPABILITY, kvm.PMU_DISABLED)
    if system.has(kvm.Capability.X86_MSR_FILTER):
        machine.allow_one_msr(MONITOR_MSR)


def has_paravirtual_eoi(supported: Sequence[Entry]) -> bool:
    """Whether KVM ends interrupts by itself for who asks. It gives what it has, asked or not."""
    eax = [entry[3] for entry in supported if entry[0] == CPUID_KVM_FEATURES]
    return any(each & PARAVIRTUAL_EOI for each in eax)


def check_run_size(system: kvm.System) -> None:
    """Raise GuestError if a kvm_run mapping doesn't fit its place in the monitor VM."""
    if system.run_size > abi.RUN_STRIDE:
        raise GuestError(f"KVM's vCPU mapping has {system.run_size} bytes, over {abi.RUN_STRIDE}")
