"""What interrupts a guest when it is entered. AMD64 APM volume 2, 15.7.2, 15.20, 15.21 and 8.2.

All that the shell has for the guest waits here, and `decide` chooses what comes first. An exit may
have come while the processor delivered an event; that one is put back, but for what an instruction
raises that is executed again. After an NMI there is no other one until an IRET has been executed.

Limit: an NMI that waits behind MOV SS or an exception comes once interrupts are let in.
"""

from vestige.efiemu.shell.fault import Fault, Vector
from vestige.efiemu.shell.registers import RESUME, SHADOW
from vestige.efiemu.shell.vmcb import Vmcb
from vestige.lang.enumeration import IntEnum
from vestige.lang.types import Struct, u8, u32, u64

# An event, as the VMCB has it.
VALID, HAS_ERROR, TYPE_SHIFT, ERROR_SHIFT = 1 << 31, 1 << 11, 8, 32
WINDOW_INTERCEPT, IRET_INTERCEPT = 1 << 4, 1 << 20  # Vmcb.intercepts
DEBUG_INTERCEPT = 1 << 1  # Vmcb.exceptions
# Vmcb.interrupt_control: V_IRQ, of the highest priority, whatever V_TPR is; it is never delivered,
# since the exit comes first.
WINDOW = 1 << 8 | 0xF << 16 | 1 << 20
TRAP, INTERRUPTS = 1 << 8, 1 << 9  # RFLAGS
SINGLE_STEP, BREAKPOINTS = 1 << 14, 0xF  # DR6
PROTECTED = 1 << 0  # CR0
DIVIDE, DEBUG, NMI_VECTOR, BREAKPOINT, OVERFLOW = 0, 1, 2, 3, 4
# Exceptions with an error code, and those that make a double fault of two.
ERRORS = (
    Vector.DOUBLE_FAULT, Vector.INVALID_TSS, Vector.SEGMENT_NOT_PRESENT, Vector.STACK,
    Vector.GENERAL_PROTECTION, Vector.PAGE_FAULT, Vector.ALIGNMENT_CHECK,
)  # fmt: skip
CONTRIBUTORY = (
    DIVIDE, Vector.INVALID_TSS, Vector.SEGMENT_NOT_PRESENT, Vector.STACK, Vector.GENERAL_PROTECTION,
)  # fmt: skip
WAITING = 1 << 8  # beside a vector


class Type(IntEnum):
    """Of an event, 15.20."""

    INTERRUPT = 0
    NMI = 2
    EXCEPTION = 3
    SOFTWARE = 4


class Nmi(IntEnum):
    """Whether the guest can take one."""

    OPEN = 0
    BLOCKED = 1  # until an IRET
    ENDING = 2  # that IRET is the next instruction
    STEPPING = 3  # and what follows it comes back to us, since one waits


