"""What only the outside can do: bring traps, take calls, ring doorbells, wake workers, tell time.

The core reaches it as `outside.wake(…)`. One file a transport; this one says which it is.
"""

from vestige.monitor.outside.kvm import (
    NO_PORT,
    answer_byte,
    attend,
    byte_read,
    call,
    counter,
    fetch,
    hold_doorbell,
    let_queue,
    queued_writes,
    reachable,
    ring_doorbell,
    send_fence,
    set_timer,
    sleep,
    start_interrupts,
    take_write,
    wake,
)

__all__ = [
    "NO_PORT",
    "answer_byte",
    "attend",
    "byte_read",
    "call",
    "counter",
    "fetch",
    "hold_doorbell",
    "let_queue",
    "queued_writes",
    "reachable",
    "ring_doorbell",
    "send_fence",
    "set_timer",
    "sleep",
    "start_interrupts",
    "take_write",
    "wake",
]
