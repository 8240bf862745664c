"""The run loop by itself: a scripted kernel, and pages that hold what no kernel would write."""

import errno
from collections.abc import Callable

import pytest

from tests.host.loop.stepped import between_runs
from tests.lang.stepping import NoSteppingError
from vestige import abi
from vestige.host.loop import failure, notices, patience, runloop
from vestige.host.loop.bell import Bell
from vestige.host.loop.clocks import Clocks
from vestige.host.loop.notices import EARLIER, Notices
from vestige.host.loop.runloop import (
    KVM_RUN,
    LOOK_AFTER,
    REASONS,
    Bells,
    Door,
    DoorWord,
    Leave,
    Loop,
    Stop,
)
from vestige.host.loop.session import Submitted
from vestige.lang.intrinsics import address_of, store64
from vestige.lang.types import Struct, u8, u32, u64

GUEST, MONITOR, RING, OTHER_RING = 100, 101, 102, 103
PROCESS, BOOT_THREAD = 7, 8


class Page(Struct):
    """A kvm_run mapping."""

    bytes: u8[4096]


class Argument(Struct):
    """The first arguments of the monitor's call."""

    value: u64
    second: u64
    third: u64
    fourth: u64
    bell: u32


class Rig:
    """A loop whose system calls are answered by `script`, in turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.guest, self.monitor = Page(), Page()
        self.argument = Argument()
        self.loop = Loop(
            guest=GUEST,
            guest_run=address_of(self.guest),
            monitor=MONITOR,
            monitor_run=address_of(self.monitor),
            run_size=4096,
            argument=address_of(self.argument),
            ring_count=2,
            ring_entries=256,
            boot_run=address_of(self.guest),
            boot_thread=BOOT_THREAD,
            process=PROCESS,
        )
        self.shown = abi.GuestExit()
        self.loop.guest_exit = address_of(self.shown)
        self.loop.bell_asked = address_of(self.argument) + Argument.bell.offset  # type: ignore[attr-defined]
        self.bells = Bells()
        self.loop.bells = address_of(self.bells)
        self.rung: list[tuple[int, int]] = []  # descriptors, and how much of the script was left
        self.submitted = Submitted()
        self.loop.submitted = address_of(self.submitted)
        self.loop.rings[0], self.loop.rings[1] = RING, OTHER_RING
        self.script: list[tuple[int, Callable[[], int]]] = []
        self.yields: list[int] = []  # how much of the script was left at each
        self.injected: list[int] = []  # vectors
        self.signals = 0
        self.futexes: list[Callable[[int, int], int]] = []
        self.refuses = 0  # an errno, of KVM_INTERRUPT
        self.answers, self.queue = abi.Answers(), abi.CoalescedRing()
        self.loop.answers, self.loop.queue = address_of(self.answers), address_of(self.queue)
        monkeypatch.setattr(runloop, "syscall", self.answer)

    def answer(self, number: int, descriptor: int, *arguments: int) -> int:
        if number == runloop.SYS_SCHED_YIELD:
            self.yields.append(len(self.script))
            return 0
        if number == runloop.SYS_WRITE:
            self.rung.append((descriptor, len(self.script)))
            return arguments[1]
        if number == runloop.SYS_FUTEX:
            assert descriptor == address_of(self.loop.door)
            return self.futexes.pop(0)(*arguments[:2])
        if number == runloop.SYS_TGKILL:
            assert (descriptor, *arguments[:2]) == (PROCESS, BOOT_THREAD, runloop.NUDGE)
            self.signals += 1
            return 0
        if arguments[0] == runloop.KVM_INTERRUPT:
            assert descriptor == GUEST
            self.injected.append(runloop.Interrupt.at(arguments[1]).vector)
            return -self.refuses
        expected, act = self.script.pop(0)
        assert descriptor == expected
        assert arguments[0] == (256 if descriptor in (RING, OTHER_RING) else KVM_RUN)
        return act()

    @property
    def page(self) -> abi.RunPage:
        """The guest's."""
        return abi.RunPage.at(address_of(self.guest))

    def guest_exits(self, reason: int, ready: int = 0) -> None:
        def act() -> int:
            self.page.exit_reason = reason
            self.page.ready_for_interrupt_injection = ready
            return 0

        self.script.append((GUEST, act))

    def monitor_calls(
        self,
        call: int,
        *,
        reason: int = 2,
        port: int = abi.PORT_CALL,
        direction: int = 1,
        size: int = 1,
        offset: int = 2048,
        argument: int = 0,
        second: int = 0,
        third: int = 0,
        fourth: int = 0,
        bell: int = 0,
    ) -> None:
        def act() -> int:
            self.argument.value = argument
            self.argument.second = second
            self.argument.third = third
            self.argument.fourth = fourth
            self.argument.bell = bell
            abi.RunPage.at(address_of(self.monitor)).exit_reason = reason
            record = abi.RunIo.at(address_of(self.monitor) + abi.RUN_UNION)
            record.port, record.direction, record.size = port, direction, size
            record.data_offset = offset
            self.monitor.bytes[2048] = call
            return 0

        self.script.append((MONITOR, act))

    def takes(self, ring: int, entries: int) -> None:
        self.script.append((ring, lambda: entries))

    def fails(self, descriptor: int, error: int) -> None:
        self.script.append((descriptor, lambda: -error))

    def run(self) -> int:
        leave = runloop.run(self.loop)
        assert not self.script
        return leave


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


