"""A worker's sleep ends by an interrupt, whenever that comes: no HLT behind it is slept through."""

import struct

import pytest

from tests.kvm_payload import Payload, in_ring_0, needs_kvm, payload
from vestige import abi
from vestige.abi import WORKER_VECTOR, Call, Cpu
from vestige.host.kvm import monitor_tables
from vestige.lang.build import compile_functions
from vestige.lang.image import Image
from vestige.lang.intrinsics import wait_for_interrupt, write_msr
from vestige.lang.vcpu import PRIVILEGED_STACK
from vestige.monitor.outside.kvm import ENABLED, SPURIOUS, SPURIOUS_VECTOR, call

SELF = 0x83F  # the x2APIC register that interrupts its own processor
INTERRUPTS = 1 << 9  # RFLAGS.IF
STI, HLT = b"\xfb", b"\xf4"
SLEEP = b"\x31\xc9\xcc"  # xor ecx, ecx; int3


def vcpu_main(cpu: Cpu) -> None:
    """Send oneself an interrupt, call the host, sleep, call again."""
    write_msr(SPURIOUS, ENABLED | SPURIOUS_VECTOR)
    write_msr(SELF, WORKER_VECTOR)
    call(cpu, Call.DONE)
    wait_for_interrupt()
    call(cpu, Call.ROUTE)


def worker_main(cpu: Cpu) -> None:
    """Nobody enters here."""
    call(cpu, Call.DONE)


def enter_sleep(vm: Payload, image: Image) -> None:
    """Put vcpu_main at HLT, in the gate, as it is where STI holds nothing off."""
    cpu = vm.twin.monitor.cpus[0]
    registers, system = cpu.registers(), cpu.system_registers()
    back = abi.IMAGE + image.code.index(SLEEP, image.symbols["vcpu_main"]) + len(SLEEP)
    frame = (back, system.cs.selector, registers.rflags, registers.rsp, system.ss.selector)
    stack = monitor_tables.PRIVILEGED_STACKS + PRIVILEGED_STACK // 2
    registers.rsp = stack - 8 * len(frame)
    vm.twin.private.write(registers.rsp, struct.pack("<5Q", *frame))
    registers.rip = abi.IMAGE + image.code.index(STI + HLT) + len(STI)
    registers.rflags |= INTERRUPTS
    cpu.set_system_registers(in_ring_0(system))
    cpu.set_registers(registers)


@pytest.mark.kvm
@pytest.mark.parametrize("held_off", [True, False])
def test_an_interrupt_before_hlt_is_not_slept_through(held_off: bool) -> None:
    """Where STI does not hold it off until then, as QEMU's TCG forgets at times, too."""
    needs_kvm()
    image = compile_functions((vcpu_main, worker_main), base=abi.IMAGE, runtime="monitor")
    with payload(image) as vm:
        assert vm.run() == Call.DONE
        if not held_off:
            enter_sleep(vm, image)
        assert vm.run() == Call.ROUTE
