"""Everything the host, the machine and the monitor share: addresses, calls, shared structs.

This is the whole interface between the host process and the code that runs inside a guest's
shadow. The guest VM maps RAM only (and SHADOW, read-only, where its IDE is in memory); the
monitor VM maps that RAM at the same addresses and, in the hole below 4 GiB, the private memory
listed here. All of what the monitor writes is untrusted by the host: the threat of each entry
stands beside it.
"""

from vestige.lang import vcpu
from vestige.lang.enumeration import IntEnum, IntFlag
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, i64, u8, u16, u32, u64

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

MAX_CPUS = 32
MAX_DOMAINS = 8  # shares of the machine's devices, each with a worker
MAX_DISKS = 4
MAX_NVME = 4  # controllers handed over by VFIO
PINS = 24  # of the IOAPIC; GSI n is pin n
MAX_VIRTIO = 8  # virtio functions
VIRTIO_QUEUES = 17  # of a function at most
VIRTIO_VECTORS = VIRTIO_QUEUES + 1
MAX_NET_PAIRS = 4  # of the network interface's queues
MAX_PORTS = 7  # of the virtio console: a pair of queues each, and one to talk about them
PORT_NAME_SIZE = 32  # bytes
# Vector v of function n, sent by replica s of it: GSI VIRTIO_GSI + (s * MAX_VIRTIO + n) *
# VIRTIO_VECTORS + v. Two replicas may send the same vector; who sends knows what is routed.
VIRTIO_GSI = PINS
GSIS = VIRTIO_GSI + MAX_DOMAINS * MAX_VIRTIO * VIRTIO_VECTORS

# ---- What the guest finds, by guest-physical address and port (design, section 3) ----------
LOW_RAM_LIMIT = 3 * GIB
HIGH_RAM = 4 * GIB
ACPI_TABLES = 0xE0000  # to 0xFFFFF
PCI_WINDOW = 0xC000_0000  # 32-bit memory window, to ECAM
ECAM = 0xE000_0000  # bus 0 alone: Linux probes 32 slots of every bus that MCFG names
ECAM_SIZE = 1 * MIB
IOAPIC = 0xFEC0_0000
HPET = 0xFED0_0000
HPET_SIZE = 0x400
HPET_IDENTITY = 0x8086_2201  # revision 1, three timers, 64 bits: its first register
LOCAL_APIC = 0xFEE0_0000

PORT_UART = 0x3F8
PORT_PVPANIC = 0x505
PORT_SLEEP_CONTROL = 0x600  # ACPI sleep control; status is the next port
PORT_SLEEP_STATUS = 0x601
PORT_RESET = 0x604
PORT_PM1_EVENT = 0x610  # fixed ACPI hardware: status and enable, 16 bits each
PORT_PM1_CONTROL = 0x614  # 16 bits
PORT_PM1_END = 0x616
PORT_PCI_ADDRESS = 0xCF8
PORT_PCI_DATA = 0xCFC
SLEEP_TYPE_S5 = 5  # SLP_TYP the DSDT's _S5 names
RESET_VALUE = 1

PIN_UART = 4
PIN_PCI_INTA = 16  # INTA to INTD are pins 16 to 19

# The IDE function's BARs as they are before the first instruction (PCI native mode).
IDE_SLOT = 1  # device number on bus 0
PORT_IDE = 0xC000  # 8 ports: primary command block
PORT_IDE_CONTROL = 0xC008  # 4 ports
PORT_IDE_SECONDARY = 0xC010
PORT_IDE_SECONDARY_CONTROL = 0xC018
PORT_IDE_BUS_MASTER = 0xC020  # 16 ports

# Its BARs 1, 3 and 4 where the machine has these blocks in memory, a page each.
IDE_MEMORY = 0xD000_0000
IDE_MEMORY_PAGE = 4 * KIB
IDE_MEMORY_PAGES = 3
IDE_MEMORY_CONTROL = IDE_MEMORY
IDE_MEMORY_SECONDARY_CONTROL = IDE_MEMORY + 1 * IDE_MEMORY_PAGE
IDE_MEMORY_BUS_MASTER = IDE_MEMORY + 2 * IDE_MEMORY_PAGE

