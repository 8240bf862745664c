"""How clocks go on, against a KVM that is a few numbers."""

import errno
import struct
import time
from collections.abc import Sequence

import pytest

from vestige.host.kvm.cpu_state import TSC_DEADLINE
from vestige.host.kvm.requests import DeviceAttribute, Request
from vestige.host.loop import clocks as module
from vestige.host.loop import failure
from vestige.host.loop.clocks import HOST_TSC, Clocks, Register, Time
from vestige.host.loop.runloop import Leave, Loop
from vestige.lang.intrinsics import address_of, load64, store64

VM, GUEST, OTHER_GUEST, MONITOR, WORKER = 600, 601, 602, 603, 604
GUESTS, MONITORS = (GUEST, OTHER_GUEST), (MONITOR, WORKER)
KHZ, MILLISECOND = 2_000_000, 1_000_000  # a period is half a ns
HOST, FROZEN_HOST = 9_000_000_000, 5_000_000_000  # the host's TSC
NS = 40_000_000_000  # of the guest's clock when it was frozen
SHOWN, OFFSET = 3_000_000_000, -2_000_000_000  # a guest's TSC then, from the host's
MONITORS_SHOWN = 7_000_000_000
APIC, STILL_APIC, DEADLINE, NO_DEADLINE, EVENTS = 0x1000, 0x2000, 0x3000, 0x4000, 0x5000
TAKES = 250  # ns of the guest's clock until it is read back
ALL_BITS = (1 << 64) - 1


class Kvm:
    """Answers what is asked of it, and knows what it was told."""

    def __init__(self) -> None:
        self.ns = 0
        self.offsets = dict.fromkeys((*GUESTS, *MONITORS), -HOST)
        self.registers: dict[int, int] = {}  # TSCs that were written
        self.told: list[tuple[int, Request, int]] = []  # but for clocks and TSCs
        self.closed: list[int] = []
        self.tells_host = self.has_offsets = True
        self.refuses: dict[Request, int] = {}  # answers
        self.interrupts = 0  # so many of what follows
        self.now = 0  # CLOCK_REALTIME

    def syscall(self, number: int, descriptor: int, request: int, place: int, *_: int) -> int:
        if number == module.SYS_CLOSE:
            self.closed.append(descriptor)
            return 0
        if number == module.SYS_CLOCK_GETTIME:
            assert descriptor == time.CLOCK_REALTIME
            seconds, ns = divmod(self.now, 1_000_000_000)
            store64(request, seconds)
            store64(request + 8, ns)
            return 0
        assert number == module.SYS_IOCTL
        if self.interrupts:
            self.interrupts -= 1
            return -errno.EINTR
        if (answer := self.refuses.get(Request(request))) is not None:
            return answer
        return self.ask(descriptor, Request(request), place)

    def ask(self, descriptor: int, request: Request, place: int) -> int:
        match request:
            case Request.SET_CLOCK:
                assert descriptor == VM
                assert Time.at(place).flags == 0
                self.ns = Time.at(place).ns
            case Request.GET_CLOCK:
                assert descriptor == VM
                Time.at(place).ns = self.ns + TAKES
                if self.tells_host:
                    Time.at(place).flags, Time.at(place).host_tsc = HOST_TSC, HOST
            case Request.SET_DEVICE_ATTR | Request.GET_DEVICE_ATTR:
                return self.attribute(descriptor, request, DeviceAttribute.at(place))
            case Request.GET_MSRS:
                assert (Register.at(place).count, Register.at(place).number) == (1, 0x10)
                Register.at(place).value = self.shown(descriptor)
                return 1
            case Request.SET_MSRS if place not in (DEADLINE, NO_DEADLINE):
                assert (Register.at(place).count, Register.at(place).number) == (1, 0x10)
                self.registers[descriptor] = Register.at(place).value
                return 1
            case _:
                self.told.append((descriptor, request, place))
                return int(request == Request.SET_MSRS)
        return 0

    def attribute(self, descriptor: int, request: Request, asked: DeviceAttribute) -> int:
        assert (asked.flags, asked.group, asked.attribute) == (0, 0, 0)
        if not self.has_offsets:
            return -errno.ENXIO
        if request == Request.GET_DEVICE_ATTR:
            store64(asked.address, self.offsets[descriptor] & ALL_BITS)
        else:
            self.offsets[descriptor] = load64(asked.address)
        return 0

    def shown(self, cpu: int) -> int:
        """Its TSC, now."""
        return HOST + self.offsets[cpu] & ALL_BITS


@pytest.fixture
def kvm(monkeypatch: pytest.MonkeyPatch) -> Kvm:
    made = Kvm()
    monkeypatch.setattr(module, "syscall", made.syscall)
    return made


@pytest.fixture
def clocks() -> Clocks:
    made = Clocks(vm=VM, khz=KHZ, monitor_tsc=MONITORS_SHOWN, alike=1)
    made.frozen = Time(ns=NS, flags=HOST_TSC, host_tsc=FROZEN_HOST)
    made.count = len((*GUESTS, *MONITORS))
    for number, cpu in enumerate((*GUESTS, *MONITORS)):
        counter = made.counters[number]
        counter.cpu, counter.register = cpu, Register(count=1, number=0x10)
        counter.attribute = DeviceAttribute(address=address_of(counter.moved))
        if cpu in GUESTS:
            counter.is_guests, counter.has_offset = 1, 1
            counter.tsc, counter.offset = SHOWN, OFFSET
    return made


