"""Payload guests on real KVM: forwarding, doorbells, queued writes, the ring, isolation, ends."""

import ctypes
import errno
import fcntl
import io
import json
import mmap
import os
import re
import resource
import signal
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.host import guest_payload as guests
from tests.host.guest_payload import Report
from tests.host.harness import Payload, why_not
from tests.host.monitor_payload import DISK_DATA, FLOOD, GUEST_VECTOR, MMIO_ANSWER, Port
from vestige import abi
from vestige.errors import GuestError
from vestige.host.kvm import api as kvm
from vestige.host.kvm.memory import PRIVATE_SIZE
from vestige.host.kvm.vm import coalesced_page
from vestige.host.loop import statistics, wait
from vestige.host.loop.runloop import LOOK_AFTER, Loop
from vestige.host.standard_error import PATIENCE, StandardError

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


@pytest.fixture
def start() -> Iterator[Callable[..., Payload]]:
    """Makes payloads, and closes them."""
    made: list[Payload] = []

    def make(function: Callable[[Report], None], **options: int) -> Payload:
        made.append(Payload(function, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for payload in reversed(made):
        payload.close()


Start = Callable[..., Payload]


def ending(payload: Payload) -> str:
    """The one line a failing guest ends with."""
    with pytest.raises(GuestError) as error:
        payload.run()
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- forwarding --------------------------------------------------------------------------------


@pytest.mark.parametrize("interpreted", [False, True])
def test_traps_are_answered_by_the_monitor_unseen_by_the_host(
    start: Start, interpreted: bool
) -> None:
    payload = start(guests.echoes, interpreted=interpreted)
    assert payload.run() == 0
    assert payload.report.values[0] == sum(number * 7 % 256 + 1 for number in range(20))
    loop = payload.session.threads[0].loop
    assert loop.forwards == loop.exits[kvm.Exit.IO] == 41
    assert loop.calls[abi.Call.DONE] == 41  # the first entry's, and one for all but POWER
    assert loop.calls[abi.Call.POWER] == 1


def test_a_guest_with_memory_above_4_gib_shares_it_with_the_monitor(start: Start) -> None:
    payload = start(guests.high_memory, memory=3 * abi.GIB + 64 * abi.MIB)
    assert payload.run() == 0
    assert list(payload.report.values)[:2] == [0x3A, 0x5C]


def test_a_guest_with_little_memory_has_none_above_4_gib(start: Start) -> None:
    assert "page fault (error code 0x4, address 0x100000000)" in ending(start(guests.high_memory))


@pytest.mark.parametrize("cpus", [2, 32])
def test_other_cpus_start_by_init_and_sipi(start: Start, cpus: int) -> None:
    payload = start(guests.start_others, cpus=cpus, command=cpus - 1)
    assert payload.run() == 0
    assert payload.report.values[0] == GUEST_VECTOR


def test_a_region_is_where_the_monitor_shows_it_and_nowhere_else(start: Start) -> None:
    payload = start(guests.map_region, regions=True)
    assert payload.run() == 0
    told = [0x3A, 0x5C, 0x5C, MMIO_ANSWER, errno.EINVAL, 0x5C, MMIO_ANSWER, 0]
    assert list(payload.report.values)[: len(told)] == told


def test_the_window_shows_ram_or_nothing_or_a_part_of_a_region(start: Start) -> None:
    payload = start(guests.show_window, regions=True)
    assert payload.run() == 0
    told = [MMIO_ANSWER, abi.WINDOW + 5 + 1, 0x77, 0x5C, 0, 0x3B, 0x3C, 0x3A]
    assert list(payload.report.values)[: len(told)] == told


# ---- interrupts, queued writes, ring -------------------------------------------------------------


def test_a_doorbell_interrupts_the_guest_without_an_exit(start: Start) -> None:
    payload = start(guests.doorbell)
    assert payload.run() == 0
    assert payload.report.values[0] == 3
    loop = payload.session.threads[0].loop
    assert loop.calls[abi.Call.ROUTE] == 2
    assert sum(loop.calls) == loop.forwards + 1 + 2


def test_queued_writes_reach_the_monitor_in_order_without_exits(start: Start) -> None:
    payload = start(guests.coalesced)
    if not payload.twin.private.shared().config.coalesced:
        pytest.skip("this KVM has no KVM_CAP_COALESCED_PIO")
    assert payload.run() == 0
    writes = [(abi.PORT_PCI_ADDRESS, 0x8000_0800)]
    writes += [(abi.PORT_IDE + register, register * 16) for register in range(1, 7)]
    assert payload.report.values[0] == sum(sum(write) for write in writes) % 2**32
    loop = payload.session.threads[0].loop
    # 400 writes overflow a ring of 169. Linux 6.1 finds it full after 85 when its index wraps:
    # it counts the room modulo 170 in 32 bits (coalesced_mmio_has_room).
    assert loop.exits[kvm.Exit.IO] <= 3 + 400 - 85


@pytest.mark.parametrize("closed", [False, True])
def test_a_queue_that_the_monitor_has_closed_takes_no_writes(start: Start, closed: bool) -> None:
    payload = start(guests.five_writes)
    if not payload.twin.private.shared().config.coalesced:
        pytest.skip("this KVM has no KVM_CAP_COALESCED_PIO")
    page = coalesced_page(payload.system) * mmap.PAGESIZE
    ring = abi.CoalescedRing.at(payload.twin.guest.cpus[0].run_address + page)
    if closed:
        ring.last = abi.COALESCED_CLOSED
    assert payload.run() == 0
    assert payload.session.threads[0].loop.exits[kvm.Exit.IO] == (6 if closed else 1)
    assert ring.last == (abi.COALESCED_CLOSED if closed else 5)


def test_the_ring_reads_a_disk_into_guest_ram_and_wakes_the_worker(start: Start) -> None:
    file = os.memfd_create("disk")
    os.pwrite(file, b"sector three" + bytes(500), 3 * 512)
    payload = start(guests.read_disk, files=[file])
    assert payload.run() == 0
    assert payload.report.values[0] == 512
    assert bytes(payload.memory.region.view[DISK_DATA : DISK_DATA + 12]) == b"sector three"
    assert payload.twin.private.shared().statistics.worker_wakeups >= 1
    assert payload.session.threads[0].loop.calls[abi.Call.KICK] == 1


@pytest.mark.parametrize("polled", [False, True])
@pytest.mark.parametrize("answered", [False, True])
def test_a_monitor_that_floods_its_ring_ends_its_own_guest_with_one_line(
    start: Start, polled: bool, answered: bool
) -> None:
    """By reads that are never answered, or answers that are never taken."""
    read, write = os.pipe()
    file = os.open("/dev/zero", os.O_RDONLY) if answered else read
    flood = command(Port.FLOOD, int(polled))
    payload = start(guests.one_command, command=flood, files=[file], polled=polled)
    message = ending(payload)
    found = re.match(r"the monitor has (\d+) operations under way in its ring, where 512", message)
    assert found, message
    if not polled:
        assert int(found[1]) <= LOOK_AFTER + 512
    for each in {read, write, file}:
        os.close(each)


# ---- what the guest can't reach ------------------------------------------------------------------


def test_every_page_of_the_monitors_memory_is_nothing_to_the_guest(start: Start) -> None:
    pages = (abi.RING_ENTRIES + 2 * abi.MIB - abi.IMAGE) // 4096
    payload = start(guests.touch_everything, command=pages)
    private = payload.twin.private.region.view
    before = bytes(private[: abi.STATE - abi.IMAGE])
    assert payload.run() == 0
    assert list(payload.report.values)[:2] == [0, pages]
    assert payload.session.threads[0].loop.exits[kvm.Exit.MMIO] == 2 * pages
    assert bytes(private[: abi.SHARED - abi.IMAGE]) == before[: abi.SHARED - abi.IMAGE]


def test_the_monitor_sees_no_other_address_of_the_host(start: Start) -> None:
    file = os.memfd_create("disk")
    payload = start(guests.read_disk, files=[file])
    assert payload.run() == 0
    twin = payload.twin
    own = [(payload.memory.region.address, payload.memory.size)]
    own += [(twin.private.region.address, PRIVATE_SIZE)]
    others = [each for each in mappings() if not any(a <= each[0] < a + size for a, size in own)]
    runs = [(cpu.run_address, cpu.run_size) for cpu in twin.guest.cpus]
    seen = [(twin.private.region.address, PRIVATE_SIZE), *runs]
    seen += [(host, size) for ring in twin._rings for _, size, host in ring.mappings()]
    words = {word for address, size in seen for word in words_at(address, size)}
    assert payload.memory.region.address in words  # which the ring needs
    assert [hex(word) for word in words if any(a <= word < b for a, b in others)] == []


def mappings() -> list[tuple[int, int]]:
    """First address and end of all that this process has mapped above 4 GiB."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    found = [tuple(int(word, 16) for word in line.split()[0].split("-")) for line in lines]
    return [(first, end) for first, end in found if first >= 1 << 32]


def words_at(address: int, size: int) -> set[int]:
    """The words of 64 bits there."""
    data = ctypes.string_at(address, size)
    return set(array("Q", data))


@pytest.mark.parametrize(
    "word",
    [0, 1, 36, 37, 38],  # immediate_exit, exit_reason, kvm_valid_regs, kvm_dirty_regs, registers
)
def test_the_words_of_kvm_run_that_are_orders_are_not_the_monitors_to_write(
    start: Start, word: int
) -> None:
    message = ending(start(guests.one_command, command=command(Port.WRITE_RUN, word)))
    assert re.search(r"the monitor left without a call \(MMIO, RIP 0xc0", message), message


# ---- how it ends ---------------------------------------------------------------------------------


def command(port: int, value: int = 0) -> int:
    return port | value << 16


@pytest.mark.parametrize(
    ("port", "value", "line"),
    [
        (Port.FAIL_CHECK, 7, r"monitor_payload.py:\d+: check"),
        (Port.PAGE_FAULT, 1, r"monitor_payload.py:\d+: page fault .*address 0x700000000000"),
        (Port.WRITE_CODE, 1, r"monitor_payload.py:\d+: page fault .*address 0xc0000000"),
        (Port.WRITE_TABLES, 1, r"monitor_payload.py:\d+: page fault .*address 0xc3000000"),
        (Port.DIVIDE, 0, r"monitor_payload.py:\d+: .*zero"),
        (Port.UNKNOWN_CALL, 0, r"the monitor made call 119, which there isn't"),
        (Port.LEAVE, 0, r"the monitor left without a call \(IO, RIP 0xc0"),
    ],
)
def test_a_failing_monitor_ends_its_own_guest_with_one_line(
    start: Start, port: int, value: int, line: str
) -> None:

    payload = start(guests.one_command, command=command(port, value))
    message = ending(payload)
    assert re.search(line, message), message
    payload.close()
    other = start(guests.echoes)
    assert other.run() == 0


def test_a_triple_fault_is_told_with_its_place(start: Start) -> None:
    payload = start(guests.triple_fault, interrupts=False)
    assert payload.run() == wait.RESET
    outcome = payload.session.outcome
    assert outcome is not None
    place = r"RIP 0x10[0-9a-f]{4}|this processor doesn't say where"  # the latter: AMD
    assert re.fullmatch(rf"the guest had a triple fault on CPU 0 \(({place})\)", outcome.fault)


def test_a_reset_is_told_as_one(start: Start) -> None:
    assert start(guests.reset).run() == wait.RESET


def test_the_monitors_log_is_bounded_and_escaped(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    payload = start(guests.one_command, command=command(Port.LOG, 20))
    assert payload.run() == 0
    assert capsys.readouterr().err == "vestige: monitor: \\x1bBCDEFGHIJKLMNOPQRST\n"
    payload = start(guests.one_command, command=command(Port.LOG, 255))
    assert payload.run() == 0
    assert len(capsys.readouterr().err) < 5000


def test_routes_without_a_descriptor_end_the_guest_by_one_line(start: Start) -> None:
    payload = start(guests.route_everything)
    made = statistics.Counters()
    open_now = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 20, hard))
    try:
        line = ending(payload)
        counters = json.loads(made.text_of(payload.session, 0.0, 0))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(made._status)
    assert re.fullmatch(
        r"a doorbell: Too many open files; RLIMIT_NOFILE allows \d+ open files, raise it:"
        r" ulimit -n 4096, serving CPU 0",
        line,
    )
    assert counters["peak_resident_bytes"] > 1 << 20


def test_a_monitor_that_logs_without_end_is_heard_so_far_and_counted(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    times = 3
    payload = start(guests.one_command, command=command(Port.LOG_FLOOD, times))
    assert payload.run() == 0
    assert payload.log.dropped + len(capsys.readouterr().err.splitlines()) == times * FLOOD
    assert payload.log.dropped > times * FLOOD // 2


def test_nobody_who_reads_what_a_monitor_logs_holds_up_no_end(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    end, far = os.pipe()
    fcntl.fcntl(far, fcntl.F_SETPIPE_SZ, 4096)
    with io.TextIOWrapper(io.FileIO(far, "w"), write_through=True) as full:
        monkeypatch.setattr(sys, "stderr", full)
        payload = start(guests.one_command, command=command(Port.LOG_FLOOD, 255))
        with StandardError() as errors:
            payload.start()
            assert payload.wait(2 * PATIENCE) == 124
            began = time.monotonic()
            payload.close()
            assert time.monotonic() - began < PATIENCE + 1
            assert errors.lost > 0
        monkeypatch.undo()
    os.close(end)


def test_a_call_for_a_gsi_that_is_not_there_does_nothing(start: Start) -> None:
    assert start(guests.one_command, command=command(Port.ROUTE, 24)).run() == 0


def test_pinning_without_a_ring_or_beyond_ram_is_answered_with_an_error(start: Start) -> None:
    payload = start(guests.one_command, command=command(Port.PIN, 200), files=[0])
    assert payload.run() == 0
    assert payload.twin.private.cpu(0).argument[0] in (errno.EINVAL, abi.Power.OFF)


@pytest.mark.parametrize(
    ("function", "port"),
    [
        (guests.sleep_for_ever, 0),
        (guests.run_for_ever, 0),
        (guests.one_command, Port.SPIN),
    ],
)
def test_the_timeout_stops_whatever_runs(
    start: Start, function: Callable[[Report], None], port: int
) -> None:
    payload = start(function, command=command(port), cpus=2)
    payload.start()
    assert payload.wait(2 * PATIENCE) == 124
    payload.session.stop()
    assert not any(each.is_running for each in payload.session.threads)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run(start: Start, number: signal.Signals) -> None:
    payload = start(guests.sleep_for_ever)
    payload.start()
    threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
    assert payload.wait() == 128 + number


def test_a_bug_in_a_thread_ends_the_run_with_a_line(start: Start) -> None:
    payload = start(guests.sleep_for_ever)
    assert payload.session.prepare()

    def fail(_loop: Loop) -> int:
        raise SystemExit  # no traceback comes of it

    payload.session._runner = fail
    payload.session.make_threads()
    payload.session.start()
    with pytest.raises(GuestError, match="the host failed, serving"):
        payload.wait()


def test_a_worker_is_woken_by_what_came_before_its_thread(start: Start) -> None:
    payload = start(guests.sleep_for_ever)
    statistics_ = payload.twin.private.shared().statistics
    eventfd = os.eventfd(0, os.EFD_NONBLOCK)
    try:
        payload.twin.monitor.connect_interrupt(abi.Irq.VIRTIO, eventfd)
        assert payload.session.prepare()
        assert statistics_.worker_wakeups == 0
        os.eventfd_write(eventfd, 1)
        payload.session.make_threads()
        payload.session.start()
        assert payload.wait(2 * PATIENCE) == 124
        assert statistics_.worker_wakeups == 1
    finally:
        os.close(eventfd)


def test_threads_wait_for_the_guests_start(start: Start) -> None:
    payload = start(guests.echoes, cpus=2)
    assert payload.session.prepare()
    payload.session.make_threads()
    threads = payload.session.threads
    assert all(each.is_running for each in threads)
    assert [sum(each.loop.exits) for each in threads] == [0] * len(threads)
    payload.session.start()
    payload.session.start()
    assert payload.wait() == 0
    assert sum(threads[0].loop.exits) > 0


def test_threads_that_wait_for_the_guests_start_can_be_ended(start: Start) -> None:
    payload = start(guests.run_for_ever, cpus=2)
    assert payload.session.prepare()
    payload.session.make_threads()
    payload.session.stop()
    assert not any(each.is_running for each in payload.session.threads)
    assert payload.session.outcome is None


def test_closing_leaves_no_thread_and_no_descriptor() -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    with closing(Payload(guests.echoes)):
        pass
    before = descriptors()
    with closing(Payload(guests.sleep_for_ever, cpus=2, files=[0])) as payload:
        payload.start()
    assert not any(each.is_running for each in payload.session.threads)
    assert descriptors() == before


def test_statistics_hold_what_was_counted(start: Start) -> None:
    payload = start(guests.echoes)
    assert payload.run() == 0
    payload.session.threads[0].loop.calls[abi.CALLS - 1] = 3
    made = statistics.Counters()
    text = made.text_of(payload.session, 12.34, 2)
    os.close(made._status)
    assert text.isascii()
    counters = json.loads(text)
    assert counters["guest_exits"] == {"IO": 41}
    assert counters["forwards"] == 41
    assert counters["host_calls"] == {"DONE": 41, "POWER": 1, "MAP": 3}
    assert counters["milliseconds_to_first_instruction"] == 12.3
    assert counters["restarts"] == 2
    assert counters["peak_resident_bytes"] > 1 << 20


def test_statistics_are_told_whatever_the_monitor_made_of_its_config(start: Start) -> None:
    payload = start(guests.echoes)
    assert payload.run() == 0
    config = payload.twin.private.shared().config
    config.homes[0], config.shares[0] = 200, 0
    assert statistics.collect(payload.session, 0)["virtio"] == []
