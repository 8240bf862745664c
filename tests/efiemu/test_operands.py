"""Where an instruction's operands in memory are."""

import pytest

from tests.efiemu.disassembly import decode
from tests.efiemu.walks import CR0, FOUR_LEVELS, PAGES, RAM_SIZE, TABLES, Ram, new_walk
from vestige.efiemu.shell.decode import Decoded
from vestige.efiemu.shell.fault import Outcome, Vector
from vestige.efiemu.shell.instruction import RCX, RDI, RSI, Instruction
from vestige.efiemu.shell.operands import Operands, locate
from vestige.efiemu.shell.registers import Registers
from vestige.efiemu.shell.vmcb import Segment, Vmcb
from vestige.lang.intrinsics import CheckFailed

START, CODE_64 = 0x1000, 0x29B
LINEAR, FIRST, SECOND = 0x40_0000, PAGES + 0x5000, PAGES + 0x2000  # pages, in any order
READ_ONLY, DEVICE = 0x40_3000, 0x40_5000  # linear
APIC = 0xFEE0_0000


class Guest:
    """In 64-bit mode, with two pages of RAM, one that is read-only, and a device."""

    def __init__(self, code: str, **registers: int) -> None:
        self.ram, self.walk, self.found = Ram(), new_walk(), Instruction()
        ram = self.ram
        for level in (4, 3):
            ram.put(TABLES + level * 0x1000, TABLES + (level - 1) * 0x1000 | 7, 8)
        ram.put(TABLES + 0x2000 + 8 * 2, TABLES + 0x1000 | 7, 8)
        for number, entry in ((0, FIRST | 7), (1, SECOND | 7), (3, FIRST | 5), (5, APIC | 7)):
            ram.put(TABLES + 0x1000 + 8 * number, entry, 8)
        self.vmcb = Vmcb(
            cr0=CR0, cr3=TABLES + 0x4000, cr4=FOUR_LEVELS.cr4, efer=FOUR_LEVELS.efer,
            cs=Segment(attributes=CODE_64), instruction=START,
        )  # fmt: skip
        self.registers, self.operands = Registers(), Operands()
        for name, number in (("rcx", RCX), ("rsi", RSI), ("rdi", RDI)):
            self.registers.number[number] = registers.get(name, 0)
        assert decode(bytes.fromhex(code), 8, self.found) == Decoded.KNOWN

    def locate(self) -> int:
        return locate(
            self.vmcb, self.registers, self.ram.memory, self.walk, self.found, self.operands
        )


def test_a_store_to_a_device() -> None:
    guest = Guest("89 87 00 03 00 00", rdi=DEVICE)
    assert guest.locate() == Outcome.DONE
    place = guest.operands.destination
    assert (place.physical, place.near) == (APIC + 0x300, 4)
    assert not place.is_ram(guest.ram.memory, 4)
    with pytest.raises(CheckFailed):
        place.store(guest.ram.memory, 4, 0)


def test_what_is_read_and_written_is_one_place_which_must_be_writable() -> None:
    guest = Guest("83 0f 01", rdi=LINEAR + 8)
    assert guest.locate() == Outcome.DONE
    assert guest.operands.source.physical == guest.operands.destination.physical == FIRST + 8
    guest = Guest("83 0f 01", rdi=READ_ONLY)
    assert (guest.locate(), guest.walk.fault.vector) == (Outcome.FAULT, Vector.PAGE_FAULT)
    assert Guest("83 3f 01", rdi=READ_ONLY).locate() == Outcome.DONE, "CMP only reads"


def test_an_operand_across_pages() -> None:
    guest = Guest("48 a5", rsi=LINEAR + 0xFFD, rdi=LINEAR + 0x10)
    ram = guest.ram
    ram.put(FIRST + 0xFFD, 0x030201, 3)
    ram.put(SECOND, 0x0807060504, 5)
    assert guest.locate() == Outcome.DONE
    source, destination = guest.operands.source, guest.operands.destination
    assert source.is_ram(ram.memory, 8)
    assert source.load(ram.memory, 8) == 0x0807_0605_0403_0201
    assert destination.near == 8
    source.store(ram.memory, 8, 0x1122_3344_5566_7788)
    assert (ram.get(FIRST + 0xFFD, 3), ram.get(SECOND, 5)) == (0x667788, 0x1122334455)


def test_an_operand_of_which_a_part_is_no_ram() -> None:
    guest = Guest("8b 07", rdi=LINEAR + 0x1FFE)
    assert guest.locate() == Outcome.FAULT
    assert guest.walk.fault.address == LINEAR + 0x2000
    guest.ram.put(TABLES + 0x1010, RAM_SIZE | 7, 8)
    assert guest.locate() == Outcome.DONE
    assert not guest.operands.source.is_ram(guest.ram.memory, 4)


def test_both_operands_of_a_string_are_found_before_anything_is_done() -> None:
    guest = Guest("a4", rsi=LINEAR, rdi=READ_ONLY)
    assert (guest.locate(), guest.walk.fault.address) == (Outcome.FAULT, READ_ONLY)
    guest = Guest("f3 a4", rcx=1, rsi=DEVICE + 4, rdi=LINEAR)
    assert guest.locate() == Outcome.DONE
    assert guest.operands.source.physical == APIC + 4
    assert guest.operands.destination.physical == FIRST
    guest = Guest("ac", rsi=LINEAR, rdi=1 << 50)
    assert guest.locate() == Outcome.DONE, "LODS has no destination"


def test_none_at_all() -> None:
    guest = Guest("67 f3 aa", rcx=5 << 32, rdi=1 << 50)
    assert guest.locate() == Outcome.DONE
    assert guest.operands.over
    assert guest.vmcb.instruction == START + 3
