"""Traps in, interrupts and calls out: the core around the models."""

import ctypes
from itertools import product

import pytest

from tests.monitor.rig import DATA_OFFSET, PoweredOff, Rig
from vestige import abi
from vestige.lang.intrinsics import CheckFailed, address_of
from vestige.lang.types import Struct
from vestige.monitor import outside
from vestige.monitor.clock import Clock, nanoseconds
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.statistics import count_trap
from vestige.monitor.core.trap import Kind, Trap
from vestige.monitor.core.worker_turn import work
from vestige.monitor.devices.ioapic.spec import Entry
from vestige.monitor.devices.pvpanic.place import PVPANIC
from vestige.monitor.devices.pvpanic.spec import Event
from vestige.monitor.line import NEVER
from vestige.monitor.outside.kvm import LONGEST, reachable, set_timer
from vestige.monitor.streams import PATIENCE

UART = abi.PORT_UART
UART_VECTOR = 0x41


@pytest.fixture
def rig() -> Rig:
    """A machine without disks."""
    return Rig().start()


class CoalescedPage(Struct):
    """KVM's ring page, small."""

    ring: abi.CoalescedRing
    entries: abi.CoalescedWrite[4]


# ---- interrupts ----------------------------------------------------------------------------


def test_a_route_is_given_once_and_before_the_doorbell_rings(rig: Rig) -> None:
    rig.enable_pin(abi.PIN_UART, UART_VECTOR)
    assert rig.routed == []
    rig.out(UART + 1, 2)
    assert rig.routed == [(abi.PIN_UART, 0xFEE0_0000, UART_VECTOR)]
    assert rig.rung == [abi.PIN_UART]
    rig.inp(UART + 2)
    rig.out(UART + 1, 0)
    rig.out(UART + 1, 2)
    assert len(rig.routed) == 1
    assert rig.rung == [abi.PIN_UART] * 2


def test_a_changed_message_is_given_before_it_is_used(rig: Rig) -> None:
    rig.enable_pin(abi.PIN_UART, UART_VECTOR)
    rig.out(UART + 1, 2)
    rig.enable_pin(abi.PIN_UART, UART_VECTOR + 1)
    rig.inp(UART + 2)
    rig.out(UART + 1, 0)
    rig.out(UART + 1, 2)
    assert [data for _, _, data in rig.routed] == [UART_VECTOR, UART_VECTOR + 1]


def test_a_masked_pin_never_rings(rig: Rig) -> None:
    rig.enable_pin(abi.PIN_UART, UART_VECTOR, Entry.MASKED)
    rig.out(UART + 1, 2)
    assert (rig.rung, rig.routed) == ([], [])


def test_a_level_interrupt_comes_again_until_its_source_is_quiet(rig: Rig) -> None:
    rig.enable_pin(abi.PIN_UART, UART_VECTOR, Entry.LEVEL)
    rig.out(UART + 1, 2)
    rig.end_of_interrupt(UART_VECTOR)
    assert rig.rung == [abi.PIN_UART] * 2
    rig.inp(UART + 2)
    rig.end_of_interrupt(UART_VECTOR)
    assert rig.rung == [abi.PIN_UART] * 2


# ---- coalesced writes ----------------------------------------------------------------------


def queue(page: CoalescedPage, port: int, value: int, size: int = 1) -> None:
    """What KVM does instead of an exit."""
    entry = page.entries[page.ring.last]
    entry.address, entry.length, entry.port = port, size, 1
    ctypes.memmove(address_of(entry.data), value.to_bytes(8, "little"), 8)
    page.ring.last = (page.ring.last + 1) % 4


def test_queued_writes_come_before_the_trap_in_their_order(rig: Rig) -> None:
    page = CoalescedPage()
    rig.shared.config.coalesced = address_of(page)
    rig.shared.config.coalesced_entries = 4
    for round_ in range(5):  # the ring wraps
        queue(page, UART + 7, round_)
        queue(page, UART + 7, round_ + 1)
        queue(page, abi.PORT_PCI_ADDRESS, 0x8000_0000 + 4 * round_, 4)
        assert rig.inp(UART + 7) == round_ + 1
        assert page.ring.first == page.ring.last
    assert rig.inp(abi.PORT_PCI_ADDRESS, 4) == 0x8000_0010
    assert rig.shared.statistics.coalesced_writes == 15


