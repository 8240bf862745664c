"""What the guest is shown of its processor: CPUID, EFER, SVM's registers. AMD64 APM volumes 2, 3.

That is the processor as it is, but for what it can't have as a guest: SVM; what a VMCB or EFER
would have to permit first; and what the host below tells of itself, whose registers and calls lead
to nobody here. A Linux that is told of KVM's clock divides by what is not in it.
"""

from vestige.efiemu.shell import apic
from vestige.efiemu.shell.code import length_of
from vestige.efiemu.shell.fault import Vector
from vestige.efiemu.shell.instruction import LONGEST, RBX, RCX, RDX
from vestige.efiemu.shell.processor import (
    ADDRESS_SIZES,
    ENCRYPTION,
    FEATURES,
    LARGEST,
    SVM,
    SVM_FEATURES,
    VM_CR,
    ecx,
)
from vestige.efiemu.shell.registers import LONG_MODE_ACTIVE, retire
from vestige.efiemu.shell.state import Leaf, Shell
from vestige.efiemu.shell.takeover import EFER
from vestige.efiemu.shell.vmcb import SVM_ENABLED, Vmcb
from vestige.efiemu.shell.walk import PAGING
from vestige.lang.intrinsics import address_of, cpuid
from vestige.lang.types import u8, u32, u64

LOW = 0xFFFF_FFFF
HYPERVISOR = 0x4000  # the upper half of the numbers of leaves in which one tells of itself
# What CPUID tells of the host's CR4 there: bits of ECX of leaves 1 and 7, and of CR4.
OSXSAVE, OSXSAVE_ON = 1 << 27, 1 << 18
STRUCTURED, OSPKE, OSPKE_ON = 7, 1 << 4, 1 << 22
SKINIT, TCE = 1 << 12, 1 << 17  # ECX of FEATURES
NO_EXECUTE, FAST_FXSAVE = 1 << 20, 1 << 25  # EDX of FEATURES
INVLPGB, MCOMMIT, INTERRUPTIBLE = 1 << 3, 1 << 8, 1 << 13  # EBX of ADDRESS_SIZES
EXTENDED_2, UPPER_IGNORED, AUTOMATIC_IBRS = 0x8000_0021, 1 << 7, 1 << 8  # EAX
LOCKED, DISABLED = 1 << 3, 1 << 4  # VM_CR
# Bits of EFER: APM volume 2, 3.1.7.
SYSCALL_ENABLED, LONG_MODE_ENABLED, NO_EXECUTE_ENABLED = 1 << 0, 1 << 8, 1 << 11
FAST_FXSAVE_ENABLED, TCE_ENABLED, AUTOMATIC_IBRS_ENABLED = 1 << 14, 1 << 15, 1 << 21
TWO_BYTES = 2  # CPUID, RDMSR, WRMSR, where they aren't in RAM


def answer_cpuid(shell: Shell, vmcb: Vmcb) -> None:
    """The processor's own answer, without what a guest doesn't have."""
    leaf, subleaf = u32(vmcb.rax & LOW), u32(shell.guest.number[RCX] & LOW)
    read = shell.leaf
    cpuid(leaf, subleaf, address_of(read))
    if leaf in (SVM_FEATURES, ENCRYPTION) or leaf >> 16 == HYPERVISOR:
        read.eax, read.ebx, read.ecx, read.edx = 0, 0, 0, 0
    elif leaf == 1:
        read.ecx = of_guest(read.ecx, OSXSAVE, vmcb.cr4 & OSXSAVE_ON)
    elif leaf == STRUCTURED and subleaf == 0:
        read.ecx = of_guest(read.ecx, OSPKE, vmcb.cr4 & OSPKE_ON)
    else:
        hide(leaf, read)
    vmcb.rax = read.eax
    shell.guest.number[RBX], shell.guest.number[RCX], shell.guest.number[RDX] = (
        read.ebx,
        read.ecx,
        read.edx,
    )
    finish(shell, vmcb)


def of_guest(register: u32, bit: u32, on: u64) -> u32:
    """A register of CPUID's in which a bit tells of CR4."""
    return register | bit if on else register & ~bit


def hide(leaf: u32, read: Leaf) -> None:
    """Single bits of what else CPUID tells."""
    if leaf == FEATURES:
        read.ecx &= ~(SVM | SKINIT)
    elif leaf == ADDRESS_SIZES:
        read.ebx &= ~(INVLPGB | MCOMMIT | INTERRUPTIBLE)
    elif leaf == EXTENDED_2:
        read.eax &= ~UPPER_IGNORED


def answer_msr(shell: Shell, vmcb: Vmcb) -> None:
    """EFER as if there were no SVM, VM_CR as if it were locked, and writes of the local APIC's."""
    number = u32(shell.guest.number[RCX] & LOW)
    writes = vmcb.information[0] != 0
    value = vmcb.rax & LOW | (shell.guest.number[RDX] & LOW) << 32
    if number == EFER and writes and may_write(shell, vmcb, value):
        kept = vmcb.efer & LONG_MODE_ACTIVE
        vmcb.efer = value & ~LONG_MODE_ACTIVE | kept | SVM_ENABLED
    elif number == EFER and not writes:
        vmcb.rax = vmcb.efer & LOW & ~SVM_ENABLED
        shell.guest.number[RDX] = vmcb.efer >> 32
    elif number == VM_CR and not writes:
        vmcb.rax, shell.guest.number[RDX] = LOCKED | DISABLED, 0
    elif not writes or not apic.write_register(shell, number, value):
        shell.events.raise_exception(vmcb, Vector.GENERAL_PROTECTION)
        return
    finish(shell, vmcb)


def finish(shell: Shell, vmcb: Vmcb) -> None:
    """The instruction is done, which may have prefixes."""
    told = vmcb.next_instruction
    if told:
        length = u8(u64(told - vmcb.instruction) & LONGEST)
    else:
        length = length_of(vmcb, shell.memory, shell.walk, shell.decoder, shell.found)
    retire(vmcb, length or TWO_BYTES)


def may_write(shell: Shell, vmcb: Vmcb, efer: u64) -> bool:
    """Whether EFER may have a value: bits that this processor has, LME as it is while it pages."""
    known = SYSCALL_ENABLED | LONG_MODE_ENABLED | LONG_MODE_ACTIVE
    if ecx(shell, FEATURES) & TCE:
        known |= TCE_ENABLED
    if shell.leaf.edx & NO_EXECUTE:
        known |= NO_EXECUTE_ENABLED
    if shell.leaf.edx & FAST_FXSAVE:
        known |= FAST_FXSAVE_ENABLED
    cpuid(LARGEST, 0, address_of(shell.leaf))
    if shell.leaf.eax >= EXTENDED_2:
        cpuid(EXTENDED_2, 0, address_of(shell.leaf))
        if shell.leaf.eax & AUTOMATIC_IBRS:
            known |= AUTOMATIC_IBRS_ENABLED
    if vmcb.cr0 & PAGING and (efer ^ vmcb.efer) & LONG_MODE_ENABLED:
        return False
    return efer & ~known == 0
