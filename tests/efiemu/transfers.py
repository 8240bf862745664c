"""Random INS and OUTS by way of page tables: in CPython, compiled, and as KVM does them."""

import ctypes
import random
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from tests import compiling
from tests.efiemu.disassembly import put_code
from tests.efiemu.translating import OWN_TABLES, PROBE, USER_CODE, Disk, Prober
from tests.efiemu.walks import CR0, FOUR_LEVELS, PAGE, TABLES, Case, Ram, new_walk
from vestige.efiemu.shell import strings
from vestige.efiemu.shell.decode import Decoded, Decoder
from vestige.efiemu.shell.fault import Outcome
from vestige.efiemu.shell.instruction import RCX, RDI, RSI, Instruction
from vestige.efiemu.shell.registers import Registers
from vestige.efiemu.shell.vmcb import Vmcb
from vestige.efiemu.shell.walk import Access
from vestige.host.kvm import api as kvm

WINDOW, PAGES_THERE = 0x4000_0000, 3  # linear; where they are physically:
FRAMES = 0x10_0000
DATA_SIZE = 1536  # bytes in one go
DIRECTION = 1 << 10
CODE_64 = 0x29B  # Segment.attributes


class Strings(NamedTuple):
    """An instruction, and what it finds."""

    case: Case
    code: bytes
    rcx: int
    place: int  # RSI or RDI
    flags: int

    @property
    def inputs(self) -> bool:
        """Whether it is INS."""
        return self.code[-1] < 0x6E

    def __str__(self) -> str:
        return f"{self.code.hex()} RCX {self.rcx:#x} at {self.place:#x} {self.case}"


class Done(NamedTuple):
    """All that came of it."""

    vector: int | None
    error: int
    address: int
    left: tuple[int, ...]  # RCX, RSI, RDI and RIP
    frames: bytes
    taken: bytes


def random_strings(chance: random.Random) -> Strings:
    """One that ends in a few hundred bytes, or at a page that may not be used."""
    privilege = chance.choice((0, 3))
    size = chance.choice((1, 2, 4))
    entries = [
        (TABLES + PAGE * 4, TABLES + PAGE * 3 | 7),
        (TABLES + PAGE * 3 + 8, TABLES + PAGE * 2 | 7),
        (TABLES + PAGE * 2, TABLES + PAGE | 7),
    ]
    frames = chance.sample(range(PAGES_THERE), PAGES_THERE)
    for number, frame in enumerate(frames):
        rights = chance.choice((7, 7, 7, 7, 5, 3, 6))
        entries.append((TABLES + PAGE + 8 * number, FRAMES + PAGE * frame | rights))
    code = bytes(
        [0x67] * (chance.randrange(4) == 0) + [0xF3] * (chance.randrange(5) > 0)
        + [0x66] * (size == 2) + [chance.choice((0x6C, 0x6E)) + (size > 1)]
    )  # fmt: skip
    vmcb = Vmcb(
        cr0=CR0, cr3=TABLES + PAGE * 4, cr4=1 << 5, efer=0x500, privilege=privilege,
        flags=0x3002 | chance.choice((0, DIRECTION)), instruction=0,
    )  # fmt: skip
    place = WINDOW + PAGE + chance.choice((chance.randrange(-40, 40), chance.randrange(2 * PAGE)))
    if chance.randrange(3) == 0:
        place += 5 << 32  # nothing is there, but for addresses of 32 bits
    rcx = chance.choice((0, 1, 2, chance.randrange(100), chance.randrange(2000)))
    if 0x67 in code and chance.randrange(3) == 0:
        rcx |= 9 << 32
    case = Case(FOUR_LEVELS, vmcb, place, Access.READ, tuple(entries))
    return Strings(case, code, rcx, place, vmcb.flags)


def prepare(ram: Ram, wanted: Strings) -> None:
    """Tables, and something in the pages."""
    wanted.case.put(ram)
    # KVM's processor has its own code below, by the same entry of the root.
    ram.put(OWN_TABLES + 2 * PAGE + 8, TABLES + PAGE * 2 | 7, 8)
    size = PAGE * PAGES_THERE
    ram.bytes[FRAMES : FRAMES + size] = bytes(each * 5 % 253 for each in range(size))


def done_by_kvm(wanted: Strings, ram: Ram, prober: Prober) -> Done:
    """What KVM has done."""
    prepare(ram, wanted)
    disk = Disk()
    registers = kvm.Registers(
        rcx=wanted.rcx, rsi=wanted.place, rdi=wanted.place, rdx=0x1F0, rflags=wanted.flags
    )
    after, happened = prober.strings(wanted.case, wanted.code, registers, disk)
    if happened.vector is None:
        rip = start(wanted) + len(wanted.code)
    else:
        rip = ram.get(after.rsp + 8, 8)
    left = (after.rcx, after.rsi, after.rdi, rip)
    return _done(ram, happened.vector, happened.error, happened.address, left, disk)


def done_by_us(wanted: Strings, ram: Ram, *, native: bool) -> Done:
    """What the shell does, as its caller has it do it."""
    prepare(ram, wanted)
    disk, walk, found = Disk(), new_walk(), Instruction()
    vmcb, registers = Vmcb.from_buffer_copy(wanted.case.vmcb), Registers()
    vmcb.cs.attributes = CODE_64
    vmcb.instruction = start(wanted)
    registers.number[RCX], registers.number[RSI] = wanted.rcx, wanted.place
    registers.number[RDI] = wanted.place
    put_code(found, wanted.code)
    assert Decoder().decode(8, found) == Decoded.KNOWN
    inputs = wanted.inputs
    vmcb.information[0] = 0x1F0 << 16 | found.size << 4 | int(inputs)
    data = (ctypes.c_uint8 * DATA_SIZE)()
    transfer = strings.Transfer(data=ctypes.addressof(data), room=DATA_SIZE)
    begin, move, finish = _compiled() if native else (strings.begin, strings.move, strings.finish)
    vector = None
    while vmcb.instruction == start(wanted):
        outcome = begin(vmcb, registers, ram.memory, walk, found, transfer)
        if outcome == Outcome.FAULT:
            vector = walk.fault.vector
            break
        assert outcome == Outcome.DONE
        if transfer.count == 0:
            break
        size = transfer.count * found.size
        assert size <= DATA_SIZE
        if inputs:
            for number in range(0, size, found.size):
                data[number : number + found.size] = list(disk.give(found.size))
        move(ram.memory, transfer)
        if not inputs:
            disk.take(bytes(data[:size]))
        finish(vmcb, registers, found, transfer)
    left = (*(registers.number[each] for each in (RCX, RSI, RDI)), vmcb.instruction)
    fault = (walk.fault.error, walk.fault.address) if vector is not None else (0, 0)
    return _done(ram, vector, *fault, left, disk)


def start(wanted: Strings) -> int:
    """Where the instruction is."""
    return USER_CODE if wanted.case.vmcb.privilege else PROBE


def _done(
    ram: Ram, vector: int | None, error: int, address: int, left: tuple[int, ...], disk: Disk
) -> Done:
    frames = ram.bytes[FRAMES : FRAMES + PAGE * PAGES_THERE]
    return Done(vector, error, address, left, frames, bytes(disk.taken))


@cache
def _compiled() -> tuple[Callable[..., int | None], ...]:
    functions: list[Callable[..., object]] = [strings.begin, strings.move, strings.finish]
    native = compiling.native(functions)
    return tuple(native[each.__qualname__] for each in functions)
