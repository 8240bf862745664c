"""The transport of KVM's virtual CPUs: its records of traps, ports that leave, a local APIC.

A trap is what the host copied of kvm_run, writes without one are in the ring of coalesced writes
(Linux 6.1, Documentation/virt/kvm/api.rst, sections 5 and 4.116). OUT to a port is a call of the
host, or an eventfd. Workers are woken through their local APICs in x2APIC mode (Intel SDM volume 3,
chapter 11), whose timer counts a bus clock of 1 GHz in KVM: with a divisor of 1, nanoseconds.
"""

from vestige.abi import (
    COALESCED_CLOSED,
    COALESCED_HEADER,
    COALESCED_LAST,
    COALESCED_SIZE,
    FENCE_VECTOR,
    PORT_ATTEND,
    PORT_CALL,
    PORT_DOORBELL,
    RUN_STRIDE,
    TIMER_VECTOR,
    WORKER_VECTOR,
    Call,
    CoalescedRing,
    CoalescedWrite,
    Config,
    Cpu,
    ExitReason,
    RunEoi,
    RunIo,
    RunMmio,
)
from vestige.lang.intrinsics import (
    address_of,
    atomic_compare_exchange32,
    check,
    load64,
    load_acquire32,
    port_out8,
    store8,
    store_release32,
    timestamp,
    wait_for_interrupt,
    write_msr,
)
from vestige.lang.types import u8, u16, u32, u64
from vestige.monitor.core.trap import Kind, Trap
from vestige.monitor.line import NEVER

OUT = 1  # RunIo.direction
NO_PORT = 0x1_0000
PORT_BITS = 0xFFFF_0000  # the first 8 bytes of a RunIo: its port …
BYTE_READ = 1 << 32 | 1 << 8  # … and the rest, of one IN of one byte

PARAVIRTUAL_EOI = 0x4B56_4D04  # MSR_KVM_EOI_EN, Linux, Documentation/virt/kvm/x86/msr.rst
SPURIOUS = 0x80F
INTERRUPT_COMMAND = 0x830  # 11.12.9: destination in bits 32 to 63
TIMER = 0x832
INITIAL_COUNT = 0x838
DIVIDE = 0x83E
ENABLED = 1 << 8
SPURIOUS_VECTOR = 0xFF
DIVIDE_BY_1 = 0b1011
LONGEST = 4_000_000_000  # ns: what 32 bits count; a later deadline is looked at again then


# ---- what guests do ---------------------------------------------------------------------------


def byte_read(cpu: Cpu) -> u32:
    """The port of which this CPU's guest reads one byte; NO_PORT: it does something else."""
    if cpu.exit.reason != ExitReason.IO:
        return NO_PORT
    head = cpu.exit.union[0]
    return head >> 16 & 0xFFFF if head & ~PORT_BITS == BYTE_READ else NO_PORT


def answer_byte(cpu: Cpu, value: u8) -> None:
    """What it read. PANICs if that would lie outside kvm_run."""
    offset = RunIo.at(address_of(cpu.exit.union)).data_offset
    check(offset < RUN_STRIDE)
    store8(u64(cpu.run + offset), value)


def fetch(cpu: Cpu, trap: Trap) -> None:
    """Read the exit that this CPU's guest made. Its data stays where it is."""
    union = address_of(cpu.exit.union)
    match cpu.exit.reason:
        case ExitReason.IO:
            fetch_port(RunIo.at(union), cpu.run, trap)
        case ExitReason.MMIO:
            fetch_memory(RunMmio.at(union), trap)
        case ExitReason.IOAPIC_EOI:
            trap.kind = Kind.END_OF_INTERRUPT
            trap.vector = RunEoi.at(union).vector
        case ExitReason.SHUTDOWN:
            trap.kind = Kind.SHUTDOWN
        case ExitReason.INTERNAL_ERROR:  # a reset that KVM has queued comes first, as before that
            trap.kind = Kind.SHUTDOWN
        case _:
            trap.kind = Kind.NOTHING


def fetch_port(record: RunIo, run: u64, trap: Trap) -> None:
    """An IN or OUT. PANICs if its data would lie outside kvm_run."""
    count = record.count
    size = record.size
    offset = record.data_offset
    check(size in (1, 2, 4) and count <= RUN_STRIDE)
    check(offset <= RUN_STRIDE and offset + count * size <= RUN_STRIDE)
    trap.kind = Kind.PORT
    trap.write = record.direction == OUT
    trap.size = size
    trap.count = count
    trap.address = record.port
    trap.data = u64(run + offset)


def fetch_memory(record: RunMmio, trap: Trap) -> None:
    """A read or write outside RAM, of 1 to 8 bytes."""
    length = record.length
    check(1 <= length <= 8)
    trap.kind = Kind.MEMORY
    trap.write = record.is_write
    trap.size = u8(length)
    trap.count = 1
    trap.address = record.address
    trap.data = address_of(record.data)


