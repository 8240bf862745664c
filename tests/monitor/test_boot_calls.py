"""No external interrupt waits for a boot CPU that does not know of it, whoever comes when.

The monitor's code and the run loop's are the real ones, in CPython. The kernel is played here: what
it does for a thread (a signal, or the read of a bell) it does where that returns to its user's code
or is in that, and a KVM_RUN that finds something to be done returns for it.
"""

from ctypes import sizeof
from unittest import mock

import pytest

from tests.monitor.interleaving import Schedule
from tests.monitor.rig import Rig
from tests.monitor.test_external import machine
from vestige import abi
from vestige.host.backends.io_uring_records import Completion
from vestige.host.kvm.api import IMMEDIATE_EXIT
from vestige.host.loop import bell, runloop
from vestige.host.loop.runloop import KVM_INTERRUPT, KVM_RUN, SYS_TGKILL, Leave, Loop
from vestige.lang.intrinsics import Processor, address_of, running_on, store32
from vestige.lang.types import Struct, u8, u32, u64
from vestige.monitor.core import lock
from vestige.monitor.core.external import asks
from vestige.monitor.core.queued_writes import drain
from vestige.monitor.core.trap_turn import serve
from vestige.monitor.core.worker_turn import work
from vestige.monitor.outside.kvm import INITIAL_COUNT, INTERRUPT_COMMAND

GUEST, MONITOR, RING = 100, 101, 102
TICKS, TRAPS = 8, 3
RUNS = 150
UART_IRQ, ENABLE, TRANSMITTER_EMPTY = 4, abi.PORT_UART + 1, 2
PERIOD = 1193  # of the PIT: a millisecond
PORT_DATA = 2048
ENTRIES = 4  # of the queue of writes


class Page(Struct):
    """A kvm_run mapping."""

    bytes: u8[4096]


class Queue(Struct):
    """The page where KVM queues writes."""

    ring: abi.CoalescedRing
    entries: abi.CoalescedWrite[ENTRIES]


class BellRing(Struct):
    """The words of a ring, and the alarm's time."""

    sq_tail: u32
    cq_head: u32
    cq_tail: u32
    array: u32[bell.PLACES]
    completions: Completion[8]
    alarm: u64[2]


class Ended(Exception):
    """The boot CPU's guest sleeps, and nobody is left to end that."""


