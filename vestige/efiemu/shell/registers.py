"""A guest's registers, as instructions name them. AMD64 APM volume 3, 1.4; volume 2, appendix B."""

from vestige.efiemu.shell.instruction import INSTRUCTION_POINTER, NOTHING, RAX, RSP, Instruction
from vestige.efiemu.shell.vmcb import Vmcb
from vestige.lang.types import Struct, u8, u64

DIRECTION, RESUME = 1 << 10, 1 << 16  # RFLAGS
LONG_CODE, WIDE_CODE = 1 << 9, 1 << 10  # Segment.attributes of CS: 64 bits, 32 bits
LONG_MODE_ACTIVE = 1 << 10  # EFER
SHADOW = 1 << 0  # Vmcb.shadow


class Registers(Struct):
    """What VMRUN leaves in the processor; RAX and RSP are in the VMCB."""

    number: u64[16]


def get(vmcb: Vmcb, registers: Registers, number: u8) -> u64:
    """All 64 bits of a register."""
    if number == RAX:
        return vmcb.rax
    if number == RSP:
        return vmcb.stack
    return registers.number[number & 15]


def put(vmcb: Vmcb, registers: Registers, number: u8, value: u64) -> None:
    """All 64 bits."""
    if number == RAX:
        vmcb.rax = value
    elif number == RSP:
        vmcb.stack = value
    else:
        registers.number[number & 15] = value


def put_part(vmcb: Vmcb, registers: Registers, number: u8, value: u64, size: u8) -> None:
    """The lowest 1, 2, 4 or 8 bytes; 4 clear the upper half, 1 and 2 leave the rest. 3.1.2."""
    if size < 4:
        kept = mask(size)
        value = get(vmcb, registers, number) & ~kept | value & kept
    else:
        value &= mask(size)
    put(vmcb, registers, number, value)


def mask(size: u8) -> u64:
    """The bits of so many bytes, 1 to 8."""
    return u64((1 << 8 * min(size, 8)) - 1)


def code_size(vmcb: Vmcb) -> u8:
    """The guest's mode: addresses of 2, 4 or 8 bytes without a prefix. 4.8.1, 4.8.2."""
    attributes = vmcb.cs.attributes
    if vmcb.efer & LONG_MODE_ACTIVE and attributes & LONG_CODE:
        return 8
    return 4 if attributes & WIDE_CODE else 2


def effective_address(vmcb: Vmcb, registers: Registers, instruction: Instruction) -> u64:
    """The offset of its operand in its segment. Volume 3, 1.4; volume 1, 2.2.3."""
    offset = instruction.displacement
    base, index = instruction.base, instruction.index
    if base == INSTRUCTION_POINTER:
        offset = u64(offset + vmcb.instruction + instruction.length)
    elif base != NOTHING:
        offset = u64(offset + get(vmcb, registers, base))
    if index != NOTHING:
        offset = u64(offset + (get(vmcb, registers, index) << (instruction.scale & 3)))
    return offset & mask(instruction.address_size)


def retire(vmcb: Vmcb, length: u8) -> None:
    """The instruction is done: on to the next one, which no shadow of an earlier one covers."""
    vmcb.instruction = u64(vmcb.instruction + length) & mask(code_size(vmcb))
    vmcb.shadow &= ~SHADOW
    vmcb.flags &= ~RESUME
