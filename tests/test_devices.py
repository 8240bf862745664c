"""What the devices' places say is what is there: fields, models, pages."""

import ctypes
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vestige.devices import DEVICES, VIRTIO_TYPES
from vestige.monitor.core.machine import Machine
from vestige.monitor.line import Line
from vestige.place import NOBODY, ROW_SHIFT, Pci, Place, Space, VirtioType
from vestige.tables import PORT_ROWS

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "devices"
EACH_PLACE = pytest.mark.parametrize("place", DEVICES, ids=lambda place: place.field)
RULE = "| --- | --- | --- | --- | --- |"
ROW = re.compile(r"^\| (0x[0-9A-F]+) \|(.*)$", re.MULTILINE)
WIDTH = re.compile(r"\((\d+) bits\)")


def test_the_list_of_devices_brings_none_of_what_makes_a_start_slow() -> None:
    program = (
        "import ctypes, sys; before = set(sys.modules); import vestige.devices;"  # abi needs ctypes
        "slow = {'collections', 'contextlib', 'enum', 're', 'typing'};"
        "print([name for name in set(sys.modules) - before"
        " if name in slow or name.startswith('vestige.') and name.endswith('.model')])"
    )
    command = [sys.executable, "-S", "-c", program]
    done = subprocess.run(command, capture_output=True, check=True, cwd=ROOT, text=True)
    cure = "take enumerations from vestige.lang.enumeration where a place.py imports them"
    assert done.stdout == "[]\n", cure


def claimed(place: Place) -> set[int]:
    """Every port of it."""
    return {port for ports in place.ports for port in range(ports.first, ports.end)}


@EACH_PLACE
def test_a_place_names_a_field_whose_model_has_the_common_shape(place: Place) -> None:
    model = getattr(Machine(), place.field)
    shape = {"reset": 0}
    if place.has_registers:
        shape |= {"read": 3, "write": 4}
    if place.pci is not None:
        shape |= {"has_function": 1, "read_config": 3, "write_config": 4}
        if any(bar.region is None for bar in place.pci.bars):
            shape |= {"port_offset": 1, "memory_offset": 2}
    for name, arguments in shape.items():
        assert getattr(type(model), name).__code__.co_argcount == 1 + arguments


@EACH_PLACE
def test_a_model_that_knows_deadlines_is_timed(place: Place) -> None:
    model = type(getattr(Machine(), place.field))
    assert [hasattr(model, name) for name in ("next_deadline", "expire")] == [place.timed] * 2


def lines_in(kind: Any) -> int:
    """How many lines a struct has, or an array of structs."""
    if kind is Line:
        return 1
    if issubclass(kind, ctypes.Array):
        return int(kind._length_) * lines_in(kind._type_)
    return sum(lines_in(field) for _, field in getattr(kind, "_fields_", ()))


@EACH_PLACE
def test_a_place_s_lines_are_all_lines_of_its_model(place: Place) -> None:
    """But a PC's lead to its interrupt controllers, as they do in every PC: no place says so."""
    model = getattr(Machine(), place.field)
    lines = [getattr(model, wire.line) for wire in place.wires]
    for routed in place.routed:
        parts = getattr(model, routed.parts)
        assert len(parts) == routed.count
        owners = [getattr(part, routed.within) if routed.within else part for part in parts]
        lines += [owner.line for owner in owners]
    assert all(type(line) is Line for line in lines)
    assert len(lines) == lines_in(type(model))


def test_no_field_has_two_places() -> None:
    assert len({place.field for place in DEVICES}) == len(DEVICES)


@EACH_PLACE
def test_each_port_leads_to_its_place(place: Place) -> None:
    number = DEVICES.index(place)
    assert {port for port, row in enumerate(PORT_ROWS) if row >> ROW_SHIFT == number} == claimed(
        place
    )


def test_the_table_of_ports_ends_with_the_last_that_is_claimed() -> None:
    assert PORT_ROWS[-1] >> ROW_SHIFT != NOBODY


@EACH_PLACE
def test_the_page_names_the_same_ports(place: Place) -> None:
    """The first column of its table: a register a line, of one byte where nothing else is said."""
    if not place.ports:
        return
    text = (PAGES / f"{place.page}.md").read_text()
    named = set()
    for port, what in ROW.findall(text.partition("| port |")[2].partition("\n\n")[0]):
        bits = WIDTH.search(what)
        named |= {int(port, 16) + byte for byte in range(int(bits[1]) // 8 if bits else 1)}
    assert named == claimed(place)


def pins_option_and_acpi(place: Place) -> tuple[str, str, str]:
    """What any device's table ends with."""
    pins = [str(wire.pin) for wire in place.wires]
    pins += [f"{routed.count} {routed.parts}, each as the guest says" for routed in place.routed]
    option = "" if place.option is None else f"`{place.option.name}`"
    acpi = [f"`{node.name}`, {node.hid}" for node in place.nodes]
    acpi += [] if place.table is None else [f"a table `{place.table.signature.decode()}`"]
    acpi += ["ACPI's fixed hardware"] * place.fixed_hardware
    return ", ".join(pins), option, ", ".join(acpi)


def head(place: Place) -> str:
    """The table on its page that says what it claims."""
    ports = [
        f"0x{ports.first:X}" + (f" to 0x{ports.end - 1:X}" if ports.count > 1 else "")
        for ports in place.ports
    ]
    block = place.memory
    memory = "" if block is None else f"0x{block.address:08X} to 0x{block.end - 1:08X}"
    row = (", ".join(ports), memory, *pins_option_and_acpi(place))
    cells = " | ".join(cell or "none" for cell in row)
    return f"| ports | memory | drives pins | option | own in ACPI |\n{RULE}\n| {cells} |\n"


def pci_head(place: Place, pci: Pci) -> str:
    """The same of functions on the PCI bus."""
    slots = str(pci.slot) if pci.count == 1 else f"{pci.slot} to {pci.slot + pci.count - 1}"
    each = ", each" if pci.count > 1 else ""
    bars = [
        f"{bar.number}: 0x{bar.address:X}, {bar.size} {Space(bar.space).name.lower()}{each}"
        if bar.space == Space.PORTS
        else f"{bar.number}: 0x{bar.address:08X}, {bar.size} bytes{each}"
        for bar in pci.bars
    ]
    row = (slots, "; ".join(bars), *pins_option_and_acpi(place))
    cells = " | ".join(cell or "none" for cell in row)
    return (
        f"| slot | BARs at power-on | drives pins | option | own in ACPI |\n{RULE}\n| {cells} |\n"
    )


@EACH_PLACE
def test_the_page_says_what_the_place_claims(place: Place) -> None:
    said = head(place) if place.pci is None else pci_head(place, place.pci)
    assert f"\n\n{said}\n" in (PAGES / f"{place.page}.md").read_text()


@pytest.mark.parametrize("row", VIRTIO_TYPES, ids=lambda row: row.field)
def test_a_type_of_virtio_function_has_models_a_link_and_a_page(row: VirtioType) -> None:
    machine = Machine()
    models = getattr(machine.virtio, row.field)
    assert len(models) == row.count
    assert hasattr(models[0], "requests") == (row.requests is not None)
    if row.link:
        assert hasattr(getattr(machine, row.link), "take")
    page = (PAGES / f"{row.page}.md").read_text()
    assert f"1AF4:{0x1040 + row.kind:04X}" in page