class Race(Processor):
    """A PC with two CPUs, and one order of all that happens to it; every actor's processor."""

    def __init__(self, seed: int, *, has_bell: bool) -> None:
        self.schedule = Schedule(seed, (0.05, 0.2, 0.5)[seed % 3])
        self.random = self.schedule.random
        self.rig: Rig = machine(abi.Board.PC, has_bell=has_bell)
        for port, value in ((0x43, 0x34), (0x40, PERIOD & 0xFF), (0x40, PERIOD >> 8)):
            self.rig.out(port, value)
        self.rig.cpus[0].exit.ready = 1
        self.rig.out(0x20, 0x20)  # the first edge came at once, and is taken here
        self.rig.out(0x20, 0x20)
        assert self.rig.reply == abi.Call.DONE
        self.guest, self.monitor, self.words = Page(), Page(), BellRing()
        self.queue = Queue()
        self.queued = 0
        config = self.rig.shared.config
        config.coalesced, config.coalesced_entries = address_of(self.queue), ENTRIES
        cpu = self.rig.cpus[0]
        self.loop = Loop(
            guest=GUEST,
            guest_run=address_of(self.guest),
            guest_exit=address_of(cpu.exit),
            monitor=MONITOR,
            monitor_run=address_of(self.monitor),
            run_size=sizeof(Page),
            argument=address_of(cpu.argument),
            bell_asked=address_of(cpu.bell),
            answers=address_of(self.rig.shared.answers),
            boots=1,
            boot_run=address_of(self.guest),
        )
        if has_bell:
            hung = self.loop.bell
            hung.hangs, hung.ring, hung.mask = 1, RING, len(self.words.completions) - 1
            hung.sq_tail = address_of(self.words)
            hung.sq_array = address_of(self.words.array)
            hung.alarm = address_of(self.words.alarm)
            hung.cq_head, hung.cq_tail = hung.sq_tail + 4, hung.sq_tail + 8
            hung.completions = address_of(self.words.completions)
        self.rung = 0  # the eventfd's count
        self.listens = False
        self.taken = 0  # entries that the kernel has
        self.alarm: int | None = None  # when it comes
        self.timer: int | None = None  # the worker's
        self.woken = True  # the worker, by what the guest has done
        self.kept = 0  # alarms that came
        self.to_do = False  # the kernel has something to do for the boot CPU's thread
        self.reply: int | None = None  # with which the monitor is about to leave
        self.vectors: list[int] = []  # injected, not taken
        self.in_service = False
        self.waiting = False  # KVM_RUN waits in a HLT
        self.schedule.add("boot", self.boot)
        self.schedule.add("worker", self.worker)
        self.schedule.add("CPU", self.cpu)

    # ---- the actors ------------------------------------------------------------------------

    def boot(self) -> None:
        """The boot CPU's thread: its run loop."""
        if self.loop.bell.hangs:
            assert self.loop.bell.listen() == 0
        try:
            leave = runloop.run(self.loop)
        except Ended:
            return
        raise AssertionError(Leave(leave))

    def worker(self) -> None:
        """Time passes. Its timer expires, late or not, or the alarm comes; or it is woken."""
        for _ in range(TICKS):
            self.schedule.step()
            self.rig.now += 1_000_000
            if self.alarm is not None and self.alarm <= self.rig.now:
                self.to_do = True
            if self.timer is not None and self.timer <= self.rig.now:
                self.timer = None
                self.rig.worker.signals[abi.TIMER_SIGNAL] = 1
                self.woken = True
            while self.woken:
                self.woken = False
                work(self.rig.worker, self.rig.machine, self.rig.shared)

    def cpu(self) -> None:
        """Another CPU, whose accesses have the UART interrupt, and not."""
        cpu = self.rig.cpus[1]
        for turn in range(TRAPS):
            self.schedule.step()
            self.is_queued(abi.PORT_FIRMWARE_LOG, 0)
            record = abi.RunIo.at(address_of(cpu.exit.union))
            cpu.exit.reason = abi.ExitReason.IO
            record.direction, record.size, record.count, record.data_offset = 1, 1, 1, 4096
            record.port = ENABLE
            store32(cpu.run + 4096, 0 if turn % 2 else TRANSMITTER_EMPTY)
            serve(cpu, self.rig.machine, self.rig.shared)

    # ---- the kernel ------------------------------------------------------------------------

    def system_call(self, number: int, descriptor: int, *arguments: int) -> int:
        """One of the boot CPU's thread, or a signal to that."""
        if number == SYS_TGKILL:
            self.to_do = True
            return 0
        self.in_user_code()
        if number == bell.SYS_IO_URING_ENTER:
            answer = self.take(arguments[0])
        elif arguments[0] == KVM_INTERRUPT:
            self.vectors.append(runloop.Interrupt.at(arguments[1]).vector)
            answer = 0
        else:
            assert arguments[0] == KVM_RUN
            answer = self.run_sleeper() if descriptor == GUEST else self.run_monitor()
        self.schedule.step()
        self.work_for_thread()
        return answer

    def take(self, count: int) -> int:
        """Entries: the bell's, or both of the alarm's."""
        for _ in range(count):
            place = self.words.array[self.taken % bell.PLACES]
            self.taken += 1
            if place == bell.BELL:
                self.listens = True
                if self.rung:
                    self.read()
            elif place == bell.ALARM:
                assert self.alarm is None
                seconds, nanoseconds = self.words.alarm
                self.alarm = self.rig.now + seconds * bell.SECOND + nanoseconds
        return count

    def in_user_code(self) -> None:
        """Others go on; an interrupt has the kernel do at once what there is, or it does later."""
        self.schedule.step()
        if self.random.random() < 0.5:
            self.work_for_thread()

    def work_for_thread(self) -> None:
        """The thread returns to its user's code: all that there is to do is done before."""
        if self.to_do:
            self.to_do = False
            if self.listens and self.rung:
                self.read()
            if self.alarm is not None and self.alarm <= self.rig.now:
                self.alarm = None
                self.kept += 1
                self.complete(bell.ALARM, -bell.ETIME)
                self.copy(1)
                self.complete(bell.ALARM_READ, 8)

    def read(self) -> None:
        """The READV, submitted or woken."""
        self.listens = False
        self.copy(self.rung & 0xFF)
        self.rung = 0
        self.complete(bell.BELL, 8)

    def complete(self, place: int, result: int) -> None:
        """Say so to the run loop."""
        completion = self.words.completions[self.words.cq_tail % len(self.words.completions)]
        completion.user_data, completion.result = place, result
        self.words.cq_tail = self.words.cq_tail + 1

    def copy(self, count: int) -> None:
        """The first byte of what is read."""
        self.guest.bytes[IMMEDIATE_EXIT] = count

    def ring(self) -> None:
        """OUT to PORT_ATTEND: the read that waits is woken."""
        self.rung += 1
        self.to_do = self.to_do or self.listens

    # ---- KVM -------------------------------------------------------------------------------

    def run_sleeper(self) -> int:
        """A guest that ends the interrupts which it takes, and sleeps."""
        self.schedule.step()
        page = abi.RunPage.at(address_of(self.guest))
        page.ready_for_interrupt_injection = not self.vectors
        if page.immediate_exit:
            return -runloop.EINTR
        if self.vectors:
            self.vectors.pop()
            self.in_service = True
            page.ready_for_interrupt_injection = 1
        if self.in_service:
            self.in_service = False
            if not self.is_queued(0x20, 0x20):
                self.exits(0x20, 0x20)
                return 0
        if page.request_interrupt_window:
            page.exit_reason = abi.ExitReason.INTERRUPT_WINDOW
            return 0
        self.waiting = True
        self.schedule.wait(lambda: self.to_do or self.others_are_over())
        self.waiting = False
        if not self.to_do:
            raise Ended
        return self.is_interrupted()

    def is_interrupted(self) -> int:
        """KVM_RUN returns for what is to be done."""
        return -runloop.EINTR

    def is_queued(self, port: int, value: int) -> bool:
        """The guest writes to a port whose writes KVM queues, if there is room."""
        ring = self.queue.ring
        last = ring.last
        if last >= ENTRIES or (last + 1) % ENTRIES == ring.first:
            return False
        entry = self.queue.entries[last]
        entry.port, entry.address, entry.length = 1, port, 1
        entry.data[0] = value
        ring.last = (last + 1) % ENTRIES
        self.queued += 1
        self.schedule.step()
        return True

    def exits(self, port: int, value: int) -> None:
        """The guest writes to a port."""
        page = abi.RunPage.at(address_of(self.guest))
        page.exit_reason = abi.ExitReason.IO
        record = abi.RunIo.at(address_of(self.guest) + abi.RUN_UNION)
        record.direction, record.size, record.count = 1, 1, 1
        record.port, record.data_offset = port, 4096
        store32(self.rig.cpus[0].run + 4096, value)

    def run_monitor(self) -> int:
        """The monitor's turn; it may be interrupted before it, and behind it, before it leaves."""
        self.schedule.step()
        if self.to_do:
            return -runloop.EINTR
        if self.reply is None:
            self.reply = serve(self.rig.cpus[0], self.rig.machine, self.rig.shared)
            self.schedule.step()
            if self.to_do:
                return -runloop.EINTR
        page = abi.RunPage.at(address_of(self.monitor))
        page.exit_reason = abi.ExitReason.IO
        record = abi.RunIo.at(address_of(self.monitor) + abi.RUN_UNION)
        record.port, record.direction, record.size = abi.PORT_CALL, 1, 1
        record.data_offset = PORT_DATA
        self.monitor.bytes[PORT_DATA] = self.reply
        self.reply = None
        return 0

    def others_are_over(self) -> bool:
        """Whether nobody is left who could call the boot CPU."""
        return all(actor.over for actor in self.schedule.actors if actor.name != "boot")

    # ---- what they share -------------------------------------------------------------------

    def run(self) -> bool:
        """To the end, at which the guest sleeps: whether an interrupt waits for it, or would if a
        write that is queued were carried out.

        Or nobody keeps the time.
        """
        with (
            mock.patch.object(lock, "SPINS", 1),
            mock.patch.object(runloop, "syscall", self.system_call),
            mock.patch.object(bell, "syscall", self.system_call),
            running_on(self),
        ):
            self.schedule.run()
        drain(self.rig.machine, self.rig.shared, self.rig.now)
        kept = self.woken or self.timer is not None or self.alarm is not None
        return asks(self.rig.machine) or not kept

    def before_ordered_access(self) -> None:
        """Others may go on here."""
        self.schedule.step()

    def pause(self) -> None:
        """Who spins waits until the lock is free."""
        self.schedule.wait(lambda: self.rig.machine.lock.held == 0)

    def timestamp(self) -> int:
        """RDTSC."""
        return self.rig.timestamp()

    def port_out8(self, port: int, value: int) -> None:
        """The bell, or a call of the running CPU."""
        self.schedule.step()
        if port == abi.PORT_ATTEND:
            self.ring()
        elif port == abi.PORT_CALL and value == abi.Call.ATTEND:
            runloop.attend(self.loop)
        elif port == abi.PORT_CALL and value == abi.Call.KICK:
            self.rig.ring.enter()
        elif port == abi.PORT_CALL:
            assert value in (abi.Call.ROUTE, abi.Call.PIN, abi.Call.LOG)
        self.schedule.step()

    def write_msr(self, number: int, value: int) -> None:
        """The worker's timer, or it is woken."""
        if number == INITIAL_COUNT:
            self.timer = self.rig.now + value
        elif number == INTERRUPT_COMMAND:
            self.woken = True
        self.schedule.step()


def raced(kind: type[Race], *, has_bell: bool) -> int:
    """How many of RUNS orders lose an interrupt."""
    lost = 0
    for seed in range(RUNS):
        try:
            lost += kind(seed, has_bell=has_bell).run()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    return lost


@pytest.mark.parametrize("has_bell", [True, False], ids=["bell", "call"])
def test_no_order_loses_an_interrupt(has_bell: bool) -> None:
    assert raced(Race, has_bell=has_bell) == 0


def test_the_boot_cpu_keeps_the_time_in_some_orders() -> None:
    kept = 0
    for seed in range(30):
        race = Race(seed, has_bell=True)
        assert not race.run()
        kept += race.kept
    assert kept > 0


class Polled(Race):
    """A bell that is polled, not read: that ends the KVM_RUN which there is, and no other."""

    def copy(self, count: int) -> None:
        """Nothing is."""

    def is_interrupted(self) -> int:
        """The run loop knows by that alone."""
        self.guest.bytes[IMMEDIATE_EXIT] = 1
        return super().is_interrupted()


def test_a_bell_that_is_polled_would_lose_some() -> None:
    assert raced(Polled, has_bell=True) > 0
