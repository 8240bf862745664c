"""Who had the processor, from lines of a trace."""

import pytest

from bench.common import trace
from bench.common.trace import GUEST, IDLE, KVM, MONITOR, OTHERS, USER, WHO, WORKER
from vestige import abi

ENTRY = "kvm_entry: vcpu {}, rip {:#x}"
SWITCH = "sched_switch: prev_comm=a prev_pid=1 prev_prio=120 prev_state=S ==> next_comm=b next_pid="
IRQ = "irq_handler_entry: irq=31 name=vfio-msix[0](0000:00:10.0)"
# Of one request: (microseconds until the next event, task, what). 10 is the vCPU's thread.
REQUEST = (
    (1, 10, IRQ),
    (2, 10, ENTRY.format(0, 0xFFFF_FFFF_8100_0000)),
    (3, 10, "kvm_exit: vcpu 0 reason io rip 0xffffffff81000000"),
    (4, 10, "kvm_userspace_exit: reason KVM_EXIT_IO (2)"),
    (5, 10, ENTRY.format(0, abi.IMAGE + 0x100)),
    (6, 10, SWITCH + "11 next_prio=120"),
    (7, 11, ENTRY.format(1, abi.IMAGE + 0x200)),
    (8, 11, SWITCH + "0 next_prio=120"),
    (9, 0, SWITCH + "10 next_prio=120"),
    (10, 10, SWITCH + "12 next_prio=120"),
    (11, 12, SWITCH + "10 next_prio=120"),
)


def lines(count: int) -> list[str]:
    """A trace of `count` requests, with a comment as the kernel writes them before."""
    found, now = ["#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION"], 1_000_000
    for _ in range(count):
        for length, task, text in REQUEST:
            found.append(f"   some-name:x-{task:<6} [000] d..2. {now / 1e6:12.6f}: {text}")
            now += length
    return found


def test_each_gets_its_share() -> None:
    share = trace.share(trace.events(lines(300)), "vfio-msix")
    assert share.requests == 200
    micros = {who: round(1e6 * share.seconds[who]) for who in WHO}
    # Who gets the processor back goes on with what it did last.
    assert micros == {
        GUEST: 2, KVM: 3, USER: 4, MONITOR: 5 + 9 + 11 + 1, WORKER: 6 + 7, IDLE: 8, OTHERS: 10,
    }  # fmt: skip
    assert share.entries == {GUEST: 1, MONITOR: 1, WORKER: 1}


def test_a_trace_without_requests_is_an_error() -> None:
    with pytest.raises(ValueError, match="99 interrupts of vfio-msix"):
        trace.share(trace.events(lines(99)), "vfio-msix")
