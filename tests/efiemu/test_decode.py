"""The decoder of instructions, against what they are and against GNU's disassembler."""

import random
import shutil

import pytest

from tests.efiemu.disassembly import compare, decode
from vestige.efiemu.shell.decode import Decoded
from vestige.efiemu.shell.instruction import (
    INSTRUCTION_POINTER,
    LONGEST,
    NOTHING,
    Instruction,
    Operation,
    SegmentRegister,
)

ALL_ONES = (1 << 64) - 1


def decoded(text: str, code_size: int = 8) -> Instruction:
    """The instruction, which has to be known and to be all of these bytes."""
    code, found = bytes.fromhex(text), Instruction()
    assert decode(code, code_size, found) == Decoded.KNOWN
    assert found.length == len(code)
    return found


def outcome(text: str, code_size: int = 8) -> int:
    return decode(bytes.fromhex(text), code_size, Instruction())


def test_a_store_to_the_apic_as_linux_makes_it() -> None:
    found = decoded("89 b7 00 d0 5f ff")  # mov %esi, APIC_BASE(%rdi)
    assert (found.operation, found.to_memory, found.size) == (Operation.MOVE, 1, 4)
    assert (found.register, found.base, found.index) == (6, 7, NOTHING)
    assert found.displacement == 0xFFFF_FFFF_FF5F_D000
    assert (found.reads(), found.writes()) == (False, True)


def test_an_immediate_has_its_sign_extended() -> None:
    found = decoded("48 c7 00 fe ff ff ff")
    assert (found.size, found.register, found.immediate) == (8, NOTHING, ALL_ONES - 1)
    assert decoded("83 08 80").immediate == ALL_ONES - 0x7F
    assert decoded("66 81 08 34 92").immediate == ALL_ONES - 0xFFFF + 0x9234


def test_a_load_may_widen() -> None:
    found = decoded("0f b6 07")
    assert (found.size, found.width, found.signed, found.reads()) == (1, 4, 0, True)
    found = decoded("48 0f bf 07")
    assert (found.size, found.width, found.signed) == (2, 8, 1)
    found = decoded("48 63 07")
    assert (found.size, found.width, found.signed) == (4, 8, 1)


def test_a_byte_of_the_first_four_registers_may_be_the_high_one() -> None:
    found = decoded("88 27")
    assert (found.register, found.high) == (0, 1)
    found = decoded("40 88 27")
    assert (found.register, found.high) == (4, 0)


def test_an_address_relative_to_the_next_instruction() -> None:
    found = decoded("8b 05 10 00 00 00")
    assert (found.base, found.displacement) == (INSTRUCTION_POINTER, 16)
    found = decoded("8b 05 10 00 00 00", 4)
    assert (found.base, found.displacement) == (NOTHING, 16)


def test_an_absolute_address_is_as_long_as_addresses_are() -> None:
    assert decoded("a1 01 02 03 04 05 06 07 08").displacement == 0x0807_0605_0403_0201
    assert decoded("67 a1 01 02 03 04").address_size == 4
    assert decoded("a1 01 02 03 04", 4).displacement == 0x0403_0201
    assert decoded("a3 01 02", 2).displacement == 0x0201


def test_segments() -> None:
    assert decoded("8b 45 00").segment == SegmentRegister.SS
    assert decoded("41 8b 45 00").segment == SegmentRegister.DS, "R13 is not RBP"
    assert decoded("65 8b 45 00").segment == SegmentRegister.GS
    assert decoded("26 8b 45 00").segment == SegmentRegister.SS, "there is no ES in 64-bit mode"
    assert decoded("64 26 8b 07").segment == SegmentRegister.FS
    assert decoded("26 8b 45 00", 4).segment == SegmentRegister.ES


def test_strings() -> None:
    found = decoded("f3 6d", 2)
    assert (found.operation, found.size, found.repeated) == (Operation.INPUT_STRING, 2, 1)
    assert (found.segment, found.address_size) == (SegmentRegister.ES, 2)
    found = decoded("67 64 f3 66 6f", 2)
    assert (found.operation, found.size, found.address_size) == (Operation.OUTPUT_STRING, 4, 4)
    assert found.segment == SegmentRegister.FS
    assert decoded("48 6d").size == 4, "ports have at most 32 bits"
    found = decoded("f3 48 a5")
    assert (found.operation, found.size, found.repeated) == (Operation.MOVE_STRING, 8, 1)
    assert (found.reads(), found.writes()) == (True, True)


@pytest.mark.parametrize(
    ("code", "reads", "writes"),
    [
        ("09 07", True, True), ("0b 07", True, False), ("39 07", True, False),
        ("3b 07", True, False), ("85 07", True, False), ("87 07", True, True),
        ("f7 17", True, True), ("f7 07 00 00 00 00", True, False), ("ff 07", True, True),
        ("0f ba 27 05", True, False), ("0f ba 37 05", True, True), ("0f c3 07", False, True),
        ("ab", False, True), ("ad", True, False),
    ],
)  # fmt: skip
def test_what_is_read_and_what_is_written(code: str, reads: bool, writes: bool) -> None:
    found = decoded(code)
    assert (found.reads(), found.writes()) == (reads, writes)


def test_lock() -> None:
    assert decoded("f0 83 0f 01").locked
    assert decoded("87 07").locked, "by itself"
    assert not decoded("83 0f 01").locked
    for code in ("f0 8b 07", "f0 89 07", "f0 39 07", "f0 03 07", "f0 a5"):
        assert outcome(code) == Decoded.UNKNOWN


@pytest.mark.parametrize(
    "code",
    [
        *("8b c0", "0f 10 07", "0f b1 07", "8e 07", "8c 07", "ff 37", "f7 27", "90"),
        *("c7 3f 00 00 00 00", "66 63 07"),
    ],
)
def test_what_is_unknown(code: str) -> None:
    """MOV of registers, MOVUPS, CMPXCHG, segment registers, PUSH, MUL, …"""
    assert outcome(code) == Decoded.UNKNOWN


def test_bytes_that_are_missing() -> None:
    whole = bytes.fromhex("65 67 48 c7 84 8b 01 02 03 04 05 06 07 08")
    for count in range(len(whole)):
        assert decode(whole[:count], 8, Instruction()) == Decoded.SHORT
    assert decode(whole, 8, Instruction()) == Decoded.KNOWN
    assert outcome("65" * 2 + whole.hex()) == Decoded.TOO_LONG
    assert outcome("66" * LONGEST) == Decoded.TOO_LONG


def test_the_disassembler_says_the_same() -> None:
    if shutil.which("objdump") is None:
        pytest.skip("needs objdump, of Debian's binutils")
    assert compare(3000, random.Random(13)) is None
