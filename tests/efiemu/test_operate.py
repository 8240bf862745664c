"""What instructions do with memory, against what this machine's processor does."""

import random
import shutil

import pytest

from tests.devices.fuzzing import Limit
from tests.efiemu.disassembly import decode
from tests.efiemu.executing import execute_many
from vestige.efiemu.shell.decode import Decoded
from vestige.efiemu.shell.instruction import RCX, RDI, Instruction
from vestige.efiemu.shell.operate import Flag, operate
from vestige.efiemu.shell.registers import Registers
from vestige.efiemu.shell.vmcb import Segment, Vmcb

CODE_32, CODE_16, SHADOW, RESUME, DIRECTION = 0x49B, 0x9B, 1, 1 << 16, 1 << 10


def decoded(code: str, code_size: int = 4) -> Instruction:
    found = Instruction()
    assert decode(bytes.fromhex(code), code_size, found) == Decoded.KNOWN
    return found


def test_this_processor_does_the_same() -> None:
    if shutil.which("as") is None:
        pytest.skip("needs as, of Debian's binutils")
    assert execute_many(Limit(3000), random.Random(13)) == (3000, None)


def test_the_next_instruction_is_in_no_shadow() -> None:
    vmcb = Vmcb(
        cs=Segment(attributes=CODE_32), instruction=0xFFFF_FFFE, shadow=SHADOW, flags=RESUME
    )
    operate(vmcb, Registers(), decoded("89 07"), 0)
    assert (vmcb.instruction, vmcb.shadow, vmcb.flags) == (0, 0, 0)
    vmcb = Vmcb(cs=Segment(attributes=CODE_16), instruction=0xFFFF)
    operate(vmcb, Registers(), decoded("89 07", 2), 0)
    assert vmcb.instruction == 1


def test_a_repeated_one_is_done_step_by_step() -> None:
    vmcb, registers = (
        Vmcb(rax=0x1234_5678, flags=DIRECTION, cs=Segment(attributes=CODE_32)),
        Registers(),
    )
    registers.number[RCX], registers.number[RDI] = 0xFF_0000_0002, 0xFF_0000_0000
    found = decoded("f3 ab")
    assert operate(vmcb, registers, found, 0) == 0x1234_5678
    assert (registers.number[RCX], registers.number[RDI]) == (1, 0xFFFF_FFFC)
    assert vmcb.instruction == 0
    operate(vmcb, registers, found, 0)
    assert (registers.number[RCX], vmcb.instruction) == (0, 2)


def test_a_test_writes_nothing_but_flags() -> None:
    vmcb, found = Vmcb(cs=Segment(attributes=CODE_32)), decoded("f6 07 80")
    operate(vmcb, Registers(), found, 0xC1)
    assert vmcb.flags == Flag.SIGN
    assert not found.writes()
