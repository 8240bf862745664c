"""The run loop of one vCPU thread: run the guest; forward what it exits with, unseen; again.

Typed Python, compiled for this process and called with the GIL released; it is also what
CPython runs where nothing is compiled. It decodes no device access: it copies the few words in
which KVM tells of one to the monitor, and the monitor's answer back. Requests of the monitor which
only Python can serve come back as Leave.CALL; calling `run` again goes on where it was.

Threats: the monitor may write its copy at any time, and the data of ports; KVM's orders are in a
page of kvm_run that it does not have (abi.GuestExit). Each answer is one it could have given. A
read to which it has left an answer gets that here, a byte where KVM wants it. Which ring a KICK is
for is compared with how many there are. How many entries a ring takes is the kernel's answer to
io_uring_enter, which the monitor can't write; after every LOOK_AFTER of them Python looks how many
have no answer yet (backends/ring.py). Who stops a thread sets `stop`, which is looked at before
every entry, and the immediate_exit of both kvm_run pages. The boot CPU's bell (boot_bell.py) sets
that of its guest, as does its alarm; so does an ATTEND, after which a signal ends the KVM_RUN. Of
an INJECT's vector a byte counts; its alarm is bounded in bell.py.
"""

from vestige.abi import (
    ANSWERS,
    CALLS,
    COALESCED_LAST,
    GSIS,
    MAX_DOMAINS,
    NO_VECTOR,
    PORT_CALL,
    RUN_IO_COUNT,
    RUN_MMIO_DATA,
    RUN_UNION,
    Call,
    ExitReason,
    GuestExit,
    RunIo,
    RunPage,
)
from vestige.host.loop.bell import SYS_IO_URING_ENTER, Bell
from vestige.host.loop.clocks import Clocks
from vestige.host.loop.notices import Notices
from vestige.host.loop.patience import Patience
from vestige.lang.enumeration import IntEnum
from vestige.lang.intrinsics import (
    address_of,
    atomic_add64,
    cold,
    load8,
    load32,
    load64,
    load_acquire32,
    store8,
    store64,
    syscall,
)
from vestige.lang.types import Struct, i64, u8, u32, u64

KVM_RUN = 0xAE80
KVM_INTERRUPT = 0x4004_AE86
SYS_READ, SYS_WRITE = 0, 1
SYS_IOCTL = 16
SYS_SCHED_YIELD = 24
SYS_TGKILL = 234
SYS_FUTEX = 202
FUTEX_WAIT, FUTEX_WAKE = 128, 129  # among threads of one process: futex(2)
EINTR = 4
EAGAIN = 11
EBUSY = 16
OUT = 1  # RunIo.direction
CALLING = OUT | 1 << 8 | PORT_CALL << 16  # the first four bytes of a RunIo: one byte is written
SECOND, THIRD, FOURTH = 8, 16, 24  # offsets of a call's arguments from its first
NUDGE = 10  # SIGUSR1: only there to end a KVM_RUN
LOOK_AFTER = 16_384  # entries a ring takes between two looks: as many more may be under way in it
REASONS = 64  # exit reasons counted apart; the last counts all from there on
FORWARDED = (
    ExitReason.IO,
    ExitReason.MMIO,
    ExitReason.IOAPIC_EOI,
    ExitReason.SHUTDOWN,
    ExitReason.INTERNAL_ERROR,
)


class Leave(IntEnum):
    """Why `run` returned."""

    STOPPED = 0  # Loop.stop is set
    CALL = 1  # Loop.call is for Python
    GUEST = 2  # the guest exited for Loop.reason, which nobody forwards
    MONITOR = 3  # the monitor exited for Loop.reason, not by a call
    GUEST_ERROR = 4  # KVM_RUN of the guest failed with errno Loop.error
    MONITOR_ERROR = 5  # KVM_RUN of the monitor failed with errno Loop.error
    RING_ERROR = 6  # io_uring_enter, or the bell's read, failed with errno Loop.error
    READY = 7  # the monitor's first entry is DONE; only where Loop.first was set
    LOOK = 8  # Loop.look is a ring that has taken many entries since the last look at it
    GO_ON = 9  # never returned by `run`
    CLOCK_ERROR = 10  # the request Loop.reason, for a clock, failed with errno Loop.error
    UNWANTED = 11  # nobody is left who could want the guest