# Virtio function n is device VIRTIO_SLOT + n on bus 0; its BAR before the first instruction is
# at VIRTIO_BARS + n * VIRTIO_BAR_SIZE. A driver notifies queue q by a write of VIRTIO_NOTIFY_SIZE
# bytes at VIRTIO_NOTIFY + q * VIRTIO_NOTIFY_STRIDE in it, which wakes the worker without an exit
# as long as the BAR stays where it was.
VIRTIO_SLOT = 2
VIRTIO_BARS = 0xD100_0000
VIRTIO_BAR_SIZE = 32 * KIB
VIRTIO_NOTIFY = 0x3000
VIRTIO_NOTIFY_STRIDE = 4
VIRTIO_NOTIFY_SIZE = 2

# (first port, count) whose writes do nothing by themselves: KVM queues them, without an exit.
COALESCED_PORTS = (
    (PORT_PCI_ADDRESS, 4),
    (PORT_IDE + 1, 6),  # task files, without data and command
    (PORT_IDE_SECONDARY + 1, 6),
    (PORT_IDE_BUS_MASTER + 2, 6),  # status, whose writes only clear bits, and PRD table address
    (PORT_IDE_BUS_MASTER + 10, 6),
)
# The same for memory, (first address, bytes), where the machine has the bus master there.
COALESCED_MEMORY = (
    (IDE_MEMORY_BUS_MASTER + 2, 6),
    (IDE_MEMORY_BUS_MASTER + 10, 6),
)
# (address, byte): the n-th, written by the guest there, is Irq.START + n and no exit. They are
# the starts a channel's command register offers; channel n >> 1, to memory if n & 1.
POSTED_STARTS = (
    (IDE_MEMORY_BUS_MASTER, 0x11),
    (IDE_MEMORY_BUS_MASTER, 0x19),
    (IDE_MEMORY_BUS_MASTER + 8, 0x11),
    (IDE_MEMORY_BUS_MASTER + 8, 0x19),
)

# ---- The monitor's private memory; the guest VM maps none of it but SHADOW, read-only ---------
IMAGE = 0xC000_0000  # code and constants, read-only, then its bss
SHARED = 0xC100_0000  # a Shared for each domain
SHARED_STRIDE = 64 * KIB
SHADOW = 0xC140_0000  # IDE_MEMORY_PAGES pages that the guest reads at IDE_MEMORY, if it may
STATE = 0xC180_0000  # each domain's device state, its ring's fixed buffer 0
STATE_SIZE = 2 * MIB  # of one domain; the next follows it
# What of it the ring has where there are no virtio functions, or no network interface, or no pairs
# of its queues but the first.
STATE_PLAIN = 80 * KIB
STATE_VIRTIO = 512 * KIB
STATE_FIRST = 1 * MIB
STACKS = 0xC280_0000  # one stack a monitor vCPU, its Cpu at the bottom
STACK_SIZE = vcpu.STACK_SIZE  # also their alignment: RSP & -STACK_SIZE finds the Cpu
TABLES = 0xC300_0000  # page tables, GDT, IDT
RUN_PAGES = 0xC400_0000  # the guest vCPUs' kvm_run mappings
RUN_STRIDE = 64 * KIB
RING = 0xC500_0000  # each domain's SQ and CQ ring
RING_ENTRIES = 0xC580_0000  # each domain's SQEs
RING_STRIDE = 256 * KIB
BARS = 0xC800_0000  # BAR 0 of NVMe controller n is at BARS + n * BAR_STRIDE
BAR_STRIDE = 1 * MIB
NVME_QUEUES = 0xC900_0000  # controller n's DMA memory, at NVME_QUEUES + n * NVME_QUEUES_SIZE
NVME_QUEUES_SIZE = 1 * MIB  # queues, identify data, PRP lists, bounce pages

# ---- Monitor ports: OUT only, not memory ------------------------------------------------------
PORT_CALL = vcpu.PORT_CALL  # OUT AL: leave for the host; AL is the Call
PORT_DOORBELL = 0x1000  # OUT AL to PORT_DOORBELL + n: eventfd of GSI n, no exit

WORKER_VECTOR = 0x40  # interrupt that wakes the worker
TIMER_VECTOR = 0x41
# These are noted in Cpu.signals. One register of the local APIC holds all of them, and START is
# more urgent than FENCE: a start that was posted before a fence is taken before it.
FENCE_VECTOR = 0x42
START_VECTOR = 0x50  # START_VECTOR + n for Irq.START + n
FENCE_SIGNAL = 4  # index into Cpu.signals; a start's is n
TIMER_SIGNAL = 5
SIGNALS = vcpu.SIGNALS

