"""What the monitor tells the host of its work. Threat of all of it: wrong words and numbers."""

from vestige.abi.layout import MAX_NVME, MAX_VIRTIO
from vestige.bounds import MAX_DISKS
from vestige.lang.enumeration import IntEnum, IntFlag
from vestige.lang.types import Struct, u8, u16, u32, u64

TRAP_COUNTS = 512  # a power of 2


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
    FORMAT = 7  # no blocks, metadata, or blocks other than 512 bytes to 4 KiB
    CHANGED = 8  # after a reset the namespace had another size or format
    HUNG = 9  # several resets, and no command done in between
    BLOCKS = 10  # its blocks are no sectors, where they have to be: Nvme.sectors


NVME_FAILURES: dict[int, str] = {  # as a person is told of them
    NvmeFailure.GONE: "it is gone: all its registers read as ones",
    NvmeFailure.UNSUPPORTED: "it lacks the NVM command set, pages of 4 KiB or doorbells",
    NvmeFailure.NOT_READY: "not ready within the time it asks for itself",
    NvmeFailure.FATAL: "a fatal status (CSTS.CFS), and again after several resets",
    NvmeFailure.COMMAND: "an admin command failed",
    NvmeFailure.NO_NAMESPACE: "it has no active namespace; make one with nvme-cli",
    NvmeFailure.FORMAT: (
        "its namespace is empty, or has metadata or blocks other than 512 bytes to 4 KiB; format it"
        " anew (nvme format)"
    ),
    NvmeFailure.CHANGED: "its namespace changed over a reset",
    NvmeFailure.HUNG: "it answered nothing between several resets",
    NvmeFailure.BLOCKS: (
        "its blocks are larger than an IDE's sectors, so that its partitions would be misread;"
        " format it with blocks of 512 bytes (nvme format), which erases it"
    ),
}


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

    traps: TrapCount[TRAP_COUNTS]  # open addressing by address and kind
    traps_elsewhere: u64  # that found no free slot
    coalesced_writes: u64
    reads: u64  # ring operations, and bytes
    read_bytes: u64
    writes: u64
    write_bytes: u64
    flushes: u64
    discards: u64
    ring_errors: u64
    disks: DiskReport[MAX_DISKS]
    nvme: NvmeReport[MAX_NVME]
    virtio: VirtioReport[MAX_VIRTIO]
    net: NetReport
    doorbells: u64
    worker_wakeups: u64
    fences: u64  # times a CPU waited for posted starts