def test_the_worker_takes_queued_writes_too(rig: Rig) -> None:
    page = CoalescedPage()
    rig.shared.config.coalesced = address_of(page)
    rig.shared.config.coalesced_entries = 4
    queue(page, UART + 7, 0x77)
    rig.work()
    assert rig.machine.uart.scratch == 0x77


def test_a_queue_is_closed_while_it_is_empty(rig: Rig) -> None:
    page = CoalescedPage()
    config = rig.shared.config
    config.coalesced, config.coalesced_entries = address_of(page), 4
    for round_ in range(5):
        queue(page, UART + 7, round_)
        assert not outside.let_queue(config, False)
        assert rig.inp(UART + 7) == round_
        assert outside.let_queue(config, False)
        assert page.ring.last == abi.COALESCED_CLOSED
        assert rig.inp(UART + 7) == round_
        assert outside.let_queue(config, True)
        assert page.ring.last == page.ring.first == (round_ + 1) % 4


def test_a_write_that_undoes_the_closing_is_not_lost(rig: Rig) -> None:
    page = CoalescedPage()
    config = rig.shared.config
    config.coalesced, config.coalesced_entries = address_of(page), 4
    assert outside.let_queue(config, False)
    page.ring.last = 0  # KVM had read it before
    queue(page, UART + 7, 0x77)
    assert outside.let_queue(config, True)
    assert rig.inp(UART + 7) == 0x77


# ---- records -------------------------------------------------------------------------------


def test_a_read_of_one_byte_is_told_from_all_else(rig: Rig) -> None:
    cpu = rig.cpus[0]
    record = abi.RunIo.at(address_of(cpu.exit.union))
    reasons = (abi.ExitReason.IO, abi.ExitReason.MMIO, abi.ExitReason.SHUTDOWN)
    found = 0
    for reason, port, *rest in product(reasons, (0, 0x1F7, 0xFFFF), (0, 1), (1, 2, 4), (1, 2, 257)):
        record.port, record.data_offset = port, DATA_OFFSET
        cpu.exit.reason, (record.direction, record.size, record.count) = reason, rest
        cpu.exit.union[2] = 1  # the size of an access to memory
        trap = Trap()
        outside.fetch(cpu, trap)
        reads = (trap.kind, trap.write, trap.size, trap.count) == (Kind.PORT, 0, 1, 1)
        assert outside.byte_read(cpu) == (port if reads else outside.NO_PORT)
        found += reads
    assert found == 3


def test_an_unknown_exit_does_nothing(rig: Rig) -> None:
    rig.cpus[0].exit.reason = 99
    rig.enter()


@pytest.mark.parametrize(("size", "count"), [(4, 2), (1, 1)])
def test_data_outside_kvm_run_is_refused(rig: Rig, size: int, count: int) -> None:
    shown = rig.cpus[0].exit
    shown.reason = abi.ExitReason.IO
    record = abi.RunIo.at(address_of(shown.union))
    record.size, record.count = size, count
    record.data_offset = abi.RUN_STRIDE - size * count + 1
    with pytest.raises(CheckFailed):
        rig.enter()


# ---- time ----------------------------------------------------------------------------------


@pytest.mark.parametrize("khz", [1, 999_999, 2_394_512, 4_000_000_000])
def test_nanoseconds_are_exact(khz: int) -> None:
    for counter in (0, 1, 12345678901, 1 << 50):
        assert nanoseconds(counter, khz) == counter * 1_000_000 // khz % (1 << 64)


def test_time_never_goes_back() -> None:
    clock = Clock()
    assert clock.now(5000, 1_000_000) == 5000
    assert clock.now(4000, 1_000_000) == 5000


def test_an_earlier_deadline_wakes_the_worker_once(rig: Rig) -> None:
    rig.out(UART, ord("x"))
    assert rig.wakes == 1
    rig.out(UART, ord("y"))
    assert rig.wakes == 1
    rig.work()
    assert 0 < rig.timer <= PATIENCE