ENDS = 9  # KVM_EXIT_FAIL_ENTRY: nobody forwards it
TOLD = abi.ExitReason.INTERRUPTED  # by the run loop itself: KVM's own exit of this reason is EINTR


@pytest.mark.parametrize("reason", sorted(set(abi.ExitReason) - {TOLD}))
def test_device_accesses_and_ends_of_interrupt_are_forwarded(
    rig: Rig, reason: abi.ExitReason
) -> None:
    rig.guest_exits(reason)
    rig.monitor_calls(abi.Call.DONE)
    rig.guest_exits(ENDS)
    assert rig.run() == Leave.GUEST
    assert rig.loop.forwards == rig.loop.exits[reason] == rig.loop.exits[ENDS] == 1


@pytest.mark.parametrize("reason", sorted(set(range(40)) - set(abi.ExitReason) | {TOLD}))
def test_every_other_exit_leaves(rig: Rig, reason: int) -> None:
    rig.guest_exits(reason)
    assert rig.run() == Leave.GUEST
    assert rig.loop.reason == reason


@pytest.mark.parametrize("reason", [REASONS - 1, REASONS, 2**31, 2**32 - 1])
def test_a_reason_no_kernel_gives_stays_within_the_counters(rig: Rig, reason: int) -> None:
    rig.guest_exits(reason)
    assert rig.run() == Leave.GUEST
    assert rig.loop.exits[REASONS - 1] == 1


@pytest.mark.parametrize("call", [2, 4, 5, 6, 7, 9, 10, 119, 255])
def test_calls_for_python_leave_and_the_monitor_goes_on_afterwards(rig: Rig, call: int) -> None:
    rig.loop.in_monitor = 1
    rig.monitor_calls(call)
    assert rig.run() == Leave.CALL
    assert rig.loop.call == call
    assert sum(rig.loop.calls) == (call < abi.CALLS)
    rig.monitor_calls(abi.Call.DONE)
    rig.guest_exits(ENDS)
    assert rig.run() == Leave.GUEST


def test_the_monitor_is_shown_the_exit_and_only_the_data_of_memory_goes_back(rig: Rig) -> None:
    union = address_of(rig.guest) + abi.RUN_UNION
    for reason, goes_back in ((2, False), (6, True), (26, False)):
        for word in range(4):
            store64(union + 8 * word, 100 * reason + word)
        rig.guest_exits(reason)
        rig.monitor_calls(abi.Call.PIN)
        assert rig.run() == Leave.CALL
        assert rig.shown.reason == reason
        assert list(rig.shown.union) == [100 * reason + word for word in range(3)]
        before = bytes(rig.guest)
        rig.shown.reason = 6
        rig.shown.union[0] = rig.shown.union[1] = rig.shown.union[2] = 7
        rig.monitor_calls(abi.Call.DONE)
        rig.guest_exits(reason)
        rig.monitor_calls(abi.Call.PIN)
        assert rig.run() == Leave.CALL
        expected = bytearray(before)
        if goes_back:
            data = abi.RUN_UNION + abi.RUN_MMIO_DATA
            expected[data : data + 8] = (7).to_bytes(8, "little")
        assert bytes(rig.guest) == bytes(expected)
        rig.loop.in_monitor = 0


