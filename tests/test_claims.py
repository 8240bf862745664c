"""Places that can't be are refused, by file and line of the claim."""

import re
from pathlib import Path
from typing import Any

import pytest

from vestige.abi import WINDOW, WINDOW_SIZE, Board, Bus
from vestige.claims import OPTIONAL_ROWS, check, check_types, check_words, functions, rows
from vestige.errors import UsageError
from vestige.lang.build import compile_functions
from vestige.lang.errors import Refusal
from vestige.lang.records import made_at
from vestige.monitor.core import bus
from vestige.place import (
    CONFIG_PORTS,
    NOBODY,
    ROW_SHIFT,
    Access,
    Bar,
    Function,
    MemoryRange,
    Node,
    Option,
    Pci,
    Place,
    Ports,
    Post,
    Requests,
    Routed,
    Space,
    Table,
    VirtioType,
    Wire,
)

WIRED = Place("wired", "wired", wires=(Wire("line", 5),))
ROUTED = Place(
    "routed",
    "routed",
    routed=(Routed("parts", 2, (16, 17)),),
    link="routes",
    controls_pins=True,
    injects=True,
    disks=Bus.IDE,
)
POSTER = Place(
    "poster",
    "poster",
    pci=Pci(20, bars=(Bar(0, 0xE000, 16, Space.PORTS),)),
    posts=(Post(0xD100_0000, 1),),
    shows=True,
)
BLOCK = VirtioType(2, "blocks", "b", 4, 0, requests=Requests("requests", 32, 2))
SERIAL = Place("serial", "serial", ports=(Ports(8, 2), Ports(12, 1)))
SHOWN = Place("shown", "shown", memory=MemoryRange(WINDOW, WINDOW_SIZE, Access.WHOLE, 0x1_0000))
COUNTER = Place("counter", "counter", memory=MemoryRange(0xF000_0000, 0x1000))


def disk(requests: Requests) -> VirtioType:
    """A type of virtio function with requests to disks."""
    return VirtioType(5, "b", "b", 1, 0, requests=requests)


def pci(*bars: Bar, count: int = 1) -> Place:
    """A device with these BARs."""
    return Place("b", "b", pci=Pci(10, count, bars=bars))


