"""The threads of a running twin: one a guest vCPU, one a worker; and the monitor's calls.

Threats of the calls are beside their numbers in abi/calls.py. Their arguments come from memory that
the monitor writes: untrusted.py reads them, and each is checked against a constant before it is
used. Whatever a call fails with ends the guest by one line.
"""

import os
import select
import time
from _collections_abc import Callable, Iterable, Sequence
from _thread import allocate_lock, get_native_id, start_new_thread

from vestige import abi
from vestige.errors import GuestError, UsageError
from vestige.host import limits, steps
from vestige.host.backends.ring import Ring
from vestige.host.capabilities import drop_real_time_io
from vestige.host.files.failures import Failure, reported
from vestige.host.kvm.twin import Twin
from vestige.host.loop import failure
from vestige.host.loop.boot_bell import BootBell
from vestige.host.loop.clocks import Clocks
from vestige.host.loop.runloop import (
    FUTEX_WAIT,
    FUTEX_WAKE,
    LOOK_AFTER,
    NUDGE,
    SYS_FUTEX,
    SYS_TGKILL,
    Door,
    Leave,
    Loop,
    Stop,
)
from vestige.host.loop.untrusted import Untrusted
from vestige.host.thread_name import set_thread_name
from vestige.lang.intrinsics import address_of, syscall
from vestige.lang.types import Struct, u64

NUDGE_INTERVAL = 0.1  # seconds between signals to a thread that hasn't left yet
PAUSE_PATIENCE = 5.0  # seconds for all threads to leave, before a pause is given up
EINVAL = 22
LOOK_AGAIN = 1024  # entries until the next look, where one saw nothing

Runner = Callable[[Loop], int]


class Submitted(Struct):
    """Entries that each ring took at KICKs; the host's own, of all threads."""

    entries: u64[abi.MAX_DOMAINS]


class Outcome:
    """How the guest ended: an error's line, or None for a power-off or a reset.

    `fault`: of a reset by a triple fault, what it was, in words.
    """

    def __init__(self, error: str | None, *, reset: bool = False, fault: str = "") -> None:
        self.error = error
        self.reset = reset
        self.fault = fault


