"""The monitor's virtual CPUs: what KVM lets code do there that is no longer the monitor's own."""

from collections.abc import Iterator

import pytest

from tests.host.harness import monitor_image
from tests.kvm_payload import Payload, in_ring_0, needs_kvm, payload
from vestige import abi
from vestige.host.kvm import api as kvm
from vestige.host.kvm import vm

pytestmark = pytest.mark.kvm

ALL = (1 << 32) - 1
INVALID_OPCODE, PROTECTION_FAULT, PAGE_FAULT = 6, 13, 14
ARGUMENTS: int = abi.Cpu.argument.offset  # type: ignore[attr-defined]
EFER, SVME = 0xC000_0080, 1 << 12
DONE = "31c0 e6f0"  # xor eax, eax; out PORT_CALL, al


def at(number: int) -> str:
    """The displacement from RDI, the Cpu, of an argument."""
    return (ARGUMENTS + 8 * number).to_bytes(4, "little").hex()


LOAD = f"8b87{at(0)} 8b8f{at(1)} 8b97{at(2)}"  # mov eax, [rdi + …]; and ecx, edx
STORE = f"488987{at(0)} 48899f{at(1)} 48898f{at(2)} 488997{at(3)}"  # rax, rbx, rcx, rdx


class Hostile:
    """A monitor whose code is replaced by a few bytes, its exception handlers kept.

    It is in ring 0 unless it is said to be in ring 3, where a monitor belongs.
    """

    def __init__(self, payload: Payload, ring: int = 0) -> None:
        self.payload, self._ring = payload, ring
        self._entry = payload.twin.monitor.cpus[0].registers().rip

    def run(self, code: str, *arguments: int) -> tuple[int, int, int, int] | int:
        """What it leaves in the registers that `code` stores, or the vector of its exception."""
        twin = self.payload.twin
        twin.private.write(self._entry, bytes.fromhex(code + DONE))
        cpu = twin.monitor.cpus[0]
        registers = cpu.registers()
        if self._ring == 0:
            cpu.set_system_registers(in_ring_0(cpu.system_registers()))
        registers.rip, registers.rdi = self._entry, abi.STACKS
        registers.rsp = abi.STACKS + abi.STACK_SIZE - 8
        cpu.set_registers(registers)
        if self.payload.run(*arguments) == abi.Call.PANIC:
            return int(self.payload.cpu.panic.vector)
        rax, rbx, rcx, rdx = self.payload.cpu.argument
        return rax, rbx, rcx, rdx

    def cpuid(self, leaf: int, subleaf: int = 0) -> tuple[int, int, int, int]:
        """What CPUID shows."""
        found = self.run(LOAD + "0fa2" + STORE, leaf, subleaf)
        assert isinstance(found, tuple)
        return found


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    needs_kvm()
    with payload(monitor_image()) as made:
        yield Hostile(made)


@pytest.mark.parametrize(
    ("code", "vector"),
    [
        ("f4", PROTECTION_FAULT),  # hlt
        ("0f30", PROTECTION_FAULT),  # wrmsr
        ("0f32", PROTECTION_FAULT),  # rdmsr
        ("0f20d8", PROTECTION_FAULT),  # mov rax, cr3
        ("0f22d8", PROTECTION_FAULT),  # mov cr3, rax
        ("0f011f", PROTECTION_FAULT),  # lidt [rdi]
        ("0f00df", PROTECTION_FAULT),  # ltr di
        ("8a0425000000c3", PAGE_FAULT),  # mov al, [TABLES]
        ("880425000000c3", PAGE_FAULT),
        ("b9800000c0 cc", PROTECTION_FAULT),  # the gate, for EFER
        ("b91b000000 cc", PROTECTION_FAULT),  # APIC_BASE
        ("b9ff070000 cc", PROTECTION_FAULT),  # those beside the local APIC's
        ("b900090000 cc", PROTECTION_FAULT),
        ("b9ffffffff cc", PROTECTION_FAULT),
    ],
)
def test_a_monitor_in_ring_3_has_no_privilege(code: str, vector: int) -> None:
    needs_kvm()
    with payload(monitor_image()) as made:
        assert Hostile(made, ring=3).run(code) == vector


def test_the_monitors_cpuid_shows_what_compiled_code_needs_and_nothing_else(
    hostile: Hostile,
) -> None:
    """Beyond what this KVM shows of the processor whatever it is told."""
    leaves = sorted({entry[0] for entry in hostile.payload.twin.system.supported_cpuid()})
    with payload(monitor_image()) as made:
        table = vm.monitor_cpuid(made.twin.system.supported_cpuid(), 0)
        for number in range(table.count):
            if table.entries[number].function == vm.CPUID_FEATURES:
                table.entries[number] = kvm.CpuidEntry(function=vm.CPUID_FEATURES)
        made.twin.monitor.cpus[0].set_cpuid(table)
        blank = Hostile(made)
        unhidden = {(leaf, sub): (0, 0, 0, 0) for leaf in leaves for sub in range(3)}
        # Where guests run in ring 3 (kvm-pvm), these two leaves are the processor's.
        unhidden |= {(leaf, sub): blank.cpuid(leaf, sub) for leaf in (1, 0xD) for sub in range(3)}
    for (leaf, subleaf), always in unhidden.items():
        allowed = list(vm.MONITOR_CPUID.get(leaf, (0, 0, 0, 0)))
        if leaf == vm.CPUID_FEATURES:
            allowed[2] |= vm.X2APIC | vm.HYPERVISOR
        shown = hostile.cpuid(leaf, subleaf)
        for value, mask, anyway in zip(shown, allowed, always, strict=True):
            assert value & ~(mask | anyway) == 0, f"leaf {leaf:#x}"
    features = hostile.cpuid(1)
    assert features[3] & vm.MONITOR_FEATURES == vm.MONITOR_FEATURES
    assert features[2] & (vm.X2APIC | vm.HYPERVISOR) == vm.X2APIC | vm.HYPERVISOR
    assert hostile.cpuid(0x8000_0001) == (0, 0, 0, 1 << 29 | 1 << 20)


