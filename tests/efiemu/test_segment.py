"""Linear addresses of what segments have, mode by mode."""

import pytest

from vestige.efiemu.shell.fault import Fault, Outcome, Vector
from vestige.efiemu.shell.instruction import SegmentRegister
from vestige.efiemu.shell.segment import linear
from vestige.efiemu.shell.vmcb import Segment, Vmcb

PROTECTED, VIRTUAL_8086, LA57 = 1, 1 << 17, 1 << 12
# Attributes: present, system or not, type; B is bit 10.
READ_ONLY, WRITABLE, DOWN, DOWN_32 = 0x91, 0x93, 0x97, 0x497
EXECUTE_ONLY, READABLE_CODE, NULL = 0x99, 0x9B, 0
CODE_64, CODE_32, CODE_16 = 0x29B, 0x49B, 0x9B


def guest(
    attributes: int = WRITABLE, limit: int = 0xFFF, base: int = 0x1000, *, code: int = CODE_32
) -> Vmcb:
    """All of whose segments but CS are the same."""
    vmcb = Vmcb(cr0=PROTECTED, cs=Segment(attributes=code, limit=0xFFFF_FFFF))
    for name in ("es", "ss", "ds", "fs", "gs"):
        setattr(vmcb, name, Segment(attributes=attributes, limit=limit, base=base))
    if code == CODE_64:
        vmcb.efer = 0x500
    return vmcb


def address(
    vmcb: Vmcb, offset: int, size: int = 1, *, write: bool = False, segment: int = 3
) -> int:
    outcome, place = linear(vmcb, Fault(), segment, offset, size, write)
    assert outcome == Outcome.DONE
    return place


def fault(vmcb: Vmcb, offset: int, size: int = 1, *, write: bool = False, segment: int = 3) -> int:
    """The vector; its error code is 0."""
    found = Fault(error=99)
    outcome, _ = linear(vmcb, found, segment, offset, size, write)
    assert (outcome, found.error) == (Outcome.FAULT, 0)
    return found.vector


def test_the_limit_is_the_last_byte() -> None:
    vmcb = guest()
    assert address(vmcb, 0xFFC, 4, write=True) == 0x1FFC
    assert fault(vmcb, 0xFFD, 4) == Vector.GENERAL_PROTECTION
    assert fault(vmcb, 0x1000) == Vector.GENERAL_PROTECTION
    assert fault(vmcb, 0x1000, segment=SegmentRegister.SS) == Vector.STACK
    assert address(guest(limit=0xFFFF_FFFF), 0xFFFF_FFFF) == 0xFFF, "addresses wrap around"
    assert fault(guest(limit=0xFFFF_FFFF), 0xFFFF_FFFE, 4) == Vector.GENERAL_PROTECTION


def test_one_that_expands_down_begins_behind_its_limit() -> None:
    vmcb = guest(DOWN)
    assert fault(vmcb, 0xFFF) == Vector.GENERAL_PROTECTION
    assert address(vmcb, 0x1000) == 0x2000
    assert address(vmcb, 0xFFFE, 2) == 0x1_0FFE
    assert fault(vmcb, 0xFFFF, 2) == Vector.GENERAL_PROTECTION
    assert address(guest(DOWN_32), 0xFFFF, 2) == 0x1_0FFF


@pytest.mark.parametrize("attributes", [READ_ONLY, READABLE_CODE, EXECUTE_ONLY, NULL])
def test_what_may_not_be_written(attributes: int) -> None:
    assert fault(guest(attributes), 0, write=True) == Vector.GENERAL_PROTECTION


def test_what_may_be_read() -> None:
    for attributes in (READ_ONLY, WRITABLE, DOWN_32, READABLE_CODE):
        address(guest(attributes, limit=0 if attributes == DOWN_32 else 0xFFF), 1)
    for attributes in (EXECUTE_ONLY, NULL):
        assert fault(guest(attributes), 0) == Vector.GENERAL_PROTECTION


@pytest.mark.parametrize("mode", [{"cr0": 0}, {"flags": VIRTUAL_8086}])
def test_real_mode_and_virtual_8086_look_at_the_limit_alone(mode: dict[str, int]) -> None:
    vmcb = guest(READ_ONLY, limit=0xFFFF, code=CODE_16)
    for name, value in mode.items():
        setattr(vmcb, name, value)
    assert address(vmcb, 0xFFFE, 2, write=True) == 0x1_0FFE
    assert fault(vmcb, 0xFFFF, 2) == Vector.GENERAL_PROTECTION
    assert fault(vmcb, 0x1_0000, segment=SegmentRegister.SS) == Vector.STACK


def test_in_64_bit_mode_two_segments_have_a_base_and_none_a_limit() -> None:
    vmcb = guest(NULL, code=CODE_64)
    assert address(vmcb, 0x12_3456, 8, write=True) == 0x12_3456
    assert address(vmcb, 0x12_3456, segment=SegmentRegister.FS) == 0x12_4456
    vmcb.gs.base = 0xFFFF_8000_0000_0000
    assert address(vmcb, 0x10, segment=SegmentRegister.GS) == 0xFFFF_8000_0000_0010
    assert address(vmcb, (1 << 64) - 8, 8) == (1 << 64) - 8


def test_in_64_bit_mode_addresses_are_canonical() -> None:
    vmcb = guest(code=CODE_64)
    for offset in (1 << 47, 1 << 63, (1 << 47) - 1, (1 << 64) - (1 << 47) - 1):
        assert fault(vmcb, offset, 2) == Vector.GENERAL_PROTECTION
        assert fault(vmcb, offset, 2, segment=SegmentRegister.SS) == Vector.STACK
    assert address(vmcb, (1 << 47) - 1) == (1 << 47) - 1
    vmcb.cr4 = LA57
    assert address(vmcb, 1 << 47) == 1 << 47


def test_compatibility_mode_has_limits() -> None:
    vmcb = guest(code=CODE_32)
    vmcb.efer = 0x500
    assert fault(vmcb, 0x1000) == Vector.GENERAL_PROTECTION
    assert address(vmcb, 0xFFF) == 0x1FFF
