"""The state in which the guest's CPUs start, as machine/ describes it, in KVM's terms."""

from vestige.host import kvm
from vestige.host.vm import VirtualCpu
from vestige.machine import cpuid
from vestige.machine.cpu import CpuState, Segment


def set_cpuid(cpu: VirtualCpu, supported: kvm.Cpuid, cpus: int, deadline: bool) -> None:
    """Show CPU `cpu` of `cpus` the processor that machine/cpuid.py makes of `supported`."""
    entries = [_tuple(supported.entries[number]) for number in range(supported.count)]
    adjusted = cpuid.adjust(
        entries, cpu=cpu.index, cpus=cpus, tsc_khz=cpu.tsc_khz(), tsc_deadline=deadline
    )
    table = kvm.Cpuid(count=len(adjusted))
    for number, entry in enumerate(adjusted):
        table.entries[number] = kvm.CpuidEntry(*entry)
    cpu.set_cpuid(table)


def _tuple(entry: kvm.CpuidEntry) -> cpuid.Entry:
    numbers = (entry.eax, entry.ebx, entry.ecx, entry.edx)
    return (entry.function, entry.index, entry.flags, *numbers)


def set_start(cpu: VirtualCpu, state: CpuState) -> None:
    """Put the boot CPU where `state` says."""
    registers = cpu.system_registers()
    registers.cs = _segment(state.code)
    for name in ("ds", "es", "fs", "gs", "ss"):
        setattr(registers, name, _segment(state.data))
    registers.tr = _segment(state.task)
    registers.ldt = kvm.Segment(unusable=1)
    registers.gdt = kvm.DescriptorTable(base=state.gdt_base, limit=state.gdt_limit)
    registers.idt = kvm.DescriptorTable(base=0, limit=0)
    registers.cr0, registers.cr3, registers.cr4 = state.cr0, state.cr3, state.cr4
    registers.efer = state.efer
    cpu.set_system_registers(registers)
    cpu.set_registers(
        kvm.Registers(
            rip=state.rip, rsp=state.rsp, rsi=state.rsi, rbx=state.rbx, rflags=state.rflags
        )
    )


def _segment(segment: Segment) -> kvm.Segment:
    return kvm.Segment(
        base=segment.base,
        limit=segment.limit,
        selector=segment.selector,
        type=segment.type,
        present=1,
        db=segment.default_32,
        s=segment.nonsystem,
        l=segment.long,
        g=segment.granularity,
    )
