"""What the shell does for the guest: its exits."""

from vestige.efiemu.shell.processor import FEATURES, SVM, SVM_FEATURES
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.takeover import EFER, VM_CR
from vestige.efiemu.shell.vmcb import (
    GENERAL_PROTECTION,
    INVALID_OPCODE,
    SVM_ENABLED,
    Exit,
    Vmcb,
)
from vestige.lang.intrinsics import address_of, cpuid, let_interrupts_in, panic, run_guest
from vestige.lang.types import u32, u64

RCX, RDX, RBX = 1, 2, 3
LOW = 0xFFFF_FFFF
LONG_MODE_ACTIVE = 1 << 10
OSXSAVE, OSXSAVE_ON = 1 << 27, 1 << 18  # ECX of leaf 1, CR4
LOCKED, DISABLED = 1 << 3, 1 << 4  # VM_CR
# SCE, LME, LMA, NXE, FFXSR and TCE: APM volume 2, 3.1.7.
WRITABLE = 1 << 0 | 1 << 8 | LONG_MODE_ACTIVE | 1 << 11 | 1 << 14 | 1 << 15
TWO_BYTES = 2  # CPUID, RDMSR, WRMSR


def efi_serve(state: u64) -> None:
    """Run the guest for ever."""
    shell = Shell.at(state)
    vmcb = Vmcb.at(shell.vmcb)
    while True:
        run_guest(shell.vmcb, address_of(shell.guest))
        serve(shell, vmcb)


def serve(shell: Shell, vmcb: Vmcb) -> None:
    """Answer one exit."""
    code = vmcb.exit
    if code == Exit.CPUID:
        answer_cpuid(shell, vmcb)
    elif code == Exit.MSR:
        answer_msr(shell, vmcb)
    elif code == Exit.SMI:
        let_interrupts_in()
    elif Exit.VMRUN <= code <= Exit.SKINIT:
        vmcb.injected = INVALID_OPCODE
    else:
        panic(u32(code & LOW))


def answer_cpuid(shell: Shell, vmcb: Vmcb) -> None:
    """The processor's own answer, without SVM."""
    leaf = u32(vmcb.rax & LOW)
    read = shell.registers
    cpuid(leaf, u32(shell.guest[RCX] & LOW), address_of(read))
    if leaf == 1:  # it tells of the host's CR4 here
        read.ecx &= LOW ^ OSXSAVE
        if vmcb.cr4 & OSXSAVE_ON:
            read.ecx |= OSXSAVE
    elif leaf == FEATURES:
        read.ecx &= LOW ^ SVM
    elif leaf == SVM_FEATURES:
        read.eax, read.ebx, read.ecx, read.edx = 0, 0, 0, 0
    vmcb.rax = read.eax
    shell.guest[RBX], shell.guest[RCX], shell.guest[RDX] = read.ebx, read.ecx, read.edx
    vmcb.instruction = u64(vmcb.instruction + TWO_BYTES)


def answer_msr(shell: Shell, vmcb: Vmcb) -> None:
    """EFER as if there were no SVM, VM_CR as if it were locked; no other is there."""
    number = u32(shell.guest[RCX] & LOW)
    writes = vmcb.information[0] != 0
    value = vmcb.rax & LOW | (shell.guest[RDX] & LOW) << 32
    if number == EFER and writes and value & ~WRITABLE == 0:
        kept = vmcb.efer & LONG_MODE_ACTIVE
        vmcb.efer = value & ~LONG_MODE_ACTIVE | kept | SVM_ENABLED
    elif number == EFER and not writes:
        vmcb.rax = vmcb.efer & LOW & ~SVM_ENABLED
        shell.guest[RDX] = vmcb.efer >> 32
    elif number == VM_CR and not writes:
        vmcb.rax, shell.guest[RDX] = LOCKED | DISABLED, 0
    else:
        vmcb.injected = GENERAL_PROTECTION
        return
    vmcb.instruction = u64(vmcb.instruction + TWO_BYTES)
