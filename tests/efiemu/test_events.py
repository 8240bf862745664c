"""What a guest is interrupted by, and when."""

import random

import pytest

from tests.efiemu.interrupting import Shell, run
from vestige.efiemu.shell.events import (
    DEBUG_INTERCEPT,
    IRET_INTERCEPT,
    WINDOW,
    WINDOW_INTERCEPT,
    Events,
)
from vestige.efiemu.shell.fault import Fault
from vestige.efiemu.shell.vmcb import Vmcb

IF, TF, RF, SHADOW, PROTECTED = 1 << 9, 1 << 8, 1 << 16, 1, 1
INTERRUPT, NMI, EXCEPTION, SOFTWARE = 0x8000_0000, 0x8000_0202, 0x8000_0300, 0x8000_0400
ERROR = 1 << 11
DE, DB, BP, UD, DF, NP, SS, GP, PF = 0, 1, 3, 6, 8, 11, 12, 13, 14
RIP = 0x1000


def guest(flags: int = IF, shadow: int = 0, *, cr0: int = PROTECTED) -> Shell:
    return Shell(Vmcb(cr0=cr0, flags=flags, shadow=shadow, instruction=RIP))


def left(shell: Shell, interrupted: int = 0, *, rip: int = RIP) -> None:
    """The guest has left."""
    shell.vmcb.injected, shell.vmcb.interrupted, shell.vmcb.instruction = 0, interrupted, rip
    shell.call(Events.take_exit)


def entered(shell: Shell) -> int:
    """What the guest is entered with."""
    assert shell.call(Events.decide)
    return shell.vmcb.injected


def test_nothing_comes_of_nothing() -> None:
    shell = guest()
    left(shell)
    assert entered(shell) == 0
    assert (shell.vmcb.intercepts, shell.vmcb.interrupt_control) == (0, 0)


def test_a_page_fault_has_its_error_code_and_cr2() -> None:
    shell = guest(shadow=SHADOW)
    shell.call(Events.raise_fault, Fault(vector=PF, error=6, address=0x1234_5000))
    assert entered(shell) == EXCEPTION | ERROR | PF | 6 << 32
    assert (shell.vmcb.cr2, shell.vmcb.shadow, shell.vmcb.flags) == (0x1234_5000, 0, IF | RF)
    left(shell)
    assert entered(shell) == 0


def test_other_exceptions_have_an_error_code_of_0_or_none() -> None:
    for vector, event in ((GP, EXCEPTION | ERROR | GP), (UD, EXCEPTION | UD)):
        shell = guest()
        shell.call(Events.raise_exception, vector)
        assert entered(shell) == event
        assert shell.vmcb.cr2 == 0
    shell = guest(cr0=0)
    shell.call(Events.raise_fault, Fault(vector=SS))
    assert entered(shell) == EXCEPTION | SS, "real mode has none"


@pytest.mark.parametrize("event", [EXCEPTION | ERROR | GP | 0x18 << 32, EXCEPTION | UD])
def test_an_exception_that_was_being_delivered_is_put_back(event: int) -> None:
    shell = guest(0)
    left(shell, event)
    assert entered(shell) == event


def test_an_interrupt_that_was_being_delivered_is_put_back_when_it_can_be() -> None:
    shell = guest()
    left(shell, INTERRUPT | 0x36)
    assert entered(shell) == INTERRUPT | 0x36
    left(shell, INTERRUPT | 0x36)
    shell.call(Events.raise_exception, GP)
    assert entered(shell) == EXCEPTION | ERROR | GP, "first the exception"
    shell.vmcb.flags = 0
    left(shell)
    assert entered(shell) == 0
    assert shell.vmcb.intercepts == WINDOW_INTERCEPT
    shell.vmcb.flags = IF
    left(shell)
    assert entered(shell) == INTERRUPT | 0x36


@pytest.mark.parametrize("event", [SOFTWARE | 0x80, EXCEPTION | BP, EXCEPTION | 4])
def test_what_an_instruction_raises_is_not(event: int) -> None:
    """INT n, INT3 and INTO are executed again."""
    shell = guest()
    left(shell, event)
    assert entered(shell) == 0


@pytest.mark.parametrize(
    ("first", "second", "event"),
    [
        (GP, GP, EXCEPTION | ERROR | DF), (DE, NP, EXCEPTION | ERROR | DF),
        (PF, GP, EXCEPTION | ERROR | DF), (PF, PF, EXCEPTION | ERROR | DF),
        (GP, PF, EXCEPTION | ERROR | PF | 5 << 32), (UD, GP, EXCEPTION | ERROR | GP | 5 << 32),
        (PF, UD, EXCEPTION | UD), (UD, PF, EXCEPTION | ERROR | PF | 5 << 32),
        (DF, UD, EXCEPTION | UD),
    ],
)  # fmt: skip
def test_two_exceptions(first: int, second: int, event: int) -> None:
    """APM volume 2, table 8-4."""
    shell = guest()
    left(shell, EXCEPTION | first)
    shell.call(Events.raise_fault, Fault(vector=second, error=5))
    assert entered(shell) == event


@pytest.mark.parametrize("second", [GP, PF])
def test_the_third_fault_shuts_it_down(second: int) -> None:
    shell = guest()
    left(shell, EXCEPTION | ERROR | DF)
    shell.call(Events.raise_fault, Fault(vector=second))
    assert not shell.call(Events.decide)