class CpuThread:
    """One vCPU pair, or a worker, with its loop, and the thread that runs it."""

    def __init__(
        self, twin: Twin, index: int, rings: Sequence[Ring], submitted: "Submitted"
    ) -> None:
        """`index` is the monitor vCPU's."""
        self.is_worker = index >= len(twin.guest.cpus)
        self.who = twin.name_of(index)
        self.guest = None if self.is_worker else twin.guest.cpus[index]
        self.monitor = twin.monitor.cpus[index]
        self.index = index
        shown = twin.private.cpu(index)
        self.loop = Loop(
            monitor=self.monitor.descriptor,
            monitor_run=self.monitor.run_address,
            run_size=self.monitor.run_size,
            in_monitor=self.is_worker,
        )
        if self.guest is not None:
            self.loop.guest = self.guest.descriptor
            self.loop.guest_run = self.guest.run_address
            self.loop.guest_exit = address_of(shown.exit)
            self.loop.boots = index == 0
            self.loop.answers = address_of(twin.private.shared().answers)
            self.loop.queue = self.guest.run_address + twin.queue if twin.queue else 0
        self.loop.boot_run = twin.guest.cpus[0].run_address
        self.loop.process = os.getpid()
        self.loop.argument = address_of(shown.argument)
        self.loop.submitted = address_of(submitted)
        self.loop.bell_asked = address_of(shown.bell)
        self.loop.bells = address_of(twin.doorbells.bells)
        if twin.notices is not None:
            self.loop.notices = address_of(twin.notices)
        self.loop.ring_count = len(rings)
        for ring in rings:
            self.loop.rings[ring.domain] = ring.descriptor
            self.loop.ring_entries = ring.parameters.sq_entries
            self.loop.ring_flags |= ring.enter_flags()
        self.native_id = 0  # of the thread, once it runs
        self._running = allocate_lock()  # held as long as the thread is to be in its loop
        self.is_ready = allocate_lock()  # held until the thread waits for the guest's start
        self._gate = allocate_lock()  # held until the thread is to go on
        self._gate.acquire()
        self._is_halted = False  # it is to rest once it leaves its loop
        self._rests = False
        self._halting = allocate_lock()  # of both

    @property
    def is_running(self) -> bool:
        """Whether a thread is in the loop."""
        return self._running.locked()

    def start(self, run: "Callable[[CpuThread], object]") -> None:
        """Call `run` with this, in a thread. An error of ours must not wait for it: it is no
        threading.Thread, which would be waited for, and which is slow to import.
        """

        def body() -> None:
            try:
                self.native_id = get_native_id()
                set_thread_name(self.who)
                if self.is_worker:
                    self.loop.patience.start(os.sched_getscheduler(0))
                run(self)
            finally:
                if self.is_ready.locked():
                    self.is_ready.release()
                self._open_door()
                self._running.release()

        self._running.acquire()
        self.is_ready.acquire()
        try:
            start_new_thread(body, ())
        except BaseException:
            self._running.release()  # there is no thread to wait for
            raise

    def nudge(self) -> None:
        """Make the thread leave its loop: it is halted, and may be in a KVM_RUN.

        To be repeated until it has: the first may end another system call than the next one.
        """
        if self.loop.stop == Stop.HERE:
            self.monitor.interrupt()
        if self.guest is not None:
            self.guest.interrupt()
        if self.native_id:
            syscall(SYS_TGKILL, os.getpid(), self.native_id, NUDGE, 0, 0, 0)

    def halt(self, where: Stop) -> None:
        """Have the thread leave its loop there, and rest."""
        with self._halting:
            self._is_halted = True
            self.loop.stop = where

    def halt_at_next_done(self) -> None:
        """The same of a worker, which goes on until its monitor says that it is done."""
        with self._halting:
            self._is_halted = True
            self.loop.stop, self.loop.first = Stop.NOT, 1
            self.monitor.let_in()
            self._open()

    def go_on(self) -> None:
        """Let a thread that was halted go on, and undo what a nudge leaves behind.

        The boot CPU's loop undoes that of its guest by itself, and enters the monitor, which may
        have asked for it meanwhile.
        """
        with self._halting:
            self._is_halted = False
            self.loop.stop, self.loop.first = Stop.NOT, 0
            self.monitor.let_in()
            if self.guest is not None and not self.loop.boots:
                self.guest.let_in()
            self._open()

    def stand(self) -> None:
        """Have a thread that has just been made, a guest CPU's, wait at the guest's door; returns
        once it does, or has ended.
        """
        self.loop.door.is_now = Door.SHUT
        self._gate.release()
        while self.loop.door.is_now == Door.SHUT:
            syscall(SYS_FUTEX, address_of(self.loop.door), FUTEX_WAIT, Door.SHUT, 0, 0, 0)

    def begin(self) -> None:
        """Let a thread that has just been made, or stands at the door, into its loop."""
        if self.loop.door.is_now == Door.AWAITED:
            self._open_door()
        elif self._gate.locked():  # else it has ended, before it came here
            self._gate.release()

    def _open_door(self) -> None:
        self.loop.door.is_now = Door.OPEN
        syscall(SYS_FUTEX, address_of(self.loop.door), FUTEX_WAKE, 1, 0, 0, 0)

    def end(self) -> None:
        """Have the thread leave its loop for good."""
        with self._halting:
            self._is_halted = False
            self.loop.stop = Stop.HERE
            self._open()

    def _open(self) -> None:
        """Let it go on if it rests; `_halting` is held."""
        if self._rests:
            self._rests = False
            self._running.acquire()
            self._gate.release()

    def await_begin(self) -> None:
        """In the thread: wait for `begin`."""
        self._gate.acquire()

    def rest(self) -> None:
        """In the thread: be out of the loop until it is let go on, unless that came before."""
        with self._halting:
            if not self._is_halted:
                return
            self._rests = True
            self._running.release()
        self._gate.acquire()

    def wait(self, seconds: float) -> None:
        """Wait until the thread has left its loop, no longer than that."""
        if self._running.acquire(timeout=seconds):
            self._running.release()


