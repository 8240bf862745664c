"""The instruction at which a guest left: its bytes, by way of the page tables, and what it is.

A processor with decode assists has the bytes in the VMCB; QEMU's emulator (10.0) has none there.
"""

from vestige.efiemu.shell.decode import Decoded, Decoder
from vestige.efiemu.shell.fault import Outcome
from vestige.efiemu.shell.instruction import LONGEST, Instruction
from vestige.efiemu.shell.memory import Memory
from vestige.efiemu.shell.registers import code_size
from vestige.efiemu.shell.vmcb import Vmcb
from vestige.efiemu.shell.walk import Access, Walk
from vestige.lang.intrinsics import address_of, copy
from vestige.lang.types import u8, u64

LOW = 0xFFFF_FFFF


def fetch(vmcb: Vmcb, memory: Memory, walk: Walk, decoder: Decoder, into: Instruction) -> u8:
    """Read and decode it: DONE, FAULT, AGAIN, or REFUSED where it is unknown or in no RAM.

    The processor has got through these bytes, so a FAULT tells that the tables have changed since.
    """
    size, linear = code_size(vmcb), place_of(vmcb)
    into.count = 0
    decoded: u8 = Decoded.SHORT
    for _ in range(2):  # pages
        if decoded == Decoded.SHORT:
            outcome = read_on(vmcb, memory, walk, linear, into)
            if outcome != Outcome.DONE:
                return outcome
            decoded = decoder.decode(size, into)
    if decoded == Decoded.KNOWN:
        return Outcome.DONE
    if decoded == Decoded.TOO_LONG:
        return walk.fault.general(False)
    walk.fault.address = linear
    return Outcome.REFUSED


def length_of(vmcb: Vmcb, memory: Memory, walk: Walk, decoder: Decoder, into: Instruction) -> u8:
    """How long it is, prefixes and all, if its opcode is 0F and one byte more; 0: it isn't found.

    A processor tells that itself, in the VMCB, if it can (CPUID Fn8000_000A, EDX bit 3).
    """
    size, linear = code_size(vmcb), place_of(vmcb)
    into.count = 0
    length: u8 = 0
    for _ in range(2):
        if length == 0:
            if read_on(vmcb, memory, walk, linear, into) != Outcome.DONE:
                return 0
            length = decoder.length_of(size, into)
    return length


def place_of(vmcb: Vmcb) -> u64:
    """Its linear address."""
    if code_size(vmcb) == 8:
        return vmcb.instruction
    return u64(vmcb.instruction + vmcb.cs.base) & LOW


def read_on(vmcb: Vmcb, memory: Memory, walk: Walk, linear: u64, into: Instruction) -> u8:
    """What follows the bytes that are there, to the end of its page at most."""
    had = into.count
    outcome = walk.translate(vmcb, memory, u64(linear + had), Access.FETCH)
    if outcome != Outcome.DONE:
        return outcome
    more = min(walk.room, LONGEST - min(had, LONGEST))
    if not memory.holds(walk.physical, more):
        walk.fault.address = walk.physical
        return Outcome.REFUSED
    copy(u64(address_of(into.bytes) + had), memory.place(walk.physical, more), more)
    into.count = u8(had + more)
    return Outcome.DONE
