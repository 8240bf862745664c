"""KVM's system calls, typed: requests, structures, capabilities.

From Linux 6.1's include/uapi/linux/kvm.h and arch/x86/include/uapi/asm/kvm.h; the meaning of
each is in the kernel's Documentation/virt/kvm/api.rst.
"""

import os
import struct
from _collections_abc import Iterable, Sequence

from vestige.abi import GSIS
from vestige.errors import GuestError, UsageError
from vestige.host import limits, steps
from vestige.host.kvm import requests
from vestige.lang.enumeration import IntEnum
from vestige.lang.intrinsics import address_of
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.machine.cpu_features import Entry

DEVICE = "/dev/kvm"
SYS_IOCTL = 16
API_VERSION = 12  # the only one there ever was
Request = requests.Request
DeviceAttribute = requests.DeviceAttribute
Ioeventfd = requests.Ioeventfd


class Capability(IntEnum):
    """Numbers for CHECK_EXTENSION."""

    USER_MEMORY = 3
    EXT_CPUID = 7
    NR_VCPUS = 9
    MP_STATE = 14
    COALESCED_MMIO = 15  # answers the ring's page in a vCPU's mapping
    IRQ_ROUTING = 25
    IRQFD = 32
    IOEVENTFD = 36
    GET_TSC_KHZ = 61
    MAX_VCPUS = 66
    TSC_DEADLINE_TIMER = 72
    READONLY_MEM = 81
    VCPU_EVENTS = 41
    DEBUGREGS = 50
    XSAVE = 55
    XCRS = 56
    SPLIT_IRQCHIP = 121
    IMMEDIATE_EXIT = 136
    COALESCED_PIO = 162
    X86_MSR_FILTER = 189
    ENFORCE_PV_FEATURE_CPUID = 190
    SREGS2 = 200
    PMU_CAPABILITY = 212


# What Vestige can't do without, and the Linux release that brought it.
REQUIRED = {
    Capability.USER_MEMORY: "2.6.20",
    Capability.EXT_CPUID: "2.6.26",
    Capability.MP_STATE: "2.6.26",
    Capability.IRQ_ROUTING: "2.6.30",
    Capability.IRQFD: "2.6.32",
    Capability.IOEVENTFD: "2.6.32",
    Capability.GET_TSC_KHZ: "2.6.39",
    Capability.SPLIT_IRQCHIP: "4.4",
    Capability.IMMEDIATE_EXIT: "4.11",
}

IMMEDIATE_EXIT = 1  # byte offset of kvm_run.immediate_exit
LOG_DIRTY_PAGES = 1 << 0  # MemoryRegion.flags: KVM keeps which pages are written
MEMORY_READ_ONLY = 1 << 1  # and: writes there exit
IOEVENTFD_MATCH, IOEVENTFD_PIO = 1 << 0, 1 << 1
ROUTE_MSI = 2
RUNNABLE = 0  # an MP_STATE
PMU_DISABLED = 1 << 0  # argument of PMU_CAPABILITY
FILTER_DENIES = 1 << 0  # MsrFilter.flags: what no range allows
FILTER_WRITES = 1 << 1  # MsrRange.flags: what the range is about
DEVICE_VFIO = 4
VFIO_GROUP, VFIO_GROUP_ADD = 1, 1  # a group of attributes of DEVICE_VFIO, and one of them


class Exit(IntEnum):
    """kvm_run.exit_reason; abi.ExitReason has those that are forwarded."""

    UNKNOWN = 0
    EXCEPTION = 1
    IO = 2
    HYPERCALL = 3
    DEBUG = 4
    HLT = 5
    MMIO = 6
    IRQ_WINDOW_OPEN = 7
    SHUTDOWN = 8
    FAIL_ENTRY = 9
    INTR = 10
    INTERNAL_ERROR = 17
    SYSTEM_EVENT = 24
    IOAPIC_EOI = 26


def exit_name(reason: int) -> str:
    """The name of an exit reason, or its number."""
    return Exit(reason).name if reason in set(Exit) else f"reason {reason}"


class MemoryRegion(Struct):
    """struct kvm_userspace_memory_region."""

    slot: u32
    flags: u32
    guest_address: u64
    size: u64
    host_address: u64


class CoalescedZone(Struct):
    """struct kvm_coalesced_mmio_zone."""

    address: u64
    size: u32
    port: u32  # 1: ports, 0: memory


class Irqfd(Struct):
    """struct kvm_irqfd."""

    descriptor: u32
    gsi: u32
    flags: u32
    resample: u32
    padding: u8[16]