@pytest.mark.parametrize(("flags", "shadow"), [(0, 0), (IF, SHADOW)])
def test_an_interrupt_waits_for_its_window(flags: int, shadow: int) -> None:
    shell = guest(flags, shadow)
    assert shell.call(Events.raise_interrupt, 0x76)
    assert not shell.call(Events.raise_interrupt, 0x77), "one waits"
    assert entered(shell) == 0
    assert shell.vmcb.intercepts == WINDOW_INTERCEPT
    assert shell.vmcb.interrupt_control == WINDOW
    shell.vmcb.flags, shell.vmcb.shadow = IF, 0
    left(shell)
    assert entered(shell) == INTERRUPT | 0x76
    assert (shell.vmcb.intercepts, shell.vmcb.interrupt_control) == (0, 0)


def test_other_bits_beside_the_window_stay() -> None:
    shell = guest(0)
    shell.vmcb.interrupt_control, shell.vmcb.intercepts = 1 << 24 | 5, 1 << 28
    shell.vmcb.exceptions = 1 << 18
    shell.call(Events.raise_interrupt, 0x76)
    entered(shell)
    shell.vmcb.flags = IF
    left(shell)
    entered(shell)
    assert shell.vmcb.interrupt_control == 1 << 24 | 5
    assert (shell.vmcb.intercepts, shell.vmcb.exceptions) == (1 << 28, 1 << 18)


def in_nmi() -> Shell:
    """A guest that has just been given an NMI, and that leaves at its IRET."""
    shell = guest(0)
    shell.call(Events.raise_nmi)
    assert entered(shell) == NMI
    assert shell.vmcb.intercepts == IRET_INTERCEPT
    left(shell)
    return shell


def test_an_nmi_comes_first_and_needs_no_flag() -> None:
    shell = in_nmi()
    shell.call(Events.raise_nmi)
    assert entered(shell) == 0, "it is in one"


def test_nmis_are_taken_again_after_the_iret() -> None:
    shell = in_nmi()
    shell.call(Events.take_iret)
    assert entered(shell) == 0
    assert (shell.vmcb.intercepts, shell.vmcb.flags) == (0, 0)
    left(shell, rip=RIP + 0x500)
    shell.call(Events.raise_nmi)
    assert entered(shell) == NMI


def test_one_that_waits_comes_right_after_the_iret() -> None:
    shell = in_nmi()
    shell.call(Events.raise_nmi)
    shell.call(Events.take_iret)
    assert entered(shell) == 0
    assert (shell.vmcb.flags, shell.vmcb.exceptions) == (TF, DEBUG_INTERCEPT)
    shell.vmcb.flags, shell.vmcb.dr6 = IF, 1 << 14
    left(shell, rip=RIP + 0x500)
    shell.call(Events.take_debug)
    assert entered(shell) == NMI
    assert (shell.vmcb.flags, shell.vmcb.exceptions, shell.vmcb.dr6) == (IF, 0, 0)


def test_a_guest_that_steps_itself_gets_its_own_trap() -> None:
    shell = in_nmi()
    shell.vmcb.flags = TF
    shell.call(Events.raise_nmi)
    shell.call(Events.take_iret)
    entered(shell)
    shell.vmcb.dr6 = 1 << 14
    left(shell, rip=RIP + 0x500)
    shell.call(Events.take_debug)
    assert entered(shell) == EXCEPTION | DB
    assert shell.vmcb.dr6 == 1 << 14


def test_a_breakpoint_at_the_iret_is_the_guests() -> None:
    shell = in_nmi()
    shell.call(Events.raise_nmi)
    shell.call(Events.take_iret)
    entered(shell)
    shell.vmcb.dr6 = 1
    left(shell)
    shell.call(Events.take_debug)
    assert entered(shell) == EXCEPTION | DB
    assert (shell.vmcb.flags & TF, shell.vmcb.exceptions) == (0, 0)
    assert shell.vmcb.intercepts == IRET_INTERCEPT, "that IRET, or its handler's, comes again"


def test_an_nmi_that_was_being_delivered_is_put_back() -> None:
    shell = in_nmi()
    left(shell, NMI)
    assert entered(shell) == NMI
    assert shell.vmcb.intercepts == IRET_INTERCEPT


def test_a_processor_keeps_one_nmi_for_later() -> None:
    shell = guest(0)
    for _ in range(3):
        shell.call(Events.raise_nmi)
    assert shell.events.nmis == 2
    assert entered(shell) == NMI
    left(shell)
    shell.call(Events.raise_nmi)
    assert shell.events.nmis == 1


def test_a_debugger_is_told_of_an_instruction_that_was_done_for_it() -> None:
    shell = guest(IF)
    shell.call(Events.end_instruction)
    assert entered(shell) == 0
    shell = guest(IF | TF)
    shell.call(Events.end_instruction)
    assert entered(shell) == EXCEPTION | DB
    assert shell.vmcb.dr6 == 1 << 14


@pytest.mark.parametrize("seed", range(30))
def test_all_that_is_raised_comes_once_and_in_its_time(seed: int) -> None:
    run(random.Random(seed), 60)