def queued_writes(config: Config) -> u32:
    """How many writes wait that made no trap. Who asks, and then takes them, holds the lock."""
    page = config.coalesced
    if page == 0:
        return 0
    last = load_acquire32(u64(page + COALESCED_LAST))
    first = CoalescedRing.at(page).first
    if last == COALESCED_CLOSED or last == first:  # noqa: PLR1714, SIM109 - compiled
        return 0
    return u32(last - first) if last > first else u32(last + config.coalesced_entries - first)


def let_queue(config: Config, queues: bool) -> bool:
    """Let writes wait without a trap, or have each trap; False: one waits, which is to be taken.

    KVM queues none where the index of the next is none (Linux 6.1, virt/kvm/coalesced_mmio.c,
    coalesced_mmio_write). A CPU whose write it is just queueing may undo that; none is lost.
    """
    page = config.coalesced
    if page == 0:
        return True
    first = CoalescedRing.at(page).first
    last = u64(page + COALESCED_LAST)
    if queues:
        atomic_compare_exchange32(last, COALESCED_CLOSED, first)
        return True
    return atomic_compare_exchange32(last, first, COALESCED_CLOSED) == first


def take_write(config: Config) -> tuple[Kind, u64, u8, u64]:
    """The oldest of them, which waits no longer: PORT or MEMORY, address, size, value."""
    page = config.coalesced
    place = CoalescedRing.at(page).first
    check(place < config.coalesced_entries)
    entry = CoalescedWrite.at(u64(page + COALESCED_HEADER + COALESCED_SIZE * place))
    port, address = entry.port, entry.address
    size, value = entry.length, load64(address_of(entry.data))
    store_release32(page, 0 if place + 1 == config.coalesced_entries else u32(place + 1))
    if port:
        check(size in (1, 2, 4))
        return Kind.PORT, address, u8(size), value
    check(1 <= size <= 8)
    return Kind.MEMORY, address, u8(size), value


# ---- the host, the guest's interrupts ---------------------------------------------------------


def call(cpu: Cpu, number: u8) -> None:
    """Leave for the host; its arguments are in `cpu.argument`. A doorbell that is held rings."""
    if number != Call.DONE:
        ring_held(cpu)
    cpu.calls[number] += 1
    port_out8(PORT_CALL, number)
    cpu.bell[0] = 0


def ring_doorbell(gsi: u16) -> None:
    """Send the guest the message that the host was last told for this GSI."""
    port_out8(u16(PORT_DOORBELL + gsi), 0)


def hold_doorbell(cpu: Cpu, gsi: u16) -> None:
    """The same at this CPU's next call at the latest: DONE does it, and spares this VM an entry."""
    ring_held(cpu)
    cpu.bell[0] = gsi + 1


def ring_held(cpu: Cpu) -> None:
    """Ring what is held, now."""
    if cpu.bell[0] != 0:
        ring_doorbell(u16(cpu.bell[0] - 1))
    cpu.bell[0] = 0


def attend(cpu: Cpu, config: Config) -> None:
    """Have the boot CPU's guest exit, or not enter: its monitor's next turn begins after this."""
    if config.attend_port:
        port_out8(PORT_ATTEND, 0)
    else:
        call(cpu, Call.ATTEND)


# ---- workers ----------------------------------------------------------------------------------


def wake(worker: u32) -> None:
    """End the sleep of the worker with this Cpu.index, or its next one."""
    write_msr(INTERRUPT_COMMAND, u64(worker << 32 | WORKER_VECTOR))


def send_fence(worker: u32) -> None:
    """The same, and leave it FENCE_SIGNAL, behind every start that was posted before.

    KVM has put a start into the worker's local APIC before the guest's write is over (an irqfd of
    an MSI to one CPU is delivered where it is signalled: Linux, virt/kvm/eventfd.c,
    irqfd_wakeup), thus before the fence, and its vector is the more urgent one. The worker takes
    the two in this order, or finds both noted, and does starts first.
    """
    write_msr(INTERRUPT_COMMAND, u64(worker << 32 | FENCE_VECTOR))


def start_interrupts(cpu: Cpu, config: Config) -> None:
    """Let a worker be woken, and its timer be one-shot (bits 17 and 18 of TIMER are 0)."""
    cpu.ended[0] = 0
    if config.paravirtual_eoi:
        write_msr(PARAVIRTUAL_EOI, u64(address_of(cpu.ended) | 1))
    write_msr(SPURIOUS, ENABLED | SPURIOUS_VECTOR)
    write_msr(DIVIDE, DIVIDE_BY_1)
    write_msr(TIMER, TIMER_VECTOR)


def sleep() -> None:
    """Return when this worker has been woken; at once if it was since the last time."""
    wait_for_interrupt()


# ---- time -------------------------------------------------------------------------------------


def counter() -> u64:
    """The clock's counter, of Config.tsc_khz."""
    return timestamp()


def reachable(deadline: u64, now: u64) -> u64:
    """The deadline, or how far the timer reaches; NEVER stays."""
    return deadline if deadline == NEVER else min(deadline, u64(now + LONGEST))


def set_timer(deadline: u64, now: u64) -> None:
    """Wake this worker at the deadline, with TIMER_SIGNAL; at once if it has passed."""
    count = 1 if deadline <= now else min(u64(deadline - now), LONGEST)
    write_msr(INITIAL_COUNT, count)
