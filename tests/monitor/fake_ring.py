"""An io_uring in this process's memory: the kernel's side is Python, and fails as told to."""

import ctypes
from collections.abc import Callable

from vestige import abi
from vestige.lang.intrinsics import address_of
from vestige.lang.types import Struct, u32
from vestige.monitor.drivers.ring.spec import (
    FIXED_FILE,
    HARD_LINK,
    Completion,
    CompletionFlag,
    Errno,
    Opcode,
    Submission,
)

ENTRIES = 256

Answer = Callable[[Submission], int | None]


class Words(Struct):
    """The words both sides share."""

    sq_head: u32
    sq_tail: u32
    sq_flags: u32
    cq_head: u32
    cq_tail: u32
    cq_flags: u32


class FakeRing:
    """`files[n]` is a bytearray (a disk) or a list of bytes (a stream, read from or added to).

    `answer` may give an operation's result instead of doing it. With `inline` off an operation
    taken completes only at `complete`. `buffers` are the ones registered: number → (address,
    length) of this process.
    """

    def __init__(self, files: list[bytearray | list[bytes]], entries: int = ENTRIES) -> None:
        self.files = files
        self.entries = entries
        self.words = Words()
        self.array = (ctypes.c_uint32 * entries)()
        self.submissions = (Submission * entries)()
        self.completions = (Completion * (2 * entries))()
        self.buffers: dict[int, tuple[int, int]] = {}
        self.answer: Answer = lambda submission: None
        self.inline = True
        self.taken: list[Submission] = []
        self.wakeups = 0  # of the eventfd
        self.kicks = 0
        self.flushed: list[int] = []  # files FSYNC was done on
        self.refuse: Callable[[abi.DiscardOrder], int] = lambda order: 0  # the host's errno
        self.orders: list[tuple[int, int, int]] = []  # file, sector of the disk, sectors
        self.starts: dict[int, int] = {}  # of files, the disk's first sector
        self.verdicts: list[int] = []
        self.log: list[tuple[Opcode, int, int, int]] = []  # opcode, file, offset, length

    def describe(self, ring: abi.Ring, ram: int, state: int) -> None:
        """Fill in what the monitor is told."""
        words = address_of(self.words)
        ring.present = 1
        ring.entries = self.entries
        ring.completion_entries = 2 * self.entries
        for number, name in enumerate(("sq_head", "sq_tail", "sq_flags")):
            setattr(ring, name, words + 4 * number)
        for number, name in enumerate(("cq_head", "cq_tail", "cq_flags")):
            setattr(ring, name, words + 12 + 4 * number)
        ring.sq_array = address_of(self.array)
        ring.sqes = address_of(self.submissions)
        ring.cqes = address_of(self.completions)
        ring.host_ram = ram
        ring.host_state = state
        ring.chunk = abi.CHUNK
        ring.orders = len(self.files)
        self.buffers[abi.STATE_BUFFER] = (state, abi.STATE_SIZE)

    def enter(self, most: int = 1 << 32) -> None:
        """io_uring_enter: take what is queued, at most `most` entries."""
        self.kicks += 1
        while self.words.sq_head != self.words.sq_tail and most > 0:
            most -= 1
            number = self.array[self.words.sq_head % self.entries]
            copy = Submission.from_buffer_copy(self.submissions[number])
            self.words.sq_head = self.words.sq_head + 1
            if self.inline:
                self.finish(copy)
            else:
                self.taken.append(copy)

    def complete(self, number: int = 0) -> None:
        """Finish one of the operations taken before."""
        self.finish(self.taken.pop(number))

    def finish(self, submission: Submission) -> None:
        """Do an operation and put its completion in the ring."""
        result = self.answer(submission)
        if result is None:
            result = self.perform(submission)
        used = (self.words.cq_tail - self.words.cq_head) % (1 << 32)
        assert used < 2 * self.entries, "the completion ring has overflown"
        place = self.completions[self.words.cq_tail % (2 * self.entries)]
        place.user_data, place.result = submission.user_data, result
        self.words.cq_tail = self.words.cq_tail + 1
        if not self.words.cq_flags & CompletionFlag.EVENTFD_DISABLED:
            self.wakeups += 1

    def perform(self, submission: Submission) -> int:
        """The operation itself, refused as the restricted ring refuses it."""
        assert submission.flags & ~HARD_LINK == FIXED_FILE
        opcode = Opcode(submission.opcode)
        address, length = submission.address, submission.length
        self.log.append((opcode, submission.file, submission.offset, length))
        if opcode == Opcode.FSYNC:
            self.flushed.append(submission.file)
            return 0
        base, size = self.buffers.get(submission.buffer, (0, 0))
        if not base <= address <= base + size - length:
            return -Errno.EFAULT
        if submission.file == len(self.files):
            return self.perform_order(opcode, address, length)
        file = self.files[submission.file]
        if isinstance(file, list):
            return self.perform_stream(opcode, file, address, length)
        data = memoryview(file)[submission.offset : submission.offset + length]
        if opcode == Opcode.READ_FIXED:
            ctypes.memmove(address, bytes(data), len(data))
        else:
            data[:] = ctypes.string_at(address, len(data))
        return len(data)

    def perform_order(self, opcode: Opcode, address: int, length: int) -> int:
        """The host makes a hole, which reads as zeroes, and answers when it is asked."""
        if opcode == Opcode.READ_FIXED:
            assert length == abi.DISCARD_ANSWER_SIZE
            ctypes.memmove(address, self.verdicts.pop(0).to_bytes(length, "little"), length)
            return length
        assert length == abi.DISCARD_ORDER_SIZE
        order = abi.DiscardOrder.from_buffer_copy(ctypes.string_at(address, length))
        self.orders.append((order.file, order.sector, order.sectors))
        error = self.refuse(order)
        if not error:
            file = self.files[order.file]
            assert isinstance(file, bytearray)
            start = (order.sector + self.starts.get(order.file, 0)) * abi.SECTOR
            size = order.sectors * abi.SECTOR
            assert start + size <= len(file)
            file[start : start + size] = bytes(size)
        self.verdicts.append(error)
        return length

    def perform_stream(self, opcode: Opcode, file: list[bytes], address: int, length: int) -> int:
        """A read takes the first element; a write adds one."""
        if opcode == Opcode.WRITE_FIXED:
            file.append(ctypes.string_at(address, length))
            return length
        data = file.pop(0) if file else b""
        assert len(data) <= length
        ctypes.memmove(address, data, len(data))
        return len(data)
