"""An instruction on memory, done by the shell's code, in CPython and compiled."""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from tests import compiling
from tests.efiemu.walks import new_walk
from vestige.efiemu.shell.fault import Outcome
from vestige.efiemu.shell.instruction import RAX, RSP, Instruction
from vestige.efiemu.shell.memory import Memory
from vestige.efiemu.shell.operands import Operands, Place, locate
from vestige.efiemu.shell.operate import operate
from vestige.efiemu.shell.registers import Registers
from vestige.efiemu.shell.vmcb import Segment, Vmcb

START = 0x1000
CODE_64 = 0x29B
ROOM = 256  # bytes of memory around the operand
FLAGS = 0x8D5  # CF, PF, AF, ZF, SF, OF


class Setting(NamedTuple):
    """An instruction, and what it finds."""

    code: bytes
    registers: tuple[int, ...]
    flags: int
    memory: bytes


class After(NamedTuple):
    """What it leaves; RSP is none of that."""

    registers: tuple[int, ...]
    flags: int
    memory: bytes


def done_by_us(setting: Setting, found: Instruction, address: int, *, native: bool) -> After:
    """What the shell leaves of it. The operand is reached without page tables."""
    data = (ctypes.c_uint8 * ROOM)(*setting.memory)
    memory = Memory(offset=(ctypes.addressof(data) - address) % (1 << 64))
    memory.add(address, address + ROOM)
    vmcb = Vmcb(
        rax=setting.registers[RAX], flags=setting.flags, efer=0x500, instruction=START,
        cs=Segment(attributes=CODE_64),
    )  # fmt: skip
    registers, walk, operands = Registers(), new_walk(), Operands()
    for number, value in enumerate(setting.registers):
        registers.number[number] = value
    calls = _compiled() if native else (locate, operate, Place.load, Place.store)
    find, do, load, store = calls
    while vmcb.instruction == START:
        outcome = find(vmcb, registers, memory, walk, found, operands)
        assert outcome == Outcome.DONE
        if operands.over:
            break
        value = load(operands.source, memory, found.size) if found.reads() else 0
        result = do(vmcb, registers, found, value)
        if found.writes():
            store(operands.destination, memory, found.size, result)
    assert vmcb.instruction == START + found.length
    left = list(registers.number)
    left[RAX], left[RSP] = vmcb.rax, 0
    return After(tuple(left), vmcb.flags & FLAGS, bytes(data))


@cache
def _compiled() -> tuple[Callable[..., Any], ...]:
    functions: list[Callable[..., object]] = [locate, operate, Place.load, Place.store]
    native = compiling.native(functions)
    return tuple(native[each.__qualname__] for each in functions)
