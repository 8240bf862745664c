"""The boot CPU's bell and alarm, as its run loop has them: boot_bell.py says what they are.

Typed Python, compiled with the run loop. Its own thread alone uses it.
"""

from vestige.host.backends.io_uring_records import COMPLETION_SIZE, Completion
from vestige.lang.intrinsics import (
    load32,
    load_acquire32,
    store32,
    store64,
    store_release32,
    syscall,
)
from vestige.lang.types import Struct, i32, u32, u64

SYS_IO_URING_ENTER = 426
EAGAIN, ETIME = 11, 62
# The ring's entries, each in its own place, which its completion has as user_data.
BELL, ALARM, ALARM_READ = 0, 1, 2
PLACES = 4
SECOND = 1_000_000_000  # ns
LEAST, MOST = 10_000, SECOND  # ns of an alarm


class Bell(Struct):
    """What there is of the ring in this process. `listens` until a read ends a KVM_RUN."""

    hangs: u32  # 1: there is one
    listens: u32
    alarmed: u32  # 1: an alarm is under way
    queued: u32  # entries that wait for the kernel to take them
    ring: u64  # descriptor of the io_uring
    sq_tail: u64  # addresses
    sq_array: u64
    cq_head: u64
    cq_tail: u64
    completions: u64
    mask: u32  # of a completion's place
    alarm: u64  # address of the alarm's time, struct __kernel_timespec

    def listen(self) -> u32:
        """Have the next ring set immediate_exit, or this one that waits; an errno, or 0."""
        if self.listens == 0:
            self.listens = 1
            self.queue(BELL)
        return self.submit()

    def order(self, time: u64) -> u32:
        """The same in so many ns, unless an alarm is under way; an errno, or 0."""
        if self.hangs == 0 or self.alarmed != 0:
            return 0
        bounded = min(max(time, LEAST), MOST)
        self.alarmed = 1
        store64(self.alarm, bounded // SECOND)
        store64(u64(self.alarm + 8), bounded % SECOND)
        self.queue(ALARM)
        self.queue(ALARM_READ)
        return self.submit()

    def queue(self, place: u32) -> None:
        """An entry for the kernel."""
        tail = load32(self.sq_tail)
        store32(u64(self.sq_array + 4 * (tail % PLACES)), place)
        store_release32(self.sq_tail, u32(tail + 1))
        self.queued = u32(self.queued + 1)

    def submit(self) -> u32:
        """Have the kernel take what is queued; an errno, or 0."""
        answer = syscall(SYS_IO_URING_ENTER, self.ring, self.queued, 0, 0, 0, 0)
        if answer < 0:
            return u32(-answer)
        self.queued = u32(self.queued - u32(answer))
        return EAGAIN if self.queued != 0 else 0

    def answer(self) -> u32:
        """Listen again where it was the bell that ended a KVM_RUN; an errno, or 0.

        immediate_exit has been cleared: who rings from now on sets it again.
        """
        if self.hangs == 0:
            return 0
        head = load32(self.cq_head)
        error: u32 = 0
        while error == 0 and load_acquire32(self.cq_tail) != head:
            completion = Completion.at(u64(self.completions + COMPLETION_SIZE * (head & self.mask)))
            result: i32 = completion.result
            if completion.user_data == BELL:
                self.listens = 0
            elif completion.user_data == ALARM_READ:
                self.alarmed = 0
            if result < 0 and (completion.user_data != ALARM or result != -ETIME):
                error = u32(-result)
            head = u32(head + 1)
            store_release32(self.cq_head, head)
        if error != 0:
            return error
        if self.listens == 0:
            return self.listen()
        return self.submit() if self.queued != 0 else 0
