"""An instruction on memory, done by this machine's processor, in this process.

Registers and flags are loaded, the instruction is executed, and all is stored. It can't touch the
stack: RSP is the process's own.
"""

import ctypes
import mmap
import random
import struct
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.devices.fuzzing import Limit
from tests.efiemu.disassembly import decode, random_code
from tests.efiemu.operations import FLAGS, ROOM, After, Setting, done_by_us
from vestige.efiemu.shell.decode import Decoded
from vestige.efiemu.shell.instruction import (
    NOTHING,
    RCX,
    RDI,
    RSI,
    RSP,
    Instruction,
    Operation,
    SegmentRegister,
)

MIDDLE = 128
MAP_32BIT = 0x40  # addresses of 4 bytes reach it
DIRECTION = 1 << 10
NAMES = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
EDGES = (0, 1, 0x7F, 0x80, 0x7FFF_FFFF, 0x8000_0000, 1 << 63, (1 << 64) - 1)
SLOT = 32  # bytes for the instruction, filled up with NOPs
# Of the struct that RDI tells: 16 registers, then RFLAGS.
SOURCE = f"""
    .text
    push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15
    mov %rdi, context(%rip)
    push 128(%rdi)
    popf
    {"; ".join(f"mov {8 * n}(%rdi), %{r}" for n, r in enumerate(NAMES) if r not in ("rsp", "rdi"))}
    mov {8 * RDI}(%rdi), %rdi
here:
    .fill {SLOT}, 1, 0x90
    mov %rdi, kept(%rip)
    mov context(%rip), %rdi
    {"; ".join(f"mov %{r}, {8 * n}(%rdi)" for n, r in enumerate(NAMES) if r not in ("rsp", "rdi"))}
    pushf
    pop 128(%rdi)
    mov kept(%rip), %rax
    mov %rax, {8 * RDI}(%rdi)
    cld
    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx
    ret
    .balign 8
context: .quad 0
kept: .quad 0
    .quad here
"""


class Machine:
    """The processor, a piece of code, and a piece of memory below 4 GiB."""

    def __init__(self) -> None:
        code = _assembled()
        everything = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._code = mmap.mmap(-1, 4096, private, everything)
        self._code[: len(code)] = code
        self._here = struct.unpack("<Q", code[-8:])[0]
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        self._call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
        self._memory = mmap.mmap(-1, 4096, private | MAP_32BIT)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))

    def execute(self, setting: Setting) -> After:
        """Do it."""
        self._memory[:ROOM] = setting.memory
        self._code[self._here : self._here + SLOT] = setting.code.ljust(SLOT, b"\x90")
        context = (ctypes.c_uint64 * 17)(*setting.registers, setting.flags)
        self._call(ctypes.addressof(context))
        left = list(context[:16])
        left[RSP] = 0
        return After(tuple(left), context[16] & FLAGS, self._memory[:ROOM])


@cache
def _assembled() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        made, flat = Path(folder, "code.o"), Path(folder, "code.bin")
        subprocess.run(["as", "-o", made, "-"], input=SOURCE, text=True, check=True)
        linked = Path(folder, "code")
        subprocess.run(["ld", "-Ttext=0", "-e0", "-o", linked, made], check=True)
        subprocess.run(["objcopy", "-O", "binary", "-j.text", linked, flat], check=True)
        return flat.read_bytes()


def random_setting(chance: random.Random, address: int) -> tuple[Setting, Instruction]:
    """One whose operand lies in the middle of the memory at `address`."""
    while True:
        code, found = random_code(chance, 8), Instruction()
        if decode(code, 8, found) != Decoded.KNOWN:
            continue
        registers = [chance.getrandbits(64) for _ in range(16)]
        registers[RSP] = 0
        if chance.randrange(3) == 0:  # values at which something happens
            registers = [chance.choice((*EDGES, each)) for each in registers]
            registers[RSP] = 0
        if placed(found, registers, address + MIDDLE, chance):
            memory = chance.choice((chance.randbytes(ROOM), bytes(ROOM), b"\xff" * ROOM))
            flags = chance.getrandbits(12) & FLAGS | chance.choice((0, DIRECTION)) | 2
            return Setting(code[: found.length], tuple(registers), flags, memory), found


def placed(found: Instruction, registers: list[int], wanted: int, chance: random.Random) -> bool:
    """Change its base so that the operand is where it is wanted; whether that can be."""
    operation, width = found.operation, 1 << 8 * found.address_size
    if found.segment >= SegmentRegister.FS or operation >= Operation.INPUT_STRING:
        return False
    if operation >= Operation.MOVE_STRING:
        high = chance.getrandbits(32) << 32 if found.address_size == 4 else 0
        registers[RCX] = high | chance.randrange(9)
        registers[RSI] = high | wanted + chance.randrange(-40, 40)
        registers[RDI] = high | wanted + chance.randrange(-40, 40)
        return True
    base, index = found.base, found.index
    if base >= NOTHING - 1 or base in (RSP, index) or found.register == RSP:
        return False
    offset = found.displacement
    if index != NOTHING:
        offset += registers[index] << found.scale
    high = chance.getrandbits(32) << 32 if found.address_size == 4 else 0
    registers[base] = high | (wanted - offset) % width
    return True


def execute_many(limit: Limit, chance: random.Random) -> tuple[int, str | None]:
    """How many random instructions were executed, and where the shell's code did otherwise."""
    machine, done = Machine(), 0
    while limit.left(done):
        setting, found = random_setting(chance, machine.address)
        done += 1
        wanted = machine.execute(setting)
        for native in (False, True):
            left = done_by_us(setting, found, machine.address, native=native)
            if left != wanted:
                how = "compiled" if native else "in CPython"
                return done, f"{setting.code.hex(' ')} {how}: {left}\n{wanted}\n{setting}"
    return done, None
