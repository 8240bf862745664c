"""Whether a worker, once woken, takes the processor from its guest or waits for its turn. sched(7).

It matters where the two have one processor between them. A worker that waits (SCHED_BATCH) finds
all that the guest asks for until the guest itself has to wait: many requests for one wake-up, one
KICK and one interrupt. One that doesn't (SCHED_OTHER) answers each request at once, which spares a
guest that waits for it the way to sleep and back. What a guest does can't be known here, so it is
tried: how many entries the ring takes at a KICK, this way and that. Where requests come one at a
time either way, and are answered at once, there is a third: the guest's CPU serves itself
(notices.py).

A network tells by itself: while it moves much the worker waits, without a trial. Entries don't show
what that brings, as its reads are handed over several at a time either way; and what it brings
comes with time: TCP sends more at once where more is acknowledged at once.

Typed Python, part of the run loop; host memory alone, which nothing in a guest can reach. What a
guest can do to it is to have its own worker scheduled the worse way.
"""

from vestige.lang.intrinsics import address_of, syscall
from vestige.lang.types import Struct, u8, u32, u64

SYS_SCHED_SETSCHEDULER = 144
SCHED_OTHER = 0
SCHED_BATCH = 3
TRIAL = 8  # KICKs of a trial, first impatiently, then patiently
STAY = 128  # KICKs until it is tried anew: those of a trial cost little beside them
MUCH = 1024  # bytes of a network for each KICK: these are no frames that are waited for singly
LOOK = 2  # patient KICKs, behind the CPU's time: whether requests still come one at a time


class Parameter(Struct):
    """struct sched_param."""

    priority: u32


class Patience(Struct):
    """Of one worker's thread. It begins impatient; without KICKs it stays so."""

    adapts: u8  # 1: the thread's policy is ours to choose
    patient: u8  # 1: it is SCHED_BATCH
    on_trial: u8  # 1
    looks: u8  # 1: the CPU serves, or did until now
    alone: u32  # KICKs in a row that were for one request, and answered; of the trials, or before
    moves: u8  # 1: a network moved much when that was last looked at
    moved: u32  # bytes of it since then; as many as are much, at most
    moved_kicks: u32  # KICKs since then
    kicks: u32  # left of the trial, or until the next
    entries: u32  # that the ring took since it began
    impatient_entries: u32  # that it took in the trial of impatience
    parameter: Parameter  # all zero

    def start(self, policy: u32) -> None:
        """The thread has `policy`; one that the user chose for it is left alone."""
        self.adapts = policy == SCHED_OTHER
        self.kicks = TRIAL

    def kicked(self, entries: u32, alone: bool, moved: u64) -> bool:
        """The ring took so many entries at a KICK. `alone`: they were of one request, and are
        answered. `moved`: bytes of a network, until then. Whether the guest's CPU is to serve from
        now on.
        """
        if not self.adapts or self.moves_much(moved):
            return False
        self.entries += entries
        if alone:
            self.alone += 1
            if self.patient and not self.on_trial and self.alone == TRIAL:
                self.kicks = 1  # many at a time are over
        else:
            self.alone = 0
            if self.looks:
                self.looks = 0
                self.kicks = 1
        self.kicks -= 1
        return self.kicks == 0 and self.turn()

    def moves_much(self, moved: u64) -> bool:
        """Whether a network does, this KICK counted; the worker is to wait while it does."""
        most = TRIAL * MUCH
        self.moved = min(self.moved + min(moved, most), most)
        self.moved_kicks += 1
        if self.moved_kicks == TRIAL:
            moves = self.moved == most
            self.moved = 0
            self.moved_kicks = 0
            if moves != self.moves:
                self.moves = moves
                self.looks = 0
                self.alone = 0
                self.entries = 0
                self.kicks = TRIAL
                self.on_trial = not moves
                self.choose(moves)
        return self.moves != 0

    def turn(self) -> bool:
        """A trial, or the time between two, is over. Patience has to bring half as much again.

        Where it doesn't, and requests came alone all the time, the worker is not needed for them.
        """
        entries = self.entries
        self.entries = 0
        self.kicks = TRIAL
        if self.looks:
            self.kicks = LOOK
            self.alone = 0
            return True
        if not self.on_trial:
            self.on_trial = 1
            self.alone = 0
            self.choose(False)
        elif not self.patient:
            self.impatient_entries = entries
            self.choose(True)
        else:
            self.on_trial = 0
            self.kicks = STAY
            worth = 2 * entries > 3 * self.impatient_entries
            alone = self.alone
            self.alone = 0
            if not worth and alone == 2 * TRIAL:
                self.looks = 1
                self.kicks = LOOK
                return True
            self.choose(worth)
        return False

    def choose(self, patient: bool) -> None:
        """Have the calling thread scheduled so; where that is refused, never again."""
        if self.adapts and self.patient != patient:
            self.patient = patient
            policy = SCHED_BATCH if patient else SCHED_OTHER
            if syscall(SYS_SCHED_SETSCHEDULER, 0, policy, address_of(self.parameter), 0, 0, 0) < 0:
                self.adapts = 0