def test_the_row_of_each_port_up_to_the_last_that_is_claimed() -> None:
    other = Place("other", "other", ports=(Ports(10, 1),))
    table = rows((COUNTER, SERIAL, other))
    found = [(where >> ROW_SHIFT, where & 0xFF) for where in table]
    assert found[:8] == [(NOBODY, 0)] * 8
    assert found[8:13] == [(1, 0), (1, 1), (2, 0), (NOBODY, 0), (1, 4)]
    free = [(NOBODY, 0)] * 3
    pci = [(CONFIG_PORTS, offset) for offset in range(8)]
    assert found[0xCF8:] == [pci[0], *free, *pci[4:]]


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
        (Place("b", "b", ports=(Ports(0xCF8, 1),)), "b claims port 0xcf8, which is PCI's"),
        (Place("b", "b", ports=(Ports(0xFFFF, 2),)), "b claims 2 ports from 0xffff; there are"),
        (Place("b", "b", ports=(Ports(1, 0),)), "b claims 0 ports from 0x1; there are 0x10000"),
        (Place("b", "b", ports=(Ports(2, 1), Ports(1, 1))), "b claims port 0x1, whose offset is"),
        (
            Place("b", "b", ports=(Ports(1, 2), Ports(5, 1, offset=1))),
            "b claims port 0x5 at offset 0x1, where port 0x2 is; give it another",
        ),
        (
            Place("b", "b", ports=(Ports(1, 1),), memory=MemoryRange(0xFEC1_0000, 4)),
            "b claims port 0x1 at offset 0x0, which its memory has too; say by Ports",
        ),
    ],
)
def test_ports_that_can_not_be_claimed_are_refused(place: Place, reason: str) -> None:
    with pytest.raises(UsageError, match=rf"{re.escape(__file__)}:\d+: {reason}"):
        rows((SERIAL, COUNTER, place))


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (
            Place("b", "b", memory=MemoryRange(0xF000_0FFC, 8)),
            "b claims address 0xf0000ffc, which is c",
        ),
        (
            Place("b", "b", memory=MemoryRange(0xEFFF_FFFC, 8)),
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
        (Place("b", "b", memory=MemoryRange(0x10_0000, 4)), "b claims 0x4 bytes at 0x100000; dev"),
        (Place("b", "b", memory=MemoryRange(1 << 32, 4)), "b claims 0x4 bytes at 0x100000000; dev"),
        (Place("b", "b", memory=MemoryRange(0xFED0_0000, 0)), "b claims 0x0 bytes at 0xfed00000;"),
        (Place("b", "b", memory=MemoryRange(0xFEE0_0FFF, 4)), "b claims address 0xfee00000, which"),
        (
            Place("b", "b", memory=MemoryRange(WINDOW, 0x1000)),
            "b claims 0x1000 bytes at 0xa0000; the window has 0x10000",
        ),
        (
            Place("b", "b", memory=MemoryRange(WINDOW, WINDOW_SIZE)),
            "b claims address 0xa0000, which is shown's",
        ),
        (
            Place("b", "b", memory=MemoryRange(0xFD00_0000, 0x100_0001)),
            "b claims 0x1000001 bytes; a device has 0x1000000 at most",
        ),
        (Place("serial", "b"), "serial claims field serial of Machine, which is serial's"),
        (Place("b", "b", wires=(Wire("line", 5),)), "b claims pin 5, which is wired's"),
        (Place("b", "b", wires=(Wire("line", 16),)), "b claims pin 16, which is routed's"),
        (
            Place("b", "b", wires=(Wire("a", 6), Wire("a", 7))),
            "b claims two pins for its a; a",
        ),
        (Place("b", "b", routed=(Routed("parts", 1, (24,)),)), "b claims pin 24; the I/O APIC has"),
        (Place("b", "b", link="routes"), "b claims the link routes, which is routed's"),
        (Place("b", "b", controls_pins=True), "b claims the pins' control, as routed does"),
        (Place("b", "b", injects=True), "b claims the boot CPU's ExtINT, as routed does"),
        (Place("b", "b", disks=Bus.IDE), "b claims disks of bus IDE, as routed does"),
        (Place("b", "b", shows=True), "b claims the answers given beforehand, as poster does"),
        (Place("b", "b", notice=b"x" * 1025), "b claims a notice of 1025 bytes; 1024 is the most"),
        (pci(Bar(0, 0xD200_0000, 64), Bar(0, 0xD300_0000, 64)), "b claims one BAR twice; give"),
        (Place("b", "b", pci=Pci(10, 9, (Bar(0, 0xD200_0000, 64),), spread=True)), "b claims 9 f"),
        (pci(Bar(0, 0xD200_0000, 48)), "b claims 48 bytes by BAR 0; give a power of 2 from 16 to"),
        (pci(Bar(0, 0xD200_0000, 1 << 25)), "b claims 33554432 bytes by BAR 0; give a power of 2"),
        (pci(Bar(6, 0xD200_0000, 64)), "b claims BAR 6; a function has 0 to 5"),
        (pci(Bar(0, 0xD200_0010, 64)), "b claims 0xd2000010 by BAR 0; give a multiple of its 64"),
        (pci(Bar(0, 0xE000_0000, 64)), "b claims address 0xe0000000 by BAR 0; PCI has 0xc0000000"),
        (
            pci(Bar(0, 0xC000, 2, Space.PORTS)),
            "b claims 2 ports by BAR 0; give a power of 2",
        ),
        (pci(Bar(0, 8, 8, Space.PORTS)), "b claims port 0x8, which is serial's"),
        (pci(Bar(0, 0xFFFC, 4, Space.PORTS), count=2), "b claims ports to 0x10004 by BAR 0; there"),
        (
            pci(Bar(0, 0xD200_0000, 64), Bar(1, 0xD200_0000, 64)),
            "b claims address 0xd2000000, which is b's",
        ),
        (
            Place("b", "b", posts=(Post(0xD200_0000, 1),)),
            "b claims posted writes, as poster does",
        ),
    ],
)
def test_addresses_and_pins_that_can_not_be_claimed_are_refused(place: Place, reason: str) -> None:
    with pytest.raises(UsageError, match=rf"{re.escape(__file__)}:\d+: {reason}"):
        check((SERIAL, COUNTER, WIRED, ROUTED, POSTER, SHOWN, place))