# ---- reads that were answered before ---------------------------------------------------------

STATUS = 0x1F7


@pytest.fixture
def answering(rig: Rig) -> Rig:
    """The monitor has left answers, and KVM's queue of writes is empty."""
    rig.answers.known[3] = abi.answer_of(STATUS, 0x50)
    rig.answers.known[7] = abi.answer_of(STATUS + 1, 0x51)
    rig.queue.first = rig.queue.last = 5
    return rig


def reads(rig: Rig, port: int, *, direction: int = 0, size: int = 1, count: int = 1) -> None:
    """The guest's exit for that."""
    rig.guest_exits(abi.ExitReason.IO)
    record = abi.RunIo.at(address_of(rig.guest) + abi.RUN_UNION)
    record.direction, record.size, record.port, record.count = direction, size, port, count
    record.data_offset = 2048


def test_a_read_that_was_answered_before_is_answered_without_the_monitor(answering: Rig) -> None:
    reads(answering, STATUS)
    answering.guest_exits(ENDS)
    assert answering.run() == Leave.GUEST
    assert bytes(answering.guest)[2048:2050] == b"\x50\0"
    assert (answering.loop.forwards, answering.loop.exits[abi.ExitReason.IO]) == (0, 1)
    assert (answering.loop.asked[3] >> 16, answering.loop.answered[3]) == (STATUS, 1)


def test_an_answer_goes_only_to_the_very_access_that_it_is_of(answering: Rig) -> None:
    for other in (
        {"port": STATUS - 1},
        {"port": STATUS, "direction": 1},
        {"port": STATUS, "size": 2},
        {"port": STATUS, "count": 2},
        {"port": STATUS, "count": 0},
    ):
        reads(answering, **other)
        answering.monitor_calls(abi.Call.PIN)
        before = bytes(answering.guest)[2048:]
        assert answering.run() == Leave.CALL
        assert bytes(answering.guest)[2048:] == before
        answering.loop.in_monitor = 0
    assert sum(answering.loop.answered) == 0


@pytest.mark.parametrize("last", [4, 6, abi.COALESCED_CLOSED])
def test_nothing_is_answered_before_while_a_write_waits(answering: Rig, last: int) -> None:
    answering.queue.last = last
    reads(answering, STATUS)
    answering.monitor_calls(abi.Call.PIN)
    assert answering.run() == Leave.CALL
    assert sum(answering.loop.answered) == 0


def test_a_kvm_without_a_queue_has_nothing_that_waits(answering: Rig) -> None:
    answering.loop.queue = 0
    reads(answering, STATUS + 1)
    answering.guest_exits(ENDS)
    assert answering.run() == Leave.GUEST
    assert bytes(answering.guest)[2048] == 0x51


def test_a_cpu_that_is_to_rest_comes_to_rest_behind_such_a_read(answering: Rig) -> None:
    reads(answering, STATUS)
    answering.loop.stop = Stop.BETWEEN
    answering.fails(GUEST, errno.EINTR)
    assert answering.run() == Leave.STOPPED
    assert bytes(answering.guest)[2048] == 0x50


def test_a_kick_enters_the_ring_and_goes_on_in_the_monitor(rig: Rig) -> None:
    rig.loop.in_monitor = 1
    rig.monitor_calls(abi.Call.KICK)
    rig.script.append((RING, lambda: 3))
    rig.monitor_calls(abi.Call.KICK)
    rig.fails(RING, errno.EBUSY)
    rig.monitor_calls(abi.Call.KICK)
    rig.fails(RING, errno.EBADF)
    assert rig.run() == Leave.RING_ERROR
    assert rig.loop.error == errno.EBADF