class RoutingEntry(Struct):
    """struct kvm_irq_routing_entry with its MSI member."""

    gsi: u32
    kind: u32
    flags: u32
    padding: u32
    address_low: u32
    address_high: u32
    data: u32
    device: u32
    rest: u32[4]


class Routing(Struct):
    """struct kvm_irq_routing with room for abi.GSIS entries."""

    count: u32
    flags: u32
    entries: RoutingEntry[GSIS]


class EnableCapability(Struct):
    """struct kvm_enable_cap."""

    capability: u32
    flags: u32
    arguments: u64[4]
    padding: u8[64]


class CreateDevice(Struct):
    """struct kvm_create_device."""

    kind: u32
    descriptor: u32
    flags: u32


class Registers(Struct):
    """struct kvm_regs."""

    rax: u64
    rbx: u64
    rcx: u64
    rdx: u64
    rsi: u64
    rdi: u64
    rsp: u64
    rbp: u64
    r8: u64
    r9: u64
    r10: u64
    r11: u64
    r12: u64
    r13: u64
    r14: u64
    r15: u64
    rip: u64
    rflags: u64


class Segment(Struct):
    """struct kvm_segment: a segment register with its hidden part."""

    base: u64
    limit: u32
    selector: u16
    type: u8
    present: u8
    dpl: u8
    db: u8
    s: u8
    l: u8  # noqa: E741 - the field's name
    g: u8
    avl: u8
    unusable: u8
    padding: u8


class DescriptorTable(Struct):
    """struct kvm_dtable."""

    base: u64
    limit: u16
    padding: u16[3]


class SystemRegisters(Struct):
    """struct kvm_sregs."""

    cs: Segment
    ds: Segment
    es: Segment
    fs: Segment
    gs: Segment
    ss: Segment
    tr: Segment
    ldt: Segment
    gdt: DescriptorTable
    idt: DescriptorTable
    cr0: u64
    cr2: u64
    cr3: u64
    cr4: u64
    cr8: u64
    efer: u64
    apic_base: u64
    interrupt_bitmap: u64[4]


class LocalApic(Struct):
    """struct kvm_lapic_state."""

    registers: u8[1024]


class CpuidEntry(Struct):
    """struct kvm_cpuid_entry2."""

    function: u32
    index: u32
    flags: u32
    eax: u32
    ebx: u32
    ecx: u32
    edx: u32
    padding: u32[3]


class Cpuid(Struct):
    """struct kvm_cpuid2 with room for 256 entries."""

    count: u32
    padding: u32
    entries: CpuidEntry[256]


CPUID_ENTRIES = 8  # their offset in Cpuid
CPUID_ENTRY = struct.Struct("<7I12x")  # a CpuidEntry, as an Entry


class ModelSpecificRegister(Struct):
    """struct kvm_msr_entry."""

    number: u32
    reserved: u32
    value: u64


class ModelSpecificRegisters(Struct):
    """struct kvm_msrs with room for one."""

    count: u32
    padding: u32
    entries: ModelSpecificRegister[1]


class MsrRange(Struct):
    """struct kvm_msr_filter_range: bit n of the bitmap allows register `base` + n."""

    flags: u32
    count: u32
    base: u32
    padding: u32
    bitmap: u64  # its host address


class MsrFilter(Struct):
    """struct kvm_msr_filter."""

    flags: u32
    padding: u32
    ranges: MsrRange[16]


class MsrBitmap(Struct):
    """Of up to 64 registers."""

    bits: u64


class Address(Struct):
    """What KVM_SET_IDENTITY_MAP_ADDR takes."""

    value: u64


class MultiprocessorState(Struct):
    """struct kvm_mp_state."""

    state: u32


def attempt(descriptor: int, request: Request, argument: int | Struct = 0) -> int:
    """One ioctl, again as long as a signal interrupts it; its answer, or a negative errno."""
    if isinstance(argument, int):
        return steps.call(SYS_IOCTL, descriptor, request, argument)
    return steps.call(SYS_IOCTL, descriptor, request, address_of(argument), kept=argument)


def call(descriptor: int, request: Request, argument: int | Struct = 0) -> int:
    """The same. Raises GuestError naming the request and the kernel's answer; UsageError where a
    limit is why.
    """
    answer = attempt(descriptor, request, argument)
    if answer < 0:
        raise limits.refusal(f"KVM_{request.name}", -answer)
    return answer


def make(descriptor: int, request: Request, argument: int = 0) -> int:
    """The descriptor that an ioctl answers. Raises as `call`."""
    answer = steps.make_call(SYS_IOCTL, descriptor, request, argument)
    if answer < 0:
        raise limits.refusal(f"KVM_{request.name}", -answer)
    return answer