def test_without_a_deadline_the_timer_stands_still(rig: Rig) -> None:
    rig.work()
    assert (rig.timer, rig.wakes) == (0, 0)


def test_a_deadline_already_past_comes_at_once(rig: Rig) -> None:
    with rig.entered(rig.worker):
        set_timer(1, 2)
    assert rig.timer == 1


@pytest.mark.parametrize(("level", "flags"), [(0, 0), (2, Entry.LEVEL)])
def test_an_hpet_timer_interrupts_by_its_pin(level: int, flags: int) -> None:
    rig = Rig(devices=["hpet"]).start()
    rig.enable_pin(20, UART_VECTOR, flags)
    rig.write(abi.HPET + 0x100, 20 << 9 | 4 | level)
    rig.write(abi.HPET + 0x108, 10_000, 8)
    rig.write(abi.HPET + 0x10, 1)
    assert rig.wakes == 1
    rig.work()
    assert rig.rung == []
    assert 0 < rig.timer <= 100_000
    rig.now += rig.timer
    rig.work()
    assert rig.rung == [20]


def test_the_pm1_control_register_powers_off_too(rig: Rig) -> None:
    control = abi.PORT_PM1_CONTROL
    assert rig.inp(control, 2) == 1
    assert rig.inp(abi.PORT_PM1_EVENT, 4) == 0
    rig.out(abi.PORT_PM1_EVENT + 2, 0x120, 2)
    assert rig.inp(abi.PORT_PM1_EVENT, 4) == 0x120 << 16
    rig.out(control, 5 << 10, 2)
    with pytest.raises(PoweredOff, match="OFF"):
        rig.out(control, 5 << 10 | 1 << 13, 2)


# ---- a worker that finds the lock taken ----------------------------------------------------


def come_in_vain(rig: Rig) -> None:
    """The worker wakes while another CPU holds the lock, and goes to sleep again."""
    rig.machine.lock.acquire()
    with rig.entered(rig.worker):
        work(rig.worker, rig.machine, rig.shared)
    assert (rig.machine.lock.held, rig.machine.lock.left) == (1, 1)
    rig.machine.lock.held = 0  # the CPU's own release is what the trap below ends with


def test_who_holds_the_lock_does_what_the_worker_came_for() -> None:
    rig = Rig(console=False).start()
    rig.work()
    come_in_vain(rig)
    rig.inp(0x80)
    assert rig.machine.lock.left == 0
    assert rig.wakes == 0


def test_a_worker_whose_timer_may_have_expired_is_woken_again() -> None:
    rig = Rig(console=False).start()
    rig.work()
    rig.machine.armed = rig.now
    come_in_vain(rig)
    rig.inp(0x80)
    assert rig.wakes == 1


def test_a_worker_that_was_told_of_a_deadline_is_woken_again(rig: Rig) -> None:
    rig.out(UART, ord("x"))
    assert rig.wakes == 1
    come_in_vain(rig)
    rig.inp(0x80)
    assert rig.wakes == 2


def test_a_worker_that_posts_starts_is_woken_for_its_signals() -> None:
    rig = Rig(console=False)
    rig.shared.config.ide_in_memory = 1
    rig.start()
    rig.work()
    come_in_vain(rig)
    rig.inp(0x80)
    assert rig.wakes == 1


def test_a_timer_that_is_set_for_earlier_is_left_alone(rig: Rig) -> None:
    rig.out(UART, ord("x"))
    rig.work()
    first = rig.timer
    rig.timer = 0
    rig.now += first // 2
    rig.ring.enter()
    rig.out(UART, ord("y"))
    rig.work()
    assert (rig.timer, rig.wakes) == (0, 1)
    rig.now += first
    rig.work()
    rig.out(UART, ord("z"))
    rig.work()
    assert 0 < rig.timer <= PATIENCE


