"""The boot CPU's bell: the kernel's own ring, a KVM_RUN, and who comes at what time."""

import errno
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.host.harness import PATIENCE, why_not
from vestige import abi
from vestige.host.backends import io_uring, io_uring_records
from vestige.host.kvm import api as kvm
from vestige.host.kvm import vm
from vestige.host.kvm.memory import Region
from vestige.host.loop import bell as run_loops
from vestige.host.loop import boot_bell as module
from vestige.host.loop import runloop
from vestige.host.loop.bell import Bell
from vestige.host.loop.boot_bell import BootBell
from vestige.host.loop.runloop import Leave, Loop
from vestige.lang.intrinsics import address_of, load32, load64, syscall
from vestige.lang.types import Struct, u8

PAGE = 4096
RINGS = 300
CODE = 0x1000
HLT, STI, CLI = 0xF4, 0xFB, 0xFA
OUT_AL_0x80 = (0xE6, 0x80)


class Page(Struct):
    """A kvm_run mapping, and its place."""

    bytes: u8[PAGE]


class Stand:
    """In the place of a VM and of a vCPU: what a bell asks of them."""

    def __init__(self) -> None:
        self.page = Page()
        self.run_address = address_of(self.page)
        self.ports: dict[int, int] = {}

    def connect_port(self, port: int, eventfd: int) -> None:
        """As VirtualMachine does."""
        self.ports[port] = eventfd

    @property
    def told(self) -> int:
        """immediate_exit."""
        return self.page.bytes[kvm.IMMEDIATE_EXIT]

    def ring(self) -> None:
        """As the monitor's OUT does."""
        os.eventfd_write(self.ports[abi.PORT_ATTEND], 1)


def hung(bell: BootBell) -> Bell:
    """What the run loop has of it."""
    shown = Bell()
    bell.hang(shown)
    return shown


@pytest.fixture
def stand() -> Stand:
    return Stand()


@pytest.fixture
def bell(stand: Stand) -> Iterator[Bell]:
    """One that listens."""
    with closing(made(stand)) as boot:
        shown = hung(boot)
        assert shown.listen() == 0
        yield shown


def made(stand: Any) -> BootBell:
    """One of a stand's."""
    return BootBell(stand, stand)


# ---- by itself ---------------------------------------------------------------------------------


def test_a_ring_sets_immediate_exit_and_nothing_else(stand: Stand, bell: Bell) -> None:
    assert bytes(stand.page) == bytes(PAGE)
    stand.ring()
    assert stand.told == 1
    assert sum(stand.page.bytes) == 1


def test_who_has_answered_hears_the_next_ring(stand: Stand, bell: Bell) -> None:
    for _ in range(RINGS):
        stand.ring()
        assert stand.told == 1
        stand.page.bytes[kvm.IMMEDIATE_EXIT] = 0
        assert bell.answer() == 0
        assert stand.told == 0


def test_a_ring_before_the_answer_is_heard_with_that(stand: Stand, bell: Bell) -> None:
    stand.ring()
    stand.page.bytes[kvm.IMMEDIATE_EXIT] = 0
    stand.ring()
    assert stand.told == 0
    assert bell.answer() == 0
    assert stand.told == 1


def test_a_ring_before_anybody_listens_is_heard(stand: Stand) -> None:
    with closing(made(stand)) as boot:
        stand.ring()
        assert stand.told == 0
        assert hung(boot).listen() == 0
        assert stand.told == 1


def test_nothing_is_to_answer_where_nobody_rang(stand: Stand, bell: Bell) -> None:
    for _ in range(3):
        assert bell.answer() == 0
    stand.ring()
    assert stand.told == 1


def test_where_there_is_none_nothing_is_to_answer() -> None:
    assert Bell().answer() == 0


