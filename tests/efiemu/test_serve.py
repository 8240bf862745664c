"""Exits of the guest that are no accesses: what interrupts it, and what ends it."""

import ctypes
import random
from collections.abc import Iterator

import pytest

from tests.devices.fuzzing import Limit
from tests.efiemu.fuzz_exits import fuzz
from tests.efiemu.machine import Taken, taken
from vestige.efiemu.shell import uefi
from vestige.efiemu.shell.vmcb import Exit
from vestige.lang.intrinsics import OnlyInAVm

INVALID_OPCODE, NMI, INTERRUPT = 0x8000_0306, 0x8000_0202, 0x8000_0036  # events
DOUBLE_FAULT = 0x8000_0B08
IRET_INTERCEPT, TRAP, DEBUG = 1 << 20, 1 << 8, 0x8000_0301
INSW, IN = b"\x6d", 1
OUTPUT_STRING, COMES_BACK = 0x7777_0000, Exit.EXCEPTION + 13


@pytest.fixture
def machine() -> Iterator[Taken]:
    with taken() as machine:
        machine.vmcb.cr0 = 1
        machine.wait(200)
        yield machine


def test_instructions_of_svm_are_undefined(machine: Taken) -> None:
    for code in (Exit.INVLPGA, Exit.VMRUN, Exit.SKINIT):
        machine.leave(code)
        assert machine.vmcb.injected == INVALID_OPCODE


def test_what_an_exit_has_interrupted_is_put_back(machine: Taken) -> None:
    machine.vmcb.flags = 1 << 9
    machine.vmcb.interrupted = INTERRUPT
    machine.leave(Exit.SMI)
    assert machine.vmcb.injected == INTERRUPT
    machine.vmcb.interrupted = 0
    machine.leave(Exit.SMI)
    assert machine.vmcb.injected == 0


def test_an_nmi_in_an_nmi_waits_for_the_iret(machine: Taken) -> None:
    vmcb = machine.vmcb
    machine.leave(Exit.NMI)
    assert (vmcb.injected, vmcb.intercepts & IRET_INTERCEPT) == (NMI, IRET_INTERCEPT)
    machine.leave(Exit.NMI)
    assert vmcb.injected == 0
    vmcb.instruction = 0x2000
    machine.leave(Exit.IRET)
    assert (vmcb.injected, vmcb.intercepts & IRET_INTERCEPT) == (0, 0)
    assert vmcb.flags & TRAP
    vmcb.instruction, vmcb.flags = 0x1000, 0
    machine.leave(Exit.DEBUG)
    assert vmcb.injected == NMI


def test_a_guest_that_steps_gets_its_trap_behind_what_was_done_for_it(machine: Taken) -> None:
    machine.vmcb.flags = TRAP
    machine.inp(0x1F7)
    assert machine.vmcb.injected == DEBUG


def test_a_fault_of_a_string_is_the_guests(machine: Taken) -> None:
    machine.vmcb.cr0 = 0
    machine.shell.guest.number[7] = 0xFFFF
    machine.string(0x1F0, 2, INSW, IN)
    assert machine.vmcb.injected == 0x8000_030D, "without an error code, in real mode"
    assert machine.vmcb.instruction == 0x1000


def test_a_string_into_a_device_ends_the_machine_with_a_line(machine: Taken) -> None:
    machine.shell.guest.number[7] = 0x10
    machine.vmcb.es.base = 0xB000_0000
    with pytest.raises(OnlyInAVm):
        machine.string(0x1F0, 2, INSW, IN)
    line = "".join(chr(machine.shell.line[at]) for at in range(machine.shell.length))
    assert line.startswith(
        "efiemu: PANIC: the guest's instruction can't be done that is at 0000000000001000, address"
        " 00000000b0000010, bytes 6d"
    )


@pytest.mark.parametrize("end", [COMES_BACK, Exit.SHUTDOWN])
def test_a_firmware_at_a_port_says_that_the_monitor_failed(
    machine: Taken, monkeypatch: pytest.MonkeyPatch, end: int
) -> None:
    protocol, stack = (ctypes.c_uint64 * 4)(), (ctypes.c_uint64 * 64)()
    protocol[uefi.OUTPUT_STRING // 8] = OUTPUT_STRING
    machine.shell.output = ctypes.addressof(protocol)
    machine.vmcb.stack = ctypes.addressof(stack) + 512
    machine.vmcb.efer, machine.vmcb.cs.attributes, machine.vmcb.flags = 1 << 10, 1 << 9, 1 << 9
    entered, exits, run_monitor = [], iter((Exit.SMI, end)), machine.run_guest

    def run_guest(vmcb: int, registers: int) -> None:
        if vmcb != machine.shell.vmcb:
            run_monitor(vmcb, registers)
            return
        entered.append((machine.vmcb.instruction, machine.vmcb.exceptions))
        machine.vmcb.exit = next(exits)

    monkeypatch.setattr(machine, "run_guest", run_guest)
    machine.interrupt_monitor(Exit.SHUTDOWN)
    with pytest.raises(OnlyInAVm, match="wait_for_interrupt"):
        machine.inp(0x1F7)
    assert entered == 2 * [(OUTPUT_STRING, 1 << 13)]
    sent = bytes(value for what, port, _, value in machine.real if (what, port) == ("out", 0x3F8))
    assert sent.startswith(b"efiemu: PANIC: the monitor failed at ")
    assert not [port for _, port, *_ in machine.real if port == 0xCF9], "no reset"


def test_a_processor_that_shuts_down_resets_the_machine(machine: Taken) -> None:
    with pytest.raises(OnlyInAVm, match="wait_for_interrupt"):
        machine.leave(Exit.SHUTDOWN)
    assert machine.real == [("out", 0xCF9, 1, 2), ("out", 0xCF9, 1, 6)]


def test_a_third_fault_does_so_too(machine: Taken) -> None:
    machine.vmcb.interrupted = DOUBLE_FAULT
    machine.shell.guest.number[7] = 0xFFFF
    with pytest.raises(OnlyInAVm, match="wait_for_interrupt"):
        machine.string(0x1F0, 2, INSW, IN)
    assert machine.real == [("out", 0xCF9, 1, 2), ("out", 0xCF9, 1, 6)]


def test_guests_that_do_anything() -> None:
    assert fuzz(Limit(1500), random.Random(13)) == (1500, None)
