"""The last words of a machine whose monitor has failed, on the console of the firmware.

That is the guest's. Where the guest still is the firmware that was taken over, and the monitor
failed at an access that it made itself, it is made to call its own function for text: UEFI 2.10,
12.4.3. Interrupts are on where one may, 2.3.4.1. An NMI that ended its run may have come anywhere,
in that very function, too. The call never goes back to what called it: it returns to an address
that is none, and #GP exits. The text is in what the guest has instead of the block.
"""

from vestige.efiemu.shell import block
from vestige.efiemu.shell.events import INTERRUPTS
from vestige.efiemu.shell.fault import Vector
from vestige.efiemu.shell.instruction import RCX, RDX
from vestige.efiemu.shell.pages import PAGE
from vestige.efiemu.shell.registers import LONG_CODE, LONG_MODE_ACTIVE
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.uefi import OUTPUT_STRING
from vestige.efiemu.shell.vmcb import Exit, Vmcb
from vestige.lang.intrinsics import load64, store16, store64
from vestige.lang.types import u64

DIRECTION = 1 << 10  # RFLAGS
SPACE = 128  # bytes of the stack that are left alone
SHADOW_SPACE = 40  # the return address and four words: UEFI 2.10, 2.3.4.2
WORD = 16  # bytes that a stack is aligned to
NO_ADDRESS = 1 << 63  # not canonical: APM volume 2, 1.1.3


def calls_firmware(shell: Shell, vmcb: Vmcb) -> bool:
    """Have it show Shell.line where it is entered next; False: it can't be asked."""
    if vmcb.exit not in (Exit.PORT, Exit.MEMORY) or not is_firmware(shell, vmcb):
        return False
    place = u64(shell.block + block.DECOY)
    length = min(shell.length, PAGE // 2 - 3)
    for number in range(length):
        store16(u64(place + 2 * number), shell.line[number])
    end = u64(place + 2 * length)
    store16(end, 0x0D)
    store16(u64(end + 2), 0x0A)
    store16(u64(end + 4), 0)
    stack = u64(u64(vmcb.stack - SPACE) // WORD * WORD - SHADOW_SPACE)
    store64(stack, NO_ADDRESS)
    vmcb.exceptions |= 1 << Vector.GENERAL_PROTECTION
    vmcb.stack, vmcb.instruction = stack, load64(u64(shell.output + OUTPUT_STRING))
    vmcb.flags &= ~DIRECTION
    vmcb.injected = 0
    shell.guest.number[RCX], shell.guest.number[RDX] = shell.output, shell.block
    return True


def is_firmware(shell: Shell, vmcb: Vmcb) -> bool:
    """Whether the guest has the firmware's page tables and gates, and may call its services."""
    if not vmcb.flags & INTERRUPTS:
        return False
    if vmcb.cr3 != shell.state.cr3 or vmcb.idtr.base != shell.state.idt:
        return False
    long_mode = vmcb.efer & LONG_MODE_ACTIVE != 0 and vmcb.cs.attributes & LONG_CODE != 0
    return long_mode and vmcb.privilege == 0


def has_ended(vmcb: Vmcb) -> bool:
    """Whether the call has come back, or the guest is at its end by itself."""
    return vmcb.exit in (Exit.EXCEPTION + Vector.GENERAL_PROTECTION, Exit.SHUTDOWN)
