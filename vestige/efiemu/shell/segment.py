"""From an offset in a segment to a linear address. AMD64 APM volume 2, 4.7, 4.8 and 4.12."""

from vestige.efiemu.shell.fault import Fault, Outcome
from vestige.efiemu.shell.instruction import SegmentRegister
from vestige.efiemu.shell.registers import code_size
from vestige.efiemu.shell.vmcb import Segment, Vmcb
from vestige.efiemu.shell.walk import DEEPEST, LA57, canonical
from vestige.lang.types import u8, u64

PROTECTED = 1 << 0  # CR0
VIRTUAL_8086 = 1 << 17  # RFLAGS
# Segment.attributes
READABLE_OR_WRITABLE, EXPANDS_DOWN, CODE = 1 << 1, 1 << 2, 1 << 3
PRESENT, WIDE = 1 << 7, 1 << 10
LOW = 0xFFFF_FFFF


def segment_of(vmcb: Vmcb, number: u8) -> Segment:
    """That register, by SegmentRegister."""
    match number:
        case SegmentRegister.ES:
            return vmcb.es
        case SegmentRegister.CS:
            return vmcb.cs
        case SegmentRegister.SS:
            return vmcb.ss
        case SegmentRegister.FS:
            return vmcb.fs
        case SegmentRegister.GS:
            return vmcb.gs
        case _:
            return vmcb.ds


def linear(
    vmcb: Vmcb, fault: Fault, number: u8, offset: u64, size: u8, write: bool
) -> tuple[u8, u64]:
    """Of `size` bytes at `offset`: DONE and the address, or FAULT."""
    segment = segment_of(vmcb, number)
    if code_size(vmcb) == 8:
        if number >= SegmentRegister.FS:
            offset = u64(offset + segment.base)
        levels = DEEPEST if vmcb.cr4 & LA57 else 4
        last = u64(offset + size - 1)
        if canonical(offset, levels) and canonical(last, levels):
            return Outcome.DONE, offset
        return fault.general(number == SegmentRegister.SS), 0
    if allowed(vmcb, segment, offset, size, write):
        return Outcome.DONE, u64(offset + segment.base) & LOW
    return fault.general(number == SegmentRegister.SS), 0


def allowed(vmcb: Vmcb, segment: Segment, offset: u64, size: u8, write: bool) -> bool:
    """Whether the segment has these bytes, outside 64-bit mode."""
    attributes, limit = segment.attributes, segment.limit
    if offset > LOW:
        return False
    if not vmcb.cr0 & PROTECTED or vmcb.flags & VIRTUAL_8086:
        return offset <= limit and size <= limit - offset + 1
    if not attributes & PRESENT:  # a null selector
        return False
    if attributes & CODE:
        if write or not attributes & READABLE_OR_WRITABLE:
            return False
    elif write and not attributes & READABLE_OR_WRITABLE:
        return False
    if not attributes & CODE and attributes & EXPANDS_DOWN:
        end = LOW if attributes & WIDE else 0xFFFF
        return limit < offset <= end and size <= end - offset + 1
    return offset <= limit and size <= limit - offset + 1
