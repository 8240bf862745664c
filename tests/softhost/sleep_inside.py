"""Run in the software host by test_real.py: where an interrupt comes that waits behind STI.

    python -m tests.softhost.sleep_inside

A nested guest in real mode is entered at HLT as it is right behind STI, its interrupt shadow set
and an interrupt waiting. Prints how far behind HLT's beginning the handler returns to.
"""

import fcntl
import os
import struct

from vestige.host.kvm import api as kvm
from vestige.host.kvm.memory import Region
from vestige.host.kvm.vm import VirtualMachine, monitor_cpuid

CODE, HANDLER, STACK = 0x1000, 0x2000, 0x8000
HLT = b"\xf4"
OUT = b"\xe6\x80"  # leaves for here
VECTOR = 0x40
INTERRUPTS = 1 << 9  # RFLAGS.IF

LOCAL_APIC = 0xFEE0_0000
APIC_BASE, X2APIC_ENABLED = 0x1B, LOCAL_APIC | 0xD00  # and the boot processor's
SPURIOUS, APIC_ENABLED = 0x80F, 0x1FF

# struct kvm_vcpu_events, Linux, Documentation/virt/kvm/api.rst, 4.31 and 4.32
SET_VCPU_EVENTS = 0x4040_AEA0
EVENTS = struct.Struct("<11x B 8x I 40x")  # interrupt.shadow, flags
VALID_SHADOW, SHADOW_OF_STI = 4, 2


def main() -> None:
    """One entry."""
    memory = Region(2 << 20)
    memory.view[CODE : CODE + len(HLT)] = HLT
    memory.view[HANDLER : HANDLER + len(OUT)] = OUT
    memory.view[4 * VECTOR : 4 * VECTOR + 4] = struct.pack("<HH", HANDLER, 0)
    system = kvm.open_system()
    machine = VirtualMachine(system, 0)
    machine.map(0, memory.size, memory.address)
    cpu = machine.add_cpu()
    cpu.set_cpuid(monitor_cpuid(system.supported_cpuid(), 0))
    segments = cpu.system_registers()
    segments.cs.base = segments.cs.selector = 0
    cpu.set_system_registers(segments)
    cpu.set_registers(kvm.Registers(rip=CODE, rsp=STACK, rflags=INTERRUPTS | 2))
    cpu.set_msr(APIC_BASE, X2APIC_ENABLED)
    cpu.set_msr(SPURIOUS, APIC_ENABLED)
    machine.set_routes({0: (LOCAL_APIC, VECTOR)})
    eventfd = os.eventfd(0)
    machine.connect_interrupt(0, eventfd)
    os.eventfd_write(eventfd, 1)
    fcntl.ioctl(cpu.descriptor, SET_VCPU_EVENTS, EVENTS.pack(SHADOW_OF_STI, VALID_SHADOW))
    fcntl.ioctl(cpu.descriptor, kvm.Request.RUN)
    (returns_to,) = struct.unpack("<H", memory.view[STACK - 6 : STACK - 4])
    print(returns_to - CODE)


main()
