"""A worker's sleep ends by an interrupt, whenever that comes: no HLT behind it is slept through."""

import pytest

from tests.kvm_payload import needs_kvm, payload
from vestige import abi
from vestige.abi import WORKER_VECTOR, Call, Cpu
from vestige.lang.build import compile_functions
from vestige.lang.intrinsics import wait_for_interrupt, write_msr
from vestige.monitor.outside.kvm import ENABLED, SPURIOUS, SPURIOUS_VECTOR, call

SELF = 0x83F  # the x2APIC register that interrupts its own processor
INTERRUPTS = 1 << 9  # RFLAGS.IF
STI, HLT, CLI = b"\xfb", b"\xf4", b"\xfa"


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


@pytest.mark.kvm
@pytest.mark.parametrize("held_off", [True, False])
def test_an_interrupt_before_hlt_is_not_slept_through(held_off: bool) -> None:
    """Where STI does not hold it off until then, as QEMU's TCG forgets at times, too."""
    needs_kvm()
    image = compile_functions((vcpu_main, worker_main), base=abi.IMAGE, runtime="monitor")
    with payload(image) as vm:
        assert vm.run() == Call.DONE
        if not held_off:
            registers = vm.twin.monitor.cpus[0].registers()
            registers.rip = abi.IMAGE + image.code.index(STI + HLT + CLI) + len(STI)
            registers.rflags |= INTERRUPTS
            vm.twin.monitor.cpus[0].set_registers(registers)
        assert vm.run() == Call.ROUTE