def test_no_time_has_passed_since_it_was_frozen(kvm: Kvm, clocks: Clocks) -> None:
    kvm.interrupts = 3
    assert clocks.go_on()
    assert kvm.ns == NS
    # The guest's TSC and its clock have gone on alike: two periods for each ns.
    assert [kvm.shown(cpu) for cpu in GUESTS] == [SHOWN + 2 * TAKES] * 2
    assert [kvm.shown(cpu) for cpu in MONITORS] == [MONITORS_SHOWN] * 2
    assert not kvm.told
    assert not kvm.registers


@pytest.mark.parametrize("frozen", [0, 3 * MILLISECOND, 400 * 86400 * 1000 * MILLISECOND])
def test_all_are_later_where_time_jumps(kvm: Kvm, clocks: Clocks, frozen: int) -> None:
    clocks.jumps, clocks.realtime = 1, 1_700_000_000_123_456_789
    kvm.now = clocks.realtime + frozen
    assert clocks.go_on()
    assert kvm.ns == NS + frozen
    assert kvm.shown(GUEST) == SHOWN + 2 * (frozen + TAKES) & ALL_BITS
    assert kvm.shown(WORKER) == MONITORS_SHOWN + 2 * frozen
    forgiven = [(cpu, Request.KVMCLOCK_CTRL, 0) for cpu in GUESTS]
    assert kvm.told == (forgiven if frozen else [])


def test_none_goes_back_where_the_hosts_date_was_set_back(kvm: Kvm, clocks: Clocks) -> None:
    clocks.jumps, clocks.realtime, kvm.now = 1, 5_000_000_000, 4_000_000_000
    assert clocks.go_on()
    assert kvm.ns == NS
    assert not kvm.told


@pytest.mark.parametrize("lacks", ["now", "then", "of a CPU"])
def test_where_kvm_does_not_tell_of_the_hosts_tsc_a_guests_are_set_by_their_register(
    kvm: Kvm, clocks: Clocks, lacks: str
) -> None:
    kvm.tells_host = lacks != "now"
    clocks.frozen.flags = 0 if lacks == "then" else HOST_TSC
    for counter in clocks.counters:
        counter.has_offset &= lacks != "of a CPU"
    assert clocks.go_on()
    assert kvm.registers == dict.fromkeys(GUESTS, SHOWN + 2 * TAKES)
    assert [kvm.shown(cpu) for cpu in MONITORS] == [MONITORS_SHOWN] * 2


def test_a_monitors_go_by_what_they_show_where_the_host_counts_otherwise(
    kvm: Kvm, clocks: Clocks
) -> None:
    clocks.alike = 0
    kvm.offsets[WORKER] = 12345
    assert clocks.go_on()
    assert [kvm.shown(cpu) for cpu in MONITORS] == [MONITORS_SHOWN] * 2


def test_where_kvm_has_no_offsets_all_are_set_by_their_register(kvm: Kvm, clocks: Clocks) -> None:
    kvm.has_offsets = False
    assert clocks.go_on()
    assert kvm.registers == dict.fromkeys(GUESTS, SHOWN + 2 * TAKES) | dict.fromkeys(
        MONITORS, MONITORS_SHOWN
    )


def timers(cpu: int, places: Sequence[tuple[Request, int]]) -> list[tuple[int, Request, int]]:
    return [(cpu, request, place) for request, place in places]


def test_what_is_counted_by_a_tsc_is_set_behind_it_and_rests_again(
    kvm: Kvm, clocks: Clocks
) -> None:
    counter = clocks.counters[1]
    counter.local_apic, counter.still_local_apic = APIC, STILL_APIC
    counter.deadline, counter.no_deadline, counter.events = DEADLINE, NO_DEADLINE, EVENTS
    assert clocks.go_on()
    assert kvm.told == timers(
        OTHER_GUEST,
        [
            (Request.SET_LAPIC, APIC),
            (Request.SET_MSRS, DEADLINE),
            (Request.SET_VCPU_EVENTS, EVENTS),
        ],
    )
    kvm.told.clear()
    assert clocks.rest()
    assert kvm.told == timers(
        OTHER_GUEST,
        [
            (Request.SET_MSRS, NO_DEADLINE),
            (Request.SET_LAPIC, STILL_APIC),
        ],
    )


@pytest.mark.parametrize(
    ("request_", "answer", "error"),
    [
        (Request.SET_CLOCK, -errno.EINVAL, errno.EINVAL),
        (Request.GET_CLOCK, -errno.EIO, errno.EIO),
        (Request.SET_LAPIC, -errno.EINVAL, errno.EINVAL),
        (Request.SET_MSRS, -errno.EFAULT, errno.EFAULT),
        (Request.SET_MSRS, 0, errno.EINVAL),  # as KVM answers for a value that it refuses
        (Request.SET_VCPU_EVENTS, -errno.EINVAL, errno.EINVAL),
    ],
)
def test_what_kvm_refuses_is_told(
    kvm: Kvm, clocks: Clocks, request_: Request, answer: int, error: int
) -> None:
    counter = clocks.counters[0]
    counter.local_apic, counter.deadline, counter.events = APIC, DEADLINE, EVENTS
    kvm.refuses[request_] = answer
    assert not clocks.go_on()
    assert (clocks.failed, clocks.error) == (request_, error)
    loop = Loop(reason=clocks.failed, error=clocks.error)
    line = failure.left(Leave.CLOCK_ERROR, loop, "CPU 0", None, None)
    assert line.startswith(f"a thawed guest's clocks can't go on: KVM_{request_.name}: ")


def test_nothing_is_left_by_which_state_could_be_set(kvm: Kvm, clocks: Clocks) -> None:
    clocks.close()
    assert kvm.closed == [VM, *GUESTS, *MONITORS]


def test_a_register_is_as_kvm_takes_it() -> None:
    register = Register(count=1, number=TSC_DEADLINE, value=7)
    assert bytes(register) == struct.pack("<I4xI4xQ", 1, TSC_DEADLINE, 7)