SECTOR = 512  # bytes; disks count in these
CHUNK = 2 * MIB  # guest RAM is registered with the ring by chunks
STATE_BUFFER = 0  # the ring's fixed buffer number of STATE
FIRST_CHUNK_BUFFER = 1  # chunk c is buffer FIRST_CHUNK_BUFFER + c


class Call(IntEnum):
    """Monitor to host, all of them; arguments in the Cpu. Threat: a subverted monitor."""

    DONE = 0  # the trap is answered. Threat: none, the guest goes on.
    ROUTE = 2  # [gsi, domain]: take its Shared.routes[gsi]. Threat: an MSI to its own LAPICs.
    # [domain, handed]: io_uring_enter of its ring; unless `handed` is 0 other threads on this
    # processor, to one of which the kernel hands what was entered, run first. Threat: CPU time
    # of its own thread.
    KICK = 3
    PIN = 4  # [chunk, domain]: register RAM with its ring. Threat: pins at most its own RAM.
    POWER = 5  # [Power]: the guest ends. Threat: none.
    PANIC = vcpu.PANIC  # Cpu.panic says why. Threat: text taken from there is bounded and escaped.
    # [length]: so much of Shared.log, escaped by the host; and what is new in Statistics.disks and
    # streams, once for each file and errno. Threat: the trace's disk space.
    LOG = 7


class Power(IntEnum):
    """Argument of Call.POWER."""

    OFF = 0
    RESET = 1
    PANICKED = 2  # the guest's kernel says so


Panic = vcpu.Panic  # why the monitor failed


class Cpu(Struct):
    """One monitor vCPU; at the lowest address of its stack. It begins as vcpu.Vcpu does."""

    panic: Panic
    signals: u8[8]  # 1: this interrupt has come; a worker's, who clears it
    ended: u32[1]  # bit 0: KVM has ended the interrupt under way; a worker's, core/timer.py
    index: u64  # guest vCPU it is paired with; of domain d's worker it is Config.cpus + d
    run: u64  # address of that vCPU's kvm_run; 0 for a worker
    argument: u64[4]  # of the call being made
    calls: u64[8]  # calls made, by number


class DiskKind(IntEnum):
    """Which driver reaches a drive's sectors."""

    RING = 0
    NVME = 1


class Bus(IntEnum):
    """What the guest finds a drive on."""

    IDE = 0
    VIRTIO = 1


class Disk(Struct):
    """One drive: what the host tells of a backing file, or which controller has it.

    Of an NVMe drive the host knows neither size nor names: the monitor asks the controller
    and fills in sectors, serial, firmware and model itself.
    """

    present: u8
    read_only: u8
    bus: u8  # Bus
    channel: u8  # IDE channel, 0 or 1
    unit: u8  # device 0 or 1 on the channel
    kind: u8  # DiskKind
    nvme: u8  # index into Config.nvme, for DiskKind.NVME
    can_discard: u8  # sectors can be given back; of an NVMe drive the monitor's to fill in
    discards_to_zeroes: u8  # what is given back reads as zeroes
    file: u32  # fixed file number in the ring, for DiskKind.RING
    sectors: u64  # of 512 bytes
    serial: u8[20]  # ASCII, space padded
    firmware: u8[8]
    model: u8[40]


class Ring(Struct):
    """The restricted io_uring: ring offsets from io_uring_params, addresses in the monitor."""

    present: u8
    polled: u8  # an SQPOLL thread runs
    entries: u32  # SQ entries; the CQ has completion_entries
    completion_entries: u32
    sq_head: u64  # addresses, not offsets, from here on
    sq_tail: u64
    sq_flags: u64
    sq_array: u64
    cq_head: u64
    cq_tail: u64
    cq_flags: u64
    cqes: u64
    sqes: u64
    host_ram: u64  # host virtual address of GPA 0; high RAM follows low RAM
    host_state: u64  # host virtual address of STATE


class Nvme(Struct):
    """One NVMe controller handed over by VFIO; only the monitor drives it.

    The controller's IOMMU domain has guest RAM, STATE and `queues` at the addresses the
    monitor sees them at, and nothing else: a pointer is a PRP. Its MSI-X table is not mapped;
    every vector below `vectors` raises GSI Irq.NVME + its index, which wakes the worker.
    """

    present: u8
    vectors: u32  # MSI-X vectors wired, at least 1
    bar: u64  # address of BAR 0
    bar_size: u64  # bytes mapped there from offset 0: registers and doorbells
    queues: u64  # NVME_QUEUES_SIZE bytes, zeroed, DMA-mapped at this address


