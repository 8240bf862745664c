"""Whether a worker, once woken, takes the processor from its guest or waits for its turn. sched(7).

It matters where the two have one processor between them. A worker that waits (SCHED_BATCH) finds
all that the guest asks for until the guest itself has to wait: many requests for one wake-up, one
KICK and one interrupt. One that doesn't (SCHED_OTHER) answers each request at once, which spares a
guest that waits for it the way to sleep and back. What a guest does can't be known here, so it is
tried: how many entries the ring takes at a KICK, this way and that.

Typed Python, part of the run loop; host memory alone, which nothing in a guest can reach. What a
guest can do to it is to have its own worker scheduled the worse way.
"""

from vestige.lang.intrinsics import address_of, syscall
from vestige.lang.types import Struct, u8, u32

SYS_SCHED_SETSCHEDULER = 144
SCHED_OTHER = 0
SCHED_BATCH = 3
TRIAL = 8  # KICKs of a trial, first impatiently, then patiently
STAY = 128  # KICKs until it is tried anew: those of a trial cost little beside them


class Parameter(Struct):
    """struct sched_param."""

    priority: u32


class Patience(Struct):
    """Of one worker's thread. It begins impatient; without KICKs it stays so."""

    adapts: u8  # 1: the thread's policy is ours to choose
    patient: u8  # 1: it is SCHED_BATCH
    on_trial: u8  # 1
    kicks: u32  # left of the trial, or until the next
    entries: u32  # that the ring took since it began
    impatient_entries: u32  # that it took in the trial of impatience
    parameter: Parameter  # all zero

    def start(self, policy: u32) -> None:
        """The thread has `policy`; one that the user chose for it is left alone."""
        self.adapts = policy == SCHED_OTHER
        self.kicks = TRIAL

    def kicked(self, entries: u32) -> None:
        """The ring took so many entries at a KICK."""
        if not self.adapts:
            return
        self.entries += entries
        self.kicks -= 1
        if self.kicks == 0:
            self.turn()

    def turn(self) -> None:
        """A trial, or the time between two, is over. Patience has to bring half as much again."""
        self.kicks = TRIAL
        if not self.on_trial:
            self.on_trial = 1
            self.choose(False)
        elif not self.patient:
            self.impatient_entries = self.entries
            self.choose(True)
        else:
            self.on_trial = 0
            self.kicks = STAY
            self.choose(2 * self.entries > 3 * self.impatient_entries)
        self.entries = 0

    def choose(self, patient: bool) -> None:
        """Have the calling thread scheduled so; where that is refused, never again."""
        if self.patient != patient:
            self.patient = patient
            policy = SCHED_BATCH if patient else SCHED_OTHER
            if syscall(SYS_SCHED_SETSCHEDULER, 0, policy, address_of(self.parameter), 0, 0, 0) < 0:
                self.adapts = 0
