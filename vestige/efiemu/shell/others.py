"""The other processors: each becomes a guest when the guest starts it, and runs a shell of its own.

The guest's STARTUP IPI (apic.py) leads to a page of the shell's below 1 MiB instead of its own:
runtime/efi.s. What it finds is a processor after INIT: AMD64 APM volume 2, table 14-1 and 14.6.
INIT is not intercepted, so that it is what it always is, of a processor in guest mode, too.
"""

from ctypes import sizeof

from vestige.efiemu.shell import block
from vestige.efiemu.shell.common import CPUS, Arrival, Startup
from vestige.efiemu.shell.controller import NMI_MODE
from vestige.efiemu.shell.events import Events
from vestige.efiemu.shell.instruction import RDX
from vestige.efiemu.shell.interrupt import ASSERT, send
from vestige.efiemu.shell.pages import PAGE, PRESENT, USER
from vestige.efiemu.shell.registers import Registers
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.takeover import PAT, enable_svm, fill_controls
from vestige.efiemu.shell.vmcb import DEBUG_CONTROL, DEBUG_STATUS, SVM_ENABLED, Segment, Vmcb
from vestige.lang.intrinsics import (
    address_of,
    copy,
    cpuid,
    fill,
    load64,
    read_msr,
    startup_page,
    store64,
)
from vestige.lang.types import u16, u32, u64

LIMIT = 0xFFFF  # of every segment and table after INIT
DATA, CODE, TABLE, TASK = 0x93, 0x9B, 0x82, 0x8B  # Segment.attributes
FLAGS = 2
FLUSH_ALL = 1  # Vmcb.flush
DESCRIPTORS = Startup.descriptors.offset  # type: ignore[attr-defined]
WORD = 8


def prepare_others(shell: Shell) -> None:
    """All is there for them before the guest runs, which is this processor."""
    common = block.common(shell)
    common.joined[shell.number % CPUS] = 1
    count = min(shell.processors, CPUS)
    fill_arrival(shell, common.arrival)
    fill_startup(shell, common.startup)
    for number in range(1, count):
        place = u64(block.processor(shell.block, number) + block.SHELL)
        copy(place, address_of(shell), sizeof(Shell))
        Shell.at(place).number = number
    if count > 1:
        common.tables.replace(shell.guest_root, shell.apic, shell.apic, PRESENT | USER)


def fill_arrival(shell: Shell, arrival: Arrival) -> None:
    """What is the same for each that arrives."""
    arrival.root, arrival.parts = shell.host_root, block.processor(shell.block, 0)
    arrival.gdt_limit, arrival.gdt = 23, u64(shell.block + block.DESCRIPTORS)
    arrival.idt_limit, arrival.idt = 4095, u64(shell.block + block.GATES)
    arrival.count, arrival.part_size = min(shell.processors, CPUS), block.PROCESSOR_SIZE
    for number in range(CPUS):
        arrival.identities[number] = shell.identities[number]


def fill_startup(shell: Shell, startup: Startup) -> None:
    """What is to be at the first page below 1 MiB."""
    low, code = shell.low, startup_page()
    copy(address_of(startup), code, sizeof(Startup))
    startup.root = u64(low + PAGE)
    startup.far = u32(startup.far + low)
    table = u64(low + DESCRIPTORS)
    startup.gdt_low, startup.gdt_high = u16(table & 0xFFFF), u16(table >> 16 & 0xFFFF)
    startup.descriptors[1], startup.descriptors[2] = block.CODE_DESCRIPTOR, block.DATA_DESCRIPTOR
    startup.entry = u64(startup.entry + code)
    startup.arrival = address_of(block.common(shell).arrival)


def place_startup(shell: Shell) -> None:
    """See to both pages before each IPI: the guest's devices reach them by DMA.

    A processor may be on its way through them, so that what is right is not written.
    """
    restore(shell.low, address_of(block.common(shell).startup), sizeof(Startup))
    restore(u64(shell.low + PAGE), shell.host_root, PAGE)  # CR3 has 32 bits before long mode


def restore(place: u64, source: u64, size: u32) -> None:
    """Write the words that are not what they are to be."""
    for offset in range(0, size, WORD):
        wanted = load64(u64(source + offset))
        if load64(u64(place + offset)) != wanted:
            store64(u64(place + offset), wanted)


def join(shell: Shell, cr0: u64) -> None:
    """This processor has arrived: its guest begins in real mode, where its IPI has said."""
    common, number = block.common(shell), shell.number % CPUS
    enable_svm(shell)
    vmcb = Vmcb.at(shell.vmcb)
    fill(shell.vmcb, 0, PAGE)
    fill_controls(shell, vmcb)
    vmcb.flush = FLUSH_ALL  # what this processor knew of the guest before
    reset(vmcb, common.pages[number], cr0)
    vmcb.pat = read_msr(PAT)
    fill(address_of(shell.guest), 0, sizeof(Registers))
    fill(address_of(shell.events), 0, sizeof(Events))
    cpuid(1, 0, address_of(shell.leaf))
    shell.guest.number[RDX] = shell.leaf.eax
    shell.pending = 0
    common.joined[number] = 1


def reset(vmcb: Vmcb, page: u64, cr0: u64) -> None:
    """Registers as INIT leaves them, and STARTUP; FS, GS and what else VMRUN leaves are so."""
    for_real_mode(vmcb.es, DATA, 0)
    for_real_mode(vmcb.cs, CODE, page << 8 & 0xFF00)
    for_real_mode(vmcb.ss, DATA, 0)
    for_real_mode(vmcb.ds, DATA, 0)
    for_real_mode(vmcb.fs, DATA, 0)
    for_real_mode(vmcb.gs, DATA, 0)
    for_real_mode(vmcb.gdtr, 0, 0)
    for_real_mode(vmcb.idtr, 0, 0)
    for_real_mode(vmcb.ldtr, TABLE, 0)
    for_real_mode(vmcb.tr, TASK, 0)
    vmcb.cr0, vmcb.efer = cr0, SVM_ENABLED
    vmcb.dr6, vmcb.dr7, vmcb.flags = DEBUG_STATUS, DEBUG_CONTROL, FLAGS


def for_real_mode(segment: Segment, attributes: u16, selector: u16) -> None:
    """A segment register after INIT."""
    segment.selector, segment.attributes, segment.limit = selector, attributes, LIMIT
    segment.base = selector << 4


def end_all(shell: Shell) -> None:
    """No other processor is to go on: an NMI has each leave its guest for the last time.

    Of several that want that, the first one comes back.
    """
    common = block.common(shell)
    common.end.acquire()
    for number in range(min(shell.processors, CPUS)):
        if number != shell.number and common.joined[number]:
            send(NMI_MODE | ASSERT, shell.identities[number])
