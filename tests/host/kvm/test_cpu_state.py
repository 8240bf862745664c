"""What of a vCPU's frozen state is left for its clocks; KVM itself is in freeze/test_runs.py."""

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest

from vestige.host.kvm import api as kvm
from vestige.host.kvm import cpu_state
from vestige.host.kvm.cpu_state import (
    APIC_REGISTER,
    EVENTS,
    LOCAL_APIC,
    TIMER_COUNT,
    TIMER_LEFT,
    TSC_DEADLINE,
    Waiting,
)
from vestige.host.loop.clocks import Counter, Register

OFFSET, TSC, ALL = 123, 456, (1 << len(cpu_state.PARTS)) - 1


def state(*, deadline: int = 0, left: int = 0) -> bytes:
    """Of a vCPU with some state in each part."""
    data = bytearray(b"\x11" * cpu_state.SIZE)
    cpu_state.HEAD.pack_into(data, 0, ALL, 1, OFFSET, 2)
    registers = (cpu_state.TSC, TSC), (TSC_DEADLINE, deadline)
    for place, register in enumerate(registers):
        cpu_state.MSR.pack_into(data, cpu_state.HEAD.size + place * cpu_state.MSR.size, *register)
    for register_ in (TIMER_COUNT, TIMER_LEFT):
        place = LOCAL_APIC.place + register_
        data[place : place + APIC_REGISTER] = left.to_bytes(APIC_REGISTER, "little")
    return bytes(data)


def waiting(monkeypatch: pytest.MonkeyPatch, frozen: bytes) -> tuple[Waiting, Counter]:
    monkeypatch.setattr(kvm, "call", lambda *_: 0)
    cpu: Any = SimpleNamespace(descriptor=-1, index=0)
    counter = Counter()
    return Waiting(cpu, frozen, counter), counter


def test_a_cpu_whose_timers_are_still_has_but_its_tsc(monkeypatch: pytest.MonkeyPatch) -> None:
    _, counter = waiting(monkeypatch, state())
    assert (counter.is_guests, counter.has_offset) == (1, 1)
    assert (counter.tsc, counter.offset) == (TSC, OFFSET)
    assert not any((counter.local_apic, counter.still_local_apic, counter.events))
    assert not any((counter.deadline, counter.no_deadline))


def test_a_deadline_is_set_and_what_has_rung_by_it_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frozen = state(deadline=789)
    kept, counter = waiting(monkeypatch, frozen)
    for address, value in ((counter.deadline, 789), (counter.no_deadline, 0)):
        register = Register.at(address)
        assert (register.count, register.number, register.value) == (1, TSC_DEADLINE, value)
    assert counter.local_apic == 0
    shown = ctypes.string_at(counter.still_local_apic, LOCAL_APIC.size)
    assert shown == frozen[LOCAL_APIC.place : LOCAL_APIC.place + LOCAL_APIC.size]
    assert ctypes.string_at(counter.events, EVENTS.size) == b"\x11" * EVENTS.size
    del kept


def test_a_timer_goes_on_with_what_was_left_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, counter = waiting(monkeypatch, state(left=5000))
    assert counter.deadline == 0
    for address, left in ((counter.local_apic, 5000), (counter.still_local_apic, 0)):
        for register in (TIMER_COUNT, TIMER_LEFT):
            data = ctypes.string_at(address + register, APIC_REGISTER)
            assert int.from_bytes(data, "little") == left
    assert counter.events
    del kept
