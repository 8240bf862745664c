"""The request a disk model hands to the block driver below it, and gets answered in place.

A model fills a `BlockRequest` and calls `submit`. The core gives it to the driver of that
drive (BUSY while it is there), and on completion calls `complete` and then the model's
`request_done`, which reads `error` and calls `release`. Data never passes through here: the
segments name the guest's RAM, or the model's own buffer, by address.
"""

from vestige.abi import MAX_DISKS, SECTOR
from vestige.lang.enumeration import IntEnum
from vestige.lang.intrinsics import check
from vestige.lang.types import Struct, u8, u32, u64

MAX_SEGMENTS = 128
SECTOR_SHIFT = SECTOR.bit_length() - 1  # log2

# Every request there can be has a number, by which drivers know what they have of it: an IDE
# channel's is the channel's, request r of virtio disk d is IDE_REQUESTS + d * DISK_REQUESTS + r;
# the floppy disk controller's is the last.
IDE_REQUESTS = 2
DISK_REQUESTS = 32
FLOPPY_REQUEST = IDE_REQUESTS + MAX_DISKS * DISK_REQUESTS
REQUESTS = FLOPPY_REQUEST + 1


class State(IntEnum):
    """Where a request is."""

    IDLE = 0  # the model's, nothing asked
    QUEUED = 1  # asked, the core has not seen it yet
    BUSY = 2  # the driver's
    DONE = 3  # answered, the model has not looked yet


class Operation(IntEnum):
    """What is asked."""

    READ = 0  # medium to segments
    WRITE = 1  # segments to medium
    FLUSH = 2  # all written so far to stable storage; no lba, no segments
    DISCARD = 3  # the ranges may be forgotten; where Disk.can_discard says so, and see Segment


class Segment(Struct):
    """A run of memory of the code that runs the models: guest RAM or a model's buffer.

    Of a DISCARD it is a range of the drive: `address` its first sector, `length` its sectors.
    """

    address: u64  # as Memory.pointer() or address_of() gives it
    length: u32  # bytes, not zero


class BlockRequest(Struct):
    """One operation on one drive. The lengths of its segments add up to sectors * SECTOR."""

    state: u8  # State
    operation: u8  # Operation
    drive: u8  # number of the drive as its model counts them
    error: u8  # 0: all of it was done; else the host's errno, nothing is known of the data
    sectors: u32
    lba: u64  # first sector
    segment_count: u32
    segments: Segment[MAX_SEGMENTS]

    def prepare(self, operation: u8, drive: u8, lba: u64, sectors: u32) -> None:
        """Begin a request without segments; PANICs while another is under way."""
        check(self.state == State.IDLE)
        self.operation = operation
        self.drive = drive
        self.error = 0
        self.lba = lba
        self.sectors = sectors
        self.segment_count = 0

    def add(self, address: u64, length: u32) -> None:
        """Append a segment; one that follows its predecessor in memory lengthens it."""
        count = self.segment_count
        if count > 0:
            last = self.segments[count - 1]
            follows = u64(last.address + last.length) == address
            if follows and last.length + length < 1 << 31:
                last.length += length
                return
        check(count < MAX_SEGMENTS)
        segment = self.segments[count]
        segment.address = address
        segment.length = length
        self.segment_count = count + 1

    def full(self) -> bool:
        """Whether another segment may not fit."""
        return self.segment_count >= MAX_SEGMENTS

    def submit(self) -> None:
        """Hand it to the core, which looks when the model's method returns."""
        self.state = State.QUEUED

    def complete(self, error: u8) -> None:
        """The driver's answer; PANICs if none was asked for."""
        check(self.state in (State.QUEUED, State.BUSY))
        self.error = error
        self.state = State.DONE

    def release(self) -> None:
        """The model has taken the answer; a new request may begin."""
        check(self.state == State.DONE)
        self.state = State.IDLE