def test_whose_answers_are_given_beforehand_is_the_first_that_is_placed_at_ports() -> None:
    check((POSTER, pci(Bar(0, 0xC000, 16, Space.PORTS))))
    with pytest.raises(UsageError, match="poster claims answers given beforehand, behind b, which"):
        check((pci(Bar(0, 0xC000, 16, Space.PORTS)), POSTER))


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
        (
            Place("b", "b", node=Node("LINE", "PNP0800", ("line",))),
            "b claims line 'line' in ACPI, wh",
        ),
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
        (Place("b", "b", table=Table(b"SPK", 1, b"")), "b claims ACPI table b'SPK'; give four"),
    ],
)
def test_what_acpi_can_not_say_is_refused(place: Place, reason: str) -> None:
    with pytest.raises(UsageError, match=rf"{re.escape(__file__)}:\d+: {re.escape(reason)}"):
        check((SPEAKER, place))


def test_neighbours_do_not_overlap() -> None:
    after = Place("b", "b", ports=(Ports(10, 2, offset=1),), memory=MemoryRange(0xF000_1000, 4))
    before = Place("c", "c", ports=(Ports(7, 1, offset=0),), memory=MemoryRange(0xEFFF_FFFC, 4))
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


@pytest.mark.parametrize(
    ("slot", "count", "reason"),
    [
        (32, 1, "b claims slot 32; a bus has 0 to 31"),
        (30, 3, "b claims slot 32; a bus has 0 to 31"),
        (9, 2, "b claims slot 10, which is other's"),
    ],
)
def test_slots_that_can_not_be_claimed_are_refused(slot: int, count: int, reason: str) -> None:
    other = Place("other", "other", pci=Pci(10))
    with pytest.raises(UsageError, match=rf"{re.escape(__file__)}:\d+: {reason}"):
        functions((other, Place("b", "b", pci=Pci(slot, count))), Board.MODERN)


def test_functions_may_be_elsewhere_on_a_pc_s_bus() -> None:
    bridge = Place("bridge", "bridge", pci=Pci(1), board=Board.PC)
    disk = Place("disk", "disk", pci=Pci(1, on_pc=Function(1, 1)))
    more = Place("more", "more", pci=Pci(2, 2))
    modern, pc = (functions((bridge, disk, more), board) for board in Board)
    nobody = NOBODY << ROW_SHIFT
    assert {n: where for n, where in enumerate(modern) if where != nobody} == {
        8: 1 << ROW_SHIFT, 16: 2 << ROW_SHIFT, 24: 2 << ROW_SHIFT | 1
    }  # fmt: skip
    assert {n: where for n, where in enumerate(pc) if where != nobody} == {
        8: 0, 9: 1 << ROW_SHIFT, 16: 2 << ROW_SHIFT, 24: 2 << ROW_SHIFT | 1
    }  # fmt: skip
    with pytest.raises(UsageError, match="more claims slot 1, function 1, which is disk's"):
        functions((disk, Place("more", "more", pci=Pci(2, on_pc=Function(1, 1)))), Board.PC)
    with pytest.raises(UsageError, match="function 8; a device has 0 to 7"):
        functions((Place("more", "more", pci=Pci(2, on_pc=Function(1, 8))),), Board.PC)


def test_a_row_that_is_no_place_is_refused() -> None:
    with pytest.raises(UsageError, match=r"row 1 of DEVICES is Ports\(first=1.*\), no Place"):
        check((SERIAL, Ports(1, 1)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("types", "reason"),
    [
        ((BLOCK, BLOCK), "claims virtio's type 2, which is blocks's"),
        ((VirtioType(0, "b", "b", 1, 0),), "b claims virtio's type 0; types are 1 to 63"),
        ((BLOCK, VirtioType(5, "blocks", "b", 1, 0)), "claims field blocks of Virtio, which is bl"),
        ((VirtioType(5, "b", "b", 0, 0),), "b claims 0 models; give it one"),
        ((BLOCK, disk(Requests("requests", 32, 100))), "b claims request 100, which is blocks's"),
        ((disk(Requests("requests", 32, 0)),), "b claims request 0, which is ide's"),
        ((disk(Requests("requests", 33, 2)),), "b claims 33 requests; give 1 to 32"),
        ((disk(Requests("requests", 32, 120)),), "b claims request 131; drivers know 0 to 130"),
    ],
)
def test_types_of_virtio_functions_that_can_not_be_are_refused(
    types: tuple[VirtioType, ...], reason: str
) -> None:
    ide = Place("ide", "ide", requests=Requests("channels", 2, 0))
    with pytest.raises(UsageError, match=rf"{re.escape(__file__)}:\d+: \w*\s?{reason}"):
        check_types((SERIAL, ide), types)
