"""KVM's two records of what a guest did: kvm_run, and the ring of coalesced writes.

Linux 6.1, Documentation/virt/kvm/api.rst, sections 4.116 and 5. This is the transport: nothing
else in the monitor knows who carries a trap here and back.
"""

from vestige.abi import (
    RUN_STRIDE,
    RUN_UNION,
    CoalescedRing,
    CoalescedWrite,
    Cpu,
    ExitReason,
    RunEoi,
    RunIo,
    RunMmio,
    RunPage,
    Shared,
    TrapKind,
)
from vestige.lang.intrinsics import address_of, check, load64, load_acquire32, store_release32
from vestige.lang.types import u8, u16, u32, u64
from vestige.monitor.core.bus import write_memory, write_port
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.statistics import count_trap
from vestige.monitor.core.trap import Kind, Trap

OUT = 1  # RunIo.direction
LAST = 4  # offset of CoalescedRing.last
ENTRIES = 8  # offset of the first CoalescedWrite
ENTRY_SIZE = 24


def fetch(cpu: Cpu, trap: Trap) -> None:
    """Read the exit that this CPU's guest made. Its data stays where it is, in kvm_run."""
    union = u64(cpu.run + RUN_UNION)
    match RunPage.at(cpu.run).exit_reason:
        case ExitReason.IO:
            fetch_port(RunIo.at(union), cpu.run, trap)
        case ExitReason.MMIO:
            fetch_memory(RunMmio.at(union), trap)
        case ExitReason.IOAPIC_EOI:
            trap.kind = Kind.END_OF_INTERRUPT
            trap.vector = RunEoi.at(union).vector
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


def drain(machine: Machine, shared: Shared, now: u64) -> bool:
    """Carry out the writes that KVM queued, in order. They came before the trap at hand.

    Whether anything may move because of them. The lock is held: it makes us the ring's one
    consumer. Writes that other CPUs queue meanwhile have no order to ours, so one look at the
    producer's index is enough.
    """
    moving = False
    page = shared.config.coalesced
    if page == 0:
        return moving
    last = load_acquire32(u64(page + LAST))
    place = CoalescedRing.at(page).first
    if place == last:
        return moving
    while place != last:
        check(place < shared.config.coalesced_entries)
        entry = CoalescedWrite.at(u64(page + ENTRIES + ENTRY_SIZE * place))
        if not carry_out(machine, shared, entry, now):
            moving = True
        place = u32(place + 1) % shared.config.coalesced_entries
    store_release32(page, place)
    return moving


def carry_out(machine: Machine, shared: Shared, entry: CoalescedWrite, now: u64) -> bool:
    """One queued write; whether it is quiet: nothing can move because of it."""
    statistics = shared.statistics
    statistics.coalesced_writes = u64(statistics.coalesced_writes + 1)
    size = u8(entry.length)
    value = load64(address_of(entry.data))
    kind = TrapKind.WRITE | TrapKind.COALESCED
    if entry.port:
        check(size in (1, 2, 4))
        count_trap(statistics, entry.address, TrapKind.PORT | kind)
        port = u16(entry.address)
        quiet = machine.ide.is_quiet_write(port, size, u32(value))
        write_port(machine, shared.config, port, size, u32(value), now)
        return quiet
    check(1 <= size <= 8)
    count_trap(statistics, entry.address, TrapKind.MEMORY | kind)
    write_memory(machine, shared.config, entry.address, size, value, now)
    return False
