"""Places that can't be are refused, by file and line of the claim."""

import re
from pathlib import Path
from typing import Any

import pytest

from vestige.claims import OPTIONAL_ROWS, check, check_words, rows
from vestige.errors import UsageError
from vestige.lang.build import compile_functions
from vestige.lang.errors import Refusal
from vestige.lang.records import made_at
from vestige.monitor.core import bus
from vestige.place import (
    CONFIG_PORTS,
    NOBODY,
    ROW_SHIFT,
    MemoryRange,
    Node,
    Option,
    Place,
    Ports,
    Table,
    Wire,
)

SERIAL = Place("serial", "serial", ports=(Ports(8, 2), Ports(12, 1)))
COUNTER = Place("counter", "counter", memory=MemoryRange(0xF000_0000, 0x1000))


def test_the_row_of_each_port_up_to_the_last_that_is_claimed() -> None:
    other = Place("other", "other", ports=(Ports(10, 1),))
    table = rows((COUNTER, SERIAL, other))
    found = [(where >> ROW_SHIFT, where & 0xFF) for where in table]
    assert found[:8] == [(NOBODY, 0)] * 8
    assert found[8:13] == [(1, 0), (1, 1), (2, 0), (NOBODY, 0), (1, 4)]
    assert found[0xCF8:] == [(CONFIG_PORTS, offset) for offset in range(8)]


def test_a_group_of_ports_can_have_an_offset_of_its_own() -> None:
    reset = Place("reset", "reset", ports=(Ports(0x600, 2), Ports(0x92, 1, offset=2)))
    table = rows((reset,))
    assert [table[port] for port in (0x600, 0x601, 0x92)] == [0, 1, 2]


def test_without_ports_there_is_no_row() -> None:
    assert {where >> ROW_SHIFT for where in rows((COUNTER,))} == {NOBODY, CONFIG_PORTS}


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (Place("b", "b", ports=(Ports(9, 1),)), "b claims port 0x9, which is serial's"),
        (Place("b", "b", ports=(Ports(0, 13),)), "b claims port 0x8, which is serial's"),
        (Place("b", "b", ports=(Ports(1, 2), Ports(2, 1))), "b claims port 0x2, which is b's"),
        (Place("b", "b", ports=(Ports(0xCF9, 1),)), "b claims port 0xcf9, which is PCI's"),
        (Place("b", "b", ports=(Ports(0xFFFF, 2),)), "b claims 2 ports from 0xffff; there are"),
        (Place("b", "b", ports=(Ports(1, 0),)), "b claims 0 ports from 0x1; there are 0x10000"),
        (Place("b", "b", ports=(Ports(2, 1), Ports(1, 1))), "b claims port 0x1, whose offset is"),
    ],
)
def test_ports_that_can_not_be_claimed_are_refused(place: Place, reason: str) -> None:
    with pytest.raises(UsageError, match=rf"{re.escape(__file__)}:\d+: {reason}"):
        rows((SERIAL, COUNTER, place))


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (
            Place("b", "b", memory=MemoryRange(0xF000_0FFF, 8)),
            "b claims address 0xf0000fff, which is c",
        ),
        (
            Place("b", "b", memory=MemoryRange(0xEFFF_FFFF, 2)),
            "counter claims address 0xf0000000, which",
        ),
        (
            Place("b", "b", memory=MemoryRange(0xBFFF_FFFF, 2)),
            "b claims address 0xbfffffff, which is PC",
        ),
        (
            Place("b", "b", memory=MemoryRange(0xE00F_FFFF, 1)),
            "b claims address 0xe00fffff, which is PC",
        ),
        (Place("b", "b", wires=(Wire("line", 24),)), "b claims pin 24; the I/O APIC has 0 to 23"),
    ],
)
def test_addresses_and_pins_that_can_not_be_claimed_are_refused(place: Place, reason: str) -> None:
    with pytest.raises(UsageError, match=rf"{re.escape(__file__)}:\d+: {reason}"):
        check((SERIAL, COUNTER, place))


SPEAKER = Place(
    "speaker",
    "speaker",
    option=Option("--speaker", "give it a speaker"),
    node=Node("SPKR", "PNP0800"),
    table=Table(b"SPKR", 1, b""),
)


