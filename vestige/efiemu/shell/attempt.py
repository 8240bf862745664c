"""How the attempt to do an instruction for the guest ended, and what it is told of that."""

from vestige.efiemu.shell.console import begin_line, put, put_hexadecimal, put_text
from vestige.efiemu.shell.fault import Outcome
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.texts import Text
from vestige.efiemu.shell.vmcb import Vmcb
from vestige.lang.types import u8

BLANK = 0x20


def conclude(shell: Shell, vmcb: Vmcb, outcome: u8) -> None:
    """Go on as the attempt to do an instruction ended: a fault is the guest's."""
    if outcome == Outcome.FAULT:
        shell.events.raise_fault(vmcb, shell.walk.fault)
    elif outcome == Outcome.REFUSED:
        tell_refused(shell, vmcb)


def tell_refused(shell: Shell, vmcb: Vmcb) -> None:
    """The line: where the instruction is, its bytes, and the address that it was refused for."""
    shell.failed = 1
    begin_line(shell, Text.PANIC)
    put_text(shell, Text.INSTRUCTION)
    put_hexadecimal(shell, vmcb.instruction, 16)
    put_text(shell, Text.ADDRESS)
    put_hexadecimal(shell, shell.walk.fault.address, 16)
    put_text(shell, Text.BYTES)
    for number in range(min(shell.found.count, len(shell.found.bytes))):
        put(shell, BLANK)
        put_hexadecimal(shell, shell.found.bytes[number], 2)