def test_a_ring_is_looked_at_after_so_many_entries_of_its_own(rig: Rig) -> None:
    rig.loop.in_monitor = 1
    for number, taken in ((0, 256), (1, LOOK_AFTER - 1), *[(0, 252)] * 64):
        rig.monitor_calls(abi.Call.KICK, argument=number)
        rig.takes((RING, OTHER_RING)[number], taken)
    assert rig.run() == Leave.LOOK
    assert rig.loop.look == 0
    assert list(rig.submitted.entries)[:2] == [256 + 64 * 252, LOOK_AFTER - 1]
    rig.monitor_calls(abi.Call.KICK, argument=1)
    rig.takes(OTHER_RING, 1)
    assert rig.run() == Leave.LOOK
    assert rig.loop.look == 1


def test_what_a_kick_hands_to_another_thread_runs_before_the_monitor(rig: Rig) -> None:
    rig.loop.in_monitor = 1
    for handed in (0, 1, 0):
        rig.monitor_calls(abi.Call.KICK, second=handed)
        rig.script.append((RING, lambda: 3))
    rig.monitor_calls(abi.Call.DONE)
    rig.guest_exits(ENDS)
    assert rig.run() == Leave.GUEST
    assert rig.yields == [4]  # after the second KICK: the third's two steps and the last two


def test_done_rings_the_doorbell_that_the_monitor_names_before_the_guest_goes_on(rig: Rig) -> None:
    rig.loop.in_monitor = 1
    rig.bells.eventfds[abi.GSIS - 1] = 77
    rig.monitor_calls(abi.Call.DONE, bell=abi.GSIS)
    rig.guest_exits(abi.ExitReason.IO)
    rig.monitor_calls(abi.Call.DONE)
    rig.guest_exits(ENDS)
    assert rig.run() == Leave.GUEST
    assert rig.rung == [(77, 3)]


@pytest.mark.parametrize("bell", [1, abi.GSIS + 1, (1 << 32) - 1])
def test_a_doorbell_that_is_not_there_ends_the_guest(rig: Rig, bell: int) -> None:
    rig.loop.in_monitor = 1
    rig.monitor_calls(abi.Call.DONE, bell=bell)
    assert rig.run() == Leave.MONITOR
    assert rig.rung == []


class Served:
    """A machine's disks, whose ring answers what is in it."""

    def __init__(self, rig: Rig, *, by_cpu: bool) -> None:
        self.rig = rig
        self.completions = DoorWord()
        self.notices = Notices(count=1, exits=by_cpu, completions=address_of(self.completions))
        self.notices.left = 2 * EARLIER
        rig.loop.notices = address_of(self.notices)
        rig.loop.in_monitor = 1
        if not by_cpu:
            rig.loop.guest_run = 0

    def kick(self, *, under_way: int = 1, answers: int = 1, moved: int = 0) -> None:
        """One entry."""

        def act() -> int:
            self.completions.is_now += answers
            return 1

        self.rig.monitor_calls(abi.Call.KICK, third=under_way, fourth=moved)
        self.rig.script.append((RING, act))
        self.rig.monitor_calls(abi.Call.PANIC)
        assert self.rig.run() == Leave.CALL


@pytest.mark.parametrize(
    ("under_way", "answers", "spent"),
    [(1, 1, 1), (0, 1, 1), (2, 1, EARLIER), (1, 0, EARLIER), ((1 << 64) - 1, 1, EARLIER)],
)
def test_a_cpu_that_serves_its_disks_counts_what_it_could_answer_at_once(
    rig: Rig, under_way: int, answers: int, spent: int
) -> None:
    served = Served(rig, by_cpu=True)
    served.kick(under_way=under_way, answers=answers)
    assert served.notices.left == 2 * EARLIER - spent


def test_a_worker_gives_requests_that_come_alone_to_the_cpu(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "syscall", lambda *_: 0)
    monkeypatch.setattr(notices, "syscall", lambda *_: 0)
    served = Served(rig, by_cpu=False)
    rig.loop.patience.start(patience.SCHED_OTHER)
    for _ in range(3 * patience.TRIAL):
        assert not served.notices.exits
        served.kick()
    assert served.notices.exits
    kicks = rig.loop.patience.kicks
    served.kick()  # for something else than a notification
    assert rig.loop.patience.kicks == kicks