def optional(name: str, **claims: Any) -> Place:
    """A place with an option of that name."""
    return Place("b", "b", option=Option(name, "help"), **claims)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (optional("--speaker"), "b claims option --speaker, which is speaker's"),
        (optional("speaker"), "b claims option 'speaker'; give one like --hpet"),
        (optional("--"), "b claims option '--'; give one like"),
        (optional("--Speaker"), "b claims option '--Speaker'; give one like"),
        (optional("--a=b"), "b claims option '--a=b'; give one like"),
        (
            optional("--beep", present=lambda config: True),
            "b claims option --beep, and says itself when it is there; give one",
        ),
    ],
)
def test_options_that_can_not_be_are_refused(place: Place, reason: str) -> None:
    with pytest.raises(UsageError, match=rf"{re.escape(__file__)}:\d+: {re.escape(reason)}"):
        check((SPEAKER, place))


def test_an_option_needs_a_bit_in_the_config() -> None:
    check((COUNTER, SPEAKER))
    many = tuple(Place(f"p{row}", "p") for row in range(OPTIONAL_ROWS))
    with pytest.raises(UsageError, match="speaker claims option --speaker in row 64; those with"):
        check((*many, SPEAKER))


def test_an_option_that_the_command_has_by_itself_is_refused() -> None:
    check_words((COUNTER, SPEAKER), ["--disk"])
    reason = "speaker claims option --speaker, which `vestige run` has; give another"
    with pytest.raises(UsageError, match=rf"{re.escape(__file__)}:\d+: {reason}"):
        check_words((COUNTER, SPEAKER), ["--disk", "--speaker"])


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (Place("b", "b", node=Node("SPKR", "PNP0800")), "b claims ACPI name SPKR, which is speak"),
        (Place("b", "b", node=Node("SPK", "PNP0800")), "b claims ACPI name 'SPK'; give four of A"),
        (Place("b", "b", node=Node("1SPK", "PNP0800")), "b claims ACPI name '1SPK'; give four"),
        (Place("b", "b", node=Node("spkr", "PNP0800")), "b claims ACPI name 'spkr'; give four"),
        (Place("b", "b", node=Node("PCI0", "PNP0800")), "b claims ACPI name PCI0, which is the m"),
        (Place("b", "b", node=Node("C01F", "PNP0800")), "b claims ACPI name C01F, which is the m"),
        (Place("b", "b", node=Node("BEEP", "PN0800")), "b claims ACPI hardware ID 'PN0800'; give"),
        (Place("b", "b", node=Node("BEEP", "PNPX800")), "b claims ACPI hardware ID 'PNPX800'; gi"),
        (Place("b", "b", node=Node("BEEP", "P1P0800")), "b claims ACPI hardware ID 'P1P0800'; gi"),
        (Place("b", "b", node=Node("BEEP", "")), "b claims ACPI hardware ID ''; give one like"),
        (
            Place("b", "b", ports=(Ports(0x100, 256),), node=Node("BEEP", "PNP0800")),
            "b claims more than 255 ports in a row, which no ACPI node can; give two groups",
        ),
        (
            Place("b", "b", memory=MemoryRange(0xFFFF_F000, 0x1001), node=Node("BEEP", "PNP0800")),
            "b claims address 0xfffff000 in ACPI; its nodes end at 4 GiB",
        ),
        (Place("b", "b", table=Table(b"SPKR", 1, b"")), "b claims ACPI table b'SPKR', which is sp"),
        (Place("b", "b", table=Table(b"APIC", 1, b"")), "b claims ACPI table b'APIC'; give four "),
        (Place("b", "b", table=Table(b"SPK", 1, b"")), "b claims ACPI table b'SPK'; give four ch"),
    ],
)
def test_what_acpi_can_not_say_is_refused(place: Place, reason: str) -> None:
    with pytest.raises(UsageError, match=rf"{re.escape(__file__)}:\d+: {re.escape(reason)}"):
        check((SPEAKER, place))


def test_neighbours_do_not_overlap() -> None:
    after = Place("b", "b", ports=(Ports(10, 2),), memory=MemoryRange(0xF000_1000, 1))
    before = Place("c", "c", ports=(Ports(7, 1),), memory=MemoryRange(0xEFFF_FFFF, 1))
    check((SERIAL, COUNTER, after, before))
    found = rows((SERIAL, COUNTER, after, before))[7:13]
    assert [where >> ROW_SHIFT for where in found] == [3, 0, 0, 2, 2, 0]


def test_a_field_that_is_not_there_is_refused_when_it_is_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bus, "DEVICES", (COUNTER,))
    with pytest.raises(Refusal) as refusal:
        compile_functions([bus.read_at], base=None, runtime="process")
    assert "counter" in str(refusal.value)
    assert f"{Path(__file__).name}:{made_at(COUNTER)[1]}" in str(refusal.value)