def cpuid_table(entries: Iterable[Entry]) -> Cpuid:
    """For SET_CPUID2."""
    data = b"".join([CPUID_ENTRY.pack(*entry) for entry in entries])
    table = Cpuid(count=len(data) // CPUID_ENTRY.size)
    memoryview(table).cast("B")[CPUID_ENTRIES : CPUID_ENTRIES + len(data)] = data
    return table


class Known:
    """What this machine's KVM has said of itself, which it will say again."""

    __slots__ = ("answers", "cpuid", "run_size")

    def __init__(self, run_size: int) -> None:
        self.run_size = run_size
        self.answers: dict[int, int] = {}  # by capability
        self.cpuid: Sequence[Entry] = ()


class System:
    """/dev/kvm: what this kernel can do, and the source of VMs."""

    def __init__(self, descriptor: int, known: Known) -> None:
        """Take over the open device. `known` need not be asked for again."""
        self.descriptor = descriptor
        self.known = known

    @property
    def run_size(self) -> int:
        """Bytes of a vCPU's mapping."""
        return self.known.run_size

    def learn(self) -> Known:
        """All that can be asked for."""
        for capability in Capability:
            self.has(capability)
        self.supported_cpuid()
        return self.known

    def check(self, device: str) -> None:
        """Raise UsageError where it is not KVM, or too old; find `run_size`."""
        try:
            version = call(self.descriptor, Request.GET_API_VERSION)
        except GuestError:
            raise UsageError(f"{device}: not KVM's device; load the kernel's kvm module") from None
        if version != API_VERSION:
            raise UsageError(f"{device}: KVM API version {version}, Vestige needs {API_VERSION}")
        for capability, release in REQUIRED.items():
            if not self.has(capability):
                raise UsageError(
                    f"{device}: this kernel's KVM lacks KVM_CAP_{capability.name}; use Linux"
                    f" {release} or newer"
                )
        self.known.run_size = call(self.descriptor, Request.GET_VCPU_MMAP_SIZE)

    def has(self, capability: Capability) -> int:
        """The kernel's answer about `capability`: 0 is no."""
        answers = self.known.answers
        if capability not in answers:
            answers[capability] = call(self.descriptor, Request.CHECK_EXTENSION, capability)
        return answers[capability]

    def check_cpus(self, cpus: int, workers: int = 1) -> None:
        """Raise UsageError for a guest of `cpus` where a VM can't have those and `workers` more.

        api.rst, KVM_CAP_MAX_VCPUS: a kernel without it means the recommended number, or 4.
        """
        most = self.has(Capability.MAX_VCPUS) or self.has(Capability.NR_VCPUS) or 4
        if cpus + workers > most:
            raise UsageError(
                f"--cpus {cpus}: this kernel's KVM allows {most} virtual CPUs a machine, of which"
                f" Vestige needs {workers}; give at most {most - workers}"
            )

    def supported_cpuid(self) -> Sequence[Entry]:
        """What CPUID may show: the processor's features that KVM passes on."""
        if not self.known.cpuid:
            table = Cpuid(count=256)
            call(self.descriptor, Request.GET_SUPPORTED_CPUID, table)
            end = CPUID_ENTRIES + table.count * CPUID_ENTRY.size
            data = memoryview(table).cast("B")[CPUID_ENTRIES:end]
            self.known.cpuid = list(CPUID_ENTRY.iter_unpack(data))
        return self.known.cpuid

    def close(self) -> None:
        """Close the device; VMs live on."""
        os.close(self.descriptor)


def open_system(device: str = DEVICE, known: Known | None = None) -> System:
    """Open `device`. Raises UsageError: absent, no permission, not KVM, or too old.

    `known` is what another System has learnt: nothing is asked.
    """
    try:
        descriptor = steps.make(lambda: os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise UsageError(_opening_failed(device, error)) from error
    if known is not None:
        return System(descriptor, known)
    system = System(descriptor, Known(0))
    try:
        system.check(device)
    except BaseException:
        system.close()
        raise
    return system


def _opening_failed(device: str, error: OSError) -> str:
    """Why `device` didn't open, and what to do."""
    if isinstance(error, FileNotFoundError):
        return (
            f"{device}: no such device: this machine has no KVM, or its module isn't loaded"
            " (modprobe kvm-intel or kvm-amd)"
        )
    if isinstance(error, PermissionError):
        return (
            f"{device}: no permission; join its group (usually: sudo usermod -aG kvm $USER, then"
            " log in again)"
        )
    return f"{device}: {error.strerror}"
