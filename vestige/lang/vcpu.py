"""What compiled code asks of the virtual CPU it runs on, as `runtime/monitor.s` has it.

The lowest addresses of a CPU's stack hold its own struct, which begins as `Vcpu` does. A stack is
aligned to its size, so the stack pointer leads there.
"""

from vestige.lang.types import Struct, u8, u32, u64

STACK_SIZE = 64 << 10  # bytes; code in a process has such a stack too
PORT_CALL = 0xF0  # OUT AL: leave for the host, which never comes back from PANIC
PANIC = 6  # AL
PRIVILEGED_STACK = 512  # bytes of the stack that ring 0 has; also their alignment
GATE_VECTOR = 3  # INT3: ring 3 asks ring 0
SIGNALS = 6  # interrupts that are noted: interrupt_signal_0 to interrupt_signal_5


class Panic(Struct):
    """Why compiled code failed: a failed check, or a CPU exception."""

    site: u64  # index into the image's table of checks; 0: an exception, below
    vector: u64
    error: u64
    rip: u64
    address: u64  # CR2 for a page fault


class Vcpu(Struct):
    """How the struct of a virtual CPU begins."""

    panic: Panic
    signals: u8[SIGNALS]  # 1: this interrupt has come
    ended: u32  # bit 0: the interrupt under way has its end-of-interrupt already
