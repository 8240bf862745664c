"""The two rings of an io_uring: entries go out, completions come back. io_uring(7).

Who calls these holds the machine's lock; the other party is the host's kernel, on any CPU.
"""

from vestige.abi import Ring
from vestige.lang.intrinsics import (
    fence,
    load32,
    load_acquire32,
    store32,
    store_release32,
)
from vestige.lang.types import Struct, u32, u64
from vestige.monitor.drivers.ring.spec import (
    COMPLETION_SIZE,
    ENTRY_SIZE,
    Completion,
    CompletionFlag,
    Submission,
    SubmissionFlag,
)


class Queue(Struct):
    """Our side's indices. They count modulo 2**32; a place is an index modulo the ring's size."""

    tail: u32  # of submissions filled in; the kernel's own tail follows at `publish`
    kickers: u32  # CPUs inside Call.KICK

    def reset(self, ring: Ring) -> None:
        """Begin where the kernel does."""
        self.tail = load32(ring.sq_tail)

    def space(self, ring: Ring) -> u32:
        """How many entries may be filled in."""
        return u32(ring.entries - u32(self.tail - load_acquire32(ring.sq_head)))

    def next_entry(self, ring: Ring) -> Submission:
        """The next free entry, all of whose fields are now ours to fill in; `space` must be there.

        Its place in the array of places is its own number. That is stored here and not once for
        all of them: a machine that starts has hundreds, and uses few.
        """
        number = self.tail & u32(ring.entries - 1)
        store32(u64(ring.sq_array + 4 * number), number)
        self.tail += 1
        return Submission.at(u64(ring.sqes + ENTRY_SIZE * number))

    def publish(self, ring: Ring) -> bool:
        """Show the kernel the entries filled in; whether it must be told with Call.KICK.

        With a polling thread: it sets NEED_WAKEUP, then looks at the tail once more, then
        sleeps. We store the tail, then look at NEED_WAKEUP. The fence keeps our load behind
        our store, so one of the two sees the other's.
        """
        store_release32(ring.sq_tail, self.tail)
        if load_acquire32(ring.sq_head) == self.tail:
            return False
        if ring.polled:
            fence()
            return load_acquire32(ring.sq_flags) & SubmissionFlag.NEED_WAKEUP != 0
        return True

    def begin_kick(self, ring: Ring) -> None:
        """Before Call.KICK: whoever kicks looks for completions itself, so none wakes the worker.

        What is in the page cache completes inside the KICK, and waking the worker for it would
        cost more than the request.
        """
        self.kickers += 1
        store_release32(ring.cq_flags, CompletionFlag.EVENTFD_DISABLED)

    def end_kick(self, ring: Ring) -> None:
        """After Call.KICK, before the last look at the completions.

        The kernel stores its tail, passes a full barrier (it looks for sleepers in between),
        then reads the flag. We clear the flag, pass a full barrier, then read the tail. So a
        completion either finds the flag clear and wakes the worker, or its tail is seen by the
        look that follows. While another CPU is still kicking, that CPU's look is yet to come.
        """
        self.kickers -= 1
        if self.kickers == 0:
            store_release32(ring.cq_flags, 0)
        fence()

    def completed(self, ring: Ring) -> bool:
        """Whether there is a completion to look at."""
        return load32(ring.cq_head) != load_acquire32(ring.cq_tail)

    def completion(self, ring: Ring) -> Completion:
        """The oldest completion; `completed` must hold. Its place is ours until `consume`."""
        number = load32(ring.cq_head) & u32(ring.completion_entries - 1)
        return Completion.at(u64(ring.cqes + COMPLETION_SIZE * number))

    def consume(self, ring: Ring) -> None:
        """The oldest completion has been read: the kernel may use its place."""
        store_release32(ring.cq_head, u32(load32(ring.cq_head) + 1))
