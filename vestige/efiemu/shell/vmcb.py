"""The virtual machine control block. Source: AMD64 APM volume 2, appendix B; bits 15.9 to 15.20."""

from vestige.lang.enumeration import IntEnum
from vestige.lang.types import Struct, u8, u16, u32, u64


class Segment(Struct):
    """A segment register, with what its descriptor says."""

    selector: u16
    attributes: u16  # bits 40 to 47 of the descriptor, then 52 to 55
    limit: u32
    base: u64


class Vmcb(Struct):
    """Control area, then from 0x400 on the state that VMRUN loads and saves."""

    registers: u32
    debug_registers: u32
    exceptions: u32
    intercepts: u32  # Intercept
    instructions: u32  # SvmInstruction
    reserved_14: u8[44]
    ports: u64  # physical address of the I/O permission map
    msrs: u64  # of the MSR permission map
    tsc_offset: u64
    asid: u32
    flush: u32  # 1: of all ASIDs
    interrupt_control: u64
    shadow: u64  # bit 0: interrupts wait for one more instruction
    exit: u64  # Exit
    information: u64[2]
    interrupted: u64  # the event whose delivery the exit interrupted
    nested_paging: u64
    reserved_98: u8[16]
    injected: u64  # an event
    nested_root: u64  # physical address of the nested page tables
    branch_records: u64
    clean: u64
    next_instruction: u64  # where the processor tells it
    fetched: u8
    bytes: u8[15]
    reserved_e0: u8[800]
    es: Segment
    cs: Segment
    ss: Segment
    ds: Segment
    fs: Segment
    gs: Segment
    gdtr: Segment
    ldtr: Segment
    idtr: Segment
    tr: Segment
    reserved_4a0: u8[43]
    privilege: u8
    reserved_4cc: u32
    efer: u64
    reserved_4d8: u8[112]
    cr4: u64
    cr3: u64
    cr0: u64
    dr7: u64
    dr6: u64
    flags: u64
    instruction: u64
    reserved_580: u8[88]
    stack: u64
    reserved_5e0: u8[24]
    rax: u64
    reserved_600: u8[64]
    cr2: u64
    reserved_648: u8[32]
    pat: u64


class Intercept(IntEnum):
    """Bits of Vmcb.intercepts."""

    INTERRUPT = 1 << 0
    NMI = 1 << 1
    SMI = 1 << 2
    INIT = 1 << 3
    CPUID = 1 << 18
    SOFTWARE = 1 << 21  # INT n, and in QEMU's emulator INT3, too
    HALT = 1 << 24
    INVLPGA = 1 << 26
    PORT = 1 << 27
    MSR = 1 << 28
    SHUTDOWN = 1 << 31


class SvmInstruction(IntEnum):
    """Bits of Vmcb.instructions; VMRUN must be there, or VMRUN fails."""

    VMRUN = 1 << 0
    VMMCALL = 1 << 1
    VMLOAD = 1 << 2
    VMSAVE = 1 << 3
    STGI = 1 << 4
    CLGI = 1 << 5
    SKINIT = 1 << 6


class Exit(IntEnum):
    """What a guest left for. APM volume 2, appendix C."""

    EXCEPTION = 0x40  # to 0x5F, by its vector
    DEBUG = 0x41
    MACHINE_CHECK = 0x52
    NMI = 0x61
    SMI = 0x62
    WINDOW = 0x64  # a virtual interrupt could be delivered
    CPUID = 0x72
    IRET = 0x74
    SOFTWARE = 0x75
    INVLPGA = 0x7A
    PORT = 0x7B
    MSR = 0x7C
    SHUTDOWN = 0x7F
    VMRUN = 0x80
    SKINIT = 0x86
    MEMORY = 0x400  # which the nested page table does not have


MASK_INTERRUPTS = 1 << 24  # of Vmcb.interrupt_control: the host's RFLAGS.IF holds for physical ones
DEBUG_STATUS, DEBUG_CONTROL = 0xFFFF_0FF0, 0x400  # DR6 and DR7 after a reset
SVM_ENABLED = 1 << 12  # of EFER; VMRUN needs it in Vmcb.efer, too
