"""Places that can't be are refused, by file and line of the claim."""

import re
from pathlib import Path

import pytest

from vestige.lang.build import compile_functions
from vestige.lang.errors import Refusal
from vestige.lang.records import made_at
from vestige.monitor.core import bus
from vestige.place import NOBODY, Block, Place, Ports, Wire, check, rows

SERIAL = Place("serial", "serial", ports=(Ports(8, 2), Ports(12, 1)))
COUNTER = Place("counter", "counter", memory=Block(0xF000_0000, 0x1000))


def test_the_row_of_each_port_up_to_the_last_that_is_claimed() -> None:
    other = Place("other", "other", ports=(Ports(10, 1),))
    table = rows((COUNTER, SERIAL, other))
    assert table[:8] == bytes([NOBODY]) * 8
    assert list(table[8:]) == [1, 1, 2, NOBODY, 1]


def test_without_ports_there_is_no_row() -> None:
    assert rows((COUNTER,)) == b""


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
    with pytest.raises(ValueError, match=rf"{re.escape(__file__)}:\d+: {reason}"):
        rows((SERIAL, COUNTER, place))


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (Place("b", "b", memory=Block(0xF000_0FFF, 8)), "b claims address 0xf0000fff, which is c"),
        (Place("b", "b", memory=Block(0xEFFF_FFFF, 2)), "counter claims address 0xf0000000, which"),
        (Place("b", "b", memory=Block(0xBFFF_FFFF, 2)), "b claims address 0xbfffffff, which is PC"),
        (Place("b", "b", memory=Block(0xE00F_FFFF, 1)), "b claims address 0xe00fffff, which is PC"),
        (Place("b", "b", wires=(Wire("line", 24),)), "b claims pin 24; the I/O APIC has 0 to 23"),
    ],
)
def test_addresses_and_pins_that_can_not_be_claimed_are_refused(place: Place, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"{re.escape(__file__)}:\d+: {reason}"):
        check((SERIAL, COUNTER, place))


def test_neighbours_do_not_overlap() -> None:
    after = Place("b", "b", ports=(Ports(10, 2),), memory=Block(0xF000_1000, 1))
    before = Place("c", "c", ports=(Ports(7, 1),), memory=Block(0xEFFF_FFFF, 1))
    check((SERIAL, COUNTER, after, before))
    assert list(rows((SERIAL, COUNTER, after, before))[7:]) == [3, 0, 0, 2, 2, 0]


def test_a_field_that_is_not_there_is_refused_when_it_is_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bus, "DEVICES", (COUNTER,))
    with pytest.raises(Refusal) as refusal:
        compile_functions([bus.read_register], base=None, runtime="process")
    assert "counter" in str(refusal.value)
    assert f"{Path(__file__).name}:{made_at(COUNTER)[1]}" in str(refusal.value)
