"""The guest and the shell at one I/O APIC, by turns: each sees what it has chosen."""

from collections.abc import Iterator

import pytest

from tests.efiemu.memory import physical, translate
from tests.efiemu.test_mapped import Guest
from vestige.abi import IOAPIC
from vestige.efiemu.shell import block, ioapic
from vestige.efiemu.shell.ioapic import read_entry, take_ioapic
from vestige.efiemu.shell.pages import PAGE
from vestige.efiemu.shell.state import Shell

SELECT, WINDOW, EOI = IOAPIC, IOAPIC + 0x10, IOAPIC + 0x40
PIN, LOW, HIGH = 14, 0x10 + 28, 0x10 + 29
VERSION = 1


class Chip:
    """Its registers, and the vectors that have ended."""

    def __init__(self) -> None:
        self.chosen = 0
        self.registers = {number: 0x1000_0000 + number for number in range(0x40)}
        self.ended: list[int] = []

    def load(self, place: int, size: int = 4) -> int:
        value = {SELECT: self.chosen, WINDOW: self.registers[self.chosen]}.get(place, 0)
        return value & (1 << 8 * size) - 1

    def store(self, place: int, size: int, value: int) -> None:
        if place == SELECT:
            self.chosen = value & 0xFF
        elif place == WINDOW:
            self.registers[self.chosen] = value
        else:
            assert (place, size) == (EOI, 4)
            self.ended.append(value)


@pytest.fixture
def chip(monkeypatch: pytest.MonkeyPatch) -> Chip:
    made = Chip()
    monkeypatch.setattr(ioapic, "load32", made.load)
    monkeypatch.setattr(ioapic, "load_sized", made.load)
    monkeypatch.setattr(ioapic, "store32", lambda place, value: made.store(place, 4, value))
    monkeypatch.setattr(ioapic, "store_sized", made.store)
    return made


@pytest.fixture
def place() -> Iterator[int]:
    with physical(block.SIZE) as place:
        yield place


def execute(place: int, code: str, **registers: int) -> int:
    """An instruction of the guest's: EAX afterwards."""
    guest = Guest(code, **registers)
    guest.shell.block = place
    guest.go()
    assert guest.vmcb.instruction == guest.end
    return int(guest.vmcb.rax)


def choose(place: int, index: int) -> None:
    execute(place, "89 07", edi=SELECT, eax=index)


def test_its_page_exits_and_what_was_chosen_stays(place: int, chip: Chip) -> None:
    shell = Shell(block=place, low=0x9_0000)
    block.map_all(shell)
    chip.chosen = 0x12
    take_ioapic(shell)
    assert translate(shell.guest_root, IOAPIC) is None
    assert translate(shell.guest_root, IOAPIC + PAGE) == (IOAPIC + PAGE, 7)
    assert execute(place, "8b 07", edi=WINDOW) == 0x1000_0012


def test_the_shell_looks_at_an_entry_between_the_guests_two_accesses(
    place: int, chip: Chip
) -> None:
    shell = Shell(block=place)
    choose(place, VERSION)
    assert read_entry(shell, PIN) == (0x1000_0000 + LOW, 0x1000_0000 + HIGH)
    assert chip.chosen != VERSION
    assert execute(place, "8b 07", edi=WINDOW) == 0x1000_0001
    assert execute(place, "8b 07", edi=SELECT) == VERSION
    choose(place, LOW)
    read_entry(shell, 3)
    execute(place, "c7 07 31 00 01 00", edi=WINDOW)
    assert read_entry(shell, PIN)[0] == 0x10031


def test_parts_and_other_registers(place: int, chip: Chip) -> None:
    execute(place, "88 07", edi=SELECT, eax=LOW)
    assert execute(place, "8a 07", edi=WINDOW) == LOW
    assert execute(place, "66 8b 07", edi=WINDOW) == LOW
    execute(place, "89 07", edi=EOI, eax=0x31)
    assert chip.ended == [0x31]
    assert execute(place, "8b 07", edi=WINDOW + 0x100) == 0x1000_0000 + LOW, "again and again"