def test_a_kick_that_moves_frames_too_is_for_no_request_alone(rig: Rig) -> None:
    served = Served(rig, by_cpu=True)
    served.kick(moved=60)
    assert served.notices.left == EARLIER


@pytest.mark.parametrize("exits", [0, 1])
def test_a_worker_is_patient_with_a_network_that_moves_much_whoever_serves_the_disks(
    exits: int, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "syscall", lambda *_: 0)
    served = Served(rig, by_cpu=False)
    served.notices.exits = exits
    rig.loop.patience.start(patience.SCHED_OTHER)
    for _ in range(patience.TRIAL):
        assert not rig.loop.patience.patient
        served.kick(moved=patience.MUCH)
    assert rig.loop.patience.patient


def test_a_worker_keeps_requests_that_wait(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "syscall", lambda *_: 0)
    served = Served(rig, by_cpu=False)
    rig.loop.patience.start(patience.SCHED_OTHER)
    for _ in range(4 * patience.TRIAL):
        served.kick(answers=0)
    assert not served.notices.exits


def test_a_kick_enters_the_ring_that_it_names(rig: Rig) -> None:
    rig.loop.in_monitor = 1
    for number, ring in enumerate((RING, OTHER_RING)):
        rig.monitor_calls(abi.Call.KICK, argument=number)
        rig.script.append((ring, lambda: 3))
    rig.monitor_calls(abi.Call.DONE)
    rig.guest_exits(ENDS)
    assert rig.run() == Leave.GUEST


@pytest.mark.parametrize("number", [2, 7, 8, 1 << 32, (1 << 64) - 1])
def test_a_kick_for_a_ring_that_is_not_there_is_for_python_to_refuse(rig: Rig, number: int) -> None:
    rig.loop.in_monitor = 1
    rig.monitor_calls(abi.Call.KICK, argument=number)
    assert rig.run() == Leave.CALL


@pytest.mark.parametrize(
    "record",
    [
        {"reason": ENDS},
        {"reason": 6},
        {"port": 0x80},
        {"direction": 0},
        {"size": 4},
        {"offset": 4096},
        {"offset": 2**64 - 1},
    ],
)
def test_a_monitor_that_leaves_otherwise_is_an_error(rig: Rig, record: dict[str, int]) -> None:
    rig.loop.in_monitor = 1
    rig.monitor_calls(0, **record)
    assert rig.run() == Leave.MONITOR


@pytest.mark.parametrize(("boots", "forwards"), [(0, 0), (1, 1)])
def test_a_processor_that_waits_or_that_ran_before_is_entered_again(
    rig: Rig, boots: int, forwards: int
) -> None:
    rig.loop.boots, rig.loop.forwards = boots, forwards
    rig.fails(GUEST, errno.EAGAIN)
    rig.guest_exits(ENDS)
    assert rig.run() == Leave.GUEST


def test_a_machine_that_gets_no_kernel_thread_at_its_beginning_is_over(rig: Rig) -> None:
    rig.loop.boots = 1
    rig.fails(GUEST, errno.EAGAIN)
    assert rig.run() == Leave.GUEST_ERROR
    rig.loop.in_monitor = rig.loop.first = 1
    rig.fails(MONITOR, errno.EAGAIN)
    assert rig.run() == Leave.MONITOR_ERROR
    assert rig.loop.error == errno.EAGAIN


def test_interrupted_runs_are_repeated_until_stop_is_set(rig: Rig) -> None:
    rig.fails(GUEST, errno.EINTR)
    rig.fails(GUEST, errno.EAGAIN)

    def stop() -> int:
        rig.loop.stop = 1
        return -errno.EINTR

    rig.script.append((GUEST, stop))
    assert rig.run() == Leave.STOPPED
    assert rig.loop.interrupted == 3
    assert rig.run() == Leave.STOPPED


def test_errors_of_the_kernel_leave_with_their_number(rig: Rig) -> None:
    rig.fails(GUEST, errno.EFAULT)
    assert rig.run() == Leave.GUEST_ERROR
    assert rig.loop.error == errno.EFAULT
    rig.loop.in_monitor = 1
    rig.fails(MONITOR, errno.EIO)
    assert rig.run() == Leave.MONITOR_ERROR


