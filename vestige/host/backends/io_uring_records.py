"""io_uring's records, as far as this process uses them.

Linux 6.1's include/uapi/linux/io_uring.h.
"""

from vestige.lang.types import Struct, i32, u8, u16, u32, u64

ENTRY_SIZE = 64
COMPLETION_SIZE = 16

# Operations, and flags of an entry: the next one begins after this, however this ends.
READV, FSYNC, READ_FIXED, WRITE_FIXED, TIMEOUT = 1, 3, 4, 5, 11
FIXED_FILE, HARD_LINK = 1 << 0, 1 << 3


class SubmissionOffsets(Struct):
    """struct io_sqring_offsets."""

    head: u32
    tail: u32
    mask: u32
    entries: u32
    flags: u32
    dropped: u32
    array: u32
    reserved: u32
    user_address: u64


class CompletionOffsets(Struct):
    """struct io_cqring_offsets."""

    head: u32
    tail: u32
    mask: u32
    entries: u32
    overflow: u32
    cqes: u32
    flags: u32
    reserved: u32
    user_address: u64


class Parameters(Struct):
    """struct io_uring_params."""

    sq_entries: u32
    cq_entries: u32
    flags: u32
    sq_thread_cpu: u32
    sq_thread_idle: u32
    features: u32
    wq: u32
    reserved: u32[3]
    sq: SubmissionOffsets
    cq: CompletionOffsets


class Restriction(Struct):
    """struct io_uring_restriction."""

    kind: u16
    value: u8
    reserved: u8
    more: u32[3]


class Restrictions(Struct):
    """As many as `restrict` takes."""

    entries: Restriction[8]


class IoVector(Struct):
    """struct iovec."""

    base: u64
    length: u64


class Descriptor(Struct):
    """An int the kernel reads."""

    value: i32


class Submission(Struct):
    """struct io_uring_sqe, as a READV has it."""

    operation: u8
    flags: u8
    priority: u16
    file: i32
    offset: u64
    address: u64
    length: u32
    more: u32
    user_data: u64
    rest: u64[3]


class Completion(Struct):
    """struct io_uring_cqe."""

    user_data: u64
    result: i32
    flags: u32