def test_rings_without_end_are_one_entry_and_one_answer(stand: Stand, bell: Bell) -> None:
    for _ in range(RINGS):
        stand.ring()
    assert load32(bell.cq_tail) - load32(bell.cq_head) == 1
    assert bell.answer() == 0
    assert load32(bell.cq_tail) - load32(bell.cq_head) == 1  # for all the others
    assert bell.answer() == 0
    assert load32(bell.cq_tail) == load32(bell.cq_head)


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.ENOMEM])
def test_an_entry_that_the_kernel_did_not_take_is_given_again(
    stand: Stand, bell: Bell, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.ring()
    stand.page.bytes[kvm.IMMEDIATE_EXIT] = 0
    with monkeypatch.context() as patch:
        patch.setattr(run_loops, "syscall", lambda *_: -error)
        assert bell.answer() == bell.answer() == error
    assert bell.answer() == 0
    stand.ring()
    assert stand.told == 1


def test_a_read_that_fails_is_told(stand: Stand) -> None:
    stand.run_address = 0  # there is nothing to be written
    with closing(made(stand)) as boot:
        shown = hung(boot)
        assert shown.listen() == 0
        stand.ring()
        assert shown.answer() == errno.EFAULT


def test_an_alarm_comes_in_its_time_and_there_is_one(stand: Stand, bell: Bell) -> None:
    for _ in range(3):
        began = time.monotonic()
        assert bell.order(3_000_000) == 0
        assert bell.order(1) == 0  # beside one that is under way: none
        assert stand.told == 0
        heard(stand, bell)
        assert time.monotonic() - began >= 0.003
        assert bell.alarmed == 0


def test_a_ring_beside_an_alarm_is_heard(stand: Stand, bell: Bell) -> None:
    assert bell.order(2_000_000) == 0
    stand.ring()
    heard(stand, bell)
    assert bell.alarmed == 1
    heard(stand, bell)
    assert bell.alarmed == 0
    stand.ring()
    assert stand.told == 1


@pytest.mark.parametrize(
    ("ordered", "expected"), [(1, (0, run_loops.LEAST)), (1 << 63, (1, 0)), (25_000, (0, 25_000))]
)
def test_the_time_of_an_alarm_is_bounded(
    stand: Stand, bell: Bell, ordered: int, expected: tuple[int, int]
) -> None:
    assert bell.order(ordered) == 0
    assert (load64(bell.alarm), load64(bell.alarm + 8)) == expected


def test_an_alarm_that_the_kernel_did_not_take_is_given_again(
    stand: Stand, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run_loops, "syscall", lambda *_: -errno.EAGAIN)
        assert bell.order(100_000) == errno.EAGAIN
    assert bell.answer() == 0
    heard(stand, bell)


def test_without_a_bell_there_is_no_alarm() -> None:
    assert Bell().order(100_000) == 0


def heard(stand: Stand, bell: Bell) -> None:
    """Wait until the thread is told, and answer."""
    deadline = time.monotonic() + PATIENCE
    while not stand.told:
        assert time.monotonic() < deadline
        select.select([], [], [], 0.0005)
    stand.page.bytes[kvm.IMMEDIATE_EXIT] = 0
    assert bell.answer() == 0


def test_the_ring_does_nothing_else(stand: Stand, bell: Bell) -> None:
    boot = made(stand)
    with closing(boot):
        shown = hung(boot)
        for operation, flags in [(0, 1), (4, 1), (6, 1), (2, 1), (1, 0), (1, 3), (12, 1), (11, 0)]:
            entry = io_uring_records.Submission.at(entries_of(boot))
            entry.operation, entry.flags = operation, flags
            assert shown.listen() == 0
            assert shown.answer() == errno.EACCES
        for operation in (io_uring.REGISTER_FILES, io_uring.REGISTER_BUFFERS2):
            assert syscall(427, shown.ring, operation, 0, 1, 0, 0) == -errno.EACCES


def entries_of(boot: BootBell) -> int:
    """Where its entry is."""
    return boot._entries.address


def test_a_kernel_without_such_reads_has_no_bell(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    before = descriptors()
    with closing(made(stand)):
        assert descriptors() > before
    assert descriptors() == before
    with monkeypatch.context() as patch:
        patch.setattr(module, "FAST_POLL", 1 << 31)
        with pytest.raises(OSError, match="not supported"):
            made(stand)
    with monkeypatch.context() as patch:
        patch.setattr(module, "restrict", lambda *_: errno.EINVAL)
        with pytest.raises(OSError, match="Invalid argument"):
            made(stand)
    monkeypatch.setattr(module, "set_up", lambda *_: (io_uring_records.Parameters(), -errno.ENOSYS))
    with pytest.raises(OSError, match="not implemented"):
        made(stand)
    assert descriptors() == before


# ---- with KVM_RUN ------------------------------------------------------------------------------


class Machine:
    """A guest of a few bytes in real mode, and the boot CPU's run loop as far as the guest goes."""

    def __init__(self, code: bytes) -> None:
        self.system = kvm.open_system()
        self.guest = vm.VirtualMachine(self.system, abi.PINS)
        self.monitor = vm.VirtualMachine(self.system, 0)
        self.guest.add_cpu()
        self.cpu = self.guest.cpus[0]
        self.memory = Region(1 << 16)
        self.memory.view[CODE : CODE + len(code)] = code
        self.guest.map(0, self.memory.size, self.memory.address)
        system = self.cpu.system_registers()
        system.cs.base, system.cs.selector = 0, 0
        self.cpu.set_system_registers(system)
        self.cpu.set_registers(kvm.Registers(rip=CODE, rflags=2))
        self.bell = BootBell(self.monitor, self.cpu)
        self.shown, self.answers = abi.GuestExit(), abi.Answers()
        self.loop = Loop(
            guest=self.cpu.descriptor,
            guest_run=self.cpu.run_address,
            guest_exit=address_of(self.shown),
            answers=address_of(self.answers),
            boots=1,
        )
        self.bell.hang(self.loop.bell)
        # The monitor's OUT needs a monitor that runs; what it writes is the same file.
        self.eventfd = self.bell.eventfd

    def ring(self) -> None:
        """As the monitor's OUT does."""
        os.eventfd_write(self.eventfd, 1)

    def enter(self) -> int:
        """The guest, until the monitor would be; what for."""
        self.loop.in_monitor = 0
        while self.loop.in_monitor == 0:
            assert runloop.run_guest(self.loop) == Leave.GO_ON
        return self.shown.reason

    def run(self, act: Callable[[], None]) -> None:
        """In a thread, as the boot CPU's: the kernel reads in the one that listened."""
        errors: list[BaseException] = []

        def body() -> None:
            try:
                assert self.loop.bell.listen() == 0
                act()
            except BaseException as error:  # noqa: BLE001 - raised below
                errors.append(error)

        self.thread = threading.Thread(target=body, daemon=True)
        self.thread.start()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "a ring was lost"
        if errors:
            raise errors[0]

    def close(self) -> None:
        """Give all back, unless a KVM_RUN goes on for ever."""
        if self.thread.is_alive():
            return
        self.guest.close()
        self.monitor.close()
        self.bell.close()
        self.memory.close()
        self.system.close()


on_kvm = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
SLEEPS = bytes((STI, HLT, 0xEB, 0xFD))
RUNS = bytes((STI, 0x90, 0xEB, 0xFD))
SLEEPS_FOR_EVER = bytes((CLI, HLT, *OUT_AL_0x80))


@pytest.mark.kvm
@on_kvm
@pytest.mark.parametrize("code", [SLEEPS, RUNS, SLEEPS_FOR_EVER])
def test_a_ring_before_kvm_run_ends_that(code: bytes) -> None:
    """The kernel has read when the thread comes to KVM_RUN: nothing else would end it."""
    with closing(Machine(code)) as machine:

        def act() -> None:
            for _ in range(10):
                machine.ring()
                assert machine.enter() == abi.ExitReason.INTERRUPTED

        machine.run(act)


@pytest.mark.kvm
@on_kvm
@pytest.mark.parametrize("code", [SLEEPS, RUNS, SLEEPS_FOR_EVER])
def test_a_ring_at_any_time_ends_a_kvm_run(code: bytes) -> None:
    """In it, before it, and while the thread answers the one before."""
    with closing(Machine(code)) as machine:
        answered = threading.Semaphore(0)

        def ring() -> None:
            for number in range(RINGS):
                for _ in range(37 * number % 1000):  # a while, each time another
                    pass
                machine.ring()
                assert answered.acquire(timeout=PATIENCE)

        def act() -> None:
            other = threading.Thread(target=ring, daemon=True)
            other.start()
            for _ in range(RINGS):
                assert machine.enter() == abi.ExitReason.INTERRUPTED
                answered.release()
            other.join()

        machine.run(act)
        assert machine.loop.exits[abi.ExitReason.INTERRUPTED] == RINGS


@pytest.mark.kvm
@on_kvm
@pytest.mark.parametrize("code", [SLEEPS, RUNS, SLEEPS_FOR_EVER])
def test_an_alarm_ends_a_kvm_run_in_it_or_before_it(code: bytes) -> None:
    with closing(Machine(code)) as machine:

        def act() -> None:
            for number in range(RINGS):
                assert machine.loop.bell.order(10_000 + 1_000 * (number % 50)) == 0
                for _ in range(37 * number % 1000):
                    pass
                assert machine.enter() == abi.ExitReason.INTERRUPTED
                assert machine.loop.bell.alarmed == 0

        machine.run(act)


@pytest.mark.kvm
@on_kvm
def test_a_hlt_that_no_interrupt_may_end_goes_on() -> None:
    with closing(Machine(SLEEPS_FOR_EVER)) as machine:

        def act() -> None:
            for _ in range(10):
                machine.ring()
                assert machine.enter() == abi.ExitReason.INTERRUPTED

        machine.run(act)
        assert machine.cpu.registers().rip in (CODE, CODE + 1, CODE + 2)
        assert machine.loop.exits[abi.ExitReason.IO] == 0