def test_the_worker_stays_in_the_monitor(rig: Rig) -> None:
    rig.loop.in_monitor, rig.loop.guest_run = 1, 0
    rig.monitor_calls(abi.Call.DONE)
    rig.monitor_calls(abi.Call.PIN)
    assert rig.run() == Leave.CALL


def test_the_first_done_is_told(rig: Rig) -> None:
    rig.loop.in_monitor = rig.loop.first = 1
    rig.monitor_calls(abi.Call.DONE)
    assert rig.run() == Leave.READY
    rig.guest_exits(ENDS)
    assert rig.run() == Leave.GUEST


# ---- the words ---------------------------------------------------------------------------------


def test_text_of_the_monitor_is_printable() -> None:
    everything = failure.escaped(bytes(range(256)))
    assert everything.isprintable()
    assert everything.isascii()


@pytest.mark.parametrize("leave", [Leave.GUEST_ERROR, Leave.MONITOR_ERROR, Leave.RING_ERROR])
def test_a_failed_system_call_is_told_with_its_reason(leave: Leave) -> None:
    loop = Loop(error=errno.EFAULT)
    line = failure.left(leave, loop, "CPU 3", None, None)
    assert line.endswith("failed on CPU 3: Bad address")


# ---- external interrupts ----------------------------------------------------------------------


@pytest.fixture
def boot(rig: Rig) -> Rig:
    """The boot CPU's loop."""
    rig.loop.boots = 1
    return rig


def test_an_interrupt_is_injected_and_the_trap_answered(boot: Rig) -> None:
    boot.guest_exits(abi.ExitReason.IO, ready=1)
    boot.monitor_calls(abi.Call.INJECT, argument=0x1_0000_0038)
    boot.guest_exits(ENDS)
    assert boot.run() == Leave.GUEST
    assert (boot.injected, boot.shown.ready) == ([0x38], 1)
    assert boot.page.request_interrupt_window == 0


def test_a_guest_that_can_take_none_exits_once_it_can(boot: Rig) -> None:
    asked: list[int] = []
    boot.guest_exits(abi.ExitReason.IO)
    boot.monitor_calls(abi.Call.INJECT, argument=abi.NO_VECTOR, second=1)
    boot.guest_exits(abi.ExitReason.IO)
    boot.monitor_calls(abi.Call.DONE)  # by which nothing is taken back
    boot.guest_exits(abi.ExitReason.INTERRUPT_WINDOW, ready=1)
    boot.monitor_calls(abi.Call.INJECT, argument=0x20)
    boot.guest_exits(ENDS)
    for number, (who, act) in enumerate(boot.script):
        if who == GUEST:

            def watched(act: Callable[[], int] = act) -> int:
                asked.append(boot.page.request_interrupt_window)
                return act()

            boot.script[number] = who, watched
    assert boot.run() == Leave.GUEST
    assert asked == [0, 1, 1, 0]
    assert boot.injected == [0x20]


def test_an_interrupt_that_kvm_refuses_ends_the_guest(boot: Rig) -> None:
    boot.refuses = errno.EEXIST
    boot.loop.in_monitor = 1
    boot.monitor_calls(abi.Call.INJECT, argument=0x20)
    assert boot.run() == Leave.GUEST_ERROR
    assert boot.loop.error == errno.EEXIST


