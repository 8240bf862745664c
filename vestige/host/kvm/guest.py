"""The state in which the guest's CPUs start, as machine/ describes it, in KVM's terms."""

from _collections_abc import Sequence

from vestige.host.kvm import api as kvm
from vestige.host.kvm.vm import VirtualCpu
from vestige.machine import cpuid
from vestige.machine.cpu import CpuState, Segment
from vestige.machine.cpu_features import Entry


def cpuid_of(
    cpus: Sequence[VirtualCpu], supported: Sequence[Entry], deadline: bool, *, apart: bool
) -> list[Entry]:
    """The processor that machine/cpuid.py makes of `supported` for a guest with these CPUs.

    `apart`: each is a package of its own.
    """
    cores = 1 if apart else len(cpus)
    return cpuid.of_machine(
        supported, cores=cores, tsc_khz=cpus[0].tsc_khz(), tsc_deadline=deadline
    )


def set_cpuid(cpus: Sequence[VirtualCpu], machine: Sequence[Entry], *, apart: bool) -> None:
    """Show the guest's CPUs that processor."""
    cores = 1 if apart else len(cpus)
    for cpu in cpus:
        cpu.set_cpuid(kvm.cpuid_table(cpuid.of_cpu(machine, cpu.index, cores)))


def set_start(cpu: VirtualCpu, state: CpuState) -> None:
    """Put the boot CPU where `state` says."""
    registers = cpu.system_registers()
    registers.cs = _segment(state.code)
    data = _segment(state.data)
    registers.ds = registers.es = registers.fs = registers.gs = registers.ss = data
    registers.tr = _segment(state.task)
    registers.ldt = kvm.Segment(unusable=1)
    registers.gdt = kvm.DescriptorTable(base=state.gdt_base, limit=state.gdt_limit)
    registers.idt = kvm.DescriptorTable(base=0, limit=0)
    registers.cr0, registers.cr3, registers.cr4 = state.cr0, state.cr3, state.cr4
    registers.efer = state.efer
    cpu.set_system_registers(registers)
    cpu.set_registers(
        kvm.Registers(
            rip=state.rip,
            rsp=state.rsp,
            rsi=state.rsi,
            rax=state.rax,
            rbx=state.rbx,
            rflags=state.rflags,
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