class Stop(IntEnum):
    """Where `run` is to leave, by Loop.stop."""

    NOT = 0
    HERE = 1  # wherever it is, in the middle of a trap, too
    BETWEEN = 2  # between two traps, with nothing in KVM that the guest's state does not tell


class Door(IntEnum):
    """Of a guest's CPU, before its first instruction."""

    OPEN = 0
    SHUT = 1  # its thread is to wait there
    AWAITED = 2  # it does


class DoorWord(Struct):
    """A Door: a word for futex(2)."""

    is_now: u32


class Interrupt(Struct):
    """struct kvm_interrupt."""

    vector: u32


class Bells(Struct):
    """The doorbells of all GSIs, for the threads of all CPUs."""

    eventfds: u32[GSIS]  # 0: it is not wired


class Loop(Struct):
    """What one thread's loop works on; memory of the host alone."""

    guest: u64  # descriptor of the guest vCPU; unused by a worker
    guest_run: u64  # address of its kvm_run page; 0: this is a worker's loop
    guest_exit: u64  # address of the monitor's Cpu.exit
    forwarded: u32  # the exit reason that the monitor was last entered for
    monitor: u64  # descriptor of the monitor vCPU
    monitor_run: u64
    run_size: u32  # bytes of each kvm_run mapping
    argument: u64  # address of the monitor's Cpu.argument[0]
    bell_asked: u64  # of the monitor's Cpu.bell
    bells: u64  # of the Bells
    rings: u64[MAX_DOMAINS]  # descriptors of the io_urings
    ring_count: u32
    ring_entries: u32
    ring_flags: u32  # of io_uring_enter
    submitted: u64  # address of a u64 for each ring: entries taken by KICKs of all threads
    look: u32
    stop: u32  # a Stop, set by another thread: leave at the next chance
    door: DoorWord  # of a guest's CPU; closed by another thread before `run`, and opened
    clocks: u64  # of the boot CPU: address of a thawed machine's Clocks, which are to go on; or 0
    is_held: u32  # 1: once something comes at `hold`
    hold: u64  # a socket
    word: u64[1]  # what came there, and what is written where the guest goes
    gone: u64  # an eventfd: the guest goes, or is unwanted
    goes: u32  # 1: it does
    boots: u32  # the guest vCPU is the boot processor
    boot_run: u64  # address of the boot processor's kvm_run page
    boot_thread: u64  # its thread's number, once there are threads
    process: u64  # this process's
    interrupt: Interrupt
    injected: u32  # 1: KVM has that, and may not have given it to the guest
    bell: Bell  # the boot CPU's
    first: u32  # leave with READY at the next DONE
    in_monitor: u32  # the monitor is to be entered next
    call: u32
    reason: u32
    error: u32
    interrupted: u64  # KVM_RUNs that a signal or the ring's completions ended
    answers: u64  # address of the monitor's Answers
    queue: u64  # of KVM's queue of writes, in this vCPU's mapping; 0: this KVM has none
    asked: u32[ANSWERS]  # what each of those last answered
    answered: u64[ANSWERS]  # how often
    exits: u64[REASONS]  # of the guest, by reason
    forwards: u64
    calls: u64[CALLS]  # of the monitor, by number
    patience: Patience  # a worker's
    notices: u64  # address of the Notices; 0: it is always workers who serve


def run(loop: Loop) -> u8:
    """Run the vCPU until a Leave other than GO_ON.

    Another thread sets `stop`: no load is kept across the system call between two looks.
    """
    leave: u8 = Leave.GO_ON
    if loop.door.is_now == Door.SHUT:
        leave = stand(loop)
    while leave == Leave.GO_ON:
        if loop.stop == Stop.HERE:
            leave = Leave.STOPPED
        elif loop.in_monitor != 0:
            leave = run_monitor(loop)
        elif loop.stop != 0:
            leave = come_to_rest(loop)
        else:
            leave = run_guest(loop)
    return leave


def stand(loop: Loop) -> u8:
    """Wait at the guest's door until that is opened; the boot CPU of a thawed machine opens all.

    With immediate_exit KVM makes all that it makes when a CPU is entered for the first time, and
    enters nothing. From then on no step to the first instruction is Python's.
    """
    if loop.is_held != 0 and not rehearse(loop):
        return Leave.CLOCK_ERROR
    page = RunPage.at(loop.guest_run)
    page.immediate_exit = 1
    syscall(SYS_IOCTL, loop.guest, KVM_RUN, 0, 0, 0, 0)
    page.immediate_exit = 0
    loop.door.is_now = Door.AWAITED
    place = address_of(loop.door)
    syscall(SYS_FUTEX, place, FUTEX_WAKE, 1, 0, 0, 0)
    if loop.clocks != 0:
        return let_go(loop)
    while loop.door.is_now == Door.AWAITED:
        syscall(SYS_FUTEX, place, FUTEX_WAIT, Door.AWAITED, 0, 0, 0)
    return Leave.GO_ON


