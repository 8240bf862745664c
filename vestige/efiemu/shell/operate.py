"""What a decoded instruction does with the value of its operand in memory. AMD64 APM volume 3, 3.

Flags that the manual leaves undefined are as they were, but for AF, which logic clears.
"""

from vestige.efiemu.shell.instruction import NOTHING, RAX, RCX, RDI, RSI, Instruction, Operation
from vestige.efiemu.shell.registers import (
    DIRECTION,
    Registers,
    get,
    mask,
    put_part,
    retire,
)
from vestige.efiemu.shell.vmcb import Vmcb
from vestige.lang.enumeration import IntEnum
from vestige.lang.types import u8, u64


class Flag(IntEnum):
    """Of RFLAGS, volume 1, 3.1.4."""

    CARRY = 1 << 0
    PARITY = 1 << 2
    AUXILIARY = 1 << 4
    ZERO = 1 << 6
    SIGN = 1 << 7
    OVERFLOW = 1 << 11


ARITHMETIC = (
    Flag.CARRY | Flag.PARITY | Flag.AUXILIARY | Flag.ZERO | Flag.SIGN | Flag.OVERFLOW
)  # fmt: skip


def operate(vmcb: Vmcb, registers: Registers, found: Instruction, value: u64) -> u64:
    """Do it, with what was read, if it reads: what is to be written, if it writes.

    Registers are as behind it then, but that a repeated one may not be at its end: RIP tells.
    """
    operation = found.operation
    if operation >= Operation.MOVE_STRING:
        return string(vmcb, registers, found, value)
    size = found.size
    other = source(vmcb, registers, found)
    result = value
    if operation == Operation.MOVE:
        if found.to_memory:
            result = other
        else:
            load(vmcb, registers, found, value)
    elif operation == Operation.EXCHANGE:
        result = other
        put_operand(vmcb, registers, found, value)
    elif operation >= Operation.BIT_TEST:
        result = bit(vmcb, operation, value, other, size)
    elif operation >= Operation.NOT:
        result = unary(vmcb, operation, value, size)
    elif operation == Operation.TEST:
        arithmetic(vmcb, Operation.AND, value, other, size)
    elif found.to_memory:
        result = arithmetic(vmcb, operation, value, other, size)
    else:
        changed = arithmetic(vmcb, operation, other, value, size)
        if operation != Operation.COMPARE:
            put_operand(vmcb, registers, found, changed)
    retire(vmcb, found.length)
    return result


def source(vmcb: Vmcb, registers: Registers, found: Instruction) -> u64:
    """The operand that isn't in memory."""
    if found.register == NOTHING:
        return found.immediate & mask(found.size)
    return get(vmcb, registers, found.register) >> (8 if found.high else 0) & mask(found.size)


def put_operand(vmcb: Vmcb, registers: Registers, found: Instruction, value: u64) -> None:
    """Change the register that is its operand."""
    number = found.register
    if found.high:
        kept = get(vmcb, registers, number) & ~0xFF00
        put_part(vmcb, registers, number, kept | (value & 0xFF) << 8, 8)
    else:
        put_part(vmcb, registers, number, value, found.width)


def load(vmcb: Vmcb, registers: Registers, found: Instruction, value: u64) -> None:
    """MOV, MOVZX, MOVSX and MOVSXD to a register."""
    if found.signed and value >> (8 * found.size - 1 & 63) & 1:
        value = u64(value | ~mask(found.size))
    put_operand(vmcb, registers, found, value)


