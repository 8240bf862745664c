"""The guest's local APICs, where there are several processors. AMD64 APM volume 2, 16.3 to 16.13.

All is the processor's own, but STARTUP IPIs: they lead to the shell's page (others.py), and the
shell keeps whom the guest starts, and where. So stores to the APIC's page exit and are done for
the guest, and so are accesses of the MSR for the same.
"""

from vestige.efiemu.shell import block
from vestige.efiemu.shell.common import CPUS
from vestige.efiemu.shell.console import begin_line
from vestige.efiemu.shell.interrupt import (
    APIC_ADDRESS,
    APIC_BASE,
    COMMAND,
    COMMAND_HIGH,
    DESTINATION,
    ENABLED,
    X2APIC,
    X2APIC_COMMAND,
)
from vestige.efiemu.shell.others import place_startup
from vestige.efiemu.shell.pages import PAGE
from vestige.efiemu.shell.processor import ecx
from vestige.efiemu.shell.serial import write_line
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.texts import Text
from vestige.lang.enumeration import IntEnum
from vestige.lang.intrinsics import load32, read_msr, store32, write_msr
from vestige.lang.types import u8, u32, u64

HAS_X2APIC = 1 << 21  # CPUID Fn0000_0001, ECX
MODE, STARTUP = 7 << 8, 6 << 8
LOGICAL = 1 << 11
SHORTHAND = 18
VECTOR = 0xFF
# Vector, delivery mode, destination mode, level, trigger mode, shorthand: 16.13, the others are 0.
COMMAND_BITS = 0xFF | MODE | LOGICAL | 1 << 14 | 1 << 15 | 3 << SHORTHAND
EVERYBODY, X2_EVERYBODY = 0xFF, 0xFFFF_FFFF
REGISTER = 0xFF0  # bits of an address
WORD = 4


class Shorthand(IntEnum):
    """Who is meant, 16.5."""

    DESTINATION = 0
    SELF = 1
    ALL = 2
    ALL_BUT_SELF = 3


def is_apic(shell: Shell, address: u64) -> bool:
    """Whether stores to an address are done by the shell."""
    return shell.processors > 1 and address // PAGE * PAGE == shell.apic


def read(shell: Shell, address: u64, size: u8) -> u64:
    """A load, of an instruction that stores, too. Its registers have 4 bytes, 16.3.2."""
    return load32(address & ~u64(PAGE - 1) | address & REGISTER) if size == WORD else 0


def write(shell: Shell, address: u64, size: u8, value: u64) -> None:
    """A store. Of other sizes it does nothing: 16.3.2 leaves it open."""
    if size != WORD:
        return
    register = address & REGISTER
    command = u32(value)
    if register == COMMAND:
        destination = load32(u64(shell.apic + COMMAND_HIGH)) >> DESTINATION
        command = pass_command(shell, command, destination, False)
    store32(u64(shell.apic + register), command)


def pass_command(shell: Shell, command: u32, destination: u32, x2apic: bool) -> u32:
    """What is sent instead of a command of the guest's."""
    if command & MODE != STARTUP:
        return command
    common = block.common(shell)
    common.lock.acquire()
    for number in range(min(shell.processors, CPUS)):
        if is_meant(shell, number, command, destination, x2apic):
            common.pages[number] = command & VECTOR
    place_startup(shell)
    common.lock.release()
    return command & ~VECTOR | shell.low >> 12 & VECTOR


def is_meant(shell: Shell, number: u32, command: u32, destination: u32, x2apic: bool) -> bool:
    """Whether it is for a processor, 16.6. After INIT only x2APIC has a logical number of it."""
    match command >> SHORTHAND & 3:
        case Shorthand.SELF:
            return number == shell.number
        case Shorthand.ALL:
            return True
        case Shorthand.ALL_BUT_SELF:
            return number != shell.number
    if destination == (X2_EVERYBODY if x2apic else EVERYBODY):
        return True
    identity = shell.identities[number % CPUS]
    if not command & LOGICAL:
        return destination == identity
    same_cluster = destination >> 16 == identity >> 4
    return x2apic and same_cluster and destination >> identity % 16 & 1 != 0


def write_register(shell: Shell, number: u32, value: u64) -> bool:
    """WRMSR of one of both registers: False, it is #GP, as of any other. Reads are the guest's."""
    if number == APIC_BASE:
        return write_base(shell, value)
    return number == X2APIC_COMMAND and write_command(shell, value)


def write_command(shell: Shell, value: u64) -> bool:
    """x2APIC's, for commands; there is none in another mode."""
    mode = ENABLED | X2APIC
    if read_msr(APIC_BASE) & mode != mode:
        return False
    command = u32(value)
    if command & ~COMMAND_BITS:
        return False
    destination = value >> 32
    command = pass_command(shell, command, u32(destination), True)
    write_msr(X2APIC_COMMAND, destination << 32 | command)
    return True


def write_base(shell: Shell, value: u64) -> bool:
    """The one that switches it on, 16.3.1 and 16.9. It can't be moved."""
    old = read_msr(APIC_BASE)
    mode = ENABLED | X2APIC
    before, wanted = old & mode, value & mode
    if (value ^ old) & APIC_ADDRESS:
        tell_of_move(shell)
    if (value ^ old) & ~mode or not may_change(shell, before, wanted):
        return False
    write_msr(APIC_BASE, value)
    return True


def tell_of_move(shell: Shell) -> None:
    """A line, since an operating system would not say so."""
    common = block.common(shell)
    common.lock.acquire()
    begin_line(shell, Text.APIC_MOVES)
    write_line(shell)
    common.lock.release()


def may_change(shell: Shell, before: u64, wanted: u64) -> bool:
    """Whether the processor can go from one mode to another one, figure 16-31."""
    if wanted == X2APIC:
        return False
    if wanted == X2APIC | ENABLED:
        return before != 0 and ecx(shell, 1) & HAS_X2APIC != 0
    return wanted == 0 or before != X2APIC | ENABLED
