"""What the host tells the monitor of the machine, before the monitor's first instruction."""

from vestige.abi.layout import (
    FIRMWARE_SIZE,
    GENERATION_SIZE,
    MAC_SIZE,
    MAX_NET_PAIRS,
    MAX_NVME,
    MAX_REGIONS,
    MAX_VIRTIO,
    MODEL_SIZE,
    NVME_WINDOWS,
    SERIAL_SIZE,
)
from vestige.bounds import MAX_DISKS, MAX_FLOPPIES, MAX_PORTS, PORT_NAME_SIZE
from vestige.lang.enumeration import IntEnum
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, i64, u8, u16, u32, u64


class DiskKind(IntEnum):
    """Which driver reaches a drive's sectors."""

    RING = 0
    NVME = 1


class Bus(IntEnum):
    """What the guest finds a drive on."""

    IDE = 0
    VIRTIO = 1
    FLOPPY = 2


class Disc(Struct):
    """What is in a drive for discs. The host writes it also while the guest runs.

    `changes` is one more before it does and one more after, so it is odd meanwhile. What was read
    between two numbers that differ may be of either disc.
    """

    changes: u32
    reserved: u32
    sectors: u64  # of 512 bytes; 0: there is no disc


class Disk(Struct):
    """One drive: what the host tells of a backing file, or which controller has it.

    Of an NVMe drive the host knows neither size nor names: the monitor asks the controller
    and fills in sectors, serial, firmware and model itself.
    """

    present: u8
    read_only: u8
    bus: u8  # Bus
    channel: u8  # IDE channel, 0 or 1
    unit: u8  # device 0 or 1 on the channel; floppy drive 0 or 1
    kind: u8  # DiskKind
    nvme: u8  # index into Config.nvme, for DiskKind.NVME
    is_optical: u8  # a drive for discs, and `disc` says what is in it: never of an NVMe
    can_discard: u8  # sectors can be given back; of an NVMe drive the monitor's to fill in
    discards_to_zeroes: u8  # what is given back reads as zeroes
    file: u32  # fixed file number in the ring, for DiskKind.RING
    # Where there is an overlay, `file` is its base and only read; what is written is in another.
    has_overlay: u8
    overlay_file: u32
    overlay_start: u64  # of that file's sectors the one that is the disk's first
    overlay_map: u64  # address of a bit for each of the disk's sectors: it has been written
    sectors: u64  # of 512 bytes
    serial: u8[SERIAL_SIZE]  # ASCII, space padded
    firmware: u8[FIRMWARE_SIZE]
    model: u8[MODEL_SIZE]
    disc: Disc


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
    # Where the host has them, which says where nothing else is: each has a place drawn at random.
    host_ram: u64  # host virtual address of GPA 0; high RAM follows low RAM
    host_state: u64  # host virtual address of STATE
    chunk: u32  # bytes of RAM of each buffer behind STATE's, a power of two
    orders: u32  # fixed file number of the socket for DiscardOrder, where a disk can discard


class DiscardOrder(Struct):
    """A message to the host: make a hole in an image. It answers each, so one is sent at a time.

    Threat: the host takes only a disk with `can_discard`, and a range inside it.
    """

    file: u64  # the disk's fixed file number
    sector: u64
    sectors: u64


class DiscardAnswer(Struct):
    """The host's message to that."""

    error: u64  # an errno, 0: the hole is made


DISCARD_ORDER_SIZE = 24
DISCARD_ANSWER_SIZE = 8


class Window(Struct):
    """A part of the monitor's memory where a controller without an IOMMU finds it. Whole pages."""

    address: u64  # the monitor's
    size: u64
    bus: u64  # the controller's


class Nvme(Struct):
    """One NVMe controller handed over by VFIO; only the monitor drives it.

    The controller's IOMMU domain has guest RAM, STATE and `queues` at the addresses the
    monitor sees them at, and nothing else: a pointer is a PRP. Its MSI-X table is not mapped;
    every vector below `vectors` raises GSI Irq.NVME + its index, which wakes the worker.

    Or there is no IOMMU (efiemu/), and `moved` is set: then guest RAM, STATE and `queues` are in
    `windows`, and `elsewhere` is what a controller is given for memory that is in none of them.
    """

    present: u8
    vectors: u32  # MSI-X vectors wired, at least 1
    bar: u64  # address of BAR 0
    bar_size: u64  # bytes mapped there from offset 0: registers and doorbells
    queues: u64  # NVME_QUEUES_SIZE bytes, zeroed, DMA-mapped at this address
    sectors: u8  # 1: its blocks have to be sectors, of 512 bytes
    moved: u8  # 1: the controller finds memory by `windows`
    windows: Window[NVME_WINDOWS]
    elsewhere: u64  # the controller's address of a page