class VirtioKind(IntEnum):
    """Device types, virtio 1.2, chapter 5."""

    NONE = 0
    NET = 1
    BLOCK = 2
    CONSOLE = 3
    ENTROPY = 4


class Virtio(Struct):
    """One virtio function: what it is, and of what size."""

    kind: u8  # VirtioKind; NONE: there is no such function
    index: u8  # which of its kind: of a BLOCK the number of its disk
    queues: u16  # 1 to VIRTIO_QUEUES; it has one more interrupt vector
    share: u8  # which replica of it this domain has
    shares: u8  # how many there are, 0 is 1, too; queue q is served by replica q % shares


class Port(Struct):
    """One port of the virtio console, and its other side: fixed files of the ring.

    Port 0 is the guest's console and has no name; every other one has.
    """

    present: u8
    name_length: u8
    name: u8[32]  # PORT_NAME_SIZE; UTF-8
    input: i64  # fixed file number, -1: nothing to read
    output: i64


class NetBackend(IntEnum):
    """What is on the other side of the network interface."""

    NONE = 0
    STREAM = 1  # a stream socket: frames with their length in front (32 bits, big-endian)
    TAP = 2  # a tap: a frame at a time, with virtio's header of 12 bytes in front


class Net(Struct):
    """The network interface: fixed files of the ring, one for each pair of queues."""

    backend: u8  # NetBackend
    mac: u8[6]
    mtu: u16  # told to the driver; 0: nothing is
    pairs: u16  # 1 to MAX_NET_PAIRS
    files: u32[4]  # MAX_NET_PAIRS


class Console(Struct):
    """The UART's other side: fixed files of the ring."""

    present: u8
    input: i64  # fixed file number, -1: nothing to read
    output: i64


class Config(Struct):
    """Written by the host before the monitor's first instruction, all but a size not after.

    Each domain has one, which lists what is in that domain. Domain 0, the first, has all that is
    not a virtio function of another.
    """

    domain: u32  # which this is of
    domains: u32  # how many there are; 0 is 1, too
    # Of each virtio function the domain, the first of them where it is shared, and how many have
    # it: they follow each other. Both are in the first domain's Config alone.
    homes: u8[8]  # MAX_VIRTIO
    shares: u8[8]  # MAX_VIRTIO; 0 is 1, too
    cpus: u32
    tsc_khz: u32
    ram: Memory
    paravirtual_eoi: u8  # this KVM has MSR_KVM_EOI_EN
    ide_in_memory: u8  # IDE_MEMORY is used, and POSTED_STARTS are wired
    shadow: u64  # SHADOW where the guest reads it; 0: its reads exit
    coalesced: u64  # address of KVM's coalesced-write ring page; 0: not available
    coalesced_entries: u32
    hpet: u8  # there is one
    disks: Disk[4]  # MAX_DISKS
    nvme: Nvme[4]  # MAX_NVME
    virtio: Virtio[8]  # MAX_VIRTIO
    net: Net
    console: Console
    ports: Port[7]  # MAX_PORTS
    columns: u16  # of port 0's terminal, 0: it is none; the host writes what they become
    rows: u16
    entropy: u32  # fixed file number of random bytes, for a VirtioKind.ENTROPY
    ring: Ring


class Route(Struct):
    """The MSI message of a GSI, as the IOAPIC's entry or the MSI-X table's says."""

    address: u64
    data: u32


class TrapKind(IntFlag):
    """What a TrapCount counts."""

    PORT = 0
    MEMORY = 1
    WRITE = 2
    COALESCED = 4
    EOI = 8
    POSTED = 16  # by an interrupt of the worker


class TrapCount(Struct):
    """How often one port or register was accessed; a free slot has count 0."""

    address: u64
    kind: u32
    count: u64


class NvmeFailure(IntEnum):
    """Why the monitor's driver has given a controller up."""

    NONE = 0
    GONE = 1  # all its registers read as ones
    UNSUPPORTED = 2  # no NVM command set, no pages of 4 KiB, or no doorbells mapped
    NOT_READY = 3  # not enabled or disabled within the time its CAP.TO asks for
    FATAL = 4  # CSTS.CFS, and again after several resets
    COMMAND = 5  # an admin command failed: NvmeReport.status
    NO_NAMESPACE = 6
    FORMAT = 7  # metadata, or blocks other than 512 bytes to 4 KiB
    CHANGED = 8  # after a reset the namespace had another size or format
    HUNG = 9  # several resets, and no command done in between


