"""500 random sequences of accesses to configuration space of each of a PC's own functions."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.qtest.client import Qtest, qemu
from tests.qtest.pci_config_pair import FUNCTIONS, Function, Pair
from tests.qtest.piix4_pm_pair import WITHOUT_SMM

pytestmark = pytest.mark.qtest

SEQUENCES = 500
NAMES = [function.name for function in FUNCTIONS]
EACH = pytest.mark.parametrize("function", FUNCTIONS, ids=NAMES)
FX, ISA, IDE, PM, VGA = FUNCTIONS
ALL = 0xFF
MACHINE = (*WITHOUT_SMM, "-vga", "std")
# Registers of the pages' tables, by function: a byte, and the bits that both have alike there.
COMPARED = {
    FX.name: {0x00: ALL, 0x02: ALL, 0x08: ALL, 0x0B: ALL, 0x59: 0x30, 0x5A: 0x33, 0x72: 0x78},
    ISA.name: {0x02: ALL, 0x0E: ALL, 0x4C: ALL, 0x4E: ALL, 0x60: 0x8F, 0x63: 0x8F, 0x69: 0xFE},
    IDE.name: {0x02: ALL, 0x04: 0x05, 0x09: ALL, 0x20: 0xF1, 0x21: ALL, 0x40: ALL, 0x44: ALL},
    PM.name: {0x02: ALL, 0x08: ALL, 0x3D: ALL, 0x41: ALL, 0x58: ALL, 0x80: 0x01, 0x91: ALL},
    VGA.name: {0x00: ALL, 0x02: ALL, 0x04: 0x03, 0x0B: ALL, 0x10: ALL, 0x13: ALL, 0x3D: ALL},
}
# What no guest has written yet: register, bytes, here, and in QEMU.
AT_RESET = {
    FX.name: ((0x06, 2, 0x0280, 0),),
    ISA.name: ((0x06, 2, 0x0280, 0x0200),),
    IDE.name: (),
    PM.name: (
        *((0x40, 4, 0x0601, 0x0001), (0x80, 1, 1, 0)),
        *((0x90, 4, 0x0001, 0xB101), (0xD2, 1, 0, 9)),
        *((0x5F, 1, 0, 0x10), (0x63, 1, 0, 0x60)),
    ),
    VGA.name: ((0x08, 1, 0, 2),),
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Qtest]:
    with qemu(tmp_path_factory.mktemp("qemu"), MACHINE) as started:
        yield started


@EACH
def test_both_answer_alike(machine: Qtest, function: Function) -> None:
    pair, chance = Pair(machine, function), random.Random(function.name)
    alike = pair.alike()
    for offset, bits in COMPARED[function.name].items():
        assert alike[offset] & bits == bits, f"{offset:#x} is compared"
    for _ in range(SEQUENCES):
        difference = pair.sequence(chance, alike)
        assert difference is None, difference


@pytest.mark.parametrize(
    ("function", "offset", "written", "mine", "theirs"),
    [
        *((each, 0x0C, ALL, 0, ALL) for each in FUNCTIONS),
        (FX, 0x04, 0x00, 0x06, 0x00),
        (FX, 0x05, ALL, 0x00, 0x05),
        (FX, 0x3C, ALL, 0x00, ALL),
        (FX, 0x59, ALL, 0x30, ALL),
        (FX, 0x5F, ALL, 0x33, ALL),
        (FX, 0x72, 0x00, 0x02, 0x00),
        (FX, 0x72, ALL, 0x7A, ALL),
        (FX, 0xF0, ALL, 0x00, ALL),
        (ISA, 0x04, 0x00, 0x0F, 0x00),
        (ISA, 0x3C, ALL, 0x00, ALL),
        (ISA, 0x60, ALL, 0x8F, ALL),
        (ISA, 0x69, ALL, 0xFE, ALL),
        (ISA, 0x80, ALL, 0x00, ALL),
        (IDE, 0x04, 0xFE, 0x04, 0x06),
        (IDE, 0x0D, ALL, 0xF0, 0x00),
        (IDE, 0x3C, ALL, 0x00, ALL),
        (IDE, 0xF0, ALL, 0x00, ALL),
        (PM, 0x04, 0x06, 0x00, 0x06),
        (PM, 0x40, ALL, 0xC1, ALL),
        (PM, 0x42, ALL, 0x00, ALL),
        (PM, 0x90, ALL, 0xF1, ALL),
        (PM, 0xD6, ALL, 0x00, ALL),
        (VGA, 0x04, 0x04, 0x00, 0x04),
        (VGA, 0x05, ALL, 0x00, 0x05),
        (VGA, 0x1A, ALL, 0x00, ALL),
        (VGA, 0x32, ALL, 0x00, ALL),
        (VGA, 0x3C, ALL, 0x00, ALL),
        (VGA, 0xF0, ALL, 0x00, ALL),
    ],
    ids=lambda value: value.name if isinstance(value, Function) else None,
)
def test_the_rows_of_the_pages_are_real_differences(
    machine: Qtest, function: Function, offset: int, written: int, mine: int, theirs: int
) -> None:
    pair = Pair(machine, function)
    pair.write(offset, 1, written)
    answers = pair.read(offset, 1)
    pair.write(offset, 1, 0)
    assert answers == (mine, theirs)


@EACH
def test_rows_of_what_no_guest_has_written(tmp_path: Path, function: Function) -> None:
    """Of each also the subsystem, which is QEMU's maker's there."""
    with qemu(tmp_path, MACHINE) as fresh:
        pair = Pair(fresh, function)
        for offset, size, mine, theirs in AT_RESET[function.name]:
            assert pair.read(offset, size) == (mine, theirs), hex(offset)
        assert pair.read(0x2C, 4) == (0, 0x1100_1AF4)