class VirtioKind(IntEnum):
    """Device types, virtio 1.2, chapter 5."""

    NONE = 0
    NET = 1
    BLOCK = 2
    CONSOLE = 3
    ENTROPY = 4
    INPUT = 18


class Virtio(Struct):
    """One virtio function: what it is, and of what size."""

    kind: u8  # VirtioKind; NONE: there is no such function
    index: u8  # which of its kind: of a BLOCK the number of its disk
    queues: u16  # 1 to VIRTIO_QUEUES; it has one more interrupt vector
    share: u8  # which replica of it this domain has
    shares: u8  # how many there are, 1 or more; queue q is served by replica q % shares


class Port(Struct):
    """One port of the virtio console, and its other side: fixed files of the ring.

    Port 0 is the guest's console and has no name; every other one has.
    """

    present: u8
    name_length: u8
    name: u8[PORT_NAME_SIZE]  # UTF-8
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
    mac: u8[MAC_SIZE]
    mtu: u16  # told to the driver; 0: nothing is
    pairs: u16  # 1 to MAX_NET_PAIRS
    files: u32[MAX_NET_PAIRS]


class Console(Struct):
    """The UART's other side: fixed files of the ring."""

    present: u8
    input: i64  # fixed file number, -1: nothing to read
    output: i64


class Events(Struct):
    """Where the events of keyboard, mouse and tablet come from: abi/events.py."""

    present: u8
    file: u32  # fixed file number in the ring


class FloppyDrive(IntEnum):
    """What a floppy drive is, as a PC's CMOS RAM says it."""

    NONE = 0
    OF_1200K = 2
    OF_1440K = 4  # reads 720 KiB, too
    OF_2880K = 5


class Flash(Struct):
    """The flash memory of a firmware's variables, which ends where the firmware begins."""

    address: u32  # where the guest finds it, at a multiple of a page
    size: u32  # bytes, whole pages; 0: there is none
    array: u64  # where the monitor has its memory: FLASH_ARRAY


class Board(IntEnum):
    """What kind of machine the guest finds."""

    MODERN = 0  # without what is legacy
    PC = 1  # of 1997


class Config(Struct):
    """Written by the host before the monitor's first instruction, not after, but for a terminal's
    size, the discs, and `freezes`.

    Each domain has one, which lists what is in that domain. Domain 0, the first, has all that is
    not a virtio function of another.
    """

    domain: u32  # which this is of
    domains: u32  # how many there are, 1 or more
    # Of each virtio function the domain, the first of them where it is shared, and how many have
    # it: they follow each other. Both are in the first domain's Config alone.
    homes: u8[MAX_VIRTIO]
    shares: u8[MAX_VIRTIO]  # 1 or more, a function that is not there included
    board: u8  # Board
    vga: u8  # 1: a PC has its screen
    floppies: u8[MAX_FLOPPIES]  # a PC's drives, by FloppyDrive
    generation: u8[GENERATION_SIZE]  # drawn at random for this start, or this thaw
    attend_port: u8  # 1: PORT_ATTEND is wired, in place of Call.ATTEND
    thaws: u8  # 1: all state is that of a machine that was frozen, and goes on
    freezes: u8  # 1: the worker leaves with Call.DONE once nothing is under way in its domain
    cpus: u32
    tsc_khz: u32
    date: u64  # seconds from 1970-01-01 00:00 to the guest's power-on
    power_on: u64  # the monitor's time then, which it notes itself: its counter runs before
    ram: Memory
    paravirtual_eoi: u8  # this KVM has MSR_KVM_EOI_EN
    ide_in_memory: u8  # IDE_MEMORY is used, and its posted starts are wired
    shadow: u64  # SHADOW where the guest reads it; 0: its reads exit
    firmware_items: u64  # FIRMWARE_ITEMS where the host has put some; 0: there are none
    regions: u64[MAX_REGIONS]  # where each of REGIONS is; 0: it is not there
    flash: Flash
    coalesced: u64  # address of KVM's coalesced-write ring page; 0: not available
    coalesced_entries: u32
    options: u64  # bit n: the device in row n of vestige/devices.py was asked for by its option
    disks: Disk[MAX_DISKS]
    nvme: Nvme[MAX_NVME]
    virtio: Virtio[MAX_VIRTIO]
    net: Net
    console: Console
    events: Events
    ports: Port[MAX_PORTS]
    columns: u16  # of port 0's terminal, 0: it is none; the host writes what they become
    rows: u16
    entropy: u32  # fixed file number of random bytes, for a VirtioKind.ENTROPY
    ring: Ring