class NvmeReport(Struct):
    """What the monitor's driver tells of one controller. Threat: wrong words and numbers."""

    failure: u8  # NvmeFailure
    status: u16  # NVMe status code and type of the admin command that failed
    timeouts: u32  # commands not answered in time
    resets: u32  # because of those, or of a fatal status
    errors: u32  # commands that ended with a status other than success
    reads: u64  # commands done, and bytes
    read_bytes: u64
    writes: u64
    write_bytes: u64
    flushes: u64
    discards: u64
    bounced_bytes: u64  # of those read and written, copied for their alignment


class DiskReport(Struct):
    """With which errno the latest operation on a disk's file that failed did so, by its kind.

    0: none has. Threat: a wrong reason, told to the user.
    """

    read: u8
    write: u8
    flush: u8
    discard: u8


class VirtioReport(Struct):
    """What its domain tells of one virtio function. Threat: wrong numbers."""

    requests: u64  # chains of descriptors taken
    notifications: u64  # that came as exits, because the BAR was moved or the write was odd
    interrupts: u64
    failures: u64  # how often the device came to need a reset
    resets: u64


class NetReport(Struct):
    """What the monitor tells of the network interface. Threat: wrong numbers."""

    down: u8  # the other side has failed, or is gone
    received: u64  # frames to the guest, and bytes
    received_bytes: u64
    received_dropped: u64
    sent: u64
    sent_bytes: u64
    sent_dropped: u64


class Statistics(Struct):
    """What `--stats` shows of one domain; the host only reads it. Threat: wrong numbers."""

    traps: TrapCount[512]  # open addressing by address and kind
    traps_elsewhere: u64  # that found no free slot
    coalesced_writes: u64
    reads: u64  # ring operations, and bytes
    read_bytes: u64
    writes: u64
    write_bytes: u64
    flushes: u64
    discards: u64
    ring_errors: u64
    disks: DiskReport[4]  # MAX_DISKS
    streams: u8[7]  # MAX_PORTS: the errno that ended the output of the console, of each named port
    nvme: NvmeReport[4]  # MAX_NVME
    virtio: VirtioReport[8]  # MAX_VIRTIO
    net: NetReport
    doorbells: u64
    worker_wakeups: u64
    fences: u64  # times a CPU waited for posted starts


class Shared(Struct):
    """What the host and the monitor both look at, of one domain."""

    config: Config
    routes: Route[1176]  # GSIS
    statistics: Statistics
    log: u8[1024]


class Irq(IntEnum):
    """GSIs of the monitor VM: what wakes the workers."""

    # RING + d: completions of domain d's ring, to RING + MAX_DOMAINS - 1; to RING itself also the
    # host's word that a terminal has another size
    RING = 0
    VIRTIO = 8  # VIRTIO + d: a driver has notified a virtio function of domain d; which queue the
    # monitor looks for
    NVME = 16  # NVME + n: MSI-X of controller n, to NVME + MAX_NVME - 1
    START = 20  # START + n: POSTED_STARTS[n]
    COUNT = 24


# KVM's coalesced ring, Linux 6.x include/uapi/linux/kvm.h struct kvm_coalesced_mmio.
class CoalescedWrite(Struct):
    """One queued write."""

    address: u64
    length: u32
    port: u32  # 1: a port, 0: memory
    data: u8[8]


class CoalescedRing(Struct):
    """Header of the ring page; CoalescedWrite entries follow at byte 8."""

    first: u32  # consumer index, ours
    last: u32  # producer index, KVM's


# KVM's exit record, Linux 6.x include/uapi/linux/kvm.h struct kvm_run.
class ExitReason(IntEnum):
    """Exits the run loop forwards to the monitor without looking further."""

    IO = 2
    MMIO = 6
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


class RunIo(Struct):
    """kvm_run.io, at RUN_UNION."""

    direction: u8  # 0 in, 1 out
    size: u8
    port: u16
    count: u32
    data_offset: u64  # from the start of kvm_run


class RunMmio(Struct):
    """kvm_run.mmio, at RUN_UNION."""

    address: u64
    data: u8[8]
    length: u32
    is_write: u8


class RunEoi(Struct):
    """kvm_run.eoi, at RUN_UNION."""

    vector: u8