@pytest.mark.parametrize(
    ("port", "size"), [(abi.PORT_IDE + 7, 1), (UART + 5, 1), (abi.PORT_PCI_DATA, 4), (0x300, 1)]
)
def test_a_quiet_read_wakes_a_worker_that_came_meanwhile(port: int, size: int) -> None:
    rig = Rig(disks=[bytearray(8 * 512)]).start()
    rig.write(abi.ECAM + (abi.IDE_SLOT << 15) + 4, 5, 2)  # decode ports
    rig.out(abi.PORT_PCI_ADDRESS, 1 << 31, 4)
    rig.work()
    rig.wakes = 0
    come_in_vain(rig)
    rig.inp(port, size)
    assert rig.wakes == 1
    assert rig.machine.lock.left == 0


def test_the_timer_is_armed_as_far_as_it_reaches() -> None:
    assert reachable(7, 5) == 7
    assert reachable(3 * LONGEST, 5) == LONGEST + 5
    assert reachable(NEVER, 5) == NEVER


# ---- the end -------------------------------------------------------------------------------


def test_power_off_comes_after_the_last_output(rig: Rig) -> None:
    rig.port(UART, 1, b"bye", write=True)
    assert rig.output == []
    with pytest.raises(PoweredOff, match="OFF"):
        rig.out(abi.PORT_SLEEP_CONTROL, 5 << 2 | 1 << 5)
    assert b"".join(rig.output) == b"bye"


def test_reset_is_told_as_such(rig: Rig) -> None:
    with pytest.raises(PoweredOff, match="RESET"):
        rig.out(abi.PORT_RESET, abi.RESET_VALUE)


def test_a_panic_is_told_after_the_last_output(rig: Rig) -> None:
    assert rig.inp(abi.PORT_PVPANIC) == Event.PANICKED | Event.CRASH_LOADED
    rig.port(UART, 1, b"bye", write=True)
    with pytest.raises(PoweredOff, match="PANICKED"):
        rig.out(abi.PORT_PVPANIC, Event.PANICKED)
    assert b"".join(rig.output) == b"bye"


def test_a_panic_that_a_crash_kernel_takes_care_of_is_told_once(rig: Rig) -> None:
    for _ in range(3):
        rig.out(abi.PORT_PVPANIC, Event.CRASH_LOADED)
    assert rig.told == [PVPANIC.notice]
    with pytest.raises(PoweredOff, match="PANICKED"):
        rig.out(abi.PORT_PVPANIC, Event.PANICKED)


def test_a_console_that_never_writes_does_not_keep_the_machine_on(rig: Rig) -> None:
    rig.ring.inline = False
    rig.port(UART, 1, b"bye\n", write=True)
    rig.step = 1_000_000
    with pytest.raises(PoweredOff, match="OFF"):
        rig.out(abi.PORT_SLEEP_CONTROL, 5 << 2 | 1 << 5)
    assert rig.now > 2_000_000_000


# ---- statistics ----------------------------------------------------------------------------


def test_traps_are_counted_by_address_and_kind(rig: Rig) -> None:
    for _ in range(3):
        rig.inp(UART + 5)
    rig.out(UART + 7, 1)
    rig.read(abi.ECAM)
    rig.read(abi.ECAM + 0x8000)
    rig.end_of_interrupt(0x55)
    counts = {
        (trap.address, trap.kind): trap.count for trap in rig.shared.statistics.traps if trap.count
    }
    assert counts == {
        (UART + 5, abi.TrapKind.PORT): 3,
        (UART + 7, abi.TrapKind.PORT | abi.TrapKind.WRITE): 1,
        (abi.ECAM, abi.TrapKind.MEMORY): 2,
        (0x55, abi.TrapKind.EOI): 1,
    }


def test_traps_that_find_no_place_are_counted_together() -> None:
    statistics = abi.Statistics()
    for address in range(4 * abi.TRAP_COUNTS):
        count_trap(statistics, address * 4096, abi.TrapKind.MEMORY)
    listed = sum(trap.count for trap in statistics.traps)
    assert listed + statistics.traps_elsewhere == 4 * abi.TRAP_COUNTS
    assert statistics.traps_elsewhere > 0
    assert listed > abi.TRAP_COUNTS // 2


def test_all_state_fits_the_rings_buffer() -> None:
    assert ctypes.sizeof(Machine) <= abi.STATE_SIZE
