"""A guest's processor as far as it is interrupted, and a shell that has events for it.

The processor knows the rules of AMD64 APM volume 2, 15.20 and 15.21, by itself: it complains about
an event that it could not take. Each call is made in CPython and compiled.
"""

import random
from collections.abc import Callable
from functools import cache
from typing import Any

from tests import compiling
from vestige.efiemu.shell.events import (
    DEBUG,
    DEBUG_INTERCEPT,
    ERROR_SHIFT,
    IRET_INTERCEPT,
    TYPE_SHIFT,
    VALID,
    WINDOW,
    WINDOW_INTERCEPT,
    Events,
    Type,
)
from vestige.efiemu.shell.fault import Fault, Vector
from vestige.efiemu.shell.vmcb import Vmcb
from vestige.lang.native import NativeImage

IF, TF, SHADOW, PROTECTED = 1 << 9, 1 << 8, 1, 1
SINGLE_STEP = 1 << 14
METHODS: tuple[Callable[..., Any], ...] = (
    Events.take_exit, Events.raise_fault, Events.raise_exception, Events.end_instruction,
    Events.raise_nmi, Events.raise_interrupt, Events.take_iret, Events.take_debug, Events.decide,
)  # fmt: skip


@cache
def compiled() -> NativeImage:
    """The events' code."""
    return compiling.native(list(METHODS))


class Shell:
    """The events of one guest, and the VMCB it is entered with."""

    def __init__(self, vmcb: Vmcb) -> None:
        self.vmcb, self.events = vmcb, Events()

    def call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """One of METHODS, both ways; its first argument is the VMCB where it takes that."""
        takes_vmcb = method not in (Events.raise_nmi, Events.raise_interrupt)
        events = Events.from_buffer_copy(self.events)
        vmcb = Vmcb.from_buffer_copy(self.vmcb)
        answer = method(self.events, *([self.vmcb] * takes_vmcb), *arguments)
        native = compiled()[method.__qualname__]
        assert native(events, *([vmcb] * takes_vmcb), *arguments) == answer
        assert bytes(memoryview(events)) == bytes(memoryview(self.events))
        assert bytes(memoryview(vmcb)) == bytes(memoryview(self.vmcb))
        return answer


class Guest:
    """Handlers that begin with interrupts off and end with IRET, and what they are called for."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.vmcb = Vmcb(cr0=PROTECTED, flags=2 | IF, instruction=0x1000)
        self.frames: list[tuple[int, int]] = []  # RIP and RFLAGS
        self.masked = False  # NMIs
        self.taken: list[int] = []  # events, as injected
        self.at_iret = False  # which left, and is the next instruction

    def enter(self, quiet: bool) -> str:
        """VMRUN to #VMEXIT, whose name is the answer. A `quiet` guest leaves for nothing else."""
        vmcb, chance = self.vmcb, self.chance
        vmcb.interrupted = 0
        event, vmcb.injected = vmcb.injected, 0
        if event & VALID:
            if not quiet and chance.randrange(5) == 0:
                vmcb.interrupted = event
                return "other"
            self.deliver(event)
        for _ in range(chance.randrange(1, 40)):
            window = vmcb.interrupt_control & WINDOW == WINDOW
            if window and vmcb.flags & IF and not vmcb.shadow & SHADOW:
                assert vmcb.intercepts & WINDOW_INTERCEPT, "a virtual interrupt would be delivered"
                return "window"
            left = self.step(quiet)
            if left:
                return left
        return "other"

    def step(self, quiet: bool) -> str | None:
        """One instruction; the exit, if it leaves."""
        vmcb, chance = self.vmcb, self.chance
        stepped = vmcb.flags & TF
        shadow = 0
        match 3 if self.at_iret else chance.randrange(8):
            case 0:
                if not vmcb.flags & IF:
                    vmcb.flags |= IF
                    shadow = SHADOW
            case 1:
                if not quiet:
                    vmcb.flags &= ~IF
            case 2:
                shadow = SHADOW  # MOV SS
            case 3 | 4 if self.frames:
                self.at_iret = bool(vmcb.intercepts & IRET_INTERCEPT)
                if self.at_iret:
                    return "iret"
                vmcb.instruction, vmcb.flags = self.frames.pop()
                vmcb.instruction -= 1
                self.masked = False
        vmcb.shadow = shadow
        vmcb.instruction += 1
        if stepped:
            vmcb.dr6 |= SINGLE_STEP
            if vmcb.exceptions & DEBUG_INTERCEPT:
                return "debug"
            self.deliver(VALID | Type.EXCEPTION << TYPE_SHIFT | DEBUG)
        return None

    def deliver(self, event: int) -> None:
        """Call its handler; complain where the guest can't take it."""
        vmcb = self.vmcb
        kind = event >> TYPE_SHIFT & 7
        if kind == Type.INTERRUPT:
            assert vmcb.flags & IF, "an interrupt, and interrupts are off"
            assert not vmcb.shadow & SHADOW
        if kind == Type.NMI:
            assert not self.masked, "an NMI in an NMI"
            assert not vmcb.shadow & SHADOW
            self.masked = True
        self.frames.append((vmcb.instruction, vmcb.flags))
        self.at_iret = False
        vmcb.flags &= ~(IF | TF)
        vmcb.shadow = 0
        vmcb.instruction = 0x10_0000 + 0x1000 * len(self.taken)
        self.taken.append(event)


def handle(shell: Shell, left: str) -> None:
    """What the shell does of itself at an exit."""
    shell.call(Events.take_exit)
    if left == "iret":
        shell.call(Events.take_iret)
    elif left == "debug":
        shell.call(Events.take_debug)


def run(chance: random.Random, exits: int) -> None:
    """So many exits, at each of which something may be raised; all of it has to come, once."""
    guest = Guest(chance)
    shell = Shell(guest.vmcb)
    interrupts: list[int] = []
    nmis, vector = 0, 0x20
    for _ in range(exits):
        left = guest.enter(quiet=False)
        handle(shell, left)
        wanted = None
        match chance.randrange(6):
            case 0:
                if shell.call(Events.raise_interrupt, vector):
                    interrupts.append(vector)
                    vector = 0x20 + (vector - 0x1F) % 0xE0
            case 1:
                before = shell.events.nmis
                shell.call(Events.raise_nmi)
                nmis += shell.events.nmis - before
            case 2 if left == "other" and not guest.vmcb.interrupted & VALID:
                fault = Fault(vector=Vector.PAGE_FAULT, error=chance.randrange(32), address=vector)
                shell.call(Events.raise_fault, fault)
                wanted = VALID | 0xB00 | Vector.PAGE_FAULT | fault.error << ERROR_SHIFT
        assert shell.call(Events.decide)
        if wanted is not None:
            assert (guest.vmcb.injected, guest.vmcb.cr2) == (wanted, fault.address)
    for _ in range(3000):
        events = shell.events
        waits = events.nmis or events.interrupt or events.held or guest.vmcb.injected
        if not waits and not guest.frames:
            break
        handle(shell, guest.enter(quiet=True))
        assert shell.call(Events.decide)
    assert [event & 0xFF for event in guest.taken if not event >> TYPE_SHIFT & 7] == interrupts
    delivered = [event >> TYPE_SHIFT & 7 for event in guest.taken].count(Type.NMI)
    assert delivered == nmis, (delivered, nmis)
    assert not guest.vmcb.intercepts
    assert not guest.vmcb.exceptions
    assert not guest.vmcb.flags & TF
