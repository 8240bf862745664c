"""Taking the machine over: the firmware that runs becomes a guest, and notices nothing."""

from ctypes import sizeof

from vestige.efiemu.shell import block
from vestige.efiemu.shell.interrupt import APIC_ADDRESS, APIC_BASE, X2APIC_COMMAND
from vestige.efiemu.shell.processor import VM_CR
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.uefi import LoadedImage
from vestige.efiemu.shell.vmcb import (
    SVM_ENABLED,
    Intercept,
    Segment,
    SvmInstruction,
    Vmcb,
)
from vestige.lang.intrinsics import (
    address_of,
    check,
    copy,
    load64,
    read_msr,
    read_state,
    store64,
    take_over,
    write_msr,
)
from vestige.lang.types import u16, u64
from vestige.lang.vcpu import STACK_SIZE

EFER = 0xC000_0080
HOST_SAVE_AREA, PAT = 0xC001_0117, 0x277
MSRS = (EFER, VM_CR, HOST_SAVE_AREA)
INTERCEPTED = (
    Intercept.NMI
    | Intercept.SMI
    | Intercept.CPUID
    | Intercept.INVLPGA
    | Intercept.PORT
    | Intercept.MSR
    | Intercept.SHUTDOWN
)
INSTRUCTIONS = (
    SvmInstruction.VMRUN | SvmInstruction.VMLOAD | SvmInstruction.VMSAVE | SvmInstruction.STGI
    | SvmInstruction.CLGI | SvmInstruction.SKINIT
)  # fmt: skip
GUEST_ASID = 1


def enable_svm(shell: Shell) -> None:
    """From here on there is VMRUN; `shell.block` is there."""
    own = block.processor(shell.block, shell.number)
    write_msr(EFER, read_msr(EFER) | SVM_ENABLED)
    write_msr(HOST_SAVE_AREA, u64(own + block.HOST_SAVE))
    shell.vmcb = u64(own + block.VMCB)


def disable_svm() -> None:
    """As it was before."""
    write_msr(EFER, read_msr(EFER) & ~SVM_ENABLED)


def take(shell: Shell, image: LoadedImage) -> None:
    """Go on as a guest, with SVM enabled. What is running goes on behind this call."""
    place = shell.block
    distance = u64(place + image.base % STACK_SIZE - image.base)  # modulo 2**64
    check(image.size <= block.IMAGE_SIZE - STACK_SIZE)
    store64(u64(place + block.DESCRIPTORS + 8), block.CODE_DESCRIPTOR)
    store64(u64(place + block.DESCRIPTORS + 16), block.DATA_DESCRIPTOR)
    shell.apic = read_msr(APIC_BASE) & APIC_ADDRESS
    intercept_msrs(shell)
    fill_vmcb(shell, Vmcb.at(shell.vmcb))
    state = u64(block.processor(place, shell.number) + block.SHELL)
    world = shell.world
    world.vmcb, world.cr3 = shell.vmcb, shell.host_root
    world.stack, world.state = state, state
    world.gdt_limit, world.gdt = 23, u64(place + block.DESCRIPTORS)
    world.idt_limit, world.idt = 4095, u64(place + block.GATES)
    world.distance = distance
    shell.constants = u64(shell.constants + distance)
    copy(u64(image.base + distance), image.base, image.size)
    copy(state, address_of(shell), sizeof(Shell))
    take_over(address_of(world))


def intercept_msrs(shell: Shell) -> None:
    """Those that are not the guest's alone."""
    for number in MSRS:
        block.intercept_msr(shell.block, number, block.MSR_ACCESSES)
    block.intercept_msr(shell.block, APIC_BASE, block.MSR_WRITES)
    if shell.processors > 1:
        block.intercept_msr(shell.block, X2APIC_COMMAND, block.MSR_WRITES)


def fill_vmcb(shell: Shell, vmcb: Vmcb) -> None:
    """The guest is this processor as it is now."""
    fill_controls(shell, vmcb)
    now = shell.state
    read_state(address_of(now))
    fill_segment(vmcb.es, now.es, now.gdt)
    fill_segment(vmcb.cs, now.cs, now.gdt)
    fill_segment(vmcb.ss, now.ss, now.gdt)
    fill_segment(vmcb.ds, now.ds, now.gdt)
    vmcb.gdtr.limit, vmcb.gdtr.base = now.gdt_limit, now.gdt
    vmcb.idtr.limit, vmcb.idtr.base = now.idt_limit, now.idt
    vmcb.efer, vmcb.pat = read_msr(EFER), read_msr(PAT)
    vmcb.cr0, vmcb.cr2, vmcb.cr3, vmcb.cr4 = now.cr0, now.cr2, now.cr3, now.cr4
    vmcb.dr6, vmcb.dr7 = now.dr6, now.dr7


def fill_controls(shell: Shell, vmcb: Vmcb) -> None:
    """What a guest leaves for, and which memory it has."""
    vmcb.intercepts, vmcb.instructions = INTERCEPTED, INSTRUCTIONS
    vmcb.msrs = u64(shell.block + block.MSRS)
    vmcb.ports = u64(shell.block + block.PORTS)
    vmcb.asid, vmcb.nested_paging = GUEST_ASID, 1
    vmcb.nested_root = shell.guest_root


def fill_segment(segment: Segment, selector: u16, table: u64) -> None:
    """By its descriptor. APM volume 2, 4.7 and 4.8."""
    segment.selector = selector
    if selector < 4:
        return
    descriptor = load64(u64(table + (selector & 0xFFF8)))
    segment.attributes = u16(descriptor >> 40 & 0xFF | (descriptor >> 52 & 0xF) << 8)
    limit = descriptor & 0xFFFF | descriptor >> 32 & 0xF_0000
    if descriptor >> 55 & 1:
        limit = limit << 12 | 0xFFF
    segment.limit = limit
    segment.base = descriptor >> 16 & 0xFF_FFFF | descriptor >> 32 & 0xFF00_0000