def arithmetic(vmcb: Vmcb, operation: u8, first: u64, second: u64, size: u8) -> u64:
    """ADD to CMP: the result, and all flags."""
    within = mask(size)
    carry = vmcb.flags & Flag.CARRY
    if operation in (Operation.OR, Operation.AND, Operation.EXCLUSIVE_OR):
        if operation == Operation.OR:
            result = first | second
        elif operation == Operation.AND:
            result = first & second
        else:
            result = first ^ second
        set_flags(vmcb, result, size, 0)
        return result
    if operation not in (Operation.ADD_WITH_CARRY, Operation.SUBTRACT_WITH_BORROW):
        carry = 0
    if operation in (Operation.ADD, Operation.ADD_WITH_CARRY):
        result = u64(first + second + carry) & within
        carries = first & second | (first | second) & ~result
        overflow = (first ^ result) & (second ^ result)
    else:
        result = u64(first - second - carry) & within
        carries = ~first & second | (~first | second) & result
        overflow = (first ^ second) & (first ^ result)
    top = 8 * size - 1 & 63
    found: u64 = Flag.CARRY if u64(carries) >> top & 1 else 0
    if u64(carries) >> 3 & 1:
        found |= Flag.AUXILIARY
    if overflow >> top & 1:
        found |= Flag.OVERFLOW
    set_flags(vmcb, result, size, found)
    return result


def unary(vmcb: Vmcb, operation: u8, value: u64, size: u8) -> u64:
    """NOT, which leaves the flags, NEG, and INC and DEC, which leave CF."""
    if operation == Operation.NOT:
        return u64(~value) & mask(size)
    if operation == Operation.NEGATE:
        return arithmetic(vmcb, Operation.SUBTRACT, 0, value, size)
    carry = vmcb.flags & Flag.CARRY
    kind = Operation.ADD if operation == Operation.INCREMENT else Operation.SUBTRACT
    result = arithmetic(vmcb, kind, value, 1, size)
    vmcb.flags = vmcb.flags & ~Flag.CARRY | carry
    return result


def bit(vmcb: Vmcb, operation: u8, value: u64, number: u64, size: u8) -> u64:
    """BT, BTS, BTR and BTC: CF is the bit as it was."""
    chosen = u64(1 << (number & 63)) & mask(size)
    vmcb.flags &= ~Flag.CARRY
    if value & chosen:
        vmcb.flags |= Flag.CARRY
    if operation == Operation.BIT_SET:
        return value | chosen
    if operation == Operation.BIT_RESET:
        return value & ~chosen
    if operation == Operation.BIT_COMPLEMENT:
        return value ^ chosen
    return value


def set_flags(vmcb: Vmcb, result: u64, size: u8, others: u64) -> None:
    """PF, ZF and SF by the result; CF, AF and OF are given."""
    folded = result & 0xFF
    folded ^= folded >> 4
    folded ^= folded >> 2
    folded ^= folded >> 1
    if not folded & 1:
        others |= Flag.PARITY
    if result == 0:
        others |= Flag.ZERO
    if result >> (8 * size - 1 & 63) & 1:
        others |= Flag.SIGN
    vmcb.flags = vmcb.flags & ~ARITHMETIC | others


def string(vmcb: Vmcb, registers: Registers, found: Instruction, value: u64) -> u64:
    """One step of MOVS, STOS or LODS: what it stores."""
    size, operation = found.size, found.operation
    step = u64(-size) if vmcb.flags & DIRECTION else size
    if operation != Operation.STORE_STRING:
        advance(vmcb, registers, found, RSI, step)
    if operation != Operation.LOAD_STRING:
        advance(vmcb, registers, found, RDI, step)
    else:
        put_part(vmcb, registers, RAX, value, size)
    if operation == Operation.STORE_STRING:
        value = vmcb.rax & mask(size)
    if found.repeated:
        advance(vmcb, registers, found, RCX, u64(-1))
        if get(vmcb, registers, RCX) & mask(found.address_size):
            return value
    retire(vmcb, found.length)
    return value


def advance(vmcb: Vmcb, registers: Registers, found: Instruction, number: u8, step: u64) -> None:
    """Add to a register, as wide as addresses are."""
    value = u64(get(vmcb, registers, number) + step)
    put_part(vmcb, registers, number, value, found.address_size)