class Events(Struct):
    """Of one processor's guest."""

    delivered: u64  # the exception whose delivery the exit interrupted; 0: none
    exception: u64  # one that the guest is to have; 0: none
    address: u64  # CR2, if it is a page fault
    held: u32  # an interrupt whose delivery an exit interrupted: its vector, WAITING; 0: none
    interrupt: u32  # one that waits; the same
    nmis: u32  # that wait
    nmi: u8  # Nmi
    trap: u8  # 1: the guest had RFLAGS.TF itself when the step began
    dead: u8  # 1: a third fault, which shuts a processor down
    iret: u64  # where that IRET is

    def take_exit(self, vmcb: Vmcb) -> None:
        """After each exit, before anything is raised."""
        event = vmcb.interrupted
        vector = u8(event)
        if event & VALID:
            match event >> TYPE_SHIFT & 7:
                case Type.INTERRUPT:
                    self.held = WAITING | vector
                case Type.NMI:
                    self.nmi = Nmi.OPEN
                    self.nmis = min(self.nmis, 1) + 1
                case Type.EXCEPTION:
                    if vector not in (BREAKPOINT, OVERFLOW):
                        self.delivered = event
        if self.nmi >= Nmi.ENDING and vmcb.instruction != self.iret:
            self._open(vmcb)

    def raise_fault(self, vmcb: Vmcb, fault: Fault) -> None:
        """An exception of the instruction at which the guest left."""
        self.address = fault.address
        self._raise(vmcb, fault.vector, fault.error)

    def raise_exception(self, vmcb: Vmcb, vector: u8) -> None:
        """One whose error code, if it has one, is 0."""
        self._raise(vmcb, vector, 0)

    def end_instruction(self, vmcb: Vmcb) -> None:
        """One was done for the guest, to its end: a debugger that it has is told. 13.1.4."""
        if vmcb.flags & TRAP:
            vmcb.dr6 |= SINGLE_STEP
            self.exception = VALID | Type.EXCEPTION << TYPE_SHIFT | DEBUG

    def raise_nmi(self) -> None:
        """The guest's own. A processor keeps one for later, beside the one that it takes now."""
        most = 2 if self.nmi == Nmi.OPEN else 1
        self.nmis = min(self.nmis + 1, most)

    def raise_interrupt(self, vector: u8) -> bool:
        """An external one; False: another one waits."""
        if self.interrupt:
            return False
        self.interrupt = WAITING | vector
        return True

    def take_iret(self, vmcb: Vmcb) -> None:
        """Its exit: IRET is the next instruction, and ends what an NMI has begun."""
        self.iret, self.nmi = vmcb.instruction, Nmi.ENDING

    def take_debug(self, vmcb: Vmcb) -> None:
        """The exit of #DB, which comes while STEPPING: after the IRET, or for the guest itself."""
        wanted = self.trap != 0 or vmcb.dr6 & BREAKPOINTS != 0 or self.nmi != Nmi.OPEN
        if wanted:
            self.exception = VALID | Type.EXCEPTION << TYPE_SHIFT | DEBUG
        else:
            vmcb.dr6 &= ~SINGLE_STEP

    def decide(self, vmcb: Vmcb) -> bool:
        """What the guest is entered with; False: it has shut down."""
        event = self._next(vmcb)
        if event and self.nmi >= Nmi.ENDING:  # its handler comes before the IRET
            self._stop_stepping(vmcb)
            self.nmi = Nmi.BLOCKED
        vmcb.injected = event
        self._await(vmcb)
        return self.dead == 0

    def _next(self, vmcb: Vmcb) -> u64:
        """The event that comes now, which waits no longer; 0: none."""
        event = self.exception or self.delivered
        if event:
            if self.exception and event & 0xFF == Vector.PAGE_FAULT:
                vmcb.cr2 = self.address
            self.exception, self.delivered = 0, 0
            vmcb.shadow &= ~SHADOW
            return event
        if vmcb.shadow & SHADOW:
            return 0
        open_to_interrupts = vmcb.flags & INTERRUPTS
        held = self.held
        if held and open_to_interrupts:
            self.held = 0
            return VALID | held & 0xFF
        if self.nmis > 0 and self.nmi == Nmi.OPEN:
            self.nmis -= 1
            self.nmi = Nmi.BLOCKED
            return VALID | Type.NMI << TYPE_SHIFT | NMI_VECTOR
        waiting = self.interrupt
        if waiting and open_to_interrupts:
            self.interrupt = 0
            return VALID | waiting & 0xFF
        return 0

    def _await(self, vmcb: Vmcb) -> None:
        """Have the guest come back when it can take what still waits."""
        vmcb.intercepts &= ~(WINDOW_INTERCEPT | IRET_INTERCEPT)
        vmcb.interrupt_control &= ~WINDOW
        if self.held or self.interrupt or (self.nmis and self.nmi == Nmi.OPEN):
            vmcb.interrupt_control |= WINDOW
            vmcb.intercepts |= WINDOW_INTERCEPT
        if self.nmi == Nmi.BLOCKED:
            vmcb.intercepts |= IRET_INTERCEPT
        elif self.nmi == Nmi.ENDING and self.nmis:
            self.nmi = Nmi.STEPPING
            self.trap = 1 if vmcb.flags & TRAP else 0
            vmcb.flags |= TRAP
            vmcb.exceptions |= DEBUG_INTERCEPT

    def _open(self, vmcb: Vmcb) -> None:
        """The IRET has been executed, and has brought flags of its own."""
        self.nmi = Nmi.OPEN
        vmcb.exceptions &= ~DEBUG_INTERCEPT

    def _stop_stepping(self, vmcb: Vmcb) -> None:
        """Before the IRET: the flags are as they were."""
        if self.nmi == Nmi.STEPPING and not self.trap:
            vmcb.flags &= ~TRAP
        vmcb.exceptions &= ~DEBUG_INTERCEPT

    def _raise(self, vmcb: Vmcb, vector: u8, error: u32) -> None:
        """Alone, or while another exception was being delivered, 8.2.9."""
        first = self.delivered
        self.delivered = 0
        if first & VALID:
            before = u8(first)
            grave = vector in CONTRIBUTORY or vector == Vector.PAGE_FAULT
            if before == Vector.DOUBLE_FAULT and grave:
                self.dead = 1
            elif (before in CONTRIBUTORY and vector in CONTRIBUTORY) or (
                before == Vector.PAGE_FAULT and grave
            ):
                vector, error = Vector.DOUBLE_FAULT, 0
        event = u64(error) << ERROR_SHIFT if vector in ERRORS and vmcb.cr0 & PROTECTED else 0
        if vector in ERRORS and vmcb.cr0 & PROTECTED:
            event |= HAS_ERROR
        vmcb.flags |= RESUME
        self.exception = event | VALID | Type.EXCEPTION << TYPE_SHIFT | vector