def rehearse(loop: Loop) -> bool:
    """Have the clocks go on once for nothing: the second time takes half as long."""
    clocks = Clocks.at(loop.clocks)
    return keep_error(loop, clocks.go_on() and clocks.rest())


def let_go(loop: Loop) -> u8:
    """Have a thawed machine's clocks go on, once it is wanted, and tell who begins all the rest."""
    if loop.is_held != 0 and not is_wanted(loop):
        leave: u8 = Leave.STOPPED
        if loop.stop == 0:
            tell_of_going(loop)
            leave = Leave.UNWANTED
        return leave
    clocks = Clocks.at(loop.clocks)
    if not keep_error(loop, clocks.go_on()):
        return Leave.CLOCK_ERROR
    clocks.close()
    loop.goes = 1
    tell_of_going(loop)
    return Leave.GO_ON


def is_wanted(loop: Loop) -> bool:
    """Wait at the socket; False: the thread is to stop, or all have closed the other end."""
    answer: i64 = -EINTR
    while answer == -EINTR and loop.stop == 0:
        answer = syscall(SYS_READ, loop.hold, address_of(loop.word), 1, 0, 0, 0)
    return answer == 1


def tell_of_going(loop: Loop) -> None:
    """To the thread that waits for `gone`."""
    loop.word[0] = 1
    syscall(SYS_WRITE, loop.gone, address_of(loop.word), 8, 0, 0, 0)


def keep_error(loop: Loop, done: bool) -> bool:
    """Of the clocks, unless they have gone on; whether they have."""
    if not done:
        clocks = Clocks.at(loop.clocks)
        loop.reason, loop.error = u32(clocks.failed), clocks.error
    return done


def run_guest(loop: Loop) -> u8:
    """Enter the guest once; what it exits with decides who runs next.

    EAGAIN: a processor that waits for its SIPI slept in the kernel and was woken. The boot
    processor waits for none: at its beginning a VM was refused the kernel thread it needs.
    """
    answer = syscall(SYS_IOCTL, loop.guest, KVM_RUN, 0, 0, 0, 0)
    page = RunPage.at(loop.guest_run)
    if page.immediate_exit == 0:
        loop.injected = 0
    if answer == -EINTR and loop.boots != 0:
        told = page.immediate_exit
        page.immediate_exit = 0
        error = loop.bell.answer()
        if error != 0:
            page.immediate_exit = 1  # so that it is tried again
            return failed(loop, error, Leave.RING_ERROR, False)
        if told != 0:
            forward(loop, page, ExitReason.INTERRUPTED)
            return Leave.GO_ON
    return left_guest(loop, page, answer)


def come_to_rest(loop: Loop) -> u8:
    """Leave the guest where it is, once what it left for is over in KVM, too.

    With immediate_exit KVM does no more than that: it finishes an instruction that it emulates,
    which may need the monitor again. An interrupt that it was given it does not tell of before the
    guest is entered: so that is entered then, until a signal comes, or it exits.
    """
    page = RunPage.at(loop.guest_run)
    page.immediate_exit = loop.injected == 0
    answer = syscall(SYS_IOCTL, loop.guest, KVM_RUN, 0, 0, 0, 0)
    rests = loop.injected == 0
    if page.immediate_exit == 0:
        loop.injected = 0
    if answer == -EINTR:
        return Leave.STOPPED if rests else Leave.GO_ON
    return left_guest(loop, page, answer)


def left_guest(loop: Loop, page: RunPage, answer: i64) -> u8:
    """What KVM_RUN of the guest has returned decides who runs next."""
    if answer < 0:
        begins = loop.boots != 0 and loop.forwards == 0
        return failed(loop, u32(-answer), Leave.GUEST_ERROR, begins)
    reason = page.exit_reason
    if reason == ExitReason.IO and answered_before(loop):
        count_exit(loop, reason)
        return Leave.GO_ON
    if reason == ExitReason.INTERRUPT_WINDOW:
        page.request_interrupt_window = 0
    elif reason not in FORWARDED:
        count_exit(loop, reason)
        loop.reason = reason
        return Leave.GUEST
    forward(loop, page, reason)
    return Leave.GO_ON