@pytest.mark.parametrize("refused", [0, errno.EAGAIN])
def test_an_alarm_is_ordered_and_one_that_the_kernel_does_not_take_yet_is_again(
    boot: Rig, monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    ordered: list[int] = []

    def order(_bell: Bell, time: int) -> int:
        ordered.append(time)
        return refused

    monkeypatch.setattr(Bell, "order", order)
    boot.loop.in_monitor = 1
    boot.monitor_calls(abi.Call.INJECT, argument=abi.NO_VECTOR, third=5_000_000)
    boot.guest_exits(ENDS)
    assert boot.run() == Leave.GUEST
    assert (ordered, boot.injected) == ([5_000_000], [])
    assert boot.page.immediate_exit == (refused != 0)


def test_nobody_but_the_boot_cpu_injects(boot: Rig) -> None:
    boot.loop.boots = 0
    boot.loop.in_monitor = 1
    boot.monitor_calls(abi.Call.INJECT)
    assert boot.run() == Leave.CALL
    assert boot.injected == []


def test_the_boot_cpu_is_told_to_exit_and_the_monitor_is_entered(boot: Rig) -> None:
    boot.loop.in_monitor = 1
    boot.monitor_calls(abi.Call.ATTEND)
    boot.monitor_calls(abi.Call.DONE)
    boot.fails(GUEST, errno.EINTR)
    boot.monitor_calls(abi.Call.DONE)
    boot.guest_exits(ENDS)
    assert boot.run() == Leave.GUEST
    assert boot.signals == boot.loop.exits[TOLD] == 1
    assert boot.shown.reason == TOLD
    assert boot.page.immediate_exit == 0


def test_a_bell_that_can_not_be_heard_now_is_tried_again(
    boot: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [errno.EAGAIN, 0]
    monkeypatch.setattr(Bell, "answer", lambda _: answers.pop(0))
    boot.page.immediate_exit = 1
    boot.fails(GUEST, errno.EINTR)
    boot.fails(GUEST, errno.EINTR)  # as immediate_exit is set
    boot.monitor_calls(abi.Call.DONE)
    boot.guest_exits(ENDS)
    assert boot.run() == Leave.GUEST
    assert boot.loop.exits[TOLD] == 1
    assert (answers, boot.page.immediate_exit) == ([], 0)


def test_a_bell_that_fails_ends_the_guest(boot: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bell, "answer", lambda _: errno.EFAULT)
    boot.fails(GUEST, errno.EINTR)
    assert boot.run() == Leave.RING_ERROR
    assert boot.loop.error == errno.EFAULT


def test_a_signal_for_something_else_is_not_told_to_the_monitor(boot: Rig) -> None:
    boot.fails(GUEST, errno.EINTR)
    boot.guest_exits(ENDS)
    assert boot.run() == Leave.GUEST
    assert (boot.loop.interrupted, boot.loop.forwards) == (1, 0)


def test_a_cpu_waits_at_the_door_and_has_run_no_instruction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig(monkeypatch)
    door = rig.loop.door
    door.is_now = Door.SHUT

    def enter_nothing() -> int:
        assert rig.page.immediate_exit == 1
        return -errno.EINTR

    def tell(operation: int, count: int) -> int:
        assert (operation, count, door.is_now) == (runloop.FUTEX_WAKE, 1, Door.AWAITED)
        return 1

    def wait(operation: int, value: int) -> int:
        assert (operation, value) == (runloop.FUTEX_WAIT, Door.AWAITED)
        if not rig.futexes:
            door.is_now = Door.OPEN
        return -errno.EINTR  # by a signal, which opens no door

    def run() -> int:
        assert (door.is_now, rig.page.immediate_exit) == (Door.OPEN, 0)
        rig.loop.stop = Stop.HERE
        return -errno.EINTR

    rig.script = [(GUEST, enter_nothing), (GUEST, run)]
    rig.futexes = [tell, wait, wait]
    assert runloop.run(rig.loop) == Leave.STOPPED
    assert not rig.script


def test_one_that_is_ended_at_the_door_never_enters(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch)
    rig.loop.door.is_now = Door.SHUT

    def end(*_: int) -> int:
        rig.loop.stop, rig.loop.door.is_now = Stop.HERE, Door.OPEN
        return 0

    rig.script = [(GUEST, lambda: -errno.EINTR)]
    rig.futexes = [lambda *_: 0, end]
    assert runloop.run(rig.loop) == Leave.STOPPED


HOLD, GONE = 104, 105  # descriptors


class Held:
    """A thawed machine's boot CPU that stands; `comes` is what comes at its socket, in turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rig = Rig(monkeypatch)
        self.happened: list[str] = []
        self.comes: list[Callable[[], int]] = [lambda: 1]
        self.refuses = self.clocks_set = 0
        self.clocks = Clocks(failed=runloop.KVM_RUN, error=errno.EIO)
        loop = self.rig.loop
        loop.door.is_now, loop.boots = Door.SHUT, 1
        loop.clocks, loop.gone = address_of(self.clocks), GONE
        loop.is_held, loop.hold = 1, HOLD
        monkeypatch.setattr(runloop, "syscall", self.answer)
        monkeypatch.setattr(Clocks, "go_on", self.go_on)
        monkeypatch.setattr(Clocks, "rest", self.rest)
        monkeypatch.setattr(Clocks, "close", lambda _: self.happened.append("close"))

    def go_on(self) -> bool:
        self.happened.append("clocks")
        self.clocks_set += 1
        return self.clocks_set != self.refuses

    def rest(self) -> bool:
        self.happened.append("rest")
        return True

    def answer(self, number: int, descriptor: int, *arguments: int) -> int:
        loop = self.rig.loop
        if number == runloop.SYS_READ and descriptor == HOLD:
            self.happened.append("wait")
            assert loop.door.is_now == Door.AWAITED
            return self.comes.pop(0)()
        if number == runloop.SYS_WRITE and descriptor == GONE:
            assert (loop.word[0], *arguments) == (1, address_of(loop.word), 8, 0, 0, 0)
            self.happened.append("goes" if loop.goes else "unwanted")
            return 8
        if number == runloop.SYS_IOCTL:
            is_rehearsed = bool(self.rig.page.immediate_exit)
            self.happened.append("all but run" if is_rehearsed else "run")
            loop.stop = 0 if is_rehearsed else Stop.HERE
            return -errno.EINTR
        assert (number, *arguments[:1]) == (runloop.SYS_FUTEX, runloop.FUTEX_WAKE)
        return 0


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


def test_a_held_guest_goes_on_with_its_clocks_once_it_is_wanted(held: Held) -> None:
    held.comes.insert(0, lambda: -errno.EINTR)  # by a signal, for which it does not go
    assert runloop.run(held.rig.loop) == Leave.STOPPED
    rehearsed = ["clocks", "rest", "all but run"]
    assert held.happened == [*rehearsed, "wait", "wait", "clocks", "close", "goes", "run"]


def test_one_that_is_not_held_goes_on_at_once(held: Held) -> None:
    held.rig.loop.is_held = 0
    assert runloop.run(held.rig.loop) == Leave.STOPPED
    assert held.happened == ["all but run", "clocks", "close", "goes", "run"]


@pytest.mark.parametrize("answer", [0, -errno.ECONNRESET])
def test_one_that_nobody_can_want_any_more_never_runs(held: Held, answer: int) -> None:
    held.comes = [lambda: answer]
    assert runloop.run(held.rig.loop) == Leave.UNWANTED
    assert held.happened[3:] == ["wait", "unwanted"]


def test_one_that_is_to_stop_never_runs(held: Held) -> None:
    def nudge() -> int:
        held.rig.loop.stop = Stop.HERE
        return -errno.EINTR

    held.comes = [nudge]
    assert runloop.run(held.rig.loop) == Leave.STOPPED
    assert held.happened[3:] == ["wait"]


@pytest.mark.parametrize("time", [1, 2])
def test_one_whose_clocks_kvm_refuses_never_runs(held: Held, time: int) -> None:
    held.refuses = time
    loop = held.rig.loop
    assert runloop.run(loop) == Leave.CLOCK_ERROR
    assert (loop.reason, loop.error, loop.goes) == (runloop.KVM_RUN, errno.EIO, 0)
    assert "run" not in held.happened
    assert "close" not in held.happened


@pytest.mark.parametrize(
    ("reason", "answered", "most"),
    [
        (abi.ExitReason.IO, False, 142),
        (abi.ExitReason.IO, True, 93),
        (abi.ExitReason.MMIO, False, 96),
    ],
    ids=["port", "answered before", "memory"],
)
def test_a_trap_that_is_answered_at_once_takes_few_instructions(
    reason: int, answered: bool, most: int
) -> None:
    try:
        taken = between_runs(reason, answered=answered)
    except NoSteppingError as error:
        pytest.skip(str(error))
    assert taken <= most  # 135, 87 and 90; another LLVM may need some more
