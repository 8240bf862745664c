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
    size = code_size(vmcb)
    linear = vmcb.instruction
    if size != 8:
        linear = u64(linear + vmcb.cs.base) & LOW
    into.count = 0
    decoded: u8 = Decoded.SHORT
    for _ in range(2):  # pages
        if decoded == Decoded.SHORT:
            outcome = walk.translate(vmcb, memory, u64(linear + into.count), Access.FETCH)
            if outcome != Outcome.DONE:
                return outcome
            had = into.count
            more = min(walk.room, LONGEST - min(had, LONGEST))
            if not memory.holds(walk.physical, more):
                walk.fault.address = walk.physical
                return Outcome.REFUSED
            copy(u64(address_of(into.bytes) + had), memory.place(walk.physical, more), more)
            into.count = u8(had + more)
            decoded = decoder.decode(size, into)
    if decoded == Decoded.KNOWN:
        return Outcome.DONE
    if decoded == Decoded.TOO_LONG:
        return walk.fault.general(False)
    walk.fault.address = linear
    return Outcome.REFUSED
