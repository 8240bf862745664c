"""What CPUID tells the guest: the features the hypervisor supports, made into this machine's.

No more of them than go together: see consistent.py.

Sources: Intel SDM vol. 2A, CPUID; AMD APM vol. 3, appendix E; Linux, Documentation/virt/kvm/
x86/cpuid.rst; VMware's timing leaf 0x40000010, as lkml.org/lkml/2008/10/1/246 proposes it.
"""

from _collections_abc import Iterable

from vestige.machine.consistent import consistent
from vestige.machine.cpu_features import Entry

SIGNIFICANT_INDEX = 1  # flag of an entry that holds for its index only
AMD_VENDORS = (0x6874_7541, 0x6F67_7948)  # EBX of leaf 0: "Auth"enticAMD, "Hygo"nGenuine

BASIC = 0x0
FEATURES = 0x1
CACHES = 0x4
TOPOLOGY = 0xB
TSC_FREQUENCY = 0x15
TOPOLOGY_V2 = 0x1F
HYPERVISOR = 0x4000_0000
HYPERVISOR_TIMING = 0x4000_0010
EXTENDED_FEATURES = 0x8000_0001
EXTENDED_SIZES = 0x8000_0008
SECURE_VIRTUAL_MACHINE = 0x8000_000A
EXTENDED_CACHES = 0x8000_001D
EXTENDED_TOPOLOGY = 0x8000_001E
MEMORY_ENCRYPTION = 0x8000_001F

# Leaf 1
ECX_VMX = 1 << 5
ECX_X2APIC = 1 << 21
ECX_TSC_DEADLINE = 1 << 24
ECX_HYPERVISOR = 1 << 31
EDX_HTT = 1 << 28  # more than one logical processor
# Leaf 0x80000008
ECX_CORES = 0xF0FF  # cores less 1, and how many bits of the APIC ID they take
# Leaf 0x80000001
ECX_CMP_LEGACY = 1 << 1
ECX_SVM = 1 << 2

SMT_LEVEL, CORE_LEVEL = 1, 2
TIMER_KHZ = 1_000_000  # the local APIC timer's clock in KVM
PRIVATE_CACHE_LEVEL = 2  # L1 and L2 are a core's own, L3 is everybody's

REMOVED = frozenset(
    (TOPOLOGY, TOPOLOGY_V2, TSC_FREQUENCY, HYPERVISOR_TIMING)  # written anew
) | {SECURE_VIRTUAL_MACHINE, MEMORY_ENCRYPTION}  # no nested virtualisation
ADJUSTED = frozenset((BASIC, FEATURES, CACHES, HYPERVISOR)) | {
    EXTENDED_FEATURES, EXTENDED_SIZES, EXTENDED_CACHES, EXTENDED_TOPOLOGY
}  # fmt: skip
NUMBERED = frozenset((FEATURES, TOPOLOGY, TOPOLOGY_V2, EXTENDED_TOPOLOGY))  # tell the CPU its ID


def of_machine(
    entries: Iterable[Entry], *, cores: int, tsc_khz: int, tsc_deadline: bool
) -> list[Entry]:
    """The CPUID entries of the first CPU, whose package has so many cores.

    `entries` are those the hypervisor supports. `tsc_khz` 0 means unknown: it is published
    nowhere then. `tsc_deadline` says whether the local APIC's timer has that mode: the
    hypervisor's own list leaves it out.
    """
    everything = list(entries)
    supported = [entry for entry in everything if entry[0] not in REMOVED]
    functions = {entry[0] for entry in everything}
    vendors = [entry[4] for entry in supported if entry[0] == BASIC]
    amd = any(vendor in AMD_VENDORS for vendor in vendors)
    result = consistent(
        _adjusted(entry, cores, tsc_khz, tsc_deadline, amd) if entry[0] in ADJUSTED else entry
        for entry in supported
    )
    result += _topology(TOPOLOGY, cores)
    if TOPOLOGY_V2 in functions:
        result += _topology(TOPOLOGY_V2, cores)
    if tsc_khz:
        result.append(tsc_frequency(tsc_khz))
        if HYPERVISOR in functions:
            result.append((HYPERVISOR_TIMING, 0, 0, tsc_khz, TIMER_KHZ, 0, 0))
    return result