@pytest.mark.parametrize(("index", "paravirtual"), [(0, vm.PARAVIRTUAL_EOI), (5, 0)])
def test_whatever_kvm_offers_only_the_list_is_shown(index: int, paravirtual: int) -> None:
    leaves = (0, 1, 6, 7, 0xA, 0xB, 0xD, 0x14, 0x1F, *range(0x8000_0000, 0x8000_0022))
    offered = [(leaf, 0, 0, ALL, ALL, ALL, ALL) for leaf in leaves]
    offered.append((0x4000_0001, 0, 0, paravirtual | 1 << 4, ALL, ALL, ALL))
    table = vm.monitor_cpuid(offered, index)
    shown = {
        entry.function: (entry.eax, entry.ebx, entry.ecx, entry.edx)
        for entry in (table.entries[number] for number in range(table.count))
    }
    assert shown == {
        0: (ALL, ALL, ALL, ALL),
        1: (ALL, index << 24, vm.X2APIC | vm.HYPERVISOR, vm.MONITOR_FEATURES),
        0x4000_0001: (paravirtual, 0, 0, 0),
        0x8000_0000: (ALL, 0, 0, 0),
        0x8000_0001: (0, 0, 0, 1 << 29 | 1 << 20),
        0x8000_0008: (0xFFFF, 0, 0, 0),
    }


@pytest.mark.parametrize("bit", [13, 17, 12])
def test_features_of_cr4_that_are_not_shown_cannot_be_switched_on(
    hostile: Hostile, bit: int
) -> None:
    """VMXE, PCIDE, LA57."""
    set_cr4 = f"0f20e0 480d{(1 << bit).to_bytes(4, 'little').hex()} 0f22e0"
    assert hostile.run(set_cr4) == PROTECTION_FAULT


@pytest.mark.parametrize("code", ["0f01d8", "0f01d1"])
def test_neither_vmrun_nor_xsetbv_is_there(hostile: Hostile, code: str) -> None:
    assert hostile.run(code) in (INVALID_OPCODE, PROTECTION_FAULT)


def refuses_msrs(hostile: Hostile) -> bool:
    return bool(hostile.payload.twin.system.has(kvm.Capability.X86_MSR_FILTER))


def test_the_monitor_cannot_switch_nested_virtualisation_on(hostile: Hostile) -> None:
    value = (SVME | 0xD00).to_bytes(4, "little").hex()
    set_efer = f"b9{EFER.to_bytes(4, 'little').hex()} b8{value} 31d2 0f30"
    assert hostile.run(set_efer) == PROTECTION_FAULT


# Performance counters and their events (Intel's, AMD's old and new), SPEC_CTRL, PRED_CMD, MTRR,
# FEATURE_CONTROL, DEBUGCTL, XSS, MISC_ENABLE, LSTAR, VM_HSAVE_PA, KVM's clock and steal time,
# Hyper-V's page of hypercalls, machine checks, the deadline timer.
MSRS = (
    *(0xC1, 0x186, 0x309, 0x38D, 0x38F, 0xC001_0000, 0xC001_0004, 0xC001_0200, 0xC000_0301),
    *(0x48, 0x49, 0x2FF, 0x3A, 0x1D9, 0xDA0, 0x1A0, 0xC000_0082, 0xC001_0117),
    *(0x4B56_4D00, 0x4B56_4D01, 0x4B56_4D03, 0x4000_0001, 0x400, 0x6E0, EFER, 0x1B, 0x10),
)


def test_no_model_specific_register_is_there_but_the_monitors_own(hostile: Hostile) -> None:
    if not refuses_msrs(hostile):
        pytest.skip("this KVM has no KVM_CAP_X86_MSR_FILTER (Linux 5.10)")
    for number in MSRS:
        assert hostile.run(LOAD + "0f32", 0, number) == PROTECTION_FAULT, f"read {number:#x}"
        assert hostile.run(LOAD + "0f30", 0, number) == PROTECTION_FAULT, f"write {number:#x}"
    assert hostile.run(LOAD + "0f32", 0, vm.MONITOR_MSR) == PROTECTION_FAULT
    if hostile.payload.twin.private.shared().config.paravirtual_eoi:
        assert isinstance(hostile.run(LOAD + "0f30", 0, vm.MONITOR_MSR), tuple)
    assert isinstance(hostile.run(LOAD + "0f32", 0, 0x802), tuple)  # the x2APIC's ID


def test_no_performance_counter_can_be_read(hostile: Hostile) -> None:
    if not hostile.payload.twin.system.has(kvm.Capability.PMU_CAPABILITY):
        pytest.skip("this KVM has no KVM_CAP_PMU_CAPABILITY (Linux 5.18)")
    for counter in (0, 1, 3, 1 << 30):
        assert hostile.run(LOAD + "0f33", 0, counter) == PROTECTION_FAULT
