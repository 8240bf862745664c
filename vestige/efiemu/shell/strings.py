"""INS and OUTS, repeated or not, of a guest that left at one. AMD64 APM volumes 3 and 2, 15.10.2.

As many as lie in one page are done in one go. The guest's registers then say what is left, as they
would if an interrupt had come: entered again, it comes back for the rest.
"""

from vestige.efiemu.shell.fault import Outcome
from vestige.efiemu.shell.instruction import RCX, RDI, RSI, Instruction, Operation
from vestige.efiemu.shell.memory import Memory
from vestige.efiemu.shell.pages import PAGE
from vestige.efiemu.shell.registers import DIRECTION, Registers, get, mask, put_part, retire
from vestige.efiemu.shell.segment import linear
from vestige.efiemu.shell.vmcb import Vmcb
from vestige.efiemu.shell.walk import Access, Walk
from vestige.lang.intrinsics import copy
from vestige.lang.types import Struct, u8, u16, u32, u64

# EXITINFO1 of a port's exit, 15.10.2.
INPUT = 1 << 0
SIZE_SHIFT, PORT_SHIFT = 4, 16


class Transfer(Struct):
    """What is done in one go. The first two are the caller's."""

    data: u64  # where what goes through the port is: the first one first
    room: u32  # bytes there
    port: u16
    size: u8  # of each: 1, 2 or 4 bytes
    input: u8  # 1: IN
    count: u32  # 0: nothing is left, and the guest is at the next instruction
    down: u8  # 1: each is below the one before it
    physical: u64  # of the lowest byte in the guest's memory
    near: u32  # bytes there
    far: u64  # the physical address of those behind them, where one crosses pages


def begin(
    vmcb: Vmcb, registers: Registers, memory: Memory, walk: Walk, found: Instruction,
    transfer: Transfer,
) -> u8:  # fmt: skip
    """Find out what can be done in one go: DONE, FAULT, AGAIN or REFUSED.

    The port is not touched before all of the memory is known to be there.
    """
    information = vmcb.information[0]
    transfer.port = u16(information >> PORT_SHIFT)
    transfer.size = information >> SIZE_SHIFT & 7
    transfer.input = information & INPUT
    transfer.count = 0
    operation = Operation.INPUT_STRING if transfer.input else Operation.OUTPUT_STRING
    size = found.size
    if found.operation != operation or transfer.size != size:
        return Outcome.AGAIN  # another processor has written there since
    left: u64 = 1
    if found.repeated:
        left = get(vmcb, registers, RCX) & mask(found.address_size)
        if left == 0:
            retire(vmcb, found.length)
            return Outcome.DONE
    offset = get(vmcb, registers, RDI if transfer.input else RSI) & mask(found.address_size)
    return find(vmcb, memory, walk, found, transfer, offset, left)


def find(
    vmcb: Vmcb, memory: Memory, walk: Walk, found: Instruction, transfer: Transfer, offset: u64,
    left: u64,
) -> u8:  # fmt: skip
    """Where it is in memory, and how many are in the page."""
    size = found.size
    write = transfer.input != 0
    access = Access.WRITE if write else Access.READ
    outcome, place = linear(vmcb, walk.fault, found.segment, offset, size, write)
    if outcome != Outcome.DONE:
        return outcome
    outcome = walk.translate(vmcb, memory, place, access)
    if outcome != Outcome.DONE:
        return outcome
    near = walk.room
    transfer.physical, transfer.near = walk.physical, near
    transfer.down = 1 if vmcb.flags & DIRECTION else 0
    count: u64 = 1
    if near < size:
        outcome = walk.translate(vmcb, memory, u64(place + near), access)
        if outcome != Outcome.DONE:
            return outcome
        transfer.far = walk.physical
        if not memory.holds(walk.physical, u32(size - near)):
            return refuse(walk, walk.physical)
    else:
        count = many(vmcb, walk, found, transfer, offset, left)
        transfer.near = u32(count * size)
        if transfer.down:
            transfer.physical = u64(transfer.physical - (count - 1) * size)
    if not memory.holds(transfer.physical, transfer.near):
        return refuse(walk, transfer.physical)
    transfer.count = u32(count)
    return Outcome.DONE


def many(
    vmcb: Vmcb, walk: Walk, found: Instruction, transfer: Transfer, offset: u64, left: u64
) -> u64:
    """How many, from one at `offset` on, are in its page, and don't wrap around."""
    size = found.size
    most = min(left, max(transfer.room // size, 1))
    if transfer.down:
        count = 1 + min(u64(most - 1), (PAGE - min(walk.room, PAGE)) // size, offset // size)
        end = u64(offset - (count - 1) * size)
    else:
        count = min(most, walk.room // size, max(u64(mask(found.address_size) - offset) // size, 1))
        end = u64(offset + (count - 1) * size)
    outcome, _ = linear(vmcb, walk.fault, found.segment, end, size, transfer.input != 0)
    return count if outcome == Outcome.DONE else 1  # those before the one that faults come first


def refuse(walk: Walk, physical: u64) -> u8:
    """The guest's data is where no RAM is."""
    walk.fault.address = physical
    return Outcome.REFUSED


def move(memory: Memory, transfer: Transfer) -> None:
    """All that `begin` has found: to `data` before an OUT, and from there after an IN."""
    data, to_guest = transfer.data, transfer.input != 0
    size, count, near = transfer.size, transfer.count, transfer.near
    place = memory.place(transfer.physical, near)
    if near < size:
        copy_one(place, data, near, to_guest)
        rest = u32(size - near)
        copy_one(memory.place(transfer.far, rest), u64(data + near), rest, to_guest)
    elif not transfer.down:
        copy_one(place, data, near, to_guest)
    else:
        for number in range(count):
            at = u64(place + (count - 1 - number) * size)
            copy_one(at, u64(data + number * size), size, to_guest)


def copy_one(place: u64, data: u64, size: u32, to_guest: bool) -> None:
    """Bytes between the guest's memory and elsewhere."""
    if to_guest:
        copy(place, data, size)
    else:
        copy(data, place, size)


def finish(vmcb: Vmcb, registers: Registers, found: Instruction, transfer: Transfer) -> None:
    """Registers as they are behind what was done; the next instruction where nothing is left."""
    count, width = transfer.count, found.address_size
    number: u8 = RDI if transfer.input else RSI
    step = u64(count * transfer.size)
    if transfer.down:
        step = u64(-step)
    put_part(vmcb, registers, number, u64(get(vmcb, registers, number) + step), width)
    if found.repeated:
        left = u64(get(vmcb, registers, RCX) - count) & mask(width)
        put_part(vmcb, registers, RCX, left, width)
        if left:
            return
    retire(vmcb, found.length)