def of_cpu(machine: Iterable[Entry], cpu: int, cores: int) -> list[Entry]:
    """What `of_machine` has found, as CPU number `cpu` (its APIC ID too) has it."""
    return [_numbered(entry, cpu, cores) if entry[0] in NUMBERED else entry for entry in machine]


def _numbered(entry: Entry, cpu: int, cores: int) -> Entry:
    function, index, flags, eax, ebx, ecx, edx = entry
    if function == FEATURES:
        ebx |= cpu << 24
    elif function == EXTENDED_TOPOLOGY:
        eax, ebx = cpu, cpu % cores  # APIC ID; core ID, one thread a core
    else:
        edx = cpu  # x2APIC ID
    return function, index, flags, eax, ebx, ecx, edx


def _adjusted(entry: Entry, cores: int, tsc_khz: int, tsc_deadline: bool, amd: bool) -> Entry:
    function, index, flags, eax, ebx, ecx, edx = entry
    if function == BASIC:
        eax = max(eax, TSC_FREQUENCY if tsc_khz else TOPOLOGY)
    elif function == FEATURES:
        ebx = (ebx & 0xFFFF) | cores << 16
        ecx = ecx & ~(ECX_VMX | ECX_TSC_DEADLINE) | ECX_X2APIC | ECX_HYPERVISOR
        ecx |= ECX_TSC_DEADLINE if tsc_deadline else 0
        edx = edx & ~EDX_HTT | (EDX_HTT if cores > 1 else 0)
    elif function in (CACHES, EXTENDED_CACHES):
        eax = _cache(eax, cores, has_core_count=function == CACHES)
    elif function == HYPERVISOR and tsc_khz:
        eax = max(eax, HYPERVISOR_TIMING)
    elif function == EXTENDED_FEATURES:
        ecx &= ~(ECX_SVM | ECX_CMP_LEGACY)
        ecx |= ECX_CMP_LEGACY if amd and cores > 1 else 0
    elif function == EXTENDED_SIZES and amd:
        ecx = ecx & ~ECX_CORES | id_bits(cores) << 12 | cores - 1
    elif function == EXTENDED_TOPOLOGY:
        eax, ebx, ecx = 0, 0, 0  # see _numbered; one node
    return function, index, flags, eax, ebx, ecx, edx


def _cache(eax: int, cores: int, *, has_core_count: bool) -> int:
    """EAX of a cache's description with this machine's sharing, not the host's."""
    if not eax & 0x1F:  # no more caches
        return eax
    level = eax >> 5 & 7
    ids = 1 << id_bits(cores)
    sharing = 1 if level <= PRIVATE_CACHE_LEVEL else ids
    eax = (eax & ~(0xFFF << 14)) | (sharing - 1) << 14
    if has_core_count:
        eax = (eax & ~(0x3F << 26)) | (ids - 1) << 26
    return eax


def _topology(function: int, cores: int) -> list[Entry]:
    """Extended topology: cores of one thread, then one package of them."""
    return [
        (function, 0, SIGNIFICANT_INDEX, 0, 1, SMT_LEVEL << 8 | 0, 0),
        (function, 1, SIGNIFICANT_INDEX, id_bits(cores), cores, CORE_LEVEL << 8 | 1, 0),
        (function, 2, SIGNIFICANT_INDEX, 0, 0, 2, 0),
    ]


def id_bits(cores: int) -> int:
    """How many bits of the APIC ID tell the CPUs of a package apart."""
    return (cores - 1).bit_length()


def tsc_frequency(tsc_khz: int) -> Entry:
    """Leaf 0x15: TSC = crystal * EBX / EAX, with ECX the crystal's frequency in Hz.

    The crystal is also what Linux takes for the local APIC timer's clock, 1 GHz in KVM: so it
    is within 0.2 % of that, and the fraction absorbs the rest (the TSC is right to 1 ppm).
    Linux multiplies crystal kHz and EBX in 32 bits, hence no finer fraction.
    """
    denominator = 500
    numerator = max(1, round(tsc_khz * denominator / TIMER_KHZ))
    crystal_khz = round(tsc_khz * denominator / numerator)
    return TSC_FREQUENCY, 0, 0, denominator, numerator, crystal_khz * 1000, 0