@cold  # not seldom: the registers that it needs would cost all other exits 11 instructions
def answered_before(loop: Loop) -> bool:
    """Give this very access the answer that the monitor has left for it (abi's Answers), if any.

    Not while a write waits, which may change it: who takes that withdraws the answers before. So
    they are looked at after the queue. What is not one access is the monitor's.
    """
    union = u64(loop.guest_run + RUN_UNION)
    if load32(u64(union + RUN_IO_COUNT)) != 1:
        return False
    if loop.queue != 0:
        waits = load_acquire32(loop.queue)
        if load_acquire32(u64(loop.queue + COALESCED_LAST)) != waits:
            return False
    asked = load32(union)
    for number in range(ANSWERS):
        known = load64(u64(loop.answers + 8 * number))
        if known & 0xFFFF_FFFF == asked:
            store8(u64(loop.guest_run + RunIo.at(union).data_offset), u8(known >> 32 & 0xFF))
            loop.asked[number] = asked
            loop.answered[number] += 1
            return True
    return False


def count_exit(loop: Loop, reason: u32) -> None:
    """Of the guest."""
    loop.exits[reason if reason < REASONS else REASONS - 1] += 1


def forward(loop: Loop, page: RunPage, reason: u32) -> None:
    """The monitor is entered next, for this."""
    count_exit(loop, reason)
    loop.forwards += 1
    loop.in_monitor = 1
    show(loop, page, reason)


def show(loop: Loop, page: RunPage, reason: u32) -> None:
    """Copy what there is of the exit, whatever it is, to where the monitor looks for it."""
    union = u64(loop.guest_run + RUN_UNION)
    shown = GuestExit.at(loop.guest_exit)
    shown.reason = reason
    shown.ready = page.ready_for_interrupt_injection
    shown.union[0] = load64(union)
    shown.union[1] = load64(u64(union + 8))
    shown.union[2] = load64(u64(union + 16))
    loop.forwarded = reason


