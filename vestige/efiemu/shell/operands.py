"""Where the operands in memory are of an instruction that a guest left at. AMD64 APM volume 3.

Who asks looks at a place's physical address: where it is RAM, it loads and stores there with this,
else it knows the device.
"""

from vestige.efiemu.shell.fault import Outcome
from vestige.efiemu.shell.instruction import RCX, RDI, RSI, Instruction, Operation, SegmentRegister
from vestige.efiemu.shell.memory import Memory
from vestige.efiemu.shell.registers import Registers, effective_address, get, mask, retire
from vestige.efiemu.shell.segment import linear
from vestige.efiemu.shell.vmcb import Vmcb
from vestige.efiemu.shell.walk import Access, Walk
from vestige.lang.intrinsics import address_of, copy
from vestige.lang.types import Struct, u8, u32, u64


class Place(Struct):
    """An operand of 1 to 8 bytes, in one page or two."""

    physical: u64
    near: u32  # bytes in the first page, at most its size
    far: u64  # the physical address of the rest
    word: u64[1]  # on its way

    def load(self, memory: Memory, size: u8) -> u64:
        """From RAM; PANIC if it isn't."""
        self.word[0] = 0
        self._copy(memory, size, False)
        return self.word[0]

    def store(self, memory: Memory, size: u8, value: u64) -> None:
        """To RAM; PANIC if it isn't."""
        self.word[0] = value
        self._copy(memory, size, True)

    def is_ram(self, memory: Memory, size: u8) -> bool:
        """Whether all of it is."""
        near = min(self.near, size)
        rest = u32(size - near)
        return memory.holds(self.physical, near) and (rest == 0 or memory.holds(self.far, rest))

    def _copy(self, memory: Memory, size: u8, to_memory: bool) -> None:
        near, word = min(self.near, size), address_of(self.word)
        rest = u32(size - near)
        if to_memory:
            copy(memory.place(self.physical, near), word, near)
            if rest:
                copy(memory.place(self.far, rest), u64(word + near), rest)
        else:
            copy(word, memory.place(self.physical, near), near)
            if rest:
                copy(u64(word + near), memory.place(self.far, rest), rest)


class Operands(Struct):
    """Of one step of it."""

    over: u8  # 1: a REP of none, which is done with that
    source: Place  # if it reads
    destination: Place  # if it writes; where it does both but MOVS, they are one


def locate(
    vmcb: Vmcb, registers: Registers, memory: Memory, walk: Walk, found: Instruction,
    operands: Operands,
) -> u8:  # fmt: skip
    """Find them, to be read and written as the guest may: DONE, FAULT, AGAIN or REFUSED."""
    operands.over = 0
    last = mask(found.address_size)
    if found.operation < Operation.MOVE_STRING:
        offset = effective_address(vmcb, registers, found)
        access = Access.WRITE if found.writes() else Access.READ
        place = operands.destination if found.writes() else operands.source
        outcome = find(vmcb, memory, walk, found.segment, offset, found.size, access, place)
        if found.writes():
            operands.source = operands.destination
        return outcome
    if found.repeated and get(vmcb, registers, RCX) & last == 0:
        operands.over = 1
        retire(vmcb, found.length)
        return Outcome.DONE
    size = found.size
    if found.reads():
        offset = get(vmcb, registers, RSI) & last
        outcome = find(
            vmcb, memory, walk, found.segment, offset, size, Access.READ, operands.source
        )
        if outcome != Outcome.DONE:
            return outcome
    if found.writes():
        offset = get(vmcb, registers, RDI) & last
        return find(
            vmcb, memory, walk, SegmentRegister.ES, offset, size, Access.WRITE,
            operands.destination,
        )  # fmt: skip
    return Outcome.DONE


def find(
    vmcb: Vmcb, memory: Memory, walk: Walk, segment: u8, offset: u64, size: u8, access: u8,
    place: Place,
) -> u8:  # fmt: skip
    """By the segment, then the page tables, of a second page, too, where it crosses."""
    outcome, address = linear(vmcb, walk.fault, segment, offset, size, access == Access.WRITE)
    if outcome != Outcome.DONE:
        return outcome
    outcome = walk.translate(vmcb, memory, address, access)
    if outcome != Outcome.DONE:
        return outcome
    place.physical, place.near = walk.physical, min(walk.room, size)
    near = place.near
    if near < size:
        outcome = walk.translate(vmcb, memory, u64(address + near), access)
        place.far = walk.physical
    return outcome
