"""KVM's records that lie in the monitor's memory: its queue of writes, its reasons of exits."""

from vestige.lang.enumeration import IntEnum
from vestige.lang.foreign import sizeof
from vestige.lang.types import Struct, u8, u16, u32, u64


# KVM's coalesced ring, Linux 6.x include/uapi/linux/kvm.h struct kvm_coalesced_mmio.
class CoalescedWrite(Struct):
    """One queued write."""

    address: u64
    length: u32
    port: u32  # 1: a port, 0: memory
    data: u8[8]


class CoalescedRing(Struct):
    """Header of the ring page; CoalescedWrite entries follow."""

    first: u32  # consumer index, ours
    last: u32  # producer index, KVM's


COALESCED_LAST = 4  # offset of CoalescedRing.last
COALESCED_CLOSED = 0xFFFF_FFFF  # as `last`: KVM queues no more
COALESCED_HEADER = sizeof(CoalescedRing)
COALESCED_SIZE = sizeof(CoalescedWrite)


# KVM's exit record, Linux 6.x include/uapi/linux/kvm.h struct kvm_run.
class ExitReason(IntEnum):
    """Exits the run loop forwards to the monitor without looking further."""

    IO = 2
    MMIO = 6
    INTERRUPT_WINDOW = 7  # the guest can take an external interrupt
    SHUTDOWN = 8  # its processor has shut down: a triple fault
    INTERRUPTED = 10  # it has been told to exit
    INTERNAL_ERROR = 17  # KVM can't go on with it, such as at an instruction that it can't emulate
    IOAPIC_EOI = 26


class RunPage(Struct):
    """struct kvm_run up to the union."""

    request_interrupt_window: u8
    immediate_exit: u8
    padding: u8[6]
    exit_reason: u32
    ready_for_interrupt_injection: u8
    if_flag: u8
    flags: u16
    cr8: u64
    apic_base: u64


RUN_UNION = 32  # byte offset of the union in struct kvm_run


class GuestExit(Struct):
    """What the host copies of a guest vCPU's kvm_run for its monitor, at an exit it forwards.

    kvm_run's first page has words by which KVM takes orders: immediate_exit, and kvm_dirty_regs,
    with which KVM_RUN sets registers, control registers and pending events from the page. Threat:
    none of them is the monitor's to write. What the host copies back is RunMmio.data.
    """

    reason: u32  # an ExitReason
    ready: u32  # 1: the guest would take an external interrupt at once
    union: u64[3]  # a RunIo, RunMmio or RunEoi


class RunIo(Struct):
    """kvm_run.io, at RUN_UNION."""

    direction: u8  # 0 in, 1 out
    size: u8
    port: u16
    count: u32
    data_offset: u64  # from the start of kvm_run; its second page, which the monitor has


ANSWERS = 8  # places in Answers


class Answers(Struct):
    """What the guest's next reads of ports are answered, as long as nothing moves on.

    Each is of an IN of one byte: the first four bytes of its RunIo, and the byte above these; 0:
    none. The host gives such an answer to the same access, word for word, instead of entering the
    monitor, where no write is queued. Threat: a guest reads, or loses, a byte of its own.
    """

    known: u64[ANSWERS]


def answer_of(port: u16, value: u8) -> u64:
    """The answer to an IN of one byte from a port."""
    return u64(value << 32 | port << 16 | 1 << 8)


def port_of(answer: u64) -> u16:
    """Whose answer it is."""
    return u16(answer >> 16 & 0xFFFF)


class RunMmio(Struct):
    """kvm_run.mmio, at RUN_UNION."""

    address: u64
    data: u8[8]
    length: u32
    is_write: u8


RUN_MMIO_DATA = 8  # byte offset of RunMmio.data
RUN_IO_COUNT = 4  # of RunIo.count


class RunEoi(Struct):
    """kvm_run.eoi, at RUN_UNION."""

    vector: u8
