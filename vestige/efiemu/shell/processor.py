"""What the processor must have. Source: AMD64 APM, volume 2, 15.4, 15.30; volume 3, appendix E."""

from vestige.efiemu.shell.state import Leaf, Shell
from vestige.efiemu.shell.texts import Text
from vestige.lang.intrinsics import address_of, cpuid, read_msr
from vestige.lang.types import u32

# EBX, ECX and EDX of leaf 0: "AuthenticAMD", "HygonGenuine".
AMD = (0x6874_7541, 0x444D_4163, 0x6974_6E65)
HYGON = (0x6F67_7948, 0x656E_6975, 0x6E65_476E)
FEATURES, SVM, GIBIBYTE_PAGES = 0x8000_0001, 1 << 2, 1 << 26  # bits of ECX, of EDX
ADDRESS_SIZES = 0x8000_0008  # EAX, bits 0 to 7: of a physical address
SVM_FEATURES, NESTED_PAGING = 0x8000_000A, 1 << 0  # EDX
ENCRYPTION, SME, SEV = 0x8000_001F, 1 << 0, 1 << 1  # EAX
VM_CR, SVM_DISABLED = 0xC001_0114, 1 << 4
SYSTEM_CONFIGURATION, SME_ON = 0xC001_0010, 1 << 23
SEV_STATUS, SEV_ON = 0xC001_0131, 1 << 0
LARGEST = 0x8000_0000


def refusal_by_processor(shell: Shell) -> u32:
    """Why this processor won't do; Text.NOTHING: it will.

    Encryption is told first: a machine that has SEV is shown no SVM.
    """
    read = shell.leaf
    cpuid(0, 0, address_of(read))
    if not is_amd(read):
        return Text.INTEL
    cpuid(LARGEST, 0, address_of(read))
    largest = read.eax
    if largest >= ENCRYPTION and is_encrypted(shell):
        return Text.ENCRYPTED
    if largest < SVM_FEATURES or not ecx(shell, FEATURES) & SVM:
        return Text.NO_SVM
    if read_msr(VM_CR) & SVM_DISABLED:
        return Text.LOCKED
    cpuid(SVM_FEATURES, 0, address_of(read))
    if not read.edx & NESTED_PAGING:
        return Text.NO_NESTED_PAGING
    cpuid(FEATURES, 0, address_of(read))
    if not read.edx & GIBIBYTE_PAGES:
        return Text.NO_GIBIBYTE_PAGES
    return Text.NOTHING


def describe(shell: Shell) -> None:
    """What a walk of its page tables must know of it."""
    read, walk = shell.leaf, shell.walk
    walk.gibibyte_pages = 1
    cpuid(ADDRESS_SIZES, 0, address_of(read))
    walk.address_bits = read.eax & 0xFF


def is_amd(read: Leaf) -> bool:
    """Whether it is AMD's, or Hygon's with AMD's SVM."""
    if read.ebx == AMD[0]:
        return read.ecx == AMD[1] and read.edx == AMD[2]
    return read.ebx == HYGON[0] and read.ecx == HYGON[1] and read.edx == HYGON[2]


def ecx(shell: Shell, leaf: u32) -> u32:
    """Of a leaf of CPUID."""
    cpuid(leaf, 0, address_of(shell.leaf))
    return shell.leaf.ecx


def is_encrypted(shell: Shell) -> bool:
    """Whether memory is."""
    cpuid(ENCRYPTION, 0, address_of(shell.leaf))
    has = shell.leaf.eax
    if has & SEV and read_msr(SEV_STATUS) & SEV_ON:
        return True
    return has & SME != 0 and read_msr(SYSTEM_CONFIGURATION) & SME_ON != 0
