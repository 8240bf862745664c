"""io_uring's memory as the monitor sees it. Linux 6.1, include/uapi/linux/io_uring.h."""

from enum import IntEnum, IntFlag

from vestige.lang.types import Struct, i32, u8, u16, u32, u64
from vestige.monitor.sized import ONES

ENTRY_SIZE = 64
COMPLETION_SIZE = 16
MAX_BUFFERS = 1 << 14  # IORING_MAX_REG_BUFFERS, io_uring/rsrc.c


class Opcode(IntEnum):
    """The operations the host's restrictions let through."""

    FSYNC = 3
    READ_FIXED = 4
    WRITE_FIXED = 5


FIXED_FILE = 1 << 0  # Submission.flags: `file` is the number of a registered file
HARD_LINK = 1 << 3  # Submission.flags: the next entry begins after this, however this ends
DATA_ONLY = 1 << 0  # Submission.operation_flags of FSYNC: as fdatasync(2)
OWN_POSITION = ONES[8]  # Submission.offset: where the file's own position is


class Submission(Struct):
    """struct io_uring_sqe."""

    opcode: u8
    flags: u8
    priority: u16
    file: i32
    offset: u64  # in the file
    address: u64  # in the host process
    length: u32
    operation_flags: u32
    user_data: u64
    buffer: u16  # number of the registered buffer that `address` lies in
    personality: u16
    splice_file: i32
    padding: u64[2]


class Completion(Struct):
    """struct io_uring_cqe."""

    user_data: u64
    result: i32  # bytes, or a negative errno
    flags: u32


class SubmissionFlag(IntFlag):
    """The word at Ring.sq_flags; the kernel's."""

    NEED_WAKEUP = 1 << 0  # the polling thread sleeps


class CompletionFlag(IntFlag):
    """The word at Ring.cq_flags; ours."""

    EVENTFD_DISABLED = 1 << 0  # completions don't wake the worker


class Errno(IntEnum):
    """The results that this driver looks at."""

    EINTR = 4
    EIO = 5
    EAGAIN = 11
    EFAULT = 14  # the address isn't in a registered buffer (any more)