def answer(loop: Loop) -> None:
    """Copy an access's data back; that of ports is in a page which the monitor has."""
    if loop.forwarded == ExitReason.MMIO:
        data = GuestExit.at(loop.guest_exit).union[RUN_MMIO_DATA // 8]
        store64(u64(loop.guest_run + RUN_UNION + RUN_MMIO_DATA), data)


def run_monitor(loop: Loop) -> u8:
    """Enter the monitor once, and serve the call it leaves with."""
    answer = syscall(SYS_IOCTL, loop.monitor, KVM_RUN, 0, 0, 0, 0)
    if answer < 0:
        return failed(loop, u32(-answer), Leave.MONITOR_ERROR, loop.first != 0)
    reason = RunPage.at(loop.monitor_run).exit_reason
    union = u64(loop.monitor_run + RUN_UNION)
    offset = RunIo.at(union).data_offset
    if reason != ExitReason.IO or load32(union) != CALLING or offset >= loop.run_size:
        loop.reason = reason
        return Leave.MONITOR
    call = load8(u64(loop.monitor_run + offset))
    if call == Call.DONE:  # of all calls the most frequent
        loop.calls[Call.DONE] += 1
        bell = load32(loop.bell_asked)
        if bell != 0 and not ring(loop, bell):
            loop.reason = reason
            return Leave.MONITOR
        return answered(loop)
    return serve(loop, call)


def serve(loop: Loop, call: u8) -> u8:
    """Do what is done here, KICK and what has to do with ExtINT; leave the rest to Python."""
    loop.call = call
    if call < CALLS:
        loop.calls[call] += 1
    if call == Call.KICK:
        number = load64(loop.argument)
        if number < loop.ring_count:
            return kick(loop, u32(number))
    if call == Call.ATTEND:
        attend(loop)
        return Leave.GO_ON
    if call == Call.INJECT and loop.boots != 0:
        error = inject(loop)
        if error != 0:
            return failed(loop, error, Leave.GUEST_ERROR, False)
        return answered(loop)
    return Leave.CALL


def answered(loop: Loop) -> u8:
    """The monitor has done what it was entered for; a guest goes on."""
    if loop.guest_run != 0:
        answer(loop)
        loop.in_monitor = 0
    if loop.first != 0:
        loop.first = 0
        return Leave.READY
    return Leave.GO_ON


def ring(loop: Loop, bell: u32) -> bool:
    """Ring the doorbell of GSI `bell` - 1, as the kernel would by the monitor's OUT.

    False: there is no such doorbell.
    """
    number = u32(bell - 1)
    if number >= GSIS:
        return False
    eventfd = Bells.at(loop.bells).eventfds[number]
    loop.word[0] = 1
    return eventfd != 0 and syscall(SYS_WRITE, eventfd, address_of(loop.word), 8, 0, 0, 0) == 8


def inject(loop: Loop) -> u32:
    """Have the guest take an external interrupt, and exit once it can, or later; an errno, or 0."""
    vector = load64(loop.argument)
    if load64(u64(loop.argument + SECOND)) != 0:
        RunPage.at(loop.guest_run).request_interrupt_window = 1
    alarm = load64(u64(loop.argument + THIRD))
    if alarm != 0:
        order(loop, alarm)
    if vector == NO_VECTOR:
        return 0
    loop.injected = 1
    loop.interrupt.vector = u32(vector & 0xFF)
    place = address_of(loop.interrupt)
    answer = syscall(SYS_IOCTL, loop.guest, KVM_INTERRUPT, place, 0, 0, 0)
    return u32(-answer) if answer < 0 else 0


def order(loop: Loop, alarm: u64) -> None:
    """End the next KVM_RUN of the guest in so many ns; at once where the kernel did not take that.

    What it is to take is given to it again then.
    """
    if loop.bell.order(alarm) != 0:
        RunPage.at(loop.guest_run).immediate_exit = 1


def attend(loop: Loop) -> None:
    """End the boot processor's KVM_RUN of its guest, or the next one."""
    RunPage.at(loop.boot_run).immediate_exit = 1
    syscall(SYS_TGKILL, loop.process, loop.boot_thread, NUDGE, 0, 0, 0)


def kick(loop: Loop, number: u32) -> u8:
    """Submit all that is queued in a ring, or wake who does; wait for none of it.

    EAGAIN and EBUSY leave entries queued: the monitor sees that and kicks again. What the kernel
    hands to another thread is done sooner where that runs before the monitor does: here, if it is
    waiting for this processor. Then its completion is found by the look after the KICK.
    """
    ring = loop.rings[number]
    before = completions(loop)
    answer = syscall(SYS_IO_URING_ENTER, ring, loop.ring_entries, 0, loop.ring_flags, 0, 0)
    if answer < 0:
        return failed(loop, u32(-answer), Leave.RING_ERROR, False)
    if load64(u64(loop.argument + SECOND)) != 0:
        syscall(SYS_SCHED_YIELD, 0, 0, 0, 0, 0, 0)
    weigh(loop, u32(answer), u32(completions(loop) - before))
    before = atomic_add64(u64(loop.submitted + 8 * number), u64(answer))
    if before % LOOK_AFTER + u64(answer) < LOOK_AFTER:
        return Leave.GO_ON
    loop.look = number
    return Leave.LOOK


def completions(loop: Loop) -> u32:
    """How many completions the ring has had, where that decides who serves."""
    return load32(Notices.at(loop.notices).completions) if loop.notices != 0 else 0


def weigh(loop: Loop, entries: u32, answered: u32) -> None:
    """Who serves from now on, after a KICK of so many entries, with so many completions."""
    moved = load64(u64(loop.argument + FOURTH))
    if loop.notices == 0:
        loop.patience.kicked(entries, False, moved)
        return
    notices = Notices.at(loop.notices)
    alone = notices.count != 0 and answered >= entries and moved == 0
    alone = alone and load64(u64(loop.argument + THIRD)) <= 1
    if loop.guest_run != 0:
        if notices.exits != 0:
            notices.kicked(alone)
    elif notices.exits != 0:
        loop.patience.moves_much(moved)
    elif loop.patience.kicked(entries, alone, moved):
        notices.give_to_cpu()


def failed(loop: Loop, error: u32, leave: u8, begins: bool) -> u8:
    """Go on after an errno that only says 'not now', else leave with it.

    Where a VM `begins` EAGAIN says 'never': it would be the same for ever.
    """
    if error in (EINTR, EBUSY) or (error == EAGAIN and not begins):
        loop.interrupted += 1
        return Leave.GO_ON
    loop.error = error
    return leave