class Session:
    """A twin that runs. `ended` is an eventfd, readable once there is an `outcome`.

    NUDGE is to have a handler: its default is to kill.
    """

    def __init__(
        self,
        twin: Twin,
        rings: Sequence[Ring],
        runner: Runner,
        failures: Callable[[Iterable[Failure]], object],
        log: Callable[[bytes], object],
        bell: BootBell | None = None,
    ) -> None:
        """`rings`: one a domain, in their order, or none. Each thread calls `runner`, which is
        runloop.run, compiled, with its own Loop. `failures` and `log` take what the monitor says:
        of disks that fail, and what it logs. `bell` is the boot CPU's.
        """
        self._twin = twin
        self.untrusted = Untrusted(twin.private, len(twin.workers))
        self._rings = rings
        self._runner = runner
        self._failures = failures
        self._logged = log
        self._lock = allocate_lock()
        self._has_begun = False  # the guest is to run
        self._policy = os.SCHED_OTHER  # of the thread that makes the others
        self._is_over = False  # the threads are to end
        self.is_paused = False  # all threads rest
        self.ended = steps.eventfd()
        self.outcome: Outcome | None = None
        self._submitted = Submitted()
        self.threads = [
            CpuThread(twin, index, rings, self._submitted)
            for index in range(len(twin.monitor.cpus))
        ]
        if bell is not None:
            boot = self.threads[0].loop.bell
            steps.do(lambda: bell.hang(boot))
        # Seconds between looks at rings that need no KICK; None: each look follows KICKs.
        self._look_interval = next(filter(None, [ring.look_interval() for ring in rings]), None)
        self._next_look = 0.0  # monotonic

    @property
    def _cpus(self) -> "list[CpuThread]":
        return [each for each in self.threads if not each.is_worker]

    @property
    def _workers(self) -> "list[CpuThread]":
        return [each for each in self.threads if each.is_worker]

    def be_this_process(self) -> None:
        """It was built in a process of which this one is a fork."""
        for each in self.threads:
            each.loop.process = os.getpid()

    def prepare(self) -> bool:
        """Let the monitor initialise, before anything else runs; False if that ended it all.

        CPU 0's powers the machine on; then each worker makes itself ready to be woken.
        """
        return all(map(self._initialise, (self.threads[0], *self._workers)))

    def _initialise(self, each: CpuThread) -> bool:
        each.loop.first = each.loop.in_monitor = 1
        ready = self._run(each) == Leave.READY
        if each.is_worker:  # of a worker is counted what its thread returns from the kernel for
            each.loop.calls[abi.Call.DONE] = 0
        return ready

    def make_threads(self) -> None:
        """Make the threads of the guest's CPUs and of the workers, which wait for `start`.

        Raises RuntimeError where there may be no more threads.
        """
        self._policy = os.sched_getscheduler(0)
        for each in self.threads:
            each.start(self._begin)
        for each in self.threads:
            each.is_ready.acquire()
        for each in self.threads:
            each.loop.boot_thread = self.threads[0].native_id

    def start(self) -> None:
        """Let the guest's CPUs and the workers run; a second time does nothing."""
        if not self._has_begun:
            self._has_begun = True
            for each in self.threads:
                each.begin()

    def let_go(self, clocks: Clocks, hold: int, others: int) -> bool:
        """Have a thawed guest's boot CPU go on, with all clocks; then `start` the rest.

        With a socket `hold` (not -1) once something comes there; until then all its CPUs are all
        but in KVM. False: it is over: that socket's other end is closed, or something has come at
        the descriptor `others` before.
        """
        loop = self.threads[0].loop
        gone = os.eventfd(0, os.EFD_CLOEXEC)
        loop.clocks, loop.gone = address_of(clocks), gone
        loop.is_held, loop.hold = hold >= 0, max(hold, 0)
        for each in self._cpus[: None if loop.is_held else 1]:
            each.stand()
        poll = select.poll()
        for descriptor in (gone, self.ended, *([others] if loop.is_held else [])):
            poll.register(descriptor, select.POLLIN)
        self._wait_batched(poll)
        return bool(loop.goes)

    def _wait_batched(self, poll: "select.poll") -> None:
        """Wait, and take the processor from nobody then: who ends it is on its way to the guest."""
        if self._policy == os.SCHED_OTHER:  # else it is one that the user chose
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        poll.poll()
        if self._policy == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))

    def stop(self) -> None:
        """End all threads; what the guest flushed is safe already.

        All are told before one is waited for: what one waits for may be in another's hands.
        """
        self._is_over = True
        for each in self.threads:
            each.end()
        self.start()
        while running := [each for each in self.threads if each.is_running]:
            self._nudge(running)

    def pause(self) -> None:
        """Have no thread in its loop until `resume`: no CPU runs, and no worker serves anything.

        The guest's CPUs stop between two traps, the workers wherever they are. The guest's clocks
        go on. A second time does nothing. Raises UsageError where one doesn't leave; all go on
        then.
        """
        if self.is_paused:
            return
        self.is_paused = True
        for threads, where in ((self._cpus, Stop.BETWEEN), (self._workers, Stop.HERE)):
            for each in threads:
                each.halt(where)
            self._await_rest(threads)

    def _await_rest(self, threads: "Sequence[CpuThread]") -> None:
        deadline = time.monotonic() + PAUSE_PATIENCE
        while running := [each for each in threads if each.is_running]:
            if time.monotonic() > deadline:
                self._go_on()
                raise UsageError(
                    f"{running[0].who} does not stop within {PAUSE_PATIENCE:.0f} s; try again"
                )
            self._nudge(running)

    def settle(self, wakes: Sequence[int]) -> None:
        """Pause it as `pause` does, once nothing is under way for it: all its state is in memory.

        `wakes`: of each domain the eventfd that wakes its worker. One that is paused stays so, but
        for the workers, which do what is left to do. The first domain's is the last: others give it
        their interrupts. Raises UsageError where something does not end; all is as it was then.
        """
        was_paused = self.is_paused
        self.pause()
        for domain, worker in reversed(list(enumerate(self._workers))):
            config = self._twin.private.shared(domain).config
            config.freezes = 1
            worker.halt_at_next_done()
            os.eventfd_write(wakes[domain], 1)
            worker.wait(PAUSE_PATIENCE)
            config.freezes = 0
            if worker.is_running:
                self._unsettle(was_paused)
                raise UsageError(
                    f"what {worker.who} has under way does not end within"
                    f" {PAUSE_PATIENCE:.0f} s: a disk that does not answer, or a console's or"
                    " port's other side that takes nothing; try again"
                )

    def _unsettle(self, was_paused: bool) -> None:
        if not was_paused:
            self.resume()
            return
        for each in self._workers:
            each.halt(Stop.HERE)
        self._await_rest(self._workers)

    def resume(self) -> None:
        """Let all go on where a pause stopped them; without one, do nothing."""
        if not self.is_paused:
            return
        for each in self.threads:
            if each.guest is not None:
                each.guest.tell_of_pause()
        self._go_on()

    def _go_on(self) -> None:
        self.is_paused = False
        for each in self.threads:
            each.go_on()

    def _nudge(self, running: "Sequence[CpuThread]") -> None:
        """Have them leave; returns once the first has, or when it is time to do it again."""
        for each in running:
            each.nudge()
        running[0].wait(NUDGE_INTERVAL)

    def close(self) -> None:
        """Stop, and close the eventfd."""
        self.stop()
        os.close(self.ended)

    def _begin(self, each: CpuThread) -> None:
        """In each's own thread: it submits what the monitor writes into the ring."""
        try:
            drop_real_time_io()
        except OSError as error:
            self._end(f"capset: {error.strerror}, for {each.who}")
            return
        finally:
            each.is_ready.release()
        each.await_begin()
        refused = each.loop.bell.listen() if each.loop.bell.hangs else 0
        if refused:
            self._end(f"io_uring_enter: {os.strerror(refused)}, for {each.who}")
            return
        self._run(each)

    def _run(self, each: CpuThread) -> int:
        """Run one loop until it leaves for good; the Leave it left with."""
        leave: int | None = None
        try:
            leave = self._leave_of(each)
        except (GuestError, UsageError, OSError, MemoryError, RuntimeError) as error:
            line = limits.line_of(error)
            if line is None:
                raise
            self._end(f"{line}, serving {each.who}")
            leave = Leave.STOPPED
        finally:
            if leave is None:  # a bug of ours: its traceback is printed, and nobody waits for ever
                self._end(f"the host failed, serving {each.who}")
        return leave

    def _leave_of(self, each: CpuThread) -> int:
        while True:
            leave = self._runner(each.loop)
            if leave in (Leave.STOPPED, Leave.READY) and each.native_id and not self._is_over:
                each.rest()
                continue
            if leave == Leave.CALL and self._serve(each):
                continue
            if leave == Leave.LOOK:
                if self._look(each.loop.look, f", serving {each.who}"):
                    continue
                return Leave.STOPPED
            if leave not in (Leave.CALL, Leave.STOPPED, Leave.READY, Leave.UNWANTED):
                self._end(failure.left(leave, each.loop, each.who, each.guest, each.monitor))
            return leave

    def look(self) -> float | None:
        """End the guest if the monitor has too much under way in a ring that needs no KICK.

        Seconds until the next look is due, before which a call does nothing; None: none ever is.
        """
        if self._look_interval is None:
            return None
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + self._look_interval
            for number, ring in enumerate(self._rings):
                if ring.polled:
                    self._look(number)
        return self._next_look - now

    def _look(self, number: int, where: str = "") -> bool:
        """Whether the guest goes on: its monitor has not too much under way in that ring."""
        ring = self._rings[number]
        with self._lock:
            error = ring.look()
            if ring.unseen:
                self._submitted.entries[number] = LOOK_AFTER - LOOK_AGAIN
        if error is not None:
            self._end(error + where)
        return error is None

    def _end(self, error: str | None, *, reset: bool = False, fault: str = "") -> None:
        """The guest is over; the first reason counts."""
        with self._lock:
            if self.outcome is None:
                self.outcome = Outcome(error, reset=reset, fault=fault)
        os.eventfd_write(self.ended, 1)

    def _serve(self, each: CpuThread) -> bool:
        """Do one call of the monitor; False: the guest is over."""
        first, second, *_ = self.untrusted.arguments(each.index)
        match each.loop.call:
            case abi.Call.ROUTE:
                self._route(first, second)
            case abi.Call.PIN:
                self.untrusted.answer(each.index, self._pin(first, second))
            case abi.Call.MAP:
                self.untrusted.answer(each.index, self._map(first, second))
            case abi.Call.LOG:
                self._log(first)
            case abi.Call.POWER:
                self._power(first, each)
                return False
            case abi.Call.PANIC:
                self._end(
                    failure.panic(self.untrusted.panic(each.index), each.who, self._twin.code)
                )
                return False
            case abi.Call.KICK:
                self._end(f"the monitor kicked ring {first}, which there isn't")
                return False
            case unknown:
                self._end(f"the monitor made call {unknown}, which there isn't")
                return False
        return True

    def _power(self, how: int, each: CpuThread) -> None:
        if how in (abi.Power.OFF, abi.Power.RESET):
            self._end(None, reset=how == abi.Power.RESET)
        elif (
            how == abi.Power.TRIPLE_FAULT
            and each.guest is not None
            and each.loop.forwarded == abi.ExitReason.INTERNAL_ERROR
        ):
            self._end(failure.guest_exit(each.loop.forwarded, each.who, each.guest))
        elif how == abi.Power.TRIPLE_FAULT and each.guest is not None:
            self._end(None, reset=True, fault=failure.triple_fault(each.who, each.guest))
        elif how == abi.Power.PANICKED:
            self._end(failure.PANICKED)
        else:
            self._end(f"the monitor ended the guest in way {how}, which there isn't")

    def _route(self, gsi: int, domain: int) -> None:
        if (message := self.untrusted.route(gsi, domain)) is not None:
            self._twin.doorbells.route(gsi, *message)

    def _pin(self, chunk: int, domain: int) -> int:
        if domain >= len(self._rings):
            return EINVAL
        with self._lock:
            return self._rings[domain].pin(chunk)

    def _map(self, region: int, address: int) -> int:
        regions, flash, gate = self._twin.regions, self._twin.flash, self._twin.gate
        with self._lock:
            match region:
                case abi.FLASH_NUMBER:
                    done = flash is not None and flash.map(address)
                case abi.GATE_NUMBER:
                    done = gate is not None and gate.set(address)
                case _:
                    done = regions is not None and regions.map(region, address)
        return 0 if done else EINVAL

    def _log(self, length: int) -> None:
        self._logged(self.untrusted.log(length))
        self._failures(reported(self.untrusted.statistics()))
