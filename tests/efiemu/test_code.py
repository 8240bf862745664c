"""Finding the instruction at which a guest left, in CPython and compiled."""

from functools import cache

import pytest

from tests import compiling
from tests.efiemu.walks import CR0, FOUR_LEVELS, PAGES, RAM_SIZE, TABLES, Ram, new_walk
from vestige.efiemu.shell.code import fetch
from vestige.efiemu.shell.decode import Decoder
from vestige.efiemu.shell.fault import Outcome, Vector
from vestige.efiemu.shell.instruction import Instruction
from vestige.efiemu.shell.vmcb import Segment, Vmcb
from vestige.lang.native import NativeImage

CODE_64, CODE_32 = 0x29B, 0x49B
MOVE = bytes.fromhex("c7 87 00 03 00 00 01 02 03 04")
LINEAR, FIRST, SECOND = 0x40_0000, PAGES + 0x5000, PAGES + 0x2000  # pages, in any order


@cache
def compiled() -> NativeImage:
    return compiling.native([fetch])


@pytest.fixture
def ram() -> Ram:
    """Two pages of code."""
    made = Ram()
    for level, entry in ((4, TABLES + 0x3000), (3, TABLES + 0x2000)):
        made.put(TABLES + level * 0x1000, entry | 7, 8)
    made.put(TABLES + 0x2000 + 8 * 2, TABLES + 0x1000 | 7, 8)
    made.put(TABLES + 0x1000, FIRST | 7, 8)
    made.put(TABLES + 0x1008, SECOND | 7, 8)
    return made


def guest(instruction: int) -> Vmcb:
    return Vmcb(
        cr0=CR0, cr3=TABLES + 0x4000, cr4=FOUR_LEVELS.cr4, efer=FOUR_LEVELS.efer,
        cs=Segment(attributes=CODE_64, base=0x1234), instruction=instruction,
    )  # fmt: skip


def fetched(vmcb: Vmcb, ram: Ram) -> tuple[int, Instruction, tuple[int, int, int]]:
    """The same, by both."""
    walks, found = (new_walk(), new_walk()), (Instruction(), Instruction())
    outcome = fetch(vmcb, ram.memory, walks[0], Decoder(), found[0])
    assert compiled()["fetch"](vmcb, ram.memory, walks[1], Decoder(), found[1]) == outcome
    assert bytes(memoryview(found[0])) == bytes(memoryview(found[1]))
    faults = [(each.fault.vector, each.fault.error, each.fault.address) for each in walks]
    assert faults[0] == faults[1]
    return int(outcome), found[0], faults[0]


def put(ram: Ram, offset: int, code: bytes) -> None:
    """At that offset behind LINEAR."""
    for number, byte in enumerate(code, offset):
        page = FIRST if number < 0x1000 else SECOND
        ram.put(page + number % 0x1000, byte, 1)


@pytest.mark.parametrize("offset", [0, 0xFF0, 0xFF6, 0xFF8, 0xFFF])
def test_it_may_lie_across_pages(ram: Ram, offset: int) -> None:
    put(ram, offset, MOVE)
    outcome, found, _ = fetched(guest(LINEAR + offset), ram)
    assert (outcome, found.length, found.immediate) == (Outcome.DONE, len(MOVE), 0x0403_0201)


def test_a_page_that_it_does_not_reach_is_not_looked_at(ram: Ram) -> None:
    put(ram, 0xFF6, MOVE)
    ram.put(TABLES + 0x1008, 0, 8)
    assert fetched(guest(LINEAR + 0xFF6), ram)[0] == Outcome.DONE
    put(ram, 0xFF7, MOVE)
    outcome, _, fault = fetched(guest(LINEAR + 0xFF7), ram)
    assert (outcome, fault) == (Outcome.FAULT, (Vector.PAGE_FAULT, 0, LINEAR + 0x1000))


def test_outside_64_bit_mode_it_is_in_its_segment(ram: Ram) -> None:
    vmcb = Vmcb(cs=Segment(attributes=CODE_32, base=0xFFFF_F000), instruction=FIRST + 0x1000)
    put(ram, 0, MOVE)
    assert fetched(vmcb, ram)[0] == Outcome.DONE


def test_what_is_unknown_is_refused_by_address(ram: Ram) -> None:
    put(ram, 4, bytes.fromhex("0f 10 07"))
    outcome, found, fault = fetched(guest(LINEAR + 4), ram)
    assert (outcome, fault[2]) == (Outcome.REFUSED, LINEAR + 4)
    assert bytes(found.bytes)[:3] == bytes.fromhex("0f 10 07"), "which can be told"


def test_code_outside_ram_is_refused_by_address(ram: Ram) -> None:
    ram.put(TABLES + 0x1008, RAM_SIZE | 7, 8)
    put(ram, 0xFF8, MOVE)
    outcome, _, fault = fetched(guest(LINEAR + 0xFF8), ram)
    assert (outcome, fault[2]) == (Outcome.REFUSED, RAM_SIZE)


def test_one_that_is_too_long_is_a_fault(ram: Ram) -> None:
    put(ram, 0xFF8, b"\x66" * 15 + MOVE)
    outcome, _, fault = fetched(guest(LINEAR + 0xFF8), ram)
    assert (outcome, *fault[:2]) == (Outcome.FAULT, Vector.GENERAL_PROTECTION, 0)
