"""The worker's local APIC: what wakes it. Intel SDM volume 3, chapter 11, in x2APIC mode.

KVM's local APIC timer counts a bus clock of 1 GHz: with a divisor of 1, nanoseconds.
"""

from vestige.abi import TIMER_VECTOR, Config, Cpu
from vestige.lang.intrinsics import address_of, write_msr
from vestige.lang.types import u64
from vestige.monitor.line import NEVER

PARAVIRTUAL_EOI = 0x4B56_4D04  # MSR_KVM_EOI_EN, Linux, Documentation/virt/kvm/x86/msr.rst
SPURIOUS = 0x80F
TIMER = 0x832
INITIAL_COUNT = 0x838
DIVIDE = 0x83E
ENABLED = 1 << 8
SPURIOUS_VECTOR = 0xFF
DIVIDE_BY_1 = 0b1011
LONGEST = 4_000_000_000  # ns: what 32 bits count; a later deadline is looked at again then


def start_interrupts(cpu: Cpu, config: Config) -> None:
    """Let interrupts in, and the timer be one-shot (bits 17 and 18 of TIMER are 0)."""
    if config.paravirtual_eoi:
        write_msr(PARAVIRTUAL_EOI, u64(address_of(cpu.ended) | 1))
    write_msr(SPURIOUS, ENABLED | SPURIOUS_VECTOR)
    write_msr(DIVIDE, DIVIDE_BY_1)
    write_msr(TIMER, TIMER_VECTOR)


def reachable(deadline: u64, now: u64) -> u64:
    """The deadline, or how far the timer reaches; NEVER stays."""
    return deadline if deadline == NEVER else min(deadline, u64(now + LONGEST))


def set_timer(deadline: u64, now: u64) -> None:
    """Interrupt at the deadline, at once if it has passed."""
    count = 1 if deadline <= now else min(u64(deadline - now), LONGEST)
    write_msr(INITIAL_COUNT, count)
